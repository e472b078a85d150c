//! What happens when time passes: silent members go, phases end.

use tidegate_format::GroupState;

use super::Group;
use crate::{Effects, GroupError};

impl Group {
    /// Handles every deadline that has come: sessions first, then the phase. Each one is taken away or moved past
    /// `now_ms`, so this ends.
    pub(super) fn expire_due(&mut self, now_ms: i64, effects: &mut Effects) {
        loop {
            if let Some(member_id) = self.sessions.take_due(now_ms) {
                self.expire_session(now_ms, &member_id, effects);
            } else if self.join_phase.as_ref().is_some_and(|phase| phase.deadline_ms <= now_ms) {
                self.expire_join_phase(now_ms, effects);
            } else if self.sync_deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) {
                self.expire_sync_phase(now_ms, effects);
            } else {
                return;
            }
        }
    }

    /// A member was silent for too long, or an id that was handed out never came back.
    fn expire_session(&mut self, now_ms: i64, member_id: &str, effects: &mut Effects) {
        let Some(member) = self.members.get(member_id) else {
            self.pending_join.remove(member_id);
            return self.complete_join_without(now_ms, effects);
        };
        if member.waits() {
            // It cannot speak while it waits for us; its time starts anew with our reply.
            return;
        }
        self.remove_member(member_id, GroupError::UnknownMemberId, effects);
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(now_ms, effects),
            GroupState::PreparingRebalance => self.complete_join_without(now_ms, effects),
            GroupState::Empty => {}
        }
    }

    /// Everybody else may have been waiting for the one that is gone. (As in Kafka this ends even the wait for the
    /// first members.)
    fn complete_join_without(&mut self, now_ms: i64, effects: &mut Effects) {
        if self.state == GroupState::PreparingRebalance && self.everybody_joined() {
            self.complete_join(now_ms, effects);
        }
    }

    /// Members that were told the generation long ago and did not ask for their assignment are removed.
    fn expire_sync_phase(&mut self, now_ms: i64, effects: &mut Effects) {
        self.sync_deadline_ms = None;
        let silent = std::mem::take(&mut self.pending_sync);
        if silent.is_empty() {
            return;
        }
        for member_id in &silent {
            self.remove_member(member_id, GroupError::UnknownMemberId, effects);
        }
        self.prepare_rebalance(now_ms, effects);
    }
}
