//! SyncGroup.
//!
//! Where this differs from Kafka: a sync that a later one of the same member replaces is answered
//! REBALANCE_IN_PROGRESS; one whose member leaves, UNKNOWN_MEMBER_ID (Kafka forgets both). Assignments over a limit of
//! bytes are refused with INVALID_REQUEST (Kafka fails to store them: UNKNOWN_SERVER_ERROR).

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_format::GroupState;

use super::Group;
use crate::{Effects, GroupError, Reply, Sync, Synced, Ticket};

impl Group {
    pub(super) fn handle_sync(&mut self, now_ms: i64, ticket: Ticket, sync: Sync, effects: &mut Effects) {
        if let Err(error) = self.check_sync(&sync) {
            return effects.reply(ticket, Reply::Sync(Err(error)));
        }
        let member_id = sync.member.member_id;
        if self.state == GroupState::Stable {
            self.mark_synced(&member_id);
            let synced = self.synced(&member_id);
            return effects.reply(ticket, Reply::Sync(Ok(synced)));
        }
        if let Some(replaced) = self.members.await_sync(&member_id, ticket) {
            effects.reply(replaced, Reply::Sync(Err(GroupError::RebalanceInProgress)));
        }
        self.mark_synced(&member_id);
        if self.is_leader(&member_id) {
            self.assign(now_ms, sync.assignments, effects);
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), GroupError> {
        self.check_member(&sync.member)?;
        if sync.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differs =
            |told: &Option<String>, ours: &Option<String>| told.is_some() && ours.is_some() && told != ours;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        if self.state == GroupState::PreparingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        let assigns = self.state == GroupState::CompletingRebalance && self.is_leader(&sync.member.member_id);
        if assigns && !self.assignments_fit(&sync.assignments) {
            return Err(GroupError::InvalidRequest);
        }
        Ok(())
    }

    fn assignments_fit(&self, assignments: &[(String, Bytes)]) -> bool {
        let bytes: usize = assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        assignments.iter().all(|(_, assignment)| assignment.len() <= self.config.member_max_bytes)
            && self.members.bytes() + bytes <= self.config.group_max_bytes
    }

    /// The leader has spoken: everybody has an assignment (those it left out an empty one), and who waits is told.
    fn assign(&mut self, now_ms: i64, assignments: Vec<(String, Bytes)>, effects: &mut Effects) {
        let mut assignments: BTreeMap<String, Bytes> = assignments.into_iter().collect();
        self.enter(GroupState::Stable, now_ms);
        for member_id in self.members.ids() {
            self.set_assignment(&member_id, assignments.remove(&member_id).unwrap_or_default());
            if let Some(waiting) = self.members.take_sync(&member_id) {
                let synced = self.synced(&member_id);
                effects.reply(waiting, Reply::Sync(Ok(synced)));
                self.renew_session(&member_id, now_ms);
            }
        }
    }

    fn mark_synced(&mut self, member_id: &str) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            self.sync_deadline_ms = None;
        }
    }

    fn synced(&self, member_id: &str) -> Synced {
        let member = self.members.get(member_id).expect("the member was checked");
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.assignment.clone(),
        }
    }
}
