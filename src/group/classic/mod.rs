//! The classic protocol: members join, one of them assigns, everybody syncs.
//!
//! [`Group`] is the state; one file per operation carries it on. `members` and `sessions` hold what must agree with
//! itself (counts, look-ups, timers), `rebalance` moves the group from one generation to the next, `rows` says what
//! of all that is written and reads it back.

mod delete;
mod describe;
mod expire;
mod heartbeat;
mod join;
mod leave;
mod load;
mod member;
mod members;
mod offset_commit;
mod offsets;
mod rebalance;
mod rows;
mod sessions;
mod static_member;
mod sync;

#[cfg(test)]
mod invariants;

use std::collections::BTreeSet;

use tidegate_format::{Generation, GroupState};

pub use describe::{GroupDescription, GroupSummary, MemberDescription, state_name};
pub use load::LoadError;

use crate::{Command, Coordinator, Effects, GroupConfig, GroupError, MemberIdentity, Reply, Ticket};
use members::Members;
use rebalance::JoinPhase;
use rows::Rows;
use sessions::Sessions;

/// One consumer group.
#[derive(Debug)]
pub struct Group {
    id: String,
    config: GroupConfig,
    state: GroupState,
    state_since_ms: i64,
    generation: Generation,
    /// The kind of members; none for a group that only keeps offsets.
    protocol_type: Option<String>,
    /// The assignor of the running generation.
    protocol: Option<String>,
    /// A member, whenever there are members.
    leader: Option<String>,
    members: Members,
    /// Ids that were handed out with MEMBER_ID_REQUIRED and have not come back.
    pending_join: BTreeSet<String>,
    /// Members that were told the running generation and have not asked for their assignment.
    pending_sync: BTreeSet<String>,
    /// What the members of the running generation read; none if that cannot be told.
    subscribed_topics: Option<BTreeSet<String>>,
    /// There exactly in `PreparingRebalance`.
    join_phase: Option<JoinPhase>,
    /// When members that have not synced are removed.
    sync_deadline_ms: Option<i64>,
    sessions: Sessions,
    rows: Rows,
}

impl Group {
    /// A group that is about to be founded: it has no row until a command gives it a reason to.
    #[must_use]
    pub fn new(id: String, coordinator: Coordinator, config: GroupConfig, now_ms: i64) -> Self {
        Self {
            id,
            config,
            state: GroupState::Empty,
            state_since_ms: now_ms,
            generation: Generation(0),
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Members::default(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            subscribed_topics: None,
            join_phase: None,
            sync_deadline_ms: None,
            sessions: Sessions::default(),
            rows: Rows::none(coordinator),
        }
    }

    /// Carries out one command. The reply to `ticket` is among the effects of this call or of a later one.
    pub fn handle(&mut self, now_ms: i64, ticket: Ticket, command: Command) -> Effects {
        let mut effects = Effects::default();
        match command {
            Command::Join(join) => self.handle_join(now_ms, ticket, &join, &mut effects),
            Command::Sync(sync) => self.handle_sync(now_ms, ticket, sync, &mut effects),
            Command::Heartbeat(heartbeat) => {
                effects.reply(ticket, Reply::Heartbeat(self.handle_heartbeat(now_ms, &heartbeat)));
            }
            Command::Leave(leave) => self.handle_leave(now_ms, ticket, leave, &mut effects),
            Command::CommitOffsets(commit) => {
                effects.reply(ticket, Reply::CommitOffsets(self.handle_offset_commit(now_ms, &commit)));
            }
            Command::Delete => {
                let outcome = self.handle_delete(&mut effects);
                effects.reply(ticket, Reply::Delete(outcome));
                return effects;
            }
        }
        self.write_rows(now_ms, &mut effects);
        effects
    }

    /// Does what is due: removes members whose time is up, ends the phases that have lasted long enough.
    pub fn tick(&mut self, now_ms: i64) -> Effects {
        let mut effects = Effects::default();
        self.expire_due(now_ms, &mut effects);
        self.write_rows(now_ms, &mut effects);
        effects
    }

    /// When [`tick`](Self::tick) has something to do next, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<i64> {
        let join_ms = self.join_phase.as_ref().map(|phase| phase.deadline_ms);
        [self.sessions.next_ms(), join_ms, self.sync_deadline_ms].into_iter().flatten().min()
    }

    /// The group's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is in its rebalance.
    #[must_use]
    pub fn state(&self) -> GroupState {
        self.state
    }

    /// The running generation.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether it has a row in the store.
    #[must_use]
    pub fn is_founded(&self) -> bool {
        self.rows.is_founded()
    }

    /// Who coordinates it, as its row says once it is founded.
    #[must_use]
    pub fn coordinator(&self) -> Coordinator {
        self.rows.coordinator()
    }

    /// Whether nobody is in it or about to be: dropping it from memory loses nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state == GroupState::Empty && self.pending_join.is_empty()
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Whether a member is who it says (Kafka's order of checks: the instance id first).
    fn check_member(&self, member: &MemberIdentity) -> Result<(), GroupError> {
        if let Some(instance) = &member.instance {
            match self.members.id_of_instance(instance) {
                None => return Err(GroupError::UnknownMemberId),
                Some(owner) if owner != member.member_id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains(&member.member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    /// The time-out of a member's session starts anew.
    fn renew_session(&mut self, member_id: &str, now_ms: i64) {
        if let Some(member) = self.members.get(member_id) {
            self.sessions.set(member_id, now_ms.saturating_add(i64::from(member.session_timeout_ms)));
        }
    }
}
