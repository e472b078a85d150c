//! A new start of the log, by request.

use tidegate_format::Offset;
use tidegate_log::{delete_records, sweep};
use tidegate_store::{CommitError, Store};
use tracing::warn;

use super::host::{DeleteRecords, Fenced, Host};
use super::{DeleteRecordsError, PartitionError};

/// How often it is tried while other owners come and go.
const ATTEMPTS_MAX: usize = 4;

impl<S: Store> Host<S> {
    /// Moves the start of the log, answers, and lets what lies below it be removed in the background.
    pub(super) async fn delete_records(&mut self, delete: DeleteRecords) -> Result<(), Fenced> {
        let answer = self.move_start(delete.to).await;
        let fenced = answer == Err(PartitionError::NotOwner.into());
        let moved = answer.is_ok();
        // The connection may be gone: then nobody waits for the answer.
        let _nobody_waits = delete.reply.send(answer);
        if moved {
            let (store, id) = (self.shared.store.clone(), self.partition.id);
            self.shared.tasks.spawn(async move {
                if let Err(error) = sweep(&store, id).await {
                    warn!(partition = %id, %error, "deleted records are removed with the next retention check");
                }
            });
        }
        if fenced { Err(Fenced) } else { Ok(()) }
    }

    async fn move_start(&self, to: Option<Offset>) -> Result<Offset, DeleteRecordsError> {
        for _ in 0..ATTEMPTS_MAX {
            let mut txn = self.shared.store.begin().await.map_err(PartitionError::from)?;
            let to = match to {
                Some(to) => to,
                None => self.ownership.load_state(&mut txn).await.map_err(PartitionError::from)?.next_offset,
            };
            let state = delete_records(&mut txn, &self.ownership, to).await?;
            match self.commit(txn, "delete_records").await {
                Ok(()) => {
                    self.partition.publish(&state);
                    return Ok(state.log_start);
                }
                Err(CommitError::Conflict) => {}
                Err(error) => {
                    self.partition.forget();
                    return Err(PartitionError::from(error).into());
                }
            }
        }
        Err(PartitionError::from(CommitError::Conflict).into())
    }
}
