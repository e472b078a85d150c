//! What holds whatever is said, in whatever order, with crashes between. `stage` checks the invariants after every
//! step; here is what can only be seen over a whole conversation.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tidegate_format::{Generation, GroupState};

use crate::stage::{Rows, Stage};
use crate::{
    Command, CommitOffsets, Effects, GroupConfig, GroupError, Heartbeat, Join, Leave, MemberIdentity, Reply,
    Sync, Ticket,
};

const DAY_MS: i64 = 86_400_000;

/// One thing that happens. Members are chosen among all ids ever handed out, so many are stale.
#[derive(Clone, Debug)]
enum Step {
    JoinNew { instance: Option<u8>, protocols: u8, version: i16, timeouts: u8 },
    JoinAgain { who: usize, protocols: u8, timeouts: u8, with_instance: bool },
    Sync { who: usize, behind: i32, assignment: u8, with_instance: bool },
    LeaderSync { assignment: u8 },
    Heartbeat { who: usize, behind: i32, with_instance: bool },
    Leave { who: Vec<usize>, instance: Option<u8> },
    Commit { who: Option<usize>, behind: i32, transactional: bool },
    Delete,
    Wait { ms: i64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0_usize..64;
    let behind = prop_oneof![9 => Just(0), 1 => -1..2];
    let instance = proptest::option::weighted(0.5, 0_u8..2);
    prop_oneof![
        6 => (instance.clone(), 0_u8..8, prop_oneof![Just(3), Just(4), Just(8), Just(9), Just(9)], 0_u8..4).prop_map(
            |(instance, protocols, version, timeouts)| Step::JoinNew { instance, protocols, version, timeouts }
        ),
        8 => (who.clone(), 0_u8..8, 0_u8..4, any::<bool>()).prop_map(|(who, protocols, timeouts, with_instance)| {
            Step::JoinAgain { who, protocols, timeouts, with_instance }
        }),
        8 => (who.clone(), behind.clone(), 0_u8..3, any::<bool>())
            .prop_map(|(who, behind, assignment, with_instance)| Step::Sync { who, behind, assignment, with_instance }),
        6 => (0_u8..3).prop_map(|assignment| Step::LeaderSync { assignment }),
        4 => (who.clone(), behind.clone(), any::<bool>())
            .prop_map(|(who, behind, with_instance)| Step::Heartbeat { who, behind, with_instance }),
        2 => (proptest::collection::vec(who.clone(), 0..3), instance)
            .prop_map(|(who, instance)| Step::Leave { who, instance }),
        2 => (proptest::option::of(who), behind, any::<bool>())
            .prop_map(|(who, behind, transactional)| Step::Commit { who, behind, transactional }),
        1 => Just(Step::Delete),
        6 => prop_oneof![0_i64..20, 0_i64..8_000, 0_i64..70_000].prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Restart),
    ]
}

/// Bits choose among three protocols (nearly always range too); the first one of the list differs with them.
fn protocols(bits: u8) -> Vec<(String, Bytes)> {
    let mut chosen: Vec<(String, Bytes)> = ["range", "sticky", "round"]
        .into_iter()
        .enumerate()
        .filter(|(index, _)| bits & (1 << index) != 0 || (*index == 0 && bits != 6))
        .map(|(_, name)| (name.to_owned(), Bytes::copy_from_slice(&[bits / 4])))
        .collect();
    if bits % 3 == 1 {
        chosen.reverse();
    }
    chosen
}

/// A conversation: what was said and what followed.
struct Conversation {
    stage: Stage,
    /// Every id ever handed out, with its instance.
    ids: Vec<(String, Option<String>)>,
    told: BTreeMap<String, Generation>,
    /// The leader that somebody was told of last.
    leader: String,
    next_ticket: u64,
    followed: Vec<(i64, Effects)>,
}

impl Conversation {
    fn new(config: GroupConfig) -> Self {
        let stage = Stage::new(config);
        Self {
            stage,
            ids: Vec::new(),
            told: BTreeMap::new(),
            leader: String::new(),
            next_ticket: 0,
            followed: Vec::new(),
        }
    }

    fn identity(&self, who: usize, with_instance: bool) -> MemberIdentity {
        if self.ids.is_empty() {
            return MemberIdentity { member_id: "nobody".to_owned(), instance: None };
        }
        let (member_id, instance) = &self.ids[who % self.ids.len()];
        MemberIdentity { member_id: member_id.clone(), instance: instance.clone().filter(|_| with_instance) }
    }

    fn generation(&self, behind: i32) -> Generation {
        Generation(self.stage.group.as_ref().map_or(0, |group| group.generation().0) - behind)
    }

    fn play(&mut self, step: Step) {
        let command = match step {
            Step::Wait { ms } => {
                for (now_ms, effects) in self.stage.wait_until(self.stage.now_ms + ms) {
                    self.observe(now_ms, effects);
                }
                return self.check_generation();
            }
            Step::Restart => return self.stage.restart(),
            other => self.command(other),
        };
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let effects = self.stage.ask(ticket, command);
        self.observe(self.stage.now_ms, effects);
        self.check_generation();
    }

    fn command(&mut self, step: Step) -> Command {
        match step {
            Step::JoinNew { instance, protocols: bits, version, timeouts } => {
                let new_id = format!("{:02}", self.ids.len());
                let instance = instance.map(|number| format!("desk-{number}"));
                self.ids.push((new_id.clone(), instance.clone()));
                let nobody = MemberIdentity { member_id: String::new(), instance };
                Command::Join(join(nobody, new_id, bits, version, timeouts))
            }
            Step::JoinAgain { who, protocols: bits, timeouts, with_instance } => {
                Command::Join(join(self.identity(who, with_instance), "unused".to_owned(), bits, 9, timeouts))
            }
            Step::Sync { who, behind, assignment, with_instance } => {
                let value = Bytes::copy_from_slice(&[assignment]);
                let everybody = self.ids.iter().map(|(member_id, _)| (member_id.clone(), value.clone()));
                Command::Sync(Sync {
                    member: self.identity(who, with_instance),
                    generation: self.generation(behind),
                    protocol_type: None,
                    protocol: None,
                    assignments: everybody.collect(),
                })
            }
            Step::LeaderSync { assignment } => {
                let who = self.ids.iter().position(|(member_id, _)| *member_id == self.leader).unwrap_or(0);
                self.command(Step::Sync { who, behind: 0, assignment, with_instance: true })
            }
            Step::Heartbeat { who, behind, with_instance } => Command::Heartbeat(Heartbeat {
                member: self.identity(who, with_instance),
                generation: self.generation(behind),
            }),
            Step::Leave { who, instance } => {
                let mut members: Vec<MemberIdentity> =
                    who.into_iter().map(|who| self.identity(who, who % 2 == 0)).collect();
                let instance = instance.map(|number| format!("desk-{number}"));
                members.extend(
                    instance.map(|instance| MemberIdentity {
                        member_id: String::new(),
                        instance: Some(instance),
                    }),
                );
                Command::Leave(Leave { members })
            }
            Step::Commit { who, behind, transactional } => {
                let nobody = MemberIdentity { member_id: String::new(), instance: None };
                let generation = if who.is_some() { self.generation(behind) } else { Generation(-1) };
                let member = who.map_or(nobody, |who| self.identity(who, behind == 0));
                Command::CommitOffsets(CommitOffsets { member, generation, transactional })
            }
            Step::Delete => Command::Delete,
            Step::Wait { .. } | Step::Restart => unreachable!("these are no commands"),
        }
    }

    fn observe(&mut self, now_ms: i64, effects: Effects) {
        for (_, reply) in &effects.replies {
            let Reply::Join(Ok(joined)) = reply else { continue };
            self.told.insert(joined.member_id.clone(), joined.generation);
            assert!(
                joined.members.is_empty() || joined.leader == joined.member_id,
                "only the leader is told"
            );
            assert!(!joined.skip_assignment || !joined.members.is_empty());
        }
        self.followed.push((now_ms, effects));
    }

    /// Who is in a generation was told so, unless it is a static member that slept through the rebalance.
    fn check_generation(&self) {
        let Some(group) = &self.stage.group else { return };
        if !matches!(group.state(), GroupState::CompletingRebalance | GroupState::Stable) {
            return;
        }
        for member in group.describe().members {
            let told = self.told.get(&member.member_id);
            assert!(member.instance.is_some() || told == Some(&group.generation()), "{member:?}: {told:?}");
        }
    }
}

fn join(member: MemberIdentity, new_member_id: String, bits: u8, version: i16, timeouts: u8) -> Join {
    Join {
        member_id: member.member_id,
        new_member_id,
        instance: member.instance,
        client_id: "c".to_owned(),
        client_host: "/h".to_owned(),
        session_timeout_ms: [6_000, 10_000, 45_000, 600_000][usize::from(timeouts)],
        rebalance_timeout_ms: [60_000, 0, -1, 300_000][usize::from(timeouts)],
        protocol_type: "consumer".to_owned(),
        protocols: protocols(bits),
        member_id_required: version >= 4,
        can_skip_assignment: version >= 9,
    }
}

fn config() -> impl Strategy<Value = GroupConfig> {
    (
        prop_oneof![Just(0), Just(3_000)],
        prop_oneof![Just(2_usize), Just(1_000)],
        prop_oneof![Just(1_500_usize), Just(1 << 20)],
    )
        .prop_map(|(initial_rebalance_delay_ms, members_max, group_max_bytes)| GroupConfig {
            initial_rebalance_delay_ms,
            members_max,
            group_max_bytes,
            ..GroupConfig::default()
        })
}

fn converse(config: GroupConfig, steps: &[Step]) -> Conversation {
    let mut conversation = Conversation::new(config);
    for step in steps {
        conversation.play(step.clone());
    }
    conversation
}

/// What was answered, by its kind and error.
fn kind(reply: &Reply) -> String {
    match reply {
        Reply::Join(Ok(joined)) if joined.skip_assignment => "join skip".to_owned(),
        Reply::Join(Ok(joined)) if joined.members.is_empty() => "join follower".to_owned(),
        Reply::Join(Ok(_)) => "join leader".to_owned(),
        Reply::Join(Err(refused)) => format!("join {}", refused.error),
        Reply::Sync(outcome) => name("sync", outcome.as_ref().err()),
        Reply::Heartbeat(outcome) => name("heartbeat", outcome.as_ref().err()),
        Reply::CommitOffsets(outcome) => name("commit", outcome.as_ref().err()),
        Reply::Delete(outcome) => name("delete", outcome.as_ref().err()),
        Reply::Leave(members) => {
            name("leave", members.first().and_then(|(_, outcome)| outcome.as_ref().err()))
        }
    }
}

fn name(kind: &str, error: Option<&GroupError>) -> String {
    error.map_or_else(|| format!("{kind} ok"), |error| format!("{kind} {error}"))
}

#[test]
fn the_conversations_say_everything_that_can_be_said() {
    let mut runner = TestRunner::deterministic();
    let conversations = (config(), proptest::collection::vec(step(), 60..80));
    let mut kinds: BTreeSet<String> = BTreeSet::new();
    for _ in 0..400 {
        let (config, steps) = conversations.new_tree(&mut runner).expect("generated").current();
        let followed = converse(config, &steps).followed;
        kinds.extend(
            followed.iter().flat_map(|(_, effects)| effects.replies.iter().map(|(_, reply)| kind(reply))),
        );
    }
    let expected = [
        "commit FENCED_INSTANCE_ID",
        "commit GROUP_ID_NOT_FOUND",
        "commit ILLEGAL_GENERATION",
        "commit REBALANCE_IN_PROGRESS",
        "commit UNKNOWN_MEMBER_ID",
        "commit ok",
        "delete GROUP_ID_NOT_FOUND",
        "delete NON_EMPTY_GROUP",
        "delete ok",
        "heartbeat FENCED_INSTANCE_ID",
        "heartbeat ILLEGAL_GENERATION",
        "heartbeat REBALANCE_IN_PROGRESS",
        "heartbeat UNKNOWN_MEMBER_ID",
        "heartbeat ok",
        "join FENCED_INSTANCE_ID",
        "join GROUP_MAX_SIZE_REACHED",
        "join INCONSISTENT_GROUP_PROTOCOL",
        "join MEMBER_ID_REQUIRED",
        "join REBALANCE_IN_PROGRESS",
        "join UNKNOWN_MEMBER_ID",
        "join follower",
        "join leader",
        "join skip",
        "leave FENCED_INSTANCE_ID",
        "leave UNKNOWN_MEMBER_ID",
        "leave ok",
        "sync FENCED_INSTANCE_ID",
        "sync ILLEGAL_GENERATION",
        "sync REBALANCE_IN_PROGRESS",
        "sync UNKNOWN_MEMBER_ID",
        "sync ok",
    ];
    let missing: Vec<&str> = expected.into_iter().filter(|kind| !kinds.contains(*kind)).collect();
    assert!(missing.is_empty(), "never said: {missing:?}; said: {kinds:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nobody_waits_for_ever_and_silence_empties_the_group(
        config in config(),
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let mut conversation = converse(config, &steps);
        conversation.play(Step::Wait { ms: DAY_MS });
        prop_assert_eq!(conversation.stage.waiting().count(), 0);
        if let Some(group) = &conversation.stage.group {
            prop_assert!(group.is_idle());
            prop_assert_eq!(group.next_deadline_ms(), None);
            prop_assert!(conversation.stage.rows.members.is_empty());
        }
    }

    #[test]
    fn the_same_conversation_has_the_same_effects(
        config in config(),
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let (once, again) = (converse(config, &steps), converse(config, &steps));
        prop_assert_eq!(once.followed, again.followed);
        prop_assert_eq!(once.stage.rows, again.stage.rows);
    }

    #[test]
    fn a_crash_at_any_point_leaves_rows_that_load_and_go_on(
        config in config(),
        before in proptest::collection::vec(step(), 0..60),
        after in proptest::collection::vec(step(), 0..30),
    ) {
        let mut conversation = converse(config, &before);
        let described = conversation.stage.group.as_ref().map(crate::Group::describe);
        conversation.play(Step::Restart);
        let reloaded = conversation.stage.group.as_ref().map(crate::Group::describe);
        if described.as_ref().is_some_and(|group| group.state != GroupState::PreparingRebalance) {
            prop_assert_eq!(described, reloaded);
        }
        prop_assert_eq!(conversation.stage.group.is_some(), conversation.stage.rows != Rows::default());
        for step in after {
            conversation.play(step);
        }
    }
}
