//! A group from its rows: after a start, a fail-over, a commit that failed.
//!
//! Sessions start anew, as nobody could be heard meanwhile. Requests that waited are gone with their connections, and
//! their members come again: a rebalance that was being prepared waits for all of them, one that was being completed
//! for their syncs, each for the longest rebalance time-out.

use std::collections::BTreeSet;

use tidegate_format::{GroupMemberValue, GroupState, GroupValue};

use super::Group;
use super::member::Member;
use super::members::Members;
use super::rebalance::JoinPhase;
use super::rows::Rows;
use super::sessions::Sessions;
use crate::{Coordinator, GroupConfig};

/// Why rows are no group: somebody else wrote to them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Two members have one instance id.
    #[error("members of group {group} share the instance id {instance}")]
    SharedInstance {
        /// The group's id.
        group: String,
        /// The instance id.
        instance: String,
    },
    /// The members do not support the group's protocol, or have none in common.
    #[error("the members of group {group} have no common protocol")]
    NoCommonProtocol {
        /// The group's id.
        group: String,
    },
    /// The state does not go with having, or not having, members.
    #[error("group {group} is {state} with {members} members")]
    StateAndMembers {
        /// The group's id.
        group: String,
        /// The state's name.
        state: &'static str,
        /// How many members have rows.
        members: usize,
    },
}

impl Group {
    /// The group of these rows, at `now_ms`. The group's row carries the coordinator that loads it.
    ///
    /// # Errors
    /// The rows contradict each other.
    pub fn load(
        id: String,
        row: GroupValue,
        member_rows: Vec<(String, GroupMemberValue)>,
        config: GroupConfig,
        now_ms: i64,
    ) -> Result<Self, LoadError> {
        let members = load_members(&id, member_rows)?;
        if (row.state == GroupState::Empty) != members.is_empty() {
            let state = super::state_name(row.state);
            return Err(LoadError::StateAndMembers { group: id, state, members: members.len() });
        }
        if !members.is_empty() && !has_common_protocol(&row, &members) {
            return Err(LoadError::NoCommonProtocol { group: id });
        }
        let coordinator = Coordinator { broker: row.owner, epoch: row.epoch };
        let first = members.iter().next().map(|(member_id, _)| member_id.clone());
        let mut group = Self {
            id,
            config,
            state: row.state,
            state_since_ms: row.state_since_ms,
            generation: row.generation,
            protocol_type: row.protocol_type.clone(),
            protocol: row.protocol.clone(),
            leader: row.leader.clone().filter(|leader| members.contains(leader)).or(first),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            subscribed_topics: None,
            join_phase: None,
            sync_deadline_ms: None,
            sessions: Sessions::default(),
            rows: Rows::loaded(coordinator, row, members.len()),
            members,
        };
        group.resume(now_ms);
        Ok(group)
    }

    fn resume(&mut self, now_ms: i64) {
        for member_id in self.members.ids() {
            self.renew_session(&member_id, now_ms);
        }
        self.refresh_subscribed_topics();
        let deadline_ms = now_ms.saturating_add(self.members.rebalance_timeout_ms());
        match self.state {
            GroupState::PreparingRebalance => self.join_phase = Some(JoinPhase::until(deadline_ms)),
            GroupState::CompletingRebalance => {
                self.pending_sync = self.members.ids().into_iter().collect();
                self.sync_deadline_ms = Some(deadline_ms);
            }
            GroupState::Empty | GroupState::Stable => {}
        }
    }
}

fn load_members(group: &str, rows: Vec<(String, GroupMemberValue)>) -> Result<Members, LoadError> {
    let mut members = Members::default();
    for (member_id, row) in rows {
        if let Some(instance) = row.instance.as_ref().filter(|&name| members.id_of_instance(name).is_some()) {
            return Err(LoadError::SharedInstance { group: group.to_owned(), instance: instance.clone() });
        }
        members.add(member_id, Member::from_row(row));
    }
    Ok(members)
}

fn has_common_protocol(row: &GroupValue, members: &Members) -> bool {
    match (row.state, &row.protocol) {
        (GroupState::PreparingRebalance, _) => members.elect_protocol().is_some(),
        (_, None) => false,
        (_, Some(protocol)) => members.iter().all(|(_, member)| member.supports(protocol)),
    }
}
