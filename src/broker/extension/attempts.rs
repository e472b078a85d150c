//! What became of a commit whose answer was lost: settled by the row of its attempt.
//!
//! A client numbers the attempts of each of its lanes, and a lane has one transaction at a time: it begins after the
//! answer to the one before. Every commit writes its number into its lane's row. Whoever wants to know what became of
//! one reads that row: if it has the number, that is the answer; if it has a lower one, or there is none, a row that
//! says "never" is written in its place, and the attempt, whose snapshot is older, can only conflict from then on. A
//! client gives a lane up whose answer was lost, so the row stays as it is; rows that are older than
//! `extension.attempt.retention.ms` are removed, and tokens of that age have no answer any more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_format::{AttemptKey, AttemptValue, FormatError, Kind};
use tidegate_protocol::extension::Failure;
use tidegate_protocol::extension::commit::Attempt;
use tidegate_protocol::extension::outcome::{Outcome as AskedOutcome, Settled};
use tidegate_store::{
    CommitError, CommitToken, Direction, KeyRange, Outcome, ReadError, ScanLimit, Store, Txn,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::{commit_failure, read_failure};
use crate::{Broker, BrokerStore};

/// How often settling is tried while others write the row.
const SETTLE_ATTEMPTS_MAX: usize = 16;
/// Rows that are looked at, and removed, at a time.
const EXPIRE_PAGE: usize = 1_000;
/// How often old rows are looked for, in parts of the time that they are kept.
const EXPIRE_PARTS: u64 = 8;

pub(super) fn key_of(attempt: &Attempt) -> AttemptKey {
    AttemptKey { client: Uuid::from_u128(attempt.client), lane: attempt.lane }
}

/// Names an attempt among those of its lane, with a time before which it was not begun.
pub(super) fn nonce(began_ms: i64, number: u64) -> u128 {
    u128::from(began_ms.cast_unsigned()) << 64 | u128::from(number)
}

/// What became of the attempt that has this token: one of a lane, or what the store itself has named.
pub(super) async fn outcome(broker: &Broker, asked: &AskedOutcome) -> Result<Settled, Failure> {
    if Kind::of_key(&asked.key) != Some(Kind::Attempt) {
        let token = CommitToken { key: asked.key.clone(), nonce: asked.nonce };
        let outcome = broker.store.outcome(&token).await.map_err(read_failure)?;
        return Ok(Settled { applied: outcome == Outcome::Applied });
    }
    let unknown = |reason: String| Failure::Unavailable { reason };
    AttemptKey::decode(&asked.key).map_err(|error| unknown(error.to_string()))?;
    let began_ms = u64::try_from(asked.nonce >> 64).expect("the upper half").cast_signed();
    let number = u64::try_from(asked.nonce & u128::from(u64::MAX)).expect("the lower half");
    let retention_ms = broker.settings.extension_attempt_retention_ms;
    if broker.store.now_ms().saturating_sub(began_ms).unsigned_abs() >= retention_ms {
        let reason = format!("the token is of before extension.attempt.retention.ms = {retention_ms}");
        return Err(unknown(reason));
    }
    for _ in 0..SETTLE_ATTEMPTS_MAX {
        if let Some(applied) = settle_once(&broker.store, &asked.key, number).await? {
            return Ok(Settled { applied });
        }
    }
    Err(unknown(format!("not settled in {SETTLE_ATTEMPTS_MAX} attempts")))
}

/// The answer, or none if others wrote the row meanwhile.
async fn settle_once(store: &BrokerStore, key: &Bytes, number: u64) -> Result<Option<bool>, Failure> {
    let mut txn = store.begin().await.map_err(read_failure)?;
    let row = txn.get(key).await.map_err(read_failure)?.map(AttemptValue::decode).transpose();
    let row = row.map_err(|error| damaged(&error))?;
    match row {
        Some(row) if row.number == number => return Ok(Some(row.applied)),
        Some(row) if row.number > number => {
            let reason = format!("the lane has gone on to attempt {}: this one was answered", row.number);
            return Err(Failure::Unavailable { reason });
        }
        _ => {}
    }
    let never = AttemptValue { number, applied: false, at_ms: store.now_ms() };
    txn.put(key.clone(), never.encode());
    match txn.commit().await {
        Ok(_) => Ok(Some(false)),
        Err(CommitError::Conflict | CommitError::Unknown { .. } | CommitError::Expired { .. }) => Ok(None),
        Err(error) => Err(commit_failure(error)),
    }
}

fn damaged(error: &FormatError) -> Failure {
    Failure::Damaged { place: error.to_string() }
}

/// Removes rows that are older than they are kept, now and then, until the broker stops.
pub(crate) async fn expire_attempts(broker: Arc<Broker>, stopping: CancellationToken) {
    let retention_ms = broker.settings.extension_attempt_retention_ms;
    let interval = Duration::from_millis(retention_ms / EXPIRE_PARTS);
    while stopping.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        let before_ms = broker.store.now_ms().saturating_sub_unsigned(retention_ms);
        if let Err(error) = expire_before(&broker.store, before_ms).await {
            warn!(%error, "rows of old commit attempts stay for another while");
        }
    }
}

/// Removes the rows of before a time.
pub(super) async fn expire_before(store: &BrokerStore, before_ms: i64) -> Result<(), ReadError> {
    let (start, end) = AttemptKey::all();
    let mut range = KeyRange::new(start, end);
    loop {
        let mut txn = store.begin().await?;
        let page = txn.scan(&range, ScanLimit::count(EXPIRE_PAGE), Direction::Forward).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        range.start = KeyRange::successor(last);
        for (key, row) in page {
            if AttemptValue::decode(row).is_ok_and(|row| row.at_ms < before_ms) {
                txn.delete(key);
            }
        }
        match txn.commit().await {
            // A lane that is used again meanwhile keeps its row, and the others of this page theirs until next time.
            Ok(_) | Err(CommitError::Conflict | CommitError::Unknown { .. }) => {}
            Err(error) => return Err(ReadError::Unavailable { reason: error.to_string() }),
        }
    }
}
