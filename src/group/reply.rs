//! What a group does in answer to a command.

use bytes::Bytes;
use tidegate_format::Generation;

use crate::{Change, GroupError, MemberIdentity, Ticket};

/// What follows from one command: commit `changes` in one transaction, then send `replies`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The rows to write, at most one change per row.
    pub changes: Vec<Change>,
    /// The replies to send, in this order; some may be to earlier commands.
    pub replies: Vec<(Ticket, Reply)>,
}

impl Effects {
    pub(crate) fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.replies.push((ticket, reply));
    }

    pub(crate) fn refuse_join(&mut self, ticket: Ticket, error: GroupError, member_id: &str) {
        self.reply(ticket, Reply::Join(Err(JoinRefused { error, member_id: member_id.to_owned() })));
    }
}

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Command::Join`](crate::Command::Join).
    Join(Result<Joined, JoinRefused>),
    /// To [`Command::Sync`](crate::Command::Sync).
    Sync(Result<Synced, GroupError>),
    /// To [`Command::Heartbeat`](crate::Command::Heartbeat).
    Heartbeat(Result<(), GroupError>),
    /// To [`Command::Leave`](crate::Command::Leave): one by one, in the request's order.
    Leave(Vec<(MemberIdentity, Result<(), GroupError>)>),
    /// To [`Command::CommitOffsets`](crate::Command::CommitOffsets).
    CommitOffsets(Result<(), GroupError>),
    /// To [`Command::Delete`](crate::Command::Delete).
    Delete(Result<(), GroupError>),
}

/// A member of a new (or the running) generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The member's id.
    pub member_id: String,
    /// The generation.
    pub generation: Generation,
    /// The kind of members.
    pub protocol_type: Option<String>,
    /// The assignor that the members agreed on.
    pub protocol: Option<String>,
    /// The leader's id.
    pub leader: String,
    /// The leader's assignment of this generation stands: it need not assign again.
    pub skip_assignment: bool,
    /// Everybody, for the leader; empty for the others.
    pub members: Vec<JoinedMember>,
}

/// What the leader is told of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: String,
    /// Its instance id.
    pub instance: Option<String>,
    /// Its subscription under the chosen protocol.
    pub metadata: Bytes,
}

/// A join that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    /// Why.
    pub error: GroupError,
    /// The id to tell the client; empty if it should forget its own.
    pub member_id: String,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The kind of members.
    pub protocol_type: Option<String>,
    /// The assignor that the members agreed on.
    pub protocol: Option<String>,
    /// What the leader assigned to this member.
    pub assignment: Bytes,
}
