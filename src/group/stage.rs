//! A group with its store and its host, in virtual time: what transcripts and properties are played on.
//!
//! After every step the group's invariants are checked, and that what was written is the group: a reload of the rows
//! equals it, unless a rebalance is being prepared. No ticket is answered twice, or unasked.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_format::{BrokerId, GroupMemberValue, GroupState, GroupValue, OwnerEpoch};

use crate::{
    Change, Command, Coordinator, Effects, Group, GroupConfig, Reply, Ticket, WithoutGroup, without_group,
};

const GROUP: &str = "g";

/// The rows of the group, as committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) group: Option<GroupValue>,
    pub(crate) members: BTreeMap<String, GroupMemberValue>,
}

pub(crate) struct Stage {
    pub(crate) config: GroupConfig,
    pub(crate) now_ms: i64,
    pub(crate) group: Option<Group>,
    pub(crate) rows: Rows,
    unanswered: BTreeSet<Ticket>,
}

impl Stage {
    pub(crate) fn new(config: GroupConfig) -> Self {
        Self { config, now_ms: 0, group: None, rows: Rows::default(), unanswered: BTreeSet::new() }
    }

    /// What a host does with a command.
    pub(crate) fn ask(&mut self, ticket: Ticket, command: Command) -> Effects {
        assert!(self.unanswered.insert(ticket), "ticket {ticket:?} is in use");
        let effects = match (&mut self.group, without_group(&command)) {
            (None, WithoutGroup::Reply(reply)) => {
                Effects { changes: Vec::new(), replies: vec![(ticket, reply)] }
            }
            (group, _) => {
                let coordinator = Coordinator { broker: BrokerId(1), epoch: OwnerEpoch(1) };
                let group = group.get_or_insert_with(|| {
                    Group::new(GROUP.to_owned(), coordinator, self.config, self.now_ms)
                });
                group.handle(self.now_ms, ticket, command)
            }
        };
        self.settle(&effects);
        effects
    }

    /// Lets time pass up to `until_ms`, waking the group exactly when it asks to be woken.
    pub(crate) fn wait_until(&mut self, until_ms: i64) -> Vec<(i64, Effects)> {
        let mut all = Vec::new();
        while let Some(deadline_ms) = self.group.as_ref().and_then(Group::next_deadline_ms) {
            if deadline_ms > until_ms {
                break;
            }
            self.now_ms = self.now_ms.max(deadline_ms);
            let group = self.group.as_mut().expect("it has a deadline");
            let effects = group.tick(self.now_ms);
            let next_ms = group.next_deadline_ms();
            assert!(next_ms.is_none_or(|next_ms| next_ms > self.now_ms), "a tick does all that is due");
            self.settle(&effects);
            all.push((self.now_ms, effects));
        }
        self.now_ms = until_ms;
        all
    }

    /// `kill -9`: memory is gone, rows are not, and whoever waited has lost the connection.
    pub(crate) fn restart(&mut self) {
        self.unanswered.clear();
        if let Some(row) = &mut self.rows.group {
            row.epoch = OwnerEpoch(row.epoch.0 + 1);
        }
        self.group = self.reload();
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = Ticket> {
        self.unanswered.iter().copied()
    }

    fn reload(&self) -> Option<Group> {
        let row = self.rows.group.clone()?;
        let members = self.rows.members.clone().into_iter().collect();
        let loaded = Group::load(GROUP.to_owned(), row, members, self.config, self.now_ms);
        let group = loaded.expect("what a group writes can be loaded");
        group.check_invariants();
        Some(group)
    }

    fn settle(&mut self, effects: &Effects) {
        for (ticket, reply) in &effects.replies {
            assert!(
                self.unanswered.remove(ticket),
                "{ticket:?} is answered once, and asked before: {reply:?}"
            );
        }
        self.commit(&effects.changes);
        let deleted = effects.replies.iter().any(|(_, reply)| matches!(reply, Reply::Delete(Ok(()))));
        let unfounded = self.group.as_ref().is_some_and(|group| !group.is_founded());
        if deleted || unfounded {
            let is_idle =
                self.group.as_ref().is_none_or(|group| group.is_idle() && group.next_deadline_ms().is_none());
            assert!(is_idle, "a group that is gone waits for nothing");
            assert_eq!(self.rows, Rows::default(), "a group that is gone leaves no rows");
            self.group = None;
        }
        let Some(group) = &self.group else {
            assert!(self.unanswered.is_empty(), "a group that is gone has answered everybody");
            return;
        };
        group.check_invariants();
        let waiting: BTreeSet<Ticket> = group.waiting().into_iter().collect();
        assert_eq!(waiting, self.unanswered, "the group knows who waits");
        let reloaded = self.reload().expect("a group that exists has a row");
        if group.state() != GroupState::PreparingRebalance {
            assert_eq!(group.lasting(), reloaded.lasting(), "the rows are the group");
        }
    }

    fn commit(&mut self, changes: &[Change]) {
        let mut keys = BTreeSet::new();
        for change in changes {
            assert!(keys.insert(change.encode(GROUP).0), "one change per row: {changes:?}");
            match change.clone() {
                Change::PutGroup(value) => self.rows.group = Some(value),
                Change::DeleteGroup => {
                    assert!(self.rows.group.take().is_some(), "only what is there is deleted");
                }
                Change::PutMember { member_id, value } => {
                    let before = self.rows.members.insert(member_id, value.clone());
                    assert_ne!(before, Some(value), "only what differs is written");
                }
                Change::DeleteMember { member_id } => {
                    assert!(self.rows.members.remove(&member_id).is_some(), "only what is there is deleted");
                }
            }
        }
    }
}
