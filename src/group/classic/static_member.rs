//! A static member that comes back without its member id: a new process with the same `group.instance.id`.
//!
//! Where this differs from Kafka: the client id and host of the new process replace those of the old one.

use tidegate_format::GroupState;

use super::Group;
use crate::{Effects, GroupError, Join, JoinRefused, Joined, Reply, Ticket};

impl Group {
    /// Puts a new member in the place of the one that had its instance id; the old one is fenced. In a stable group
    /// that keeps its protocol nothing else changes: the new process goes on with the old one's assignment.
    pub(super) fn replace_static_member(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        old_member_id: &str,
        join: &Join,
        effects: &mut Effects,
    ) {
        let leader_before = self.leader.clone();
        let new_member_id = join.new_member_id.clone();
        self.swap_member(old_member_id, join, effects);
        self.renew_session(&new_member_id, now_ms);
        match self.state {
            GroupState::Empty => unreachable!("an empty group has no members"),
            GroupState::PreparingRebalance => {
                self.update_member(&new_member_id, ticket, join, effects);
                self.maybe_complete_join(now_ms, effects);
            }
            // The leader may assign to the old id already: everybody has to join once more.
            GroupState::CompletingRebalance => {
                self.update_member(&new_member_id, ticket, join, effects);
                self.prepare_rebalance(now_ms, effects);
            }
            GroupState::Stable if self.members.elect_protocol() == self.protocol => {
                self.refresh_subscribed_topics();
                let joined = self.joined_in_place(&new_member_id, leader_before, join.can_skip_assignment);
                effects.reply(ticket, Reply::Join(Ok(joined)));
            }
            GroupState::Stable => {
                self.update_member(&new_member_id, ticket, join, effects);
                self.prepare_rebalance(now_ms, effects);
            }
        }
    }

    /// The old member's place and assignment under the new id, with what the new process says of itself.
    fn swap_member(&mut self, old_member_id: &str, join: &Join, effects: &mut Effects) {
        let fenced = GroupError::FencedInstanceId;
        if let Some(waiting) = self.members.take_join(old_member_id) {
            let refused = JoinRefused { error: fenced, member_id: old_member_id.to_owned() };
            effects.reply(waiting, Reply::Join(Err(refused)));
        }
        if let Some(waiting) = self.members.take_sync(old_member_id) {
            effects.reply(waiting, Reply::Sync(Err(fenced)));
        }
        self.sessions.cancel(old_member_id);
        let old = self.members.remove(old_member_id).expect("the instance id names a member");
        self.rows.remove(old_member_id, &old);
        let mut new = old;
        new.client_id.clone_from(&join.client_id);
        new.client_host.clone_from(&join.client_host);
        new.session_timeout_ms = join.session_timeout_ms;
        new.rebalance_timeout_ms = join.rebalance_timeout_ms;
        new.protocols.clone_from(&join.protocols);
        new.is_new = false;
        new.has_row = false;
        let new_member_id = join.new_member_id.clone();
        self.rows.touch(&new_member_id, &new);
        self.members.add(new_member_id.clone(), new);
        if self.pending_sync.remove(old_member_id) {
            self.pending_sync.insert(new_member_id.clone());
        }
        if self.is_leader(old_member_id) {
            self.leader = Some(new_member_id);
        }
    }

    /// The reply to a member that goes on in the running generation. A leader that knows `skip_assignment` stays the
    /// leader; one that does not is told of the leader before, so that it takes the assignment there is.
    fn joined_in_place(&self, member_id: &str, leader_before: Option<String>, can_skip: bool) -> Joined {
        let joined = self.joined(member_id);
        if can_skip {
            return Joined { skip_assignment: self.is_leader(member_id), ..joined };
        }
        let leader = leader_before.expect("a group with members has a leader");
        Joined { leader, members: Vec::new(), ..joined }
    }
}
