//! From one generation to the next: waiting for members, electing, telling them.

use bytes::Bytes;
use tidegate_format::{Generation, GroupState};

use super::Group;
use crate::{Effects, GroupError, Reply};

/// How soon a rebalance that nobody joined is looked at again, at the earliest, in milliseconds.
const NOBODY_JOINED_RETRY_MIN_MS: i64 = 1_000;

/// Waiting for members to join.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JoinPhase {
    /// When it ends with those who are there.
    pub(super) deadline_ms: i64,
    /// For a group that was empty.
    initial: Option<InitialDelay>,
}

/// The first rebalance waits a while for more members, and again while they keep coming.
#[derive(Debug, PartialEq, Eq)]
struct InitialDelay {
    delay_ms: i64,
    remaining_ms: i64,
    more_came: bool,
}

impl JoinPhase {
    pub(super) fn until(deadline_ms: i64) -> Self {
        Self { deadline_ms, initial: None }
    }
}

impl Group {
    /// Begins a rebalance, or ends the one that runs if everybody is there.
    pub(super) fn prepare_rebalance_or_complete_join(&mut self, now_ms: i64, effects: &mut Effects) {
        if self.state == GroupState::PreparingRebalance {
            self.maybe_complete_join(now_ms, effects);
        } else {
            self.prepare_rebalance(now_ms, effects);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, now_ms: i64, effects: &mut Effects) {
        if self.state == GroupState::CompletingRebalance {
            for member_id in self.members.ids() {
                self.set_assignment(&member_id, Bytes::new());
            }
            self.refuse_waiting_syncs(now_ms, effects);
        }
        self.pending_sync.clear();
        self.sync_deadline_ms = None;
        let was_empty = self.state == GroupState::Empty;
        self.enter(GroupState::PreparingRebalance, now_ms);
        let timeout_ms = self.members.rebalance_timeout_ms();
        if was_empty {
            let delay_ms = i64::from(self.config.initial_rebalance_delay_ms.max(0));
            let remaining_ms = (timeout_ms - delay_ms).max(0);
            self.join_phase = Some(JoinPhase {
                deadline_ms: now_ms.saturating_add(delay_ms),
                initial: Some(InitialDelay { delay_ms, remaining_ms, more_came: false }),
            });
        } else {
            self.join_phase = Some(JoinPhase::until(now_ms.saturating_add(timeout_ms)));
            self.maybe_complete_join(now_ms, effects);
        }
    }

    /// A member comes while the group waits for its first members.
    pub(super) fn extend_initial_delay(&mut self) {
        if let Some(initial) = self.join_phase.as_mut().and_then(|phase| phase.initial.as_mut()) {
            initial.more_came = true;
        }
    }

    /// Ends the join phase if everybody is there (but not the wait for the first members).
    pub(super) fn maybe_complete_join(&mut self, now_ms: i64, effects: &mut Effects) {
        if self.join_phase.as_ref().is_some_and(|phase| phase.initial.is_none()) && self.everybody_joined() {
            self.complete_join(now_ms, effects);
        }
    }

    pub(super) fn everybody_joined(&self) -> bool {
        self.members.joining() == self.members.len() && self.pending_join.is_empty()
    }

    /// The join phase has lasted long enough, unless its first members keep coming.
    pub(super) fn expire_join_phase(&mut self, now_ms: i64, effects: &mut Effects) {
        let configured_ms = i64::from(self.config.initial_rebalance_delay_ms.max(0));
        let phase = self.join_phase.as_mut().expect("its deadline has come");
        match &mut phase.initial {
            Some(initial) if initial.more_came && initial.remaining_ms > 0 => {
                let delay_ms = configured_ms.min(initial.remaining_ms).max(1);
                initial.remaining_ms = (initial.remaining_ms - initial.delay_ms).max(0);
                initial.delay_ms = delay_ms;
                initial.more_came = false;
                phase.deadline_ms = now_ms.saturating_add(delay_ms);
            }
            _ => self.complete_join(now_ms, effects),
        }
    }

    /// Ends the join phase with those who are there. Dynamic members that did not come are removed, static ones stay
    /// until their session ends.
    pub(super) fn complete_join(&mut self, now_ms: i64, effects: &mut Effects) {
        let absent = self.members.iter().filter(|(_, member)| member.join_ticket.is_none());
        let removed: Vec<String> = absent
            .filter(|(_, member)| member.instance.is_none())
            .map(|(member_id, _)| member_id.clone())
            .collect();
        for member_id in removed {
            self.remove_member(&member_id, GroupError::UnknownMemberId, effects);
        }
        if !self.members.is_empty() && !self.elect_leader() {
            let wait_ms = self.members.rebalance_timeout_ms().max(NOBODY_JOINED_RETRY_MIN_MS);
            self.join_phase = Some(JoinPhase::until(now_ms.saturating_add(wait_ms)));
            return;
        }
        self.begin_generation(now_ms);
        if self.state == GroupState::CompletingRebalance {
            self.tell_generation(now_ms, effects);
        }
    }

    /// Keeps the leader if it joined, else takes the first who did. False if nobody did.
    fn elect_leader(&mut self) -> bool {
        let joined =
            |member_id: &str| self.members.get(member_id).is_some_and(|member| member.join_ticket.is_some());
        if self.leader.as_deref().is_some_and(joined) {
            return true;
        }
        let first = self.members.iter().find(|(_, member)| member.join_ticket.is_some());
        let Some(leader) = first.map(|(member_id, _)| member_id.clone()) else { return false };
        self.leader = Some(leader);
        true
    }

    fn begin_generation(&mut self, now_ms: i64) {
        self.join_phase = None;
        self.pending_sync.clear();
        self.generation = Generation(self.generation.0.checked_add(1).unwrap_or(1));
        self.protocol = self.members.elect_protocol();
        self.refresh_subscribed_topics();
        if self.members.is_empty() {
            self.enter(GroupState::Empty, now_ms);
        } else {
            assert!(self.protocol.is_some(), "members are only taken with a protocol in common");
            self.enter(GroupState::CompletingRebalance, now_ms);
        }
    }

    fn tell_generation(&mut self, now_ms: i64, effects: &mut Effects) {
        for member_id in self.members.ids() {
            if let Some(ticket) = self.members.take_join(&member_id) {
                let joined = self.joined(&member_id);
                effects.reply(ticket, Reply::Join(Ok(joined)));
            }
            self.members.set_known(&member_id);
            self.renew_session(&member_id, now_ms);
            self.pending_sync.insert(member_id);
        }
        self.sync_deadline_ms = Some(now_ms.saturating_add(self.members.rebalance_timeout_ms()));
    }

    pub(super) fn enter(&mut self, state: GroupState, now_ms: i64) {
        self.state = state;
        self.state_since_ms = now_ms;
    }

    fn refuse_waiting_syncs(&mut self, now_ms: i64, effects: &mut Effects) {
        for member_id in self.members.ids() {
            if let Some(ticket) = self.members.take_sync(&member_id) {
                effects.reply(ticket, Reply::Sync(Err(GroupError::RebalanceInProgress)));
                self.renew_session(&member_id, now_ms);
            }
        }
    }

    pub(super) fn set_assignment(&mut self, member_id: &str, assignment: Bytes) {
        if let Some(member) = self.members.get(member_id).filter(|member| member.assignment != assignment) {
            self.rows.touch(member_id, member);
            self.members.set_assignment(member_id, assignment);
        }
    }
}
