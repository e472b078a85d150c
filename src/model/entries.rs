//! The keys that a row has beside its own: entries of indexes, claims of unique ones, references.
//!
//! Always holds: a row's manifest lists exactly these keys, each once, so that a write knows what goes and what comes
//! whatever the definitions were when the row was last written. A manifest without a row lists nothing: what it names may
//! be another row's by now.

use std::collections::HashSet;

use bytes::Bytes;
use tidegate_format::{Kind, MARKER, ManifestValue, ModelId, ModelKey, UniqueValue};
use tidegate_store::Txn;

use crate::prefetch::PrefetchTxn;
use crate::row::Place;
use crate::{Error, Model};

/// The keys of one row.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// All of them, in the order in which the definitions give them.
    pub(crate) keys: Vec<Bytes>,
    seen: HashSet<Bytes>,
    /// Those that are claims, with the name of their index.
    pub(crate) claims: Vec<(&'static str, Bytes)>,
    /// Those that are references, with what they name.
    pub(crate) parents: Vec<Parent>,
}

/// What a reference names.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) field: &'static str,
    pub(crate) table: &'static str,
    pub(crate) id: ModelId,
    pub(crate) reference_key: Bytes,
    pub(crate) row_key: Bytes,
}

impl Entries {
    /// The keys that a model has by its definitions.
    pub(crate) fn of<M: Model>(model: &M, place: &Place) -> Result<Self, Error> {
        let mut entries = Self::default();
        for index in M::indexes() {
            index.collect(model, place, &mut entries)?;
        }
        for reference in M::references() {
            reference.collect(model, place, &mut entries)?;
        }
        Ok(entries)
    }

    /// A key that is no claim. False if it is there already.
    pub(crate) fn add(&mut self, key: Bytes) -> bool {
        let is_new = self.seen.insert(key.clone());
        if is_new {
            self.keys.push(key);
        }
        is_new
    }

    /// A claim on values.
    pub(crate) fn claim(&mut self, index: &'static str, key: Bytes) {
        if self.add(key.clone()) {
            self.claims.push((index, key));
        }
    }

    /// The rows that have to be looked at before these keys are written.
    pub(crate) fn rows_to_check(&self) -> impl Iterator<Item = Bytes> + '_ {
        let claims = self.claims.iter().map(|(_, key)| key.clone());
        claims.chain(self.parents.iter().map(|parent| parent.row_key.clone()))
    }

    /// Refuses claims on values that another row has, and references to rows that are not there. Those that the row
    /// had before (`old`) hold already.
    pub(crate) async fn check<M: Model, T: Txn>(
        &self,
        txn: &mut PrefetchTxn<T>,
        place: &Place,
        old: &[Bytes],
    ) -> Result<(), Error> {
        let old: HashSet<&Bytes> = old.iter().collect();
        for (index, key) in self.claims.iter().filter(|(_, key)| !old.contains(key)) {
            let Some(holder) = txn.get(key).await? else { continue };
            let holder = UniqueValue::decode(holder)?.id;
            if holder != place.id_bytes {
                let (id, holder) = (place.id.clone(), ModelId::decode(&holder)?);
                return Err(Error::Unique { table: M::TABLE, index, id, holder });
            }
        }
        for parent in self.parents.iter().filter(|parent| !old.contains(&parent.reference_key)) {
            if parent.row_key == place.row_key {
                continue;
            }
            if txn.get(&parent.row_key).await?.is_none() {
                let (id, parent_id) = (place.id.clone(), parent.id.clone());
                let (field, parent_table) = (parent.field, parent.table);
                return Err(Error::ReferenceMissing { table: M::TABLE, id, field, parent_table, parent_id });
            }
            // Whoever deletes the parent meanwhile does not see this row.
            txn.guard(parent.row_key.clone());
        }
        Ok(())
    }

    /// Replaces the keys of a row, and its manifest, as far as they differ.
    pub(crate) fn put(self, txn: &mut impl Txn, place: &Place, old: &[Bytes]) {
        if old == self.keys {
            return;
        }
        let kept: HashSet<&Bytes> = old.iter().filter(|key| self.seen.contains(*key)).collect();
        for key in old.iter().filter(|key| !kept.contains(key)) {
            txn.delete(key.clone());
        }
        for key in self.keys.iter().filter(|key| !kept.contains(key)) {
            txn.put(key.clone(), value_of(key, &place.id_bytes));
        }
        put_manifest(txn, place, self.keys);
    }
}

/// What is to be removed of a row that was deleted past the library and left its manifest behind, which lists `listed`:
/// entries and references have the row's id in them, but a claim may have been taken by another row since.
pub(crate) async fn left_behind(
    txn: &mut impl Txn,
    place: &Place,
    listed: Vec<Bytes>,
) -> Result<Vec<Bytes>, Error> {
    let mut own = Vec::with_capacity(listed.len());
    for key in listed {
        let is_own = match Kind::of_key(&key) {
            Some(Kind::Unique) => txn.get(&key).await? == Some(value_of(&key, &place.id_bytes)),
            _ => true,
        };
        if is_own {
            own.push(key);
        }
    }
    own.push(place.manifest_key.clone());
    Ok(own)
}

/// The keys that a manifest lists; none if the row has no manifest.
pub(crate) fn listed_in(manifest: Option<Bytes>) -> Result<Vec<Bytes>, Error> {
    Ok(manifest.map(ManifestValue::decode).transpose()?.unwrap_or_default().index_keys)
}

/// Makes a row's manifest list these keys.
pub(crate) fn put_manifest(txn: &mut impl Txn, place: &Place, keys: Vec<Bytes>) {
    if keys.is_empty() {
        txn.delete(place.manifest_key.clone());
    } else {
        txn.put(place.manifest_key.clone(), ManifestValue { index_keys: keys }.encode());
    }
}

/// What is under a key of a row.
pub(crate) fn value_of(key: &[u8], id_bytes: &Bytes) -> Bytes {
    match Kind::of_key(key) {
        Some(Kind::Unique) => UniqueValue { id: id_bytes.clone() }.encode(),
        _ => MARKER,
    }
}

/// The key of a row.
pub(crate) fn row_key(table: &str, id: &ModelId) -> Bytes {
    ModelKey { table: table.to_owned(), id: id.encode() }.encode()
}
