//! What can be asked of a group.

use bytes::Bytes;
use tidegate_format::Generation;

/// Names one request until it is answered. The host chooses it; no two requests in flight share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One request. Group ids are checked before it gets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// JoinGroup.
    Join(Join),
    /// SyncGroup.
    Sync(Sync),
    /// Heartbeat.
    Heartbeat(Heartbeat),
    /// LeaveGroup.
    Leave(Leave),
    /// May these offsets be committed? The host writes them with the changes.
    CommitOffsets(CommitOffsets),
    /// DeleteGroups, for this one. The host deletes the group's offsets with the changes.
    Delete,
}

/// JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The member's id; empty for a member that has none yet.
    pub member_id: String,
    /// The id that a new member gets: unique, and one that
    /// [`check_member_id`](tidegate_format::check_member_id) takes.
    pub new_member_id: String,
    /// `group.instance.id`, for a static member.
    pub instance: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// The host it connects from.
    pub client_host: String,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long it may take to join again, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// What kind of members these are, `consumer` for consumers.
    pub protocol_type: String,
    /// The assignors that it supports, the one it likes best first, each with its subscription.
    pub protocols: Vec<(String, Bytes)>,
    /// Whether a new dynamic member must come back with the id it is given (JoinGroup v4 and later).
    pub member_id_required: bool,
    /// Whether the client knows `skip_assignment` (JoinGroup v9 and later).
    pub can_skip_assignment: bool,
}

/// Which member speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberIdentity {
    /// Its id; may be empty where an instance id is enough.
    pub member_id: String,
    /// Its instance id, if it is a static member (and the request can tell).
    pub instance: Option<String>,
}

/// SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Who asks.
    pub member: MemberIdentity,
    /// The generation it was told.
    pub generation: Generation,
    /// The protocol type it was told (v5 and later).
    pub protocol_type: Option<String>,
    /// The protocol it was told (v5 and later).
    pub protocol: Option<String>,
    /// By member id; empty unless the leader asks.
    pub assignments: Vec<(String, Bytes)>,
}

/// Heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who is alive.
    pub member: MemberIdentity,
    /// The generation it was told.
    pub generation: Generation,
}

/// LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Who leaves: by member id, by both ids, or (an administrator) by instance id alone.
    pub members: Vec<MemberIdentity>,
}

/// OffsetCommit, without the offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffsets {
    /// Who commits; empty for a client that only keeps its offsets here.
    pub member: MemberIdentity,
    /// The generation it was told; negative for a client that only keeps its offsets here.
    pub generation: Generation,
    /// Whether it is part of a Kafka transaction (TxnOffsetCommit).
    pub transactional: bool,
}
