//! One member.

use bytes::Bytes;
use tidegate_format::GroupMemberValue;

use crate::{Join, Ticket};

/// What a member costs beside its names and subscriptions, in bytes: the map entries, the timers.
pub(super) const MEMBER_OVERHEAD_BYTES: usize = 256;
/// What a protocol costs beside its name and subscription, in bytes.
const PROTOCOL_OVERHEAD_BYTES: usize = 64;

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    /// The protocol it likes best first.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// The JoinGroup that waits for the others.
    pub(super) join_ticket: Option<Ticket>,
    /// The SyncGroup that waits for the leader.
    pub(super) sync_ticket: Option<Ticket>,
    /// It has not been told a generation yet, so it cannot send heartbeats.
    pub(super) is_new: bool,
    /// It has a row in the store (perhaps an older version of it).
    pub(super) has_row: bool,
}

impl Member {
    pub(super) fn new(join: &Join) -> Self {
        Self {
            instance: join.instance.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols: join.protocols.clone(),
            assignment: Bytes::new(),
            join_ticket: None,
            sync_ticket: None,
            is_new: true,
            has_row: false,
        }
    }

    pub(super) fn from_row(row: GroupMemberValue) -> Self {
        Self {
            instance: row.instance,
            client_id: row.client_id,
            client_host: row.client_host,
            session_timeout_ms: row.session_timeout_ms,
            rebalance_timeout_ms: row.rebalance_timeout_ms,
            protocols: row.protocols,
            assignment: row.assignment,
            join_ticket: None,
            sync_ticket: None,
            is_new: false,
            has_row: true,
        }
    }

    pub(super) fn row(&self) -> GroupMemberValue {
        GroupMemberValue {
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            protocols: self.protocols.clone(),
            assignment: self.assignment.clone(),
        }
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// Its subscription under a protocol that it supports.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Whether its session cannot end now: it waits for us, not we for it.
    pub(super) fn waits(&self) -> bool {
        !self.is_new && (self.join_ticket.is_some() || self.sync_ticket.is_some())
    }

    /// The bytes that count against the group's limit, without the assignment.
    pub(super) fn bytes(&self, member_id: &str) -> usize {
        let names =
            self.instance.as_ref().map_or(0, String::len) + self.client_id.len() + self.client_host.len();
        MEMBER_OVERHEAD_BYTES + member_id.len() + names + protocols_bytes(&self.protocols)
    }
}

/// The bytes of a list of protocols that count against limits.
pub(super) fn protocols_bytes(protocols: &[(String, Bytes)]) -> usize {
    protocols.iter().map(|(name, metadata)| PROTOCOL_OVERHEAD_BYTES + name.len() + metadata.len()).sum()
}
