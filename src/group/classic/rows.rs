//! What of a group is written, and when.
//!
//! - A member gets a row when it is told its first generation, in the changes of that reply; until then a crash loses
//!   nothing that it knows. What it says of itself when it joins again is written with the next generation.
//! - A member that goes loses its row at once.
//! - The group's row is written whenever it differs: at each state, so also the beginning of a rebalance, which a
//!   reload has to go on with (a member that left is gone, and nobody has its partitions yet).
//! - A group whose only members are new is written as the empty group that a reload makes of it.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_format::{GroupMemberValue, GroupState, GroupValue};

use super::Group;
use super::member::Member;
use crate::{Change, Coordinator, Effects};

/// What is in the store, and what has to go there.
#[derive(Debug)]
pub(super) struct Rows {
    coordinator: Coordinator,
    /// The group's row as it was last written.
    group: Option<GroupValue>,
    /// Something asks for a row although the group has never had a member.
    founded: bool,
    /// How many members have rows.
    members: usize,
    /// Members that changed, with the rows that they have in the store.
    touched: BTreeMap<String, Option<GroupMemberValue>>,
    /// Rows to remove.
    removed: BTreeSet<String>,
}

impl Rows {
    pub(super) fn none(coordinator: Coordinator) -> Self {
        Self {
            coordinator,
            group: None,
            founded: false,
            members: 0,
            touched: BTreeMap::new(),
            removed: BTreeSet::new(),
        }
    }

    pub(super) fn loaded(coordinator: Coordinator, group: GroupValue, members: usize) -> Self {
        Self { group: Some(group), members, ..Self::none(coordinator) }
    }

    pub(super) fn coordinator(&self) -> Coordinator {
        self.coordinator
    }

    pub(super) fn is_founded(&self) -> bool {
        self.group.is_some()
    }

    pub(super) fn found(&mut self) {
        self.founded = true;
    }

    pub(super) fn forget(&mut self) {
        self.group = None;
        self.founded = false;
    }

    /// A member is about to change, or is new.
    pub(super) fn touch(&mut self, member_id: &str, member: &Member) {
        if !self.touched.contains_key(member_id) {
            self.touched.insert(member_id.to_owned(), member.has_row.then(|| member.row()));
        }
    }

    pub(super) fn remove(&mut self, member_id: &str, member: &Member) {
        self.touched.remove(member_id);
        if member.has_row {
            self.members -= 1;
            self.removed.insert(member_id.to_owned());
        }
    }

    #[cfg(test)]
    pub(super) fn members(&self) -> usize {
        self.members
    }

    #[cfg(test)]
    pub(super) fn has_unwritten(&self) -> bool {
        !self.touched.is_empty()
    }
}

impl Group {
    /// Adds to the effects of a command what it changed.
    pub(super) fn write_rows(&mut self, now_ms: i64, effects: &mut Effects) {
        for member_id in std::mem::take(&mut self.rows.removed) {
            effects.changes.push(Change::DeleteMember { member_id });
        }
        if self.state != GroupState::PreparingRebalance {
            self.write_touched_members(effects);
        }
        let is_wanted = self.rows.is_founded() || self.rows.founded || !self.is_blank();
        let row = self.group_row(now_ms);
        if is_wanted && self.rows.group.as_ref() != Some(&row) {
            self.rows.group = Some(row.clone());
            effects.changes.push(Change::PutGroup(row));
        }
    }

    fn write_touched_members(&mut self, effects: &mut Effects) {
        for (member_id, before) in std::mem::take(&mut self.rows.touched) {
            let value = self.members.get(&member_id).expect("who goes is not touched any more").row();
            if before.as_ref() == Some(&value) {
                continue;
            }
            self.rows.members += usize::from(before.is_none());
            self.members.set_row_written(&member_id);
            effects.changes.push(Change::PutMember { member_id, value });
        }
    }

    /// Nobody has joined it and nobody is about to.
    fn is_blank(&self) -> bool {
        self.members.is_empty() && self.pending_join.is_empty()
    }

    fn group_row(&self, now_ms: i64) -> GroupValue {
        let Coordinator { broker, epoch } = self.rows.coordinator;
        if self.state == GroupState::PreparingRebalance && self.rows.members == 0 {
            return self.row_without_members(now_ms);
        }
        let has_row = |leader: &&String| self.members.get(leader).is_some_and(|member| member.has_row);
        GroupValue {
            epoch,
            owner: broker,
            generation: self.generation,
            state: self.state,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.as_ref().filter(has_row).cloned(),
            state_since_ms: self.state_since_ms,
        }
    }

    /// What a reload makes of a group whose members are all new.
    fn row_without_members(&self, now_ms: i64) -> GroupValue {
        let Coordinator { broker, epoch } = self.rows.coordinator;
        match &self.rows.group {
            Some(row) if row.state == GroupState::Empty => row.clone(),
            written => GroupValue {
                epoch,
                owner: broker,
                generation: self.generation,
                state: GroupState::Empty,
                protocol_type: written.as_ref().and_then(|row| row.protocol_type.clone()),
                protocol: None,
                leader: None,
                state_since_ms: now_ms,
            },
        }
    }
}
