//! Removing the rows of attempts that nobody asks about any more, in bounded steps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::attempts;
use super::metrics::add;
use super::shared::{Shared, transaction_options};
use crate::ReadError;

/// For how long after an attempt its outcome can be asked for, in milliseconds: a day.
pub(super) const ROW_KEPT_MS: i64 = 86_400_000;
/// How many rows are removed in one transaction.
const STEP_ROWS: usize = 256;
/// From how many on it is worth a transaction.
const WORTH_ROWS: usize = 64;
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the rows of other processes that scans came by are looked at, in looks.
const MET_ROWS_EVERY: u32 = 60;

/// Removes the rows of this process that are out of use, and those of others that nobody may ask about any more, as long
/// as the store is open.
pub(super) async fn run(shared: Arc<Shared>, mut closed: watch::Receiver<bool>) {
    for look in 1u32.. {
        if tokio::time::timeout(LOOK_EVERY, closed.wait_for(|is_closed| *is_closed)).await.is_ok() {
            return;
        }
        if look.is_multiple_of(MET_ROWS_EVERY) && doom_outdated(&shared).await.is_err() {
            continue;
        }
        while shared.rows().doomed() >= WORTH_ROWS {
            if remove_some(&shared).await.is_err() {
                break;
            }
        }
    }
}

/// Removes what is out of use when the store is closed in order.
pub(super) async fn finish(shared: &Shared) {
    shared.rows().doom_all();
    while shared.rows().doomed() > 0 {
        if remove_some(shared).await.is_err() {
            return;
        }
    }
}

/// One step. Rows of a step that failed are put back.
async fn remove_some(shared: &Shared) -> Result<(), ReadError> {
    let rows = shared.rows().take_doomed(STEP_ROWS);
    match remove(shared, &rows).await {
        Ok(()) => {
            add(&shared.counters.attempt_rows_removed, rows.len() as u64);
            Ok(())
        }
        Err(error) => {
            let mut kept = shared.rows();
            rows.into_iter().for_each(|row| kept.doom(row));
            Err(error)
        }
    }
}

/// Removes rows. To do so twice is the same, so it needs no attempt's row itself.
pub(super) async fn remove(shared: &Shared, rows: &[Bytes]) -> Result<(), ReadError> {
    let keys: Vec<Vec<u8>> = rows.iter().map(|row| shared.namespace.key(row)).collect();
    let removing = shared.ask(|client| {
        let keys = keys.clone();
        async move {
            let mut txn = client.begin_with_options(transaction_options()).await?;
            for key in keys {
                txn.delete(key).await?;
            }
            if let Err(error) = txn.commit().await {
                // What it prepared is removed by whoever meets it: it may have been committed after all.
                return Err(tikv_client::Error::StringError(format!("not removed yet: {error}")));
            }
            Ok(())
        }
    });
    removing.await?;
    Ok(())
}

/// Takes the rows that scans came by out of use if they are so old that nobody may ask about them any more.
async fn doom_outdated(shared: &Shared) -> Result<(), ReadError> {
    let rows = shared.take_met_rows();
    if rows.is_empty() {
        return Ok(());
    }
    let version = shared.oracle_version().await?;
    let values = super::read::get_many(shared, version, &rows).await?;
    let now_ms = shared.now_ms();
    let is_outdated = |row: &Bytes| {
        let nonce = values.get(row).and_then(|value| attempts::nonce_in(value));
        nonce.is_some_and(|nonce| now_ms.saturating_sub(attempts::made_at_ms(nonce)) > 2 * ROW_KEPT_MS)
    };
    let mut kept = shared.rows();
    rows.into_iter().filter(is_outdated).for_each(|row| kept.doom(row));
    Ok(())
}
