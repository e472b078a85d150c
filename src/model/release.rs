//! What a deletion does to the rows that name the row that goes.
//!
//! It is planned before anything is written: what goes along, what is updated, and what forbids it are looked for down
//! to the last row. Then the plan is carried out, row by row.
//!
//! Always holds: a row that forbids the deletion is found before the first write, however far down it is; one that goes
//! along itself, by whatever way, forbids nothing. An entry under the row that goes means something only if the type of
//! the row that wrote it still has that field name rows of this table.

use std::collections::HashSet;

use bytes::Bytes;
use futures::future::BoxFuture;
use tidegate_format::{ModelId, ModelKey, ReferenceKey};
use tidegate_store::{Direction, KeyRange, Store, Txn};

use crate::row::Place;
use crate::tx::{Open, Tx};
use crate::write::Before;
use crate::{Error, Model, OnDelete, Reference, WriteOptions};

/// The most rows that may name one row that is deleted.
pub const RELEASE_ROWS_MAX: usize = 10_000;
/// The most rows that one deletion deletes or updates in all, and that are looked at because they may forbid it.
pub const RELEASE_ROWS_ALL_MAX: usize = 100_000;
/// How many levels a deletion goes down.
pub const RELEASE_LEVELS_MAX: u32 = 32;

/// What a deletion will do.
pub(crate) struct Plan<S: Store> {
    table: &'static str,
    id: ModelId,
    /// The keys of the rows that go.
    going: HashSet<Bytes>,
    /// What is done to other rows, in this order.
    steps: Vec<Step<S>>,
    /// What is refused unless the row with that key goes, in the order in which it was found.
    forbidden: Vec<(Bytes, Error)>,
}

/// What is done to one row that names one that goes.
pub(crate) struct Step<S: Store> {
    place: Place,
    /// By which field it names what goes; none if the row goes itself.
    forgets: Option<Forgotten>,
    run: Run<S>,
}

/// A reference that is set to null.
struct Forgotten {
    field: &'static str,
    parent_table: &'static str,
    parent: ModelId,
}

/// Carries out a step for a type of row.
type Run<S> = for<'a> fn(&'a Tx<S>, &'a mut Open<S>, &'a Step<S>) -> BoxFuture<'a, Result<(), Error>>;

impl<S: Store> Plan<S> {
    fn add(&mut self, step: Step<S>) -> Result<(), Error> {
        self.steps.push(step);
        self.check_size()
    }

    fn forbid(&mut self, row_key: Bytes, error: Error) -> Result<(), Error> {
        self.forbidden.push((row_key, error));
        self.check_size()
    }

    fn check_size(&self) -> Result<(), Error> {
        if self.steps.len() + self.forbidden.len() > RELEASE_ROWS_ALL_MAX {
            let (table, id) = (self.table, self.id.clone());
            return Err(Error::TooManyReferences { table, id, limit: RELEASE_ROWS_ALL_MAX });
        }
        Ok(())
    }

    /// The steps, now that everything is known that goes.
    fn settle(mut self) -> Result<Vec<Step<S>>, Error> {
        if let Some(at) = self.forbidden.iter().position(|(row_key, _)| !self.going.contains(row_key)) {
            return Err(self.forbidden.swap_remove(at).1);
        }
        let going = self.going;
        self.steps.retain(|step| step.forgets.is_none() || !going.contains(&step.place.row_key));
        Ok(self.steps)
    }
}

impl<S: Store> Step<S> {
    fn delete<M: Model>(place: Place) -> Self {
        let run: Run<S> = |tx, open, step| Box::pin(tx.delete_along::<M>(open, &step.place));
        Self { place, forgets: None, run }
    }

    fn forget<M: Model>(place: Place, forgotten: Forgotten) -> Self {
        let run: Run<S> = |tx, open, step| {
            Box::pin(async move {
                let Some(mut row) = tx.read_row::<M>(open, &step.place).await? else { return Ok(()) };
                let forgotten = step.forgets.as_ref().expect("it is a step that forgets");
                let reference = reference_to::<M>(forgotten.field, forgotten.parent_table);
                reference.expect("it was planned by it").forget(&mut row, &forgotten.parent);
                let options = WriteOptions::default();
                tx.write_row(open, &row, Before::Present, &options).await.map(drop)
            })
        };
        Self { place, forgets: Some(forgotten), run }
    }

    /// Carries it out.
    pub(crate) fn run<'a>(
        &'a self,
        tx: &'a Tx<S>,
        open: &'a mut Open<S>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        (self.run)(tx, open, self)
    }
}

/// The reference of a model by that field to that table.
fn reference_to<M: Model>(field: &str, parent_table: &str) -> Option<&'static Reference<M>> {
    let is_meant = |known: &&Reference<M>| known.field() == field && known.parent_table() == parent_table;
    M::references().iter().find(is_meant)
}

/// One row that names one that is being deleted, to be let go by its type.
pub struct Release<'a, S: Store> {
    tx: &'a Tx<S>,
    open: &'a mut Open<S>,
    plan: &'a mut Plan<S>,
    key: &'a ReferenceKey,
    parent_table: &'static str,
    parent: &'a ModelId,
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
        Box::pin(async move { self.forbid() })
    }

    /// Lets the row go, as its type says.
    #[must_use]
    pub fn of<M: Model>(self) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // A row that was last written under an earlier definition may have an entry that no longer means anything.
            let Some(reference) = reference_to::<M>(&self.key.field, self.parent_table) else {
                return Ok(());
            };
            let on_delete = reference.on_delete();
            if on_delete == OnDelete::Restrict {
                return self.forbid();
            }
            let place = Place::of::<M>(ModelId::decode(&self.key.id)?)?;
            if self.plan.going.contains(&place.row_key) {
                return Ok(());
            }
            if self.level >= RELEASE_LEVELS_MAX {
                let (table, id) = (self.parent_table, self.parent.clone());
                return Err(Error::TooDeep { table, id, limit: RELEASE_LEVELS_MAX });
            }
            if on_delete == OnDelete::SetNull {
                let (field, parent_table, parent) =
                    (reference.field(), self.parent_table, self.parent.clone());
                return self.plan.add(Step::forget::<M>(place, Forgotten { field, parent_table, parent }));
            }
            self.plan.add(Step::delete::<M>(place.clone()))?;
            self.tx.plan_row::<M>(self.open, self.plan, &place, self.level + 1).await
        })
    }

    /// Refuses the deletion, unless the row goes along with it.
    fn forbid(self) -> Result<(), Error> {
        let (table, id) = (self.key.table.clone(), self.key.id.clone());
        let by_id = ModelId::decode(&id)?;
        let row_key = ModelKey { table, id }.encode();
        if self.plan.going.contains(&row_key) {
            return Ok(());
        }
        let error = Error::Referenced {
            table: self.parent_table,
            id: self.parent.clone(),
            by_table: self.key.table.clone(),
            by_field: self.key.field.clone(),
            by_id,
        };
        self.plan.forbid(row_key, error)
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
    /// What the deletion of a row does to the rows that name it, those that name these, and so on. The lists of the
    /// tables that they are in come in an earlier round if they were fetched with it.
    pub(crate) async fn plan_deletion<M: Model>(
        &self,
        open: &mut Open<S>,
        place: &Place,
    ) -> Result<Vec<Step<S>>, Error> {
        let (table, id) = (M::TABLE, place.id.clone());
        let mut plan = Plan { table, id, going: HashSet::new(), steps: vec![], forbidden: vec![] };
        self.plan_row::<M>(open, &mut plan, place, 0).await?;
        plan.settle()
    }

    /// Plans that a row goes.
    async fn plan_row<M: Model>(
        &self,
        open: &mut Open<S>,
        plan: &mut Plan<S>,
        place: &Place,
        level: u32,
    ) -> Result<(), Error> {
        plan.going.insert(place.row_key.clone());
        if M::CHILDREN.is_empty() {
            return Ok(());
        }
        let definition = self.shared().definition::<M>();
        open.txn.fetch(vec![], definition.child_keys()).await?;
        definition.require_children(&mut open.txn).await?;
        for key in self.children_of::<M>(open, place).await? {
            let (key, parent) = (&key, &place.id);
            let (open, plan) = (&mut *open, &mut *plan);
            let release = Release { tx: self, open, plan, key, parent_table: M::TABLE, parent, level };
            M::release(release).await?;
        }
        Ok(())
    }

    /// The rows that name a row, by table, field and id.
    async fn children_of<M: Model>(
        &self,
        open: &mut Open<S>,
        place: &Place,
    ) -> Result<Vec<ReferenceKey>, Error> {
        let (start, end) = ReferenceKey::range_parent(M::TABLE, &place.id_bytes);
        let range = KeyRange { start, end };
        let keys = open.txn.scan_keys(&range, RELEASE_ROWS_MAX + 1, Direction::Forward).await?;
        if keys.len() > RELEASE_ROWS_MAX {
            let (table, id) = (M::TABLE, place.id.clone());
            return Err(Error::TooManyReferences { table, id, limit: RELEASE_ROWS_MAX });
        }
        Ok(keys.iter().map(|key| ReferenceKey::decode(key)).collect::<Result<Vec<_>, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_store::MemoryStore;

    use super::*;

    #[test]
    fn a_deletion_of_too_many_rows_in_all_is_refused_by_the_row_that_was_to_go() {
        let (table, id) = ("crates", ModelId::from(1));
        let (going, steps, forbidden) = (HashSet::new(), vec![], vec![]);
        let mut plan = Plan::<MemoryStore> { table, id: id.clone(), going, steps, forbidden };
        let mut one_more = || plan.forbid(Bytes::from_static(b"a row"), Error::Over);
        for _ in 0..RELEASE_ROWS_ALL_MAX {
            assert_eq!(one_more(), Ok(()));
        }
        let limit = RELEASE_ROWS_ALL_MAX;
        assert_eq!(one_more(), Err(Error::TooManyReferences { table, id, limit }));
    }
}
