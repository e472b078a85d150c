//! Kafka's error codes for what groups refuse.

use kafka_protocol::ResponseError;
use tidegate_group::GroupError;

use crate::group_host::GroupHostError;

/// The code of a group's refusal.
pub(super) fn group_code(error: GroupError) -> i16 {
    let error = match error {
        GroupError::UnknownMemberId => ResponseError::UnknownMemberId,
        GroupError::IllegalGeneration => ResponseError::IllegalGeneration,
        GroupError::FencedInstanceId => ResponseError::FencedInstanceId,
        GroupError::RebalanceInProgress => ResponseError::RebalanceInProgress,
        GroupError::InconsistentGroupProtocol => ResponseError::InconsistentGroupProtocol,
        GroupError::MemberIdRequired => ResponseError::MemberIdRequired,
        GroupError::GroupMaxSizeReached => ResponseError::GroupMaxSizeReached,
        GroupError::InvalidSessionTimeout => ResponseError::InvalidSessionTimeout,
        GroupError::InvalidRequest => ResponseError::InvalidRequest,
        GroupError::NonEmptyGroup => ResponseError::NonEmptyGroup,
        GroupError::GroupIdNotFound => ResponseError::GroupIdNotFound,
        GroupError::GroupSubscribedToTopic => ResponseError::GroupSubscribedToTopic,
    };
    error.code()
}

/// The code of a host without an answer: each makes a client come again.
pub(super) fn host_code(error: &GroupHostError) -> i16 {
    let error = match error {
        GroupHostError::Reloading => ResponseError::CoordinatorLoadInProgress,
        GroupHostError::Stopping => ResponseError::CoordinatorNotAvailable,
    };
    error.code()
}

/// Checks the id of a group of members.
pub(super) fn check_group(group: &str) -> Result<(), i16> {
    tidegate_format::check_group_id(group).map_err(|_| ResponseError::InvalidGroupId.code())
}

/// Checks the id of a group that may have committed offsets only, without members: that may be empty, as clients of the
/// time before groups had none.
pub(super) fn check_group_of_offsets(group: &str) -> Result<(), i16> {
    if group.is_empty() { Ok(()) } else { check_group(group) }
}
