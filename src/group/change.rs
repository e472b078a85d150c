//! What a group writes.

use bytes::Bytes;
use tidegate_format::{BrokerId, GroupKey, GroupMemberKey, GroupMemberValue, GroupValue, OwnerEpoch};

/// Who coordinates a group, as its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinator {
    /// The broker.
    pub broker: BrokerId,
    /// Raised by each load, so that an earlier one is fenced.
    pub epoch: OwnerEpoch,
}

/// One row to write or to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write the group's row.
    PutGroup(GroupValue),
    /// Remove the group's row (its members' are gone already).
    DeleteGroup,
    /// Write a member's row.
    PutMember {
        /// The member's id.
        member_id: String,
        /// The row.
        value: GroupMemberValue,
    },
    /// Remove a member's row.
    DeleteMember {
        /// The member's id.
        member_id: String,
    },
}

impl Change {
    /// The key of the row and its new value, or none to remove it.
    #[must_use]
    pub fn encode(&self, group: &str) -> (Bytes, Option<Bytes>) {
        let group_key = || GroupKey { group: group.to_owned() }.encode();
        let member_key = |member_id: &str| {
            GroupMemberKey { group: group.to_owned(), member: member_id.to_owned() }.encode()
        };
        match self {
            Self::PutGroup(value) => (group_key(), Some(value.encode())),
            Self::DeleteGroup => (group_key(), None),
            Self::PutMember { member_id, value } => (member_key(member_id), Some(value.encode())),
            Self::DeleteMember { member_id } => (member_key(member_id), None),
        }
    }
}
