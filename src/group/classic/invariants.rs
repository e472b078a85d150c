//! What must hold between any two commands, checked by every test.

use tidegate_format::{Generation, GroupMemberValue, GroupState};

use super::Group;
use crate::Ticket;

/// Everything about a group that a reload must bring back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lasting {
    state: GroupState,
    state_since_ms: i64,
    generation: Generation,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    subscribed_topics: Option<std::collections::BTreeSet<String>>,
    members: Vec<(String, GroupMemberValue)>,
    bytes: usize,
}

impl Group {
    pub(crate) fn check_invariants(&self) {
        self.members.check();
        assert_eq!(self.leader.is_some(), !self.members.is_empty(), "a leader exactly if there are members");
        assert!(self.leader.iter().all(|leader| self.members.contains(leader)), "the leader is a member");
        assert_eq!(self.state == GroupState::PreparingRebalance, self.join_phase.is_some());
        if self.state == GroupState::Empty {
            assert!(self.members.is_empty());
        }
        if matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable) {
            let protocol = self.protocol.as_deref().expect("a generation has a protocol");
            for (member_id, member) in self.members.iter() {
                assert!(member.supports(protocol), "{member_id} supports the protocol");
                assert!(member.has_row && !member.is_new, "{member_id} was told the generation");
                assert!(member.join_ticket.is_none(), "{member_id} waits for no rebalance");
                assert!(self.state != GroupState::Stable || member.sync_ticket.is_none());
            }
            assert!(!self.members.is_empty() && !self.rows.has_unwritten());
        } else {
            assert!(self.pending_sync.is_empty());
        }
        assert_eq!(self.sync_deadline_ms.is_some(), !self.pending_sync.is_empty());
        for (member_id, member) in self.members.iter() {
            assert!(!self.pending_join.contains(member_id), "{member_id} is a member or about to be one");
            assert!(self.sessions.contains(member_id) || member.waits(), "{member_id} cannot stay for ever");
        }
        assert!(self.pending_join.iter().all(|member_id| self.sessions.contains(member_id)));
        assert!(self.sessions.len() <= self.members.len() + self.pending_join.len());
        let with_rows = self.members.iter().filter(|(_, member)| member.has_row).count();
        assert_eq!(with_rows, self.rows.members());
    }

    /// Who waits for a reply.
    pub(crate) fn waiting(&self) -> Vec<Ticket> {
        let tickets = self.members.iter().flat_map(|(_, member)| [member.join_ticket, member.sync_ticket]);
        tickets.flatten().collect()
    }

    /// None while a rebalance is being prepared: what members say of themselves then is written at its end.
    pub(crate) fn lasting(&self) -> Option<Lasting> {
        let rows = self.members.iter().map(|(member_id, member)| (member_id.clone(), member.row()));
        (self.state != GroupState::PreparingRebalance).then(|| Lasting {
            state: self.state,
            state_since_ms: self.state_since_ms,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            subscribed_topics: self.subscribed_topics.clone(),
            members: rows.collect(),
            bytes: self.members.bytes(),
        })
    }
}
