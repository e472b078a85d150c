//! What a deletion does to the rows that name the row that goes.
//!
//! It goes through them twice: first everything that forbids the deletion is found, before anything is written; then
//! they are deleted or updated, and so are those that name them.

use futures::future::BoxFuture;
use tidegate_format::{ModelId, ReferenceKey};
use tidegate_store::{Direction, KeyRange, Store, Txn};

use crate::row::Place;
use crate::tx::{Open, Tx};
use crate::write::Before;
use crate::{Error, Model, OnDelete, WriteOptions};

/// The most rows that one deletion deletes or updates at one level.
pub const RELEASE_ROWS_MAX: usize = 10_000;
/// How many levels a deletion goes down.
pub const RELEASE_LEVELS_MAX: u32 = 32;

/// One row that names one that is being deleted, to be let go by its type.
pub struct Release<'a, S: Store> {
    tx: &'a Tx<S>,
    open: &'a mut Open<S>,
    key: &'a ReferenceKey,
    parent_table: &'static str,
    parent: &'a ModelId,
    is_trial: bool,
    level: u32,
}

impl<'a, S: Store> Release<'a, S> {
    /// The row's table: one of [`Model::CHILDREN`].
    #[must_use]
    pub fn table(&self) -> &str {
        &self.key.table
    }

    /// For a table that the deleted row's model does not know.
    #[must_use]
    pub fn refuse(self) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { Err(self.referenced()?) })
    }

    /// Lets the row go, as its type says.
    #[must_use]
    pub fn of<M: Model>(self) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let reference = M::references().iter().find(|reference| reference.field() == self.key.field);
            // A row that was last written under an earlier definition may have an entry that no longer means anything.
            let Some(reference) = reference else { return Ok(()) };
            match reference.on_delete() {
                OnDelete::Restrict => Err(self.referenced()?),
                OnDelete::Cascade | OnDelete::SetNull if self.is_trial => Ok(()),
                OnDelete::Cascade => {
                    let place = Place::of::<M>(ModelId::decode(&self.key.id)?)?;
                    let options = WriteOptions::default();
                    self.tx.delete_row::<M>(self.open, place, &options, self.level + 1).await.map(drop)
                }
                OnDelete::SetNull => {
                    let place = Place::of::<M>(ModelId::decode(&self.key.id)?)?;
                    let Some(mut row) = self.tx.read_row::<M>(self.open, &place).await? else {
                        return Ok(());
                    };
                    reference.forget(&mut row, self.parent);
                    let options = WriteOptions::default();
                    self.tx.write_row(self.open, &row, Before::Present, &options).await.map(drop)
                }
            }
        })
    }

    fn referenced(&self) -> Result<Error, Error> {
        Ok(Error::Referenced {
            table: self.parent_table,
            id: self.parent.clone(),
            by_table: self.key.table.clone(),
            by_field: self.key.field.clone(),
            by_id: ModelId::decode(&self.key.id)?,
        })
    }
}

/// Writes [`Model::CHILDREN`] and [`Model::release`] for models whose rows name rows of this one.
#[macro_export]
macro_rules! children {
    ($($child:ty),+ $(,)?) => {
        const CHILDREN: &'static [&'static str] = &[$(<$child as $crate::Model>::TABLE),+];

        fn named_by() -> ::std::vec::Vec<$crate::ChildReference> {
            let mut children = ::std::vec::Vec::new();
            $(children.extend($crate::derived::references_to::<$child>(<Self as $crate::Model>::TABLE));)+
            children
        }

        fn release<S: $crate::Store>(
            release: $crate::Release<'_, S>,
        ) -> $crate::BoxFuture<'_, ::core::result::Result<(), $crate::Error>> {
            $(
                if release.table() == <$child as $crate::Model>::TABLE {
                    return release.of::<$child>();
                }
            )+
            release.refuse()
        }
    };
}

impl<S: Store> Tx<S> {
    /// The rows that name a row, by table, field and id.
    pub(crate) async fn children_of<M: Model>(
        &self,
        open: &mut Open<S>,
        place: &Place,
    ) -> Result<Vec<ReferenceKey>, Error> {
        if M::CHILDREN.is_empty() {
            return Ok(vec![]);
        }
        let (start, end) = ReferenceKey::range_parent(M::TABLE, &place.id_bytes);
        let range = KeyRange { start, end };
        let keys = open.txn.scan_keys(&range, RELEASE_ROWS_MAX + 1, Direction::Forward).await?;
        if keys.len() > RELEASE_ROWS_MAX {
            let (table, id) = (M::TABLE, place.id.clone());
            return Err(Error::TooManyReferences { table, id, limit: RELEASE_ROWS_MAX });
        }
        let keys = keys.iter().map(|key| ReferenceKey::decode(key)).collect::<Result<Vec<_>, _>>()?;
        // A row that names itself is no reason to keep it.
        let is_other = |key: &ReferenceKey| key.table != M::TABLE || key.id != place.id_bytes;
        Ok(keys.into_iter().filter(is_other).collect())
    }

    /// Lets go everything that names a row: as a trial, which only finds what forbids it, or in earnest.
    pub(crate) async fn release_children<M: Model>(
        &self,
        open: &mut Open<S>,
        place: &Place,
        children: &[ReferenceKey],
        is_trial: bool,
        level: u32,
    ) -> Result<(), Error> {
        if level >= RELEASE_LEVELS_MAX && !children.is_empty() {
            return Err(Error::TooDeep { table: M::TABLE, id: place.id.clone(), limit: RELEASE_LEVELS_MAX });
        }
        for key in children {
            let release = Release {
                tx: self,
                open: &mut *open,
                key,
                parent_table: M::TABLE,
                parent: &place.id,
                is_trial,
                level,
            };
            M::release(release).await?;
        }
        Ok(())
    }
}
