//! Bringing the rows of a table to their model's definition as it is now: schema, indexes, references.
//!
//! It goes through the table by id, some rows in each transaction, which also writes how far it got: after a crash, or
//! in another process, it goes on from there. Rows that are written meanwhile are written under the definition by
//! their writers; a transaction that loses against one of them runs again. It announces no events.

use std::time::Duration;

use bytes::Bytes;
use tidegate_format::{BackfillKey, BackfillValue, ModelId, ModelKey, ModelValue, check_table_name};
use tidegate_store::{CommitError, Direction, KeyRange, ReadError, ScanLimit, Store, Txn};

use crate::built::{Definition, Listing};
use crate::entries::{Entries, listed_in};
use crate::model::schema_version;
use crate::row::{self, Place};
use crate::tx::Open;
use crate::{Db, Error, InputError, Model};

/// How many rows one transaction looks at; half as many if their entries are more than the store takes at once, and so on.
pub const BACKFILL_ROWS: usize = 100;
/// A transaction ends early once the rows that it has read have this many bytes.
const ROUND_BYTES: usize = 4 << 20;
/// How long a back-fill pauses before it looks again at which transactions are open; then twice as long, and so on.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
/// It pauses no longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often it looks before it gives up: longer than any setting lets a transaction live.
const LOOKS_MAX: u32 = 1_800;
/// The unit of the store's clock: what began before a tick of it began earlier by that clock, too.
const TICK: Duration = Duration::from_millis(1);

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
    /// until it is done, a query of a new index is refused with [`QueryError::NotBuilt`](crate::QueryError::NotBuilt).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use serde::{Deserialize, Serialize};
    /// # use tidegate_model::{Db, DbSettings, Error, NoWakeup, Model, QueryError};
    /// # use tidegate_store::{MemoryStore, SystemClock};
    /// // What an earlier release wrote, without the index.
    /// #[derive(Serialize, Deserialize, Model)]
    /// # #[model(crate = tidegate_model)]
    /// #[model(table = "gates")]
    /// struct OldGate {
    ///     id: i64,
    ///     pier: String,
    /// }
    ///
    /// #[derive(Serialize, Deserialize, Model)]
    /// # #[model(crate = tidegate_model)]
    /// #[model(table = "gates")]
    /// struct Gate {
    ///     id: i64,
    ///     #[model(index)]
    ///     pier: String,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let store = MemoryStore::new(Arc::new(SystemClock));
    /// # let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
    /// let old = &OldGate { id: 1, pier: "D".to_owned() };
    /// db.transaction(|tx| async move { tx.insert(old).await }).await?;
    /// let at_pier = async || {
    ///     let snapshot = db.snapshot().await?;
    ///     snapshot.query::<Gate>("by_pier").value("D").count().await
    /// };
    /// let refused = Error::Query(QueryError::NotBuilt { table: "gates", index: "by_pier" });
    /// assert_eq!(at_pier().await, Err(refused));
    /// db.backfill::<Gate>().await?;
    /// assert_eq!(at_pier().await?, 1);
    /// assert_eq!(db.verify::<Gate>().await?.differing, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unique`], [`Error::ReferenceMissing`] and [`Error::Input`] for the first row that the definition does
    /// not take: mend that row and go on. [`Error::Decode`] for one that the upgrades do not take,
    /// [`Error::OtherDefinition`] if a release with another definition writes the table meanwhile, and what the store
    /// says.
    pub async fn backfill<M: Model>(&self) -> Result<Backfilled, Error> {
        let mut rows = BACKFILL_ROWS;
        loop {
            match self.backfill_step::<M>(rows).await {
                Ok(state) if state.is_done => return Ok(state),
                Ok(_) => {}
                // Rows that are small may have many entries.
                Err(Error::Commit(CommitError::TooLarge { .. })) if rows > 1 => rows /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// One transaction of [`backfill`](Self::backfill), with at most `rows` rows (and at least one). The first one waits
    /// until the transactions are over that began before it was known what is being filled. A store of one process and a
    /// broker know when that is; on TiKV it is as long as a transaction may live and its commit may take
    /// (`transaction.max.ms`, `commit.max.ms` and what large ones take beside), a minute and a half if nothing else is set.
    ///
    /// # Errors
    /// As there; and while the store is away or earlier transactions do not end, [`Error::Read`]: go on with it later.
    pub async fn backfill_step<M: Model>(&self, rows: usize) -> Result<Backfilled, Error> {
        check_table_name(M::TABLE).map_err(InputError::Name)?;
        let definition = &self.shared().definition::<M>();
        let is_awaited = self
            .transaction(|tx| async move {
                let mut open = tx.lock_to_write().await?;
                list(&mut open, definition).await
            })
            .await?;
        if is_awaited {
            self.outlast_older_transactions().await?;
        }
        self.transaction(|tx| async move {
            let mut open = tx.lock_to_write().await?;
            step::<M, S>(&mut open, definition, rows.max(1)).await
        })
        .await
    }

    /// Returns when every transaction that may yet write began after this call.
    async fn outlast_older_transactions(&self) -> Result<(), Error> {
        let (store, ambient) = (self.store(), &self.shared().ambient);
        ambient.sleep(TICK).await;
        // A store whose time is kept elsewhere knows what it was told with its last answer.
        drop(store.begin_reading().await?);
        let began_ms = store.now_ms();
        let mut pause = PAUSE_FIRST;
        for _ in 0..LOOKS_MAX {
            if store.oldest_open_ms() >= began_ms {
                return Ok(());
            }
            ambient.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            drop(store.begin_reading().await?);
        }
        let reason = "transactions that began before the back-fill do not end".to_owned();
        Err(ReadError::Unavailable { reason }.into())
    }
}

/// Lists what is to be filled, so that those who begin to write the table know. Whether somebody who began earlier may
/// not: then nothing was brought yet.
async fn list<S: Store>(open: &mut Open<S>, definition: &Definition) -> Result<bool, Error> {
    let key = progress_key(definition);
    let found = open.txn.get_many(&[definition.key.clone(), key.clone()]).await?;
    let [known, progress] = <[_; 2]>::try_from(found).expect("as many values as keys");
    let Listing { changed, is_complete } = definition.listing(known)?;
    let Some(changed) = changed else {
        let progress = progress.map(BackfillValue::decode).transpose()?;
        return Ok(!is_complete && progress.is_none_or(|progress| progress.definition != definition.digest));
    };
    open.txn.put(definition.key.clone(), changed);
    // What was brought before may have been written since by somebody who does not keep what is new.
    open.txn.delete(key);
    Ok(!is_complete)
}

fn progress_key(definition: &Definition) -> Bytes {
    BackfillKey { table: definition.table.to_owned() }.encode()
}

async fn step<M: Model, S: Store>(
    open: &mut Open<S>,
    definition: &Definition,
    rows: usize,
) -> Result<Backfilled, Error> {
    let key = progress_key(definition);
    let found = open.txn.fetch(vec![key.clone()], [definition.key.clone()]).await?;
    let known = found.into_iter().flatten().next().map(BackfillValue::decode).transpose()?;
    let built = open.txn.get(&definition.key).await?;
    definition.check_listed(built.clone())?;
    let known = known.filter(|known| known.definition == definition.digest);
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
    let last = found.last().map(|(key, _)| ModelKey::decode(key)).transpose()?.map(|key| key.id);
    done += u64::try_from(found.len()).expect("a bounded number");
    bring_all::<M, S>(open, found).await?;
    let is_done = last.is_none();
    let built = if is_done { Some(definition.completed()) } else { definition.without_unkept(built)? };
    if let Some(built) = built {
        open.txn.put(definition.key.clone(), built);
    }
    let progress = BackfillValue { definition: definition.digest, rows: done, after: last };
    open.txn.put(key, progress.encode());
    Ok(Backfilled { rows: done, is_done })
}

/// Brings rows to the definition, as far as they are not there yet. What has to be looked at comes in one round.
async fn bring_all<M: Model, S: Store>(open: &mut Open<S>, rows: Vec<(Bytes, Bytes)>) -> Result<(), Error> {
    let mut read = Vec::with_capacity(rows.len());
    let mut manifest_keys = Vec::with_capacity(rows.len());
    let mut to_check = vec![];
    for (row_key, row) in rows {
        let place = Place::of::<M>(ModelId::decode(&ModelKey::decode(&row_key)?.id)?)?;
        let version = ModelValue::decode(row.clone())?.schema_version;
        let model: M = row::decode_row(row, &place.id)?;
        let entries = Entries::of(&model, &place)?;
        manifest_keys.push(place.manifest_key.clone());
        to_check.extend(entries.rows_to_check());
        read.push((place, version, model, entries));
    }
    let manifests = open.txn.fetch(manifest_keys, to_check).await?;
    for ((place, version, model, entries), manifest) in read.into_iter().zip(manifests) {
        let listed = listed_in(manifest)?;
        entries.check::<M, _>(&mut open.txn, &place, &listed).await?;
        let is_old = version != schema_version::<M>();
        if entries.keys != listed || is_old {
            // Whoever writes or deletes the row meanwhile does not know of these keys.
            open.txn.guard(place.row_key.clone());
        }
        entries.put(&mut open.txn, &place, &listed);
        if is_old {
            let body = row::encode_body(&model, &place.id, usize::MAX)?;
            open.txn.put(place.row_key.clone(), row::encode_row::<M>(body));
        }
    }
    Ok(())
}
