//! Comparing a table's index entries, claims, references and manifests with its rows, and mending what differs.
//!
//! It goes through the rows and looks for their keys, then through the keys and looks for their rows, some in each
//! transaction: what is written meanwhile is neither missed nor wrongly blamed, since a row and its keys are always read
//! in one snapshot.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use tidegate_format::{
    IndexKey, Kind, ManifestKey, ModelId, ModelKey, ReferenceKey, UniqueKey, UniqueValue, check_table_name,
};
use tidegate_store::{CommitError, Direction, KeyRange, ScanLimit, Store, Txn};

use crate::entries::{Entries, listed_in, put_manifest, row_key, value_of};
use crate::row::{self, Place};
use crate::tx::Open;
use crate::{Db, Error, InputError, Model};

/// How many rows or keys one transaction looks at; half as many if mending them is more than the store takes at once, and so on.
const ROUND: usize = 200;
/// How many keys are read in one round, but for those of one row.
const ROUND_KEYS: usize = 1_000;
/// A transaction ends early once the rows that it has read have this many bytes.
const ROUND_BYTES: usize = 4 << 20;
/// How many differences are described; all are counted.
pub const DIFFERENCES_MAX: usize = 1_000;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many rows were looked at.
    pub rows: u64,
    /// How many keys of theirs.
    pub keys: u64,
    /// How many differences there were.
    pub differing: u64,
    /// The first [`DIFFERENCES_MAX`] of them.
    pub differences: Vec<Difference>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The row.
    pub id: ModelId,
    /// The index, or the field of the reference; none for a manifest.
    pub index: Option<String>,
    /// What is wrong.
    pub kind: DifferenceKind,
    /// Whether it was mended.
    pub is_mended: bool,
}

/// What can be wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The row should have it, and it is not there.
    Missing,
    /// It is there, and its row is not, or should not have it.
    Orphan,
    /// The row's values in a unique index belong to another row. It is not mended: change one of the rows.
    Taken,
    /// The row's manifest does not list the keys that the row should have.
    Manifest,
}

impl<S: Store> Db<S> {
    /// Compares the index entries, claims and references of a table with its rows. A table whose
    /// [back-fill](Db::backfill) is not done differs.
    ///
    /// # Errors
    /// [`Error::Decode`] and [`Error::Input`] for a row that cannot be compared, and what the store says.
    pub async fn verify<M: Model>(&self) -> Result<Verified, Error> {
        self.compare::<M>(false).await
    }

    /// As [`verify`](Self::verify), and writes what is missing and removes what is too much.
    ///
    /// # Errors
    /// As there. What was mended before the error stays so.
    pub async fn repair<M: Model>(&self) -> Result<Verified, Error> {
        self.compare::<M>(true).await
    }

    async fn compare<M: Model>(&self, mends: bool) -> Result<Verified, Error> {
        check_table_name(M::TABLE).map_err(InputError::Name)?;
        let mut all = Verified::default();
        if mends {
            self.unlist_unkept::<M>().await?;
        }
        self.go_through::<M>(ModelKey::range(M::TABLE), mends, &mut all).await?;
        let mut ranges = vec![
            IndexKey::range_table(M::TABLE),
            UniqueKey::range_table(M::TABLE),
            ManifestKey::range(M::TABLE),
        ];
        let parents: BTreeSet<_> = M::references().iter().map(crate::Reference::parent_table).collect();
        ranges.extend(parents.into_iter().map(ReferenceKey::range_parent_table));
        for range in ranges {
            self.go_through::<M>(range, mends, &mut all).await?;
        }
        Ok(all)
    }

    /// Takes off the table's list what this definition does not keep, as entries of that are about to be removed.
    async fn unlist_unkept<M: Model>(&self) -> Result<(), Error> {
        let definition = &self.shared().definition::<M>();
        self.transaction(|tx| async move {
            let mut open = tx.lock_to_write().await?;
            let list = open.txn.get(&definition.key).await?;
            if let Some(list) = definition.without_unkept(list)? {
                open.txn.put(definition.key.clone(), list);
            }
            Ok(())
        })
        .await
    }

    /// Compares a range page by page, each in a transaction of its own that runs again if it loses.
    async fn go_through<M: Model>(
        &self,
        range: (Bytes, Bytes),
        mends: bool,
        all: &mut Verified,
    ) -> Result<(), Error> {
        let mut rest = KeyRange::new(range.0, range.1);
        let mut count = ROUND;
        loop {
            let page_range = &rest;
            let page = self.transaction(|tx| async move {
                let mut open = tx.lock_to_write().await?;
                let limit = ScanLimit { count, value_bytes: ROUND_BYTES };
                let page = open.txn.scan(page_range, limit, Direction::Forward).await?;
                let Some((last, _)) = page.last().cloned() else { return Ok(None) };
                let found = match Kind::of_key(&last) {
                    Some(Kind::Model) => compare_rows::<M, S>(&mut open, page, mends).await?,
                    Some(Kind::Manifest) => compare_manifests::<M, S>(&mut open, page, mends).await?,
                    _ => compare_keys::<M, S>(&mut open, page, mends).await?,
                };
                Ok(Some((found, last)))
            });
            let page = match page.await {
                // Rows that are small may lack many entries.
                Err(Error::Commit(CommitError::TooLarge { .. })) if count > 1 => {
                    count /= 2;
                    continue;
                }
                page => page?,
            };
            let Some((found, last)) = page else { return Ok(()) };
            all.add(found, mends);
            rest.start = KeyRange::successor(&last);
        }
    }
}

impl Verified {
    fn note(&mut self, id: &ModelId, index: Option<String>, kind: DifferenceKind, is_mended: bool) {
        self.differing += 1;
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(Difference { id: id.clone(), index, kind, is_mended });
        }
    }

    fn add(&mut self, page: Self, mends: bool) {
        self.rows += page.rows;
        self.keys += page.keys;
        self.differing += page.differing;
        let room = DIFFERENCES_MAX - self.differences.len();
        self.differences.extend(page.differences.into_iter().take(room));
        if mends && page.differing > 0 {
            tracing::info!(differing = page.differing, "index entries were mended");
        }
    }
}

/// A row with the keys that it should have.
struct Expected {
    place: Place,
    keys: Vec<Bytes>,
}

/// Looks for the keys of rows, a bounded number of keys in each round.
async fn compare_rows<M: Model, S: Store>(
    open: &mut Open<S>,
    page: Vec<(Bytes, Bytes)>,
    mends: bool,
) -> Result<Verified, Error> {
    let mut found = Verified::default();
    let (mut rows, mut wanted) = (vec![], vec![]);
    for (key, row) in page {
        let place = Place::of::<M>(ModelId::decode(&ModelKey::decode(&key)?.id)?)?;
        let model: M = row::decode_row(row, &place.id)?;
        let keys = Entries::of(&model, &place)?.keys;
        wanted.push(place.manifest_key.clone());
        wanted.extend_from_slice(&keys);
        rows.push(Expected { place, keys });
        if wanted.len() >= ROUND_KEYS {
            let values = open.txn.get_many(&wanted).await?;
            compare_keys_of(open, std::mem::take(&mut rows), values, mends, &mut found)?;
            wanted.clear();
        }
    }
    if !wanted.is_empty() {
        let values = open.txn.get_many(&wanted).await?;
        compare_keys_of(open, rows, values, mends, &mut found)?;
    }
    Ok(found)
}

/// Compares rows with what was read for them: a manifest, and a value for each key.
fn compare_keys_of<S: Store>(
    open: &mut Open<S>,
    rows: Vec<Expected>,
    values: Vec<Option<Bytes>>,
    mends: bool,
    found: &mut Verified,
) -> Result<(), Error> {
    let mut values = values.into_iter();
    // Claims that were missing when they were read, and have been given to a row since.
    let mut given = HashSet::new();
    for Expected { place, keys } in rows {
        found.rows += 1;
        let listed = listed_in(values.next().flatten())?;
        let before = found.differing;
        let mut held = Vec::with_capacity(keys.len());
        for (key, value) in keys.iter().zip(values.by_ref().take(keys.len())) {
            found.keys += 1;
            let wanted = value_of(key, &place.id_bytes);
            match value {
                Some(value) if value == wanted => {}
                None if given.insert(key.clone()) => {
                    found.note(&place.id, name_of(key)?, DifferenceKind::Missing, mends);
                    if mends {
                        open.txn.put(key.clone(), wanted);
                    }
                }
                Some(_) | None => {
                    found.note(&place.id, name_of(key)?, DifferenceKind::Taken, false);
                    continue;
                }
            }
            held.push(key.clone());
        }
        // A claim that another row has is not listed, or it would go with this row.
        if listed.iter().collect::<HashSet<_>>() != held.iter().collect::<HashSet<_>>() {
            found.note(&place.id, None, DifferenceKind::Manifest, mends);
            if mends {
                put_manifest(&mut open.txn, &place, held);
            }
        }
        if mends && found.differing > before {
            // Whoever writes or deletes the row meanwhile does not know of these keys.
            open.txn.guard(place.row_key);
        }
    }
    Ok(())
}

/// Looks for the rows of keys.
async fn compare_keys<M: Model, S: Store>(
    open: &mut Open<S>,
    page: Vec<(Bytes, Bytes)>,
    mends: bool,
) -> Result<Verified, Error> {
    let mut found = Verified::default();
    let mut owned = Vec::with_capacity(page.len());
    for (key, value) in page {
        if let Some(id) = owner_of(M::TABLE, &key, value)? {
            owned.push((key, ModelId::decode(&id)?));
        }
    }
    let ids: Vec<ModelId> =
        owned.iter().map(|(_, id)| id.clone()).collect::<HashSet<_>>().into_iter().collect();
    let row_keys: Vec<Bytes> = ids.iter().map(|id| row_key(M::TABLE, id)).collect();
    let rows = if row_keys.is_empty() { vec![] } else { open.txn.get_many(&row_keys).await? };
    let mut keys_by_id: HashMap<ModelId, HashSet<Bytes>> = HashMap::new();
    for (id, row) in ids.into_iter().zip(rows) {
        if let Some(row) = row {
            let model: M = row::decode_row(row, &id)?;
            let keys = Entries::of(&model, &Place::of::<M>(id.clone())?)?.keys;
            keys_by_id.insert(id, keys.into_iter().collect());
        }
    }
    for (key, id) in owned {
        if keys_by_id.get(&id).is_some_and(|keys| keys.contains(&key)) {
            continue;
        }
        found.note(&id, name_of(&key)?, DifferenceKind::Orphan, mends);
        if mends {
            open.txn.delete(key);
        }
    }
    Ok(found)
}

/// Looks for the rows of manifests.
async fn compare_manifests<M: Model, S: Store>(
    open: &mut Open<S>,
    page: Vec<(Bytes, Bytes)>,
    mends: bool,
) -> Result<Verified, Error> {
    let mut found = Verified::default();
    let decode = |(key, _): (Bytes, Bytes)| Ok(ModelId::decode(&ManifestKey::decode(&key)?.id)?);
    let ids = page.into_iter().map(decode).collect::<Result<Vec<_>, Error>>()?;
    let row_keys: Vec<Bytes> = ids.iter().map(|id| row_key(M::TABLE, id)).collect();
    let rows = open.txn.get_many(&row_keys).await?;
    for (id, _) in ids.into_iter().zip(rows).filter(|(_, row)| row.is_none()) {
        found.note(&id, None, DifferenceKind::Orphan, mends);
        if mends {
            open.txn.delete(Place::of::<M>(id)?.manifest_key);
        }
    }
    Ok(found)
}

/// The id of the row of a table that has a key; none if it is another table's.
fn owner_of(table: &str, key: &[u8], value: Bytes) -> Result<Option<Bytes>, Error> {
    Ok(match Kind::of_key(key) {
        Some(Kind::Unique) => Some(UniqueValue::decode(value)?.id),
        Some(Kind::Reference) => {
            Some(ReferenceKey::decode(key)?).filter(|key| key.table == table).map(|key| key.id)
        }
        _ => Some(IndexKey::decode(key)?.id),
    })
}

/// The index of a key, or the field of a reference.
fn name_of(key: &[u8]) -> Result<Option<String>, Error> {
    Ok(Some(match Kind::of_key(key) {
        Some(Kind::Unique) => UniqueKey::decode(key)?.index,
        Some(Kind::Reference) => ReferenceKey::decode(key)?.field,
        _ => IndexKey::decode(key)?.index,
    }))
}
