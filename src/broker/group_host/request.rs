//! What can be put into the inbox of a group's host.

use tidegate_format::PartitionId;
use tidegate_group::{Command, GroupDescription, GroupError, Reply};
use tokio::sync::oneshot;

use super::CommittedOffset;

/// One request. An answer that is dropped means: the group is loaded again, come again.
pub(super) enum Request {
    /// For the state machine.
    Command { command: Command, answer: oneshot::Sender<Reply> },
    /// For the state machine, which says whether these offsets are written.
    CommitOffsets {
        command: Command,
        offsets: Vec<CommittedOffset>,
        answer: oneshot::Sender<Result<(), GroupError>>,
    },
    /// Offsets by topic name and partition.
    DeleteOffsets {
        offsets: Vec<(String, PartitionId)>,
        answer: oneshot::Sender<Result<Vec<Result<(), GroupError>>, GroupError>>,
    },
    /// Answered once everything that came before is durable.
    Settle { answer: oneshot::Sender<()> },
    /// None: there is no such group.
    Describe { answer: oneshot::Sender<Option<GroupDescription>> },
    /// Delete offsets past their retention, and a group that has neither members nor offsets.
    ExpireOffsets { answer: oneshot::Sender<()> },
}

impl Request {
    /// What the offsets that it commits for a group take in a transaction, roughly.
    pub(super) fn offsets_bytes(&self, group: &str) -> usize {
        match self {
            Self::CommitOffsets { offsets, .. } => offsets.iter().map(|offset| offset.bytes(group)).sum(),
            _ => 0,
        }
    }
}
