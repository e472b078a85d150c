//! A plan, carried out in the produce transaction.

use tidegate_format::PartitionId;
use tidegate_log::{AppendError, Appended, Appender};
use tidegate_store::Txn;

use super::{Operation, Plan};
use crate::{EntryIds, LoadError, schedule};

/// What became of a batch, true once the transaction is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What the producer is answered.
    pub appended: Appended,
    /// The partitions whose next due time may have changed.
    pub touched: Vec<PartitionId>,
}

/// Carries out a plan in `txn`, whose appends go through `appender`. A batch that is repeated does nothing and is
/// answered as the first time.
///
/// The same `entry_ids` serve all plans of one transaction, so that records that are due in one millisecond enter the
/// log in the order in which they came. `now_ms` is the store's time, read after the transaction began: what came due
/// since it was planned enters the log at the relay's next turn.
///
/// # Errors
/// [`AppendError::Sequence`] leaves the transaction as it was; [`AppendError::Log`] ends it.
pub async fn apply(
    txn: &mut impl Txn,
    appender: &mut Appender,
    entry_ids: &mut EntryIds,
    plan: &Plan,
    now_ms: i64,
) -> Result<Applied, AppendError> {
    let (whole, rest, operations) = match plan {
        Plan::AsItCame(batch) => {
            let appended = appender.append(txn, batch).await?;
            return Ok(Applied { appended, touched: Vec::new() });
        }
        Plan::Held { whole, rest, operations } => (whole, rest.as_ref(), operations),
    };
    let appended = appender.append_held(txn, whole, rest).await?;
    let mut touched = Vec::new();
    if !appended.repeated {
        let id = appender.id();
        for operation in operations {
            let changed = carry_out(txn, id, entry_ids, operation, now_ms).await;
            touched.extend(changed.map_err(|error| error.into_log_error(id))?);
        }
        touched.sort_unstable();
        touched.dedup();
    }
    Ok(Applied { appended, touched })
}

/// Carries out one operation and returns the partitions that it changed.
async fn carry_out(
    txn: &mut impl Txn,
    id: PartitionId,
    entry_ids: &mut EntryIds,
    operation: &Operation,
    now_ms: i64,
) -> Result<Vec<PartitionId>, LoadError> {
    let (schedule, held) = match operation {
        Operation::Hold { due_ms, value } => (value.schedule.as_deref(), Some((*due_ms, value))),
        Operation::Clear { schedule } => (Some(schedule.as_str()), None),
    };
    let mut touched = Vec::new();
    if let Some(schedule) = schedule {
        touched.extend(schedule::cancel(txn, id.topic, schedule).await?);
    }
    if let Some((due_ms, value)) = held {
        schedule::put_timer(txn, id, due_ms.max(now_ms), entry_ids.next_id(), value);
        touched.push(id);
    }
    Ok(touched)
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
