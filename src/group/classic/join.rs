//! JoinGroup.
//!
//! Where this differs from Kafka: a join that a later one of the same member replaces is answered
//! REBALANCE_IN_PROGRESS (Kafka forgets it); a join that is turned away for want of room may complete the rebalance
//! (Kafka waits for the deadline); a first join that is refused founds no group (Kafka leaves an empty one); a request or
//! a group over its limit of bytes is refused here; a subscription that cannot be read holds nobody up (on Kafka 4.3 one
//! with an absurd length keeps the whole group waiting for its joins).

use tidegate_format::GroupState;

use super::Group;
use super::member::{MEMBER_OVERHEAD_BYTES, Member};
use crate::{Effects, GroupError, Join, Joined, JoinedMember, MemberIdentity, Reply, Ticket};

impl Group {
    pub(super) fn handle_join(&mut self, now_ms: i64, ticket: Ticket, join: &Join, effects: &mut Effects) {
        let known_id = &join.member_id;
        if let Err(error) = self.check_join_alone(join) {
            return effects.refuse_join(ticket, error, known_id);
        }
        if !self.has_room_for(join) {
            return self.turn_away(now_ms, ticket, known_id, effects);
        }
        if !self.supports(join) {
            return effects.refuse_join(ticket, GroupError::InconsistentGroupProtocol, known_id);
        }
        if join.member_id.is_empty() {
            self.join_new(now_ms, ticket, join, effects);
        } else if self.pending_join.contains(&join.member_id) && join.instance.is_none() {
            self.add_member(now_ms, ticket, &join.member_id, join, effects);
        } else {
            self.join_again(now_ms, ticket, join, effects);
        }
    }

    /// There is no room. A rebalance goes on without the member.
    fn turn_away(&mut self, now_ms: i64, ticket: Ticket, member_id: &str, effects: &mut Effects) {
        effects.refuse_join(ticket, GroupError::GroupMaxSizeReached, "");
        if self.state == GroupState::PreparingRebalance {
            self.remove_member(member_id, GroupError::UnknownMemberId, effects);
            self.maybe_complete_join(now_ms, effects);
        }
    }

    /// What can be wrong with a join in any group.
    fn check_join_alone(&self, join: &Join) -> Result<(), GroupError> {
        let bounds = self.config.session_timeout_min_ms..=self.config.session_timeout_max_ms;
        if !bounds.contains(&join.session_timeout_ms) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        if Member::new(join).bytes("") > self.config.member_max_bytes {
            return Err(GroupError::InvalidRequest);
        }
        Ok(())
    }

    /// Whether the group takes this member. While it prepares a rebalance only members that wait count, so that a
    /// group that has become too large sheds the last to come back.
    fn has_room_for(&self, join: &Join) -> bool {
        let is_member = self.members.contains(&join.member_id);
        let has_place = match self.state {
            GroupState::Empty => true,
            GroupState::PreparingRebalance => {
                let waits =
                    self.members.get(&join.member_id).is_some_and(|member| member.join_ticket.is_some());
                waits || self.members.joining() < self.config.members_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                is_member || self.members.len() < self.config.members_max
            }
        };
        let before = self.members.get(&join.member_id).map_or(0, |member| member.bytes(&join.member_id));
        let after = Member::new(join).bytes(&join.new_member_id);
        let pending = self.pending_join.len() * MEMBER_OVERHEAD_BYTES;
        has_place && self.members.bytes() + pending - before + after <= self.config.group_max_bytes
    }

    fn supports(&self, join: &Join) -> bool {
        if self.state == GroupState::Empty {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&join.protocol_type)
            && self.members.all_support_one_of(&join.protocols)
    }

    /// A member that has no id yet.
    fn join_new(&mut self, now_ms: i64, ticket: Ticket, join: &Join, effects: &mut Effects) {
        let member_id = &join.new_member_id;
        let replaced = join
            .instance
            .as_ref()
            .and_then(|instance| self.members.id_of_instance(instance))
            .map(str::to_owned);
        if let Some(old_member_id) = replaced {
            self.replace_static_member(now_ms, ticket, &old_member_id, join, effects);
        } else if join.member_id_required && join.instance.is_none() {
            self.sessions.set(member_id, now_ms.saturating_add(i64::from(join.session_timeout_ms)));
            effects.refuse_join(ticket, GroupError::MemberIdRequired, member_id);
            self.pending_join.insert(member_id.clone());
        } else {
            self.add_member(now_ms, ticket, member_id, join, effects);
        }
    }

    /// A member that has an id.
    fn join_again(&mut self, now_ms: i64, ticket: Ticket, join: &Join, effects: &mut Effects) {
        let identity = MemberIdentity { member_id: join.member_id.clone(), instance: join.instance.clone() };
        if let Err(error) = self.check_member(&identity) {
            return effects.refuse_join(ticket, error, &join.member_id);
        }
        let member = self.members.get(&join.member_id).expect("the member was checked");
        let unchanged = member.protocols == join.protocols;
        let goes_on = match self.state {
            GroupState::Empty => unreachable!("an empty group has no members"),
            GroupState::PreparingRebalance => false,
            // It may not have received the reply to its join.
            GroupState::CompletingRebalance => unchanged,
            // The leader asks for a rebalance by joining again.
            GroupState::Stable => unchanged && !self.is_leader(&join.member_id),
        };
        if goes_on {
            let joined = self.joined(&join.member_id);
            effects.reply(ticket, Reply::Join(Ok(joined)));
        } else {
            self.update_member(&join.member_id, ticket, join, effects);
            self.prepare_rebalance_or_complete_join(now_ms, effects);
        }
    }

    /// A new member, who waits for the rebalance that it causes.
    fn add_member(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        member_id: &str,
        join: &Join,
        effects: &mut Effects,
    ) {
        self.extend_initial_delay();
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        self.pending_join.remove(member_id);
        let member = Member::new(join);
        self.rows.touch(member_id, &member);
        self.members.add(member_id.to_owned(), member);
        self.members.await_join(member_id, ticket);
        self.leader.get_or_insert_with(|| member_id.to_owned());
        // It cannot send heartbeats before it is told a generation, and nobody can see whether it is still there.
        let timeout_ms = i64::from(self.config.new_member_join_timeout_ms);
        self.sessions.set(member_id, now_ms.saturating_add(timeout_ms));
        self.prepare_rebalance_or_complete_join(now_ms, effects);
    }

    /// Takes over what a member says of itself now, and lets its join wait.
    pub(super) fn update_member(
        &mut self,
        member_id: &str,
        ticket: Ticket,
        join: &Join,
        effects: &mut Effects,
    ) {
        self.rows.touch(member_id, self.members.get(member_id).expect("the member was checked"));
        self.members.update(member_id, |member| {
            member.protocols.clone_from(&join.protocols);
            member.rebalance_timeout_ms = join.rebalance_timeout_ms;
            member.session_timeout_ms = join.session_timeout_ms;
        });
        if let Some(replaced) = self.members.await_join(member_id, ticket) {
            effects.refuse_join(replaced, GroupError::RebalanceInProgress, member_id);
        }
    }

    /// What a member is told of the running generation.
    pub(super) fn joined(&self, member_id: &str) -> Joined {
        Joined {
            member_id: member_id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().expect("a group with members has a leader"),
            skip_assignment: false,
            members: if self.is_leader(member_id) { self.joined_members() } else { Vec::new() },
        }
    }

    /// What the leader is told of everybody.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().expect("a generation with members has a protocol");
        let members = self.members.iter().map(|(member_id, member)| JoinedMember {
            member_id: member_id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(protocol),
        });
        members.collect()
    }

    /// Removes a member, or an id that was handed out: what it waits for is answered with `error`, and if it led,
    /// another one leads.
    pub(super) fn remove_member(&mut self, member_id: &str, error: GroupError, effects: &mut Effects) {
        self.pending_join.remove(member_id);
        self.pending_sync.remove(member_id);
        self.sessions.cancel(member_id);
        let Some(member) = self.members.remove(member_id) else { return };
        if let Some(ticket) = member.join_ticket {
            effects.refuse_join(ticket, error, "");
        }
        if let Some(ticket) = member.sync_ticket {
            effects.reply(ticket, Reply::Sync(Err(error)));
        }
        self.rows.remove(member_id, &member);
        if self.is_leader(member_id) {
            self.leader = self.members.iter().next().map(|(member_id, _)| member_id.clone());
        }
    }
}
