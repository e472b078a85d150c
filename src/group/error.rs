//! Why a group refuses.

/// Kafka's error of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum GroupError {
    /// Join again as a new member.
    #[error("UNKNOWN_MEMBER_ID")]
    UnknownMemberId,
    /// Join again: the group has gone on without this member.
    #[error("ILLEGAL_GENERATION")]
    IllegalGeneration,
    /// Stop: another process has this instance id.
    #[error("FENCED_INSTANCE_ID")]
    FencedInstanceId,
    /// Join again with the same member id.
    #[error("REBALANCE_IN_PROGRESS")]
    RebalanceInProgress,
    /// Stop: the group's members have no protocol in common with this one, or it names another one than theirs.
    #[error("INCONSISTENT_GROUP_PROTOCOL")]
    InconsistentGroupProtocol,
    /// Join again with the member id of this reply.
    #[error("MEMBER_ID_REQUIRED")]
    MemberIdRequired,
    /// The group takes no more members, or bytes.
    #[error("GROUP_MAX_SIZE_REACHED")]
    GroupMaxSizeReached,
    /// Ask for a session time-out within the bounds.
    #[error("INVALID_SESSION_TIMEOUT")]
    InvalidSessionTimeout,
    /// The request is over a limit on its own.
    #[error("INVALID_REQUEST")]
    InvalidRequest,
    /// The group has members: stop them first.
    #[error("NON_EMPTY_GROUP")]
    NonEmptyGroup,
    /// There is no such group.
    #[error("GROUP_ID_NOT_FOUND")]
    GroupIdNotFound,
    /// The group reads this topic: its offsets stay.
    #[error("GROUP_SUBSCRIBED_TO_TOPIC")]
    GroupSubscribedToTopic,
}
