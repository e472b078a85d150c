//! The members of a group, with the counts and look-ups that follow from them.
//!
//! Always holds: every instance id names one member; the number of members per supported protocol, of members that
//! wait for their join, and of bytes are those of the members that are there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::member::Member;
use crate::Ticket;

#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<String, Member>,
    id_by_instance: BTreeMap<String, String>,
    /// How many members support a protocol; those that nobody supports are not in it.
    supporters: BTreeMap<String, usize>,
    joining: usize,
    bytes: usize,
}

fn distinct_names(protocols: &[(String, Bytes)]) -> BTreeSet<&str> {
    protocols.iter().map(|(name, _)| name.as_str()).collect()
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn contains(&self, member_id: &str) -> bool {
        self.by_id.contains_key(member_id)
    }

    pub(super) fn get(&self, member_id: &str) -> Option<&Member> {
        self.by_id.get(member_id)
    }

    /// By id, in the order of ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.by_id.iter()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.by_id.keys().cloned().collect()
    }

    pub(super) fn id_of_instance(&self, instance: &str) -> Option<&str> {
        self.id_by_instance.get(instance).map(String::as_str)
    }

    /// How many wait for their join to be answered.
    pub(super) fn joining(&self) -> usize {
        self.joining
    }

    /// What all of them cost, without their assignments.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The longest that a member may take to join again, in milliseconds.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.by_id.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0).max(0)
    }

    pub(super) fn add(&mut self, member_id: String, member: Member) {
        self.bytes += member.bytes(&member_id);
        self.joining += usize::from(member.join_ticket.is_some());
        self.count_supported(&member.protocols);
        if let Some(instance) = &member.instance {
            let other = self.id_by_instance.insert(instance.clone(), member_id.clone());
            assert!(other.is_none(), "an instance id names one member");
        }
        let other = self.by_id.insert(member_id, member);
        assert!(other.is_none(), "a member id names one member");
    }

    pub(super) fn remove(&mut self, member_id: &str) -> Option<Member> {
        let member = self.by_id.remove(member_id)?;
        self.bytes -= member.bytes(member_id);
        self.joining -= usize::from(member.join_ticket.is_some());
        self.discount_supported(&member.protocols);
        if let Some(instance) = &member.instance {
            self.id_by_instance.remove(instance);
        }
        Some(member)
    }

    /// Changes one member; its id and instance stay.
    pub(super) fn update(&mut self, member_id: &str, change: impl FnOnce(&mut Member)) {
        let Some(mut member) = self.remove(member_id) else { return };
        change(&mut member);
        self.add(member_id.to_owned(), member);
    }

    pub(super) fn set_assignment(&mut self, member_id: &str, assignment: Bytes) {
        if let Some(member) = self.by_id.get_mut(member_id) {
            member.assignment = assignment;
        }
    }

    pub(super) fn set_row_written(&mut self, member_id: &str) {
        if let Some(member) = self.by_id.get_mut(member_id) {
            member.has_row = true;
        }
    }

    /// It has been told a generation.
    pub(super) fn set_known(&mut self, member_id: &str) {
        if let Some(member) = self.by_id.get_mut(member_id) {
            member.is_new = false;
        }
    }

    /// Makes a join wait, and returns the one that waited before.
    pub(super) fn await_join(&mut self, member_id: &str, ticket: Ticket) -> Option<Ticket> {
        let before = self.by_id.get_mut(member_id).and_then(|member| member.join_ticket.replace(ticket));
        self.joining += usize::from(before.is_none());
        before
    }

    pub(super) fn take_join(&mut self, member_id: &str) -> Option<Ticket> {
        let ticket = self.by_id.get_mut(member_id)?.join_ticket.take();
        self.joining -= usize::from(ticket.is_some());
        ticket
    }

    /// Makes a sync wait, and returns the one that waited before.
    pub(super) fn await_sync(&mut self, member_id: &str, ticket: Ticket) -> Option<Ticket> {
        self.by_id.get_mut(member_id).and_then(|member| member.sync_ticket.replace(ticket))
    }

    pub(super) fn take_sync(&mut self, member_id: &str) -> Option<Ticket> {
        self.by_id.get_mut(member_id)?.sync_ticket.take()
    }

    /// Whether a member with these protocols could join: one of them is supported by all the others.
    pub(super) fn all_support_one_of(&self, protocols: &[(String, Bytes)]) -> bool {
        protocols.iter().any(|(name, _)| self.supporters.get(name).copied().unwrap_or(0) == self.len())
    }

    /// The protocol that most members like best among those that all support; ties go by name. None without members
    /// or without a common protocol.
    pub(super) fn elect_protocol(&self) -> Option<String> {
        let supported_by_all = |name: &str| self.supporters.get(name) == Some(&self.len());
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.by_id.values() {
            let favourite = member.protocols.iter().find(|(name, _)| supported_by_all(name))?;
            *votes.entry(favourite.0.as_str()).or_default() += 1;
        }
        let most = *votes.values().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    fn count_supported(&mut self, protocols: &[(String, Bytes)]) {
        for name in distinct_names(protocols) {
            *self.supporters.entry(name.to_owned()).or_default() += 1;
        }
    }

    fn discount_supported(&mut self, protocols: &[(String, Bytes)]) {
        for name in distinct_names(protocols) {
            let count = self.supporters.get_mut(name).expect("every member's protocols are counted");
            *count -= 1;
            if *count == 0 {
                self.supporters.remove(name);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut again = Self::default();
        for (member_id, member) in &self.by_id {
            again.add(member_id.clone(), member.clone());
        }
        assert_eq!(again.id_by_instance, self.id_by_instance);
        assert_eq!(again.supporters, self.supporters);
        assert_eq!((again.joining, again.bytes), (self.joining, self.bytes));
    }
}
