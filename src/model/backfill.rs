//! Bringing the rows of a table to their model's definition as it is now: schema, indexes, references.
//!
//! It goes through the table by id, some rows in each transaction, which also writes how far it got: after a crash, or
//! in another process, it goes on from there. Rows that are written meanwhile are written under the definition by
//! their writers; a transaction that loses against one of them runs again. It announces no events.

use bytes::Bytes;
use tidegate_format::{BackfillKey, BackfillValue, ModelId, ModelKey, ModelValue, check_table_name};
use tidegate_store::{Direction, KeyRange, ScanLimit, Store, Txn};
use uuid::Uuid;

use crate::entries::{Entries, listed_in};
use crate::model::schema_version;
use crate::row::{self, Place};
use crate::tx::Open;
use crate::{Db, Error, InputError, Model};

/// How many rows one transaction looks at.
pub const BACKFILL_ROWS: usize = 100;
/// A transaction ends early once the rows that it has read have this many bytes.
const ROUND_BYTES: usize = 4 << 20;

/// Tells digests of definitions from every other name-based UUID.
const NAMESPACE: Uuid = Uuid::from_u128(0x7469_6465_6761_7465_8000_6261_636b_6669);

/// How far a back-fill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfilled {
    /// How many rows were looked at so far, by all that worked on it.
    pub rows: u64,
    /// Whether those are all.
    pub is_done: bool,
}

impl<S: Store> Db<S> {
    /// Brings every row of a table to the model's definition, from where an earlier call ended. At once if that was
    /// done before and the definition is the same. Run it when all processes that write the table have the definition:
    /// until it is done, a new index answers for some rows only.
    ///
    /// # Errors
    /// [`Error::Unique`], [`Error::ReferenceMissing`] and [`Error::Input`] for the first row that the definition does
    /// not take: mend that row and go on. [`Error::Decode`] for one that the upgrades do not take, and what the store
    /// says.
    pub async fn backfill<M: Model>(&self) -> Result<Backfilled, Error> {
        loop {
            let state = self.backfill_step::<M>(BACKFILL_ROWS).await?;
            if state.is_done {
                return Ok(state);
            }
        }
    }

    /// One transaction of [`backfill`](Self::backfill), with at most `rows` rows (and at least one).
    ///
    /// # Errors
    /// As there.
    pub async fn backfill_step<M: Model>(&self, rows: usize) -> Result<Backfilled, Error> {
        self.transaction(|tx| async move {
            let mut open = tx.lock_to_write().await?;
            step::<M, S>(&mut open, rows.max(1)).await
        })
        .await
    }
}

async fn step<M: Model, S: Store>(open: &mut Open<S>, rows: usize) -> Result<Backfilled, Error> {
    check_table_name(M::TABLE).map_err(InputError::Name)?;
    let definition = definition::<M>();
    let key = BackfillKey { table: M::TABLE.to_owned() }.encode();
    let known = open.txn.get(&key).await?.map(BackfillValue::decode).transpose()?;
    let known = known.filter(|known| known.definition == definition);
    let (start, end) = match &known {
        Some(BackfillValue { after: None, rows, .. }) => {
            return Ok(Backfilled { rows: *rows, is_done: true });
        }
        Some(BackfillValue { after: Some(after), .. }) => ModelKey::range_from(M::TABLE, after),
        None => ModelKey::range(M::TABLE),
    };
    let after = known.as_ref().and_then(|known| known.after.as_ref());
    let start = if after.is_some() { KeyRange::successor(&start) } else { start };
    let mut done = known.as_ref().map_or(0, |known| known.rows);
    let limit = ScanLimit { count: rows, value_bytes: ROUND_BYTES };
    let found = open.txn.scan(&KeyRange { start, end }, limit, Direction::Forward).await?;
    let mut last = None;
    for (row_key, row) in found {
        let id = ModelKey::decode(&row_key)?.id;
        let place = Place::of::<M>(ModelId::decode(&id)?)?;
        bring::<M, S>(open, &place, row).await?;
        done += 1;
        last = Some(id);
    }
    let is_done = last.is_none();
    open.txn.put(key, BackfillValue { definition, rows: done, after: last }.encode());
    Ok(Backfilled { rows: done, is_done })
}

/// Brings one row to the definition, if it is not there yet.
async fn bring<M: Model, S: Store>(open: &mut Open<S>, place: &Place, row: Bytes) -> Result<(), Error> {
    let version = ModelValue::decode(row.clone())?.schema_version;
    let model: M = row::decode_row(row, &place.id)?;
    let entries = Entries::of(&model, place)?;
    let listed = listed_in(open.txn.get(&place.manifest_key).await?)?;
    entries.check::<M, _>(&mut open.txn, place, &listed).await?;
    if entries.keys != listed || version != schema_version::<M>() {
        // Whoever writes or deletes the row meanwhile does not know of these keys.
        open.txn.guard(place.row_key.clone());
    }
    entries.put(&mut open.txn, place, &listed);
    if version != schema_version::<M>() {
        let body = row::encode_body(&model, &place.id, usize::MAX)?;
        open.txn.put(place.row_key.clone(), row::encode_row::<M>(body));
    }
    Ok(())
}

/// A digest of what decides which keys a row has: schema version, indexes and references, by their names.
fn definition<M: Model>() -> Uuid {
    let mut text = format!("schema {}\n", schema_version::<M>());
    for index in M::indexes() {
        text += &format!("index {} unique {}", index.name(), index.is_unique());
        for field in index.fields() {
            let (name, kind) = (field.name(), field.field_type().name());
            text += &format!(", {name} {kind} ignores case {}", field.ignores_case());
        }
        text += "\n";
    }
    for reference in M::references() {
        text += &format!("reference {} to {}\n", reference.field(), reference.parent_table());
    }
    Uuid::new_v5(&NAMESPACE, text.as_bytes())
}
