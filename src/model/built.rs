//! Which indexes and references of a table have an entry for each of its rows, so that nobody asks one that is still
//! being filled.
//!
//! A table has one row that lists them by their definitions. Every writer of the table reads it in the round in which
//! it reads anyway, and takes off the list what its own definitions do not keep; a query reads it in the round of its
//! rows. The first row of a table puts on the list what its writer keeps; all else gets there by
//! [`Db::backfill`](crate::Db::backfill).
//!
//! Always holds: in a snapshot that lists an index as complete, every row has its entries. A writer that does not keep
//! the index takes it off in the transaction that writes the row; one that began before the index was listed is over
//! before the back-fill looks at its first row.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use tidegate_format::{Built, BuiltKey, BuiltKind, BuiltValue, ModelKey};
use tidegate_store::{Direction, KeyRange, Store, Txn};
use uuid::Uuid;

use crate::db::Shared;
use crate::model::schema_version;
use crate::prefetch::PrefetchTxn;
use crate::{Error, Index, Model, QueryError, Reference};

/// Tells digests of definitions from every other name-based UUID.
const NAMESPACE: Uuid = Uuid::from_u128(0x7469_6465_6761_7465_8000_6261_636b_6669);

/// What the writers of a table keep, by the definitions of a model.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) table: &'static str,
    /// Where the table's list is.
    pub(crate) key: Bytes,
    kept: Vec<Kept>,
    /// The list when all of them are complete.
    complete: Bytes,
    /// A digest of the schema version and of all that is kept.
    pub(crate) digest: Uuid,
    /// By what rows of other tables name rows of this one.
    children: Vec<ChildReference>,
}

/// An index or a reference.
#[derive(Debug)]
struct Kept {
    kind: BuiltKind,
    name: &'static str,
    /// What a reference names rows of. A field may have several references.
    parent_table: Option<&'static str>,
    definition: Uuid,
}

/// A reference of another table to this one.
#[derive(Debug)]
pub struct ChildReference {
    table: &'static str,
    built_key: Bytes,
    field: &'static str,
    definition: Uuid,
}

/// The references of a model to a table, for code that the derive writes.
#[must_use]
pub fn references_to<M: Model>(parent_table: &str) -> Vec<ChildReference> {
    let references = M::references().iter().filter(|reference| reference.parent_table() == parent_table);
    let built_key = BuiltKey { table: M::TABLE.to_owned() }.encode();
    let child = |reference: &Reference<M>| ChildReference {
        table: M::TABLE,
        built_key: built_key.clone(),
        field: reference.field(),
        definition: digest_of_reference(reference),
    };
    references.map(child).collect()
}

impl Definition {
    pub(crate) fn of<M: Model>() -> Self {
        let index = |index: &Index<M>| Kept {
            kind: BuiltKind::Index,
            name: index.name(),
            parent_table: None,
            definition: digest_of_index(index),
        };
        let reference = |reference: &Reference<M>| Kept {
            kind: BuiltKind::Reference,
            name: reference.field(),
            parent_table: Some(reference.parent_table()),
            definition: digest_of_reference(reference),
        };
        let mut kept: Vec<Kept> = M::indexes().iter().map(index).collect();
        kept.extend(M::references().iter().map(reference));
        let mut text = format!("schema {}\n", schema_version::<M>());
        for Kept { name, definition, .. } in &kept {
            text += &format!("{name} {definition}\n");
        }
        let complete = BuiltValue { built: kept.iter().map(|kept| kept.listed(true)).collect() };
        Self {
            table: M::TABLE,
            key: BuiltKey { table: M::TABLE.to_owned() }.encode(),
            complete: complete.encode(),
            digest: Uuid::new_v5(&NAMESPACE, text.as_bytes()),
            children: M::named_by(),
            kept,
        }
    }

    fn keeps(&self, listed: &Built) -> bool {
        self.kept.iter().any(|kept| kept.is(listed))
    }

    /// What a writer of the table makes of the list, if that is anything else. It is in the round of `txn` already.
    pub(crate) async fn after_write(&self, txn: &mut impl Txn) -> Result<Option<Bytes>, Error> {
        match txn.get(&self.key).await? {
            Some(list) => self.without_unkept(Some(list)),
            None if is_empty(txn, self.table).await? => Ok(Some(self.complete.clone())),
            // Rows of a release that kept no list.
            None => Ok(Some(BuiltValue::default().encode())),
        }
    }

    /// The list without what these definitions do not keep, if it has any of that.
    pub(crate) fn without_unkept(&self, list: Option<Bytes>) -> Result<Option<Bytes>, Error> {
        let Some(list) = list.filter(|list| *list != self.complete) else { return Ok(None) };
        let mut list = BuiltValue::decode(list)?;
        let before = list.built.len();
        list.built.retain(|listed| self.keeps(listed));
        Ok(if list.built.len() == before { None } else { Some(list.encode()) })
    }

    /// Lists what is not listed yet as being filled, without what these definitions do not keep; none if nothing is to be
    /// changed.
    pub(crate) fn listing(&self, list: Option<Bytes>) -> Result<Listing, Error> {
        let list = list.unwrap_or_else(|| BuiltValue::default().encode());
        if list == self.complete {
            return Ok(Listing { changed: None, is_complete: true });
        }
        let before = BuiltValue::decode(list)?;
        let mut after = before.clone();
        after.built.retain(|listed| self.keeps(listed));
        for kept in &self.kept {
            if !after.built.iter().any(|listed| kept.is(listed)) {
                after.built.push(kept.listed(false));
            }
        }
        let is_complete = after.built.iter().all(|listed| listed.is_complete);
        let changed = (after != before).then(|| after.encode());
        Ok(Listing { changed, is_complete })
    }

    /// The list with all of it complete, and nothing else.
    pub(crate) fn completed(&self) -> Bytes {
        self.complete.clone()
    }

    /// Refuses to go on filling what a writer that does not keep it has taken off the list.
    pub(crate) fn check_listed(&self, list: Option<Bytes>) -> Result<(), Error> {
        let list = list.map(BuiltValue::decode).transpose()?.unwrap_or_default();
        match self.kept.iter().find(|kept| !list.built.iter().any(|listed| kept.is(listed))) {
            Some(gone) => Err(Error::OtherDefinition { table: self.table, index: gone.name }),
            None => Ok(()),
        }
    }

    /// Refuses what asks an index or a reference that does not have all rows. The list comes in the round of `txn` if it
    /// was fetched with it.
    pub(crate) async fn require<T: Txn>(&self, txn: &mut PrefetchTxn<T>, asked: By) -> Result<(), Error> {
        txn.fetch(vec![], [self.key.clone()]).await?;
        let list = txn.get(&self.key).await?;
        if list.as_ref() == Some(&self.complete) {
            return Ok(());
        }
        let (kind, name, parent_table) = (asked.kind(), asked.name(), asked.parent_table());
        let is_asked = |kept: &&Kept| (kept.kind, kept.name, kept.parent_table) == (kind, name, parent_table);
        let definition =
            self.kept.iter().find(is_asked).expect("it was looked up in the definitions").definition;
        require(txn, list, self.table, kind, name, definition).await
    }

    /// The lists of the tables whose rows name rows of this one.
    pub(crate) fn child_keys(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.children.iter().map(|child| child.built_key.clone())
    }

    /// Refuses a deletion while rows that name this one might not be found. The lists are in the round of `txn` already.
    pub(crate) async fn require_children(&self, txn: &mut impl Txn) -> Result<(), Error> {
        for ChildReference { table, built_key, field, definition } in &self.children {
            let list = txn.get(built_key).await?;
            require(txn, list, table, BuiltKind::Reference, field, *definition).await?;
        }
        Ok(())
    }
}

/// What a query asks: an index, or a reference.
#[derive(Clone, Copy)]
pub(crate) enum By {
    Index(&'static str),
    Reference { field: &'static str, parent_table: &'static str },
}

impl By {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Index(name) | Self::Reference { field: name, .. } => name,
        }
    }

    const fn kind(self) -> BuiltKind {
        match self {
            Self::Index(_) => BuiltKind::Index,
            Self::Reference { .. } => BuiltKind::Reference,
        }
    }

    const fn parent_table(self) -> Option<&'static str> {
        match self {
            Self::Index(_) => None,
            Self::Reference { parent_table, .. } => Some(parent_table),
        }
    }
}

/// The list as a back-fill begins with it.
pub(crate) struct Listing {
    /// The list, if it is to be written.
    pub(crate) changed: Option<Bytes>,
    /// Whether nothing on it is being filled.
    pub(crate) is_complete: bool,
}

impl Kept {
    fn is(&self, listed: &Built) -> bool {
        listed.kind == self.kind && listed.name == self.name && listed.definition == self.definition
    }

    fn listed(&self, is_complete: bool) -> Built {
        let (kind, name, definition) = (self.kind, self.name.to_owned(), self.definition);
        Built { kind, name, definition, is_complete }
    }
}

async fn require(
    txn: &mut impl Txn,
    list: Option<Bytes>,
    table: &'static str,
    kind: BuiltKind,
    name: &'static str,
    definition: Uuid,
) -> Result<(), Error> {
    let list = list.map(BuiltValue::decode).transpose()?.unwrap_or_default();
    let is_asked = |listed: &Built| {
        listed.is_complete && listed.kind == kind && listed.name == name && listed.definition == definition
    };
    // What has no rows has no entries either.
    if list.built.iter().any(is_asked) || is_empty(txn, table).await? {
        return Ok(());
    }
    Err(QueryError::NotBuilt { table, index: name }.into())
}

async fn is_empty(txn: &mut impl Txn, table: &str) -> Result<bool, Error> {
    let (start, end) = ModelKey::range(table);
    Ok(txn.scan_keys(&KeyRange::new(start, end), 1, Direction::Forward).await?.is_empty())
}

/// A digest of what decides which keys a row has in an index. What an index is conditional on is code, and not part of
/// it: an index with another condition needs another name.
fn digest_of_index<M>(index: &Index<M>) -> Uuid {
    let mut text = format!("index {} unique {}", index.name(), index.is_unique());
    for field in index.fields() {
        let (name, kind) = (field.name(), field.field_type().name());
        text += &format!(", {name} {kind} ignores case {}", field.ignores_case());
    }
    Uuid::new_v5(&NAMESPACE, text.as_bytes())
}

fn digest_of_reference<M: Model>(reference: &Reference<M>) -> Uuid {
    let text = format!("reference {} to {}", reference.field(), reference.parent_table());
    Uuid::new_v5(&NAMESPACE, text.as_bytes())
}

/// The definitions of models that were used so far, by their types.
#[derive(Debug, Default)]
pub(crate) struct Definitions(RwLock<HashMap<TypeId, Arc<Definition>>>);

impl<S: Store> Shared<S> {
    /// The definition of a model.
    pub(crate) fn definition<M: Model>(&self) -> Arc<Definition> {
        let known = &self.definitions.0;
        if let Some(found) = known.read().expect("nothing panics with the lock held").get(&TypeId::of::<M>())
        {
            return found.clone();
        }
        let definition = Arc::new(Definition::of::<M>());
        let mut known = known.write().expect("nothing panics with the lock held");
        known.entry(TypeId::of::<M>()).or_insert(definition).clone()
    }
}
