//! What a group that does not exist answers.

use crate::{Command, GroupError, JoinRefused, Reply};

/// What to do with a command for a group that has no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WithoutGroup {
    /// It founds the group: hand it to [`Group::new`](crate::Group::new).
    Found,
    /// This is the answer.
    Reply(Reply),
}

/// Decides whether a command founds its group. A member without an id and an offset commit outside of any generation
/// do (Kafka's "simple group"); everybody else remembers a group that is gone.
#[must_use]
pub fn without_group(command: &Command) -> WithoutGroup {
    let unknown = GroupError::UnknownMemberId;
    WithoutGroup::Reply(match command {
        Command::Join(join) if join.member_id.is_empty() => return WithoutGroup::Found,
        Command::Join(join) => {
            Reply::Join(Err(JoinRefused { error: unknown, member_id: join.member_id.clone() }))
        }
        Command::Sync(_) => Reply::Sync(Err(unknown)),
        Command::Heartbeat(_) => Reply::Heartbeat(Err(unknown)),
        Command::Leave(leave) => {
            Reply::Leave(leave.members.iter().map(|member| (member.clone(), Err(unknown))).collect())
        }
        Command::CommitOffsets(commit) if commit.generation.0 < 0 => return WithoutGroup::Found,
        Command::CommitOffsets(_) => Reply::CommitOffsets(Err(GroupError::GroupIdNotFound)),
        Command::Delete => Reply::Delete(Err(GroupError::GroupIdNotFound)),
    })
}
