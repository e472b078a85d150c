//! Commit: the writes of one transaction are admitted, written with the row of its attempt, and committed.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_format::{AttemptValue, PartitionId};
use tidegate_outbox::Wakeup;
use tidegate_protocol::extension::Failure;
use tidegate_protocol::extension::commit::{Commit, CommittedAt};
use tidegate_store::{AnyTxn, CommitError, Store, Txn};

use super::admission::Admission;
use super::sessions::OpenSession;
use super::{attempts, commit_failure};
use crate::Broker;

pub(super) async fn commit(
    broker: &Arc<Broker>,
    session: Arc<OpenSession>,
    request: Commit,
) -> Result<CommittedAt, Failure> {
    if session.is_reading {
        return Err(Failure::Unavailable { reason: "the session was begun for reading only".to_owned() });
    }
    let (start_version, began_ms) = (session.start_version, session.began_ms);
    let expired = || Failure::Expired { max_ms: broker.settings.extension_session_max_ms };
    let mut txn = session.into_txn().await.ok_or_else(expired)?;
    let mut admission = Admission::new(broker, start_version, began_ms);
    admission.check(&request, &mut txn).await?;
    let touched = admission.into_touched();
    let attempt = request.attempt;
    write(broker, request, &mut txn);
    match txn.commit().await {
        Ok(committed) => {
            wake(broker, touched);
            Ok(CommittedAt { version: committed.version.0 })
        }
        Err(CommitError::Unknown { .. }) => {
            // It may have been applied, and a wake-up for nothing costs little.
            wake(broker, touched);
            let key = attempts::key_of(&attempt).encode();
            Err(Failure::Unknown { key, nonce: attempts::nonce(began_ms, attempt.number) })
        }
        Err(error) => Err(commit_failure(error)),
    }
}

fn write(broker: &Broker, request: Commit, txn: &mut AnyTxn) {
    let key = attempts::key_of(&request.attempt).encode();
    let number = request.attempt.number;
    let row = AttemptValue { number, applied: true, at_ms: broker.store.now_ms() };
    txn.put(key, row.encode());
    if request.growing || !request.versioned.is_empty() {
        txn.growing();
    }
    for (key, value) in request.puts {
        txn.put(key, value);
    }
    for key in request.deletes {
        txn.delete(key);
    }
    for key in request.guards {
        txn.guard(key);
    }
    for put in request.versioned {
        txn.put_versioned(put.prefix, put.suffix, put.value);
    }
}

/// The relays of the partitions that have something new: no hint is needed.
fn wake(broker: &Broker, touched: BTreeSet<PartitionId>) {
    if !touched.is_empty() {
        let touched: Vec<PartitionId> = touched.into_iter().collect();
        broker.wakeup.committed(&touched);
    }
}
