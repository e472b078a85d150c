//! Everything that can happen to entries, at random, against a plain model: each is moved once or cancelled, never both,
//! none early, and per key in order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate_format::PartitionStateKey;
use tidegate_protocol::batch::decode_records;
use tidegate_store::faulty::{CommitFault, On, Point};
use tidegate_store::{CommitError, FaultyStore, KeyRange, ManualClock, MemoryStore, Store, Txn};
use uuid::Uuid;

use crate::fixture::{
    Owner, TOPIC_NAME, block_on, create_topic, event, memory_store, partition, publish_settings, text,
    values_of, waiting,
};
use crate::relay::{RelayLimits, RelaySettings, Turn};
use crate::{Event, PublishSettings, Publisher};

const PARTITIONS: i32 = 2;

/// What one transaction of an application does.
#[derive(Clone, Debug)]
enum Work {
    Publish { key: u8, delay_ms: Option<i64>, schedule: Option<u8> },
    Cancel { schedule: u8 },
    Reschedule { schedule: u8, delay_ms: i64 },
}

#[derive(Clone, Debug)]
enum Step {
    /// Runs at once.
    Run(Work),
    /// Runs, and leaves the transaction open.
    Open(Work),
    /// Commits the transaction that has been open for longest.
    CommitOpen,
    Advance {
        ms: i64,
    },
    Turn {
        partition: i32,
        records_max: usize,
    },
    /// A turn during which something else commits.
    TurnAgainst {
        partition: i32,
        work: Work,
    },
    /// A turn whose commit fails in this way.
    TurnFailing {
        partition: i32,
        fault: CommitFault,
    },
    /// The owner goes without a word, and another takes over.
    TakeOver {
        partition: i32,
    },
}

fn work() -> impl Strategy<Value = Work> {
    let delay_ms = -20..200_i64;
    prop_oneof![
        5 => (0..4_u8, proptest::option::of(delay_ms.clone()), proptest::option::of(0..4_u8))
            .prop_map(|(key, delay_ms, schedule)| Work::Publish { key, delay_ms, schedule }),
        1 => (0..4_u8).prop_map(|schedule| Work::Cancel { schedule }),
        1 => (0..4_u8, delay_ms).prop_map(|(schedule, delay_ms)| Work::Reschedule { schedule, delay_ms }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let partition = || 0..PARTITIONS;
    let fault = prop_oneof![
        Just(CommitFault::LostApplied),
        Just(CommitFault::LostNotApplied),
        Just(CommitFault::LostLate),
        Just(CommitFault::Refused(CommitError::Conflict)),
    ];
    prop_oneof![
        8 => work().prop_map(Step::Run),
        2 => work().prop_map(Step::Open),
        2 => Just(Step::CommitOpen),
        3 => (1..100_i64).prop_map(|ms| Step::Advance { ms }),
        4 => (partition(), 1..6_usize).prop_map(|(partition, records_max)| Step::Turn { partition, records_max }),
        2 => (partition(), work()).prop_map(|(partition, work)| Step::TurnAgainst { partition, work }),
        1 => (partition(), fault).prop_map(|(partition, fault)| Step::TurnFailing { partition, fault }),
        1 => partition().prop_map(|partition| Step::TakeOver { partition }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Moved,
    Cancelled,
}

/// One entry of the model. Its number is its record's value.
#[derive(Clone, Debug)]
struct Entry {
    key: u8,
    due_ms: Option<i64>,
    /// When its transaction began and committed, in steps of the model.
    began: usize,
    committed: usize,
    rescheduled: bool,
    fate: Fate,
}

/// What a transaction will have done if it commits.
#[derive(Clone, Debug, Default)]
struct Plan {
    cancels: Option<usize>,
    publishes: Option<(Entry, Option<u8>)>,
    reschedules: Option<(usize, i64)>,
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    schedules: BTreeMap<u8, usize>,
    tick: usize,
}

impl Model {
    fn tick(&mut self) -> usize {
        self.tick += 1;
        self.tick
    }

    fn plan(&mut self, work: &Work, now_ms: i64) -> Plan {
        let began = self.tick();
        let under = |schedule: &u8| self.schedules.get(schedule).copied();
        match work {
            Work::Publish { key, delay_ms, schedule } => {
                let due_ms = delay_ms.map(|delay_ms| now_ms + delay_ms).filter(|due_ms| *due_ms > now_ms);
                let fate = Fate::Waiting;
                let entry = Entry { key: *key, due_ms, began, committed: 0, rescheduled: false, fate };
                let row = schedule.filter(|_| due_ms.is_some());
                Plan {
                    cancels: schedule.as_ref().and_then(under),
                    publishes: Some((entry, row)),
                    ..Plan::default()
                }
            }
            Work::Cancel { schedule } => Plan { cancels: under(schedule), ..Plan::default() },
            Work::Reschedule { schedule, delay_ms } => {
                let reschedules = under(schedule).map(|entry| (entry, now_ms + delay_ms));
                Plan { reschedules, ..Plan::default() }
            }
        }
    }

    fn commit(&mut self, plan: Plan) {
        let committed = self.tick();
        if let Some(cancelled) = plan.cancels {
            assert_eq!(self.entries[cancelled].fate, Fate::Waiting, "a cancel of what is gone conflicts");
            self.entries[cancelled].fate = Fate::Cancelled;
            self.schedules.retain(|_, entry| *entry != cancelled);
        }
        if let Some((entry, schedule)) = plan.publishes {
            if let Some(schedule) = schedule {
                let before = self.schedules.insert(schedule, self.entries.len());
                assert_eq!(before, None, "two schedules of one name conflict");
            }
            self.entries.push(Entry { committed, ..entry });
        }
        if let Some((entry, due_ms)) = plan.reschedules {
            let entry = &mut self.entries[entry];
            assert_eq!(entry.fate, Fate::Waiting, "moving what is gone conflicts");
            (entry.due_ms, entry.rescheduled) = (Some(due_ms), true);
        }
    }

    fn moved(&mut self, number: usize, now_ms: i64) {
        let entry = &mut self.entries[number];
        assert_eq!(entry.fate, Fate::Waiting, "entry {number} is moved once, and not after a cancel");
        assert!(entry.due_ms.is_none_or(|due_ms| due_ms <= now_ms), "entry {number} is early");
        entry.fate = Fate::Moved;
        self.schedules.retain(|_, entry| *entry != number);
    }

    fn check_order(&self, log: &[usize]) {
        for (position, later) in log.iter().enumerate() {
            for earlier in &log[..position] {
                let (earlier, later) = (&self.entries[*earlier], &self.entries[*later]);
                let comparable = earlier.key == later.key && !earlier.rescheduled && !later.rescheduled;
                if comparable && earlier.due_ms.is_none() && later.due_ms.is_none() {
                    assert!(earlier.committed < later.committed, "{earlier:?} before {later:?}");
                }
                if comparable && earlier.due_ms.is_some() && earlier.due_ms == later.due_ms {
                    assert!(earlier.began < later.committed, "{earlier:?} before {later:?}");
                }
            }
        }
    }
}

type Faulty = FaultyStore<MemoryStore>;

/// An open transaction, what it will have done, and when it began.
type Begun = (<Faulty as Store>::Txn, Plan, usize);

struct World {
    store: Faulty,
    clock: ManualClock,
    settings: PublishSettings,
    owners: Vec<Owner>,
    open: Vec<Begun>,
    model: Model,
    /// Which entry of the model a record's value names.
    publishes: BTreeMap<String, usize>,
}

impl World {
    async fn new() -> Self {
        let (store, clock) = memory_store();
        let mut nonce = 0;
        let nonces = move || {
            nonce += 1;
            nonce
        };
        let store = FaultyStore::new(store, nonces);
        create_topic(&store, PARTITIONS).await;
        let mut owners = Vec::new();
        for index in 0..PARTITIONS {
            owners.push(Owner::of(&store, partition(index)).await);
        }
        let (settings, model) = (publish_settings(), Model::default());
        Self { store, clock, settings, owners, open: Vec::new(), model, publishes: BTreeMap::new() }
    }

    /// Does the work in a new transaction.
    async fn begin(&mut self, work: &Work) -> Begun {
        let now_ms = self.store.now_ms();
        let plan = self.model.plan(work, now_ms);
        let mut txn = self.store.begin().await.expect("a snapshot");
        let mut publisher = Publisher::new(&txn, &self.settings, now_ms, Uuid::from_u128(u128::MAX));
        let name = plan_name(&plan, self.model.tick);
        match work {
            Work::Publish { key, delay_ms, schedule } => {
                let event = Event {
                    due_ms: delay_ms.map(|delay_ms| now_ms + delay_ms),
                    schedule: schedule.map(|schedule| schedule.to_string()),
                    ..event(&key.to_string(), &name)
                };
                publisher.publish(&mut txn, &event).await.expect("published");
            }
            Work::Cancel { schedule } => {
                let found = publisher.cancel(&mut txn, TOPIC_NAME, &schedule.to_string()).await;
                assert_eq!(found, Ok(plan.cancels.is_some()));
            }
            Work::Reschedule { schedule, delay_ms } => {
                let (schedule, due_ms) = (schedule.to_string(), now_ms + delay_ms);
                let found = publisher.reschedule(&mut txn, TOPIC_NAME, &schedule, due_ms).await;
                assert_eq!(found, Ok(plan.reschedules.is_some()));
            }
        }
        let tick = self.model.tick;
        (txn, plan, tick)
    }

    async fn commit(&mut self, begun: Begun) {
        settle(&mut self.model, &mut self.publishes, begun).await;
    }

    async fn run(&mut self, work: &Work) {
        let begun = self.begin(work).await;
        self.commit(begun).await;
    }

    async fn turn(&mut self, index: i32, records_max: usize) {
        let owner = &mut self.owners[usize::try_from(index).expect("a partition")];
        let turn = owner.turn_with(&self.store, &limited(records_max)).await;
        assert!(turn.records <= records_max);
        self.take_in(&turn);
    }

    /// Tells the model what a turn has moved.
    fn take_in(&mut self, turn: &Turn) {
        let now_ms = self.store.now_ms();
        assert!(turn.due_ms.is_sorted(), "in due order");
        assert_eq!(turn.late, 0);
        let entries = turn.appends.iter().flat_map(|appends| &appends.entries);
        let records: Vec<_> =
            entries.flat_map(|entry| decode_records(&entry.batch, 1 << 20).expect("a batch")).collect();
        assert_eq!(records.len(), turn.records);
        for record in records {
            self.model.moved(self.publishes[&text(record.value.as_ref())], now_ms);
        }
    }

    async fn turn_against(&mut self, index: i32, work: &Work) {
        let state = PartitionStateKey { id: partition(index) }.encode();
        let on = On::next().touching(KeyRange::new(state.clone(), KeyRange::successor(&state)));
        let mut gate = self.store.faults().hold(on, Point::BeforeCommit);
        let begun = self.begin(work).await;
        let position = usize::try_from(index).expect("a partition");
        let store = self.store.clone();
        let turn = {
            let settings = limited(10);
            let Self { owners, model, publishes, .. } = self;
            let mut turning = std::pin::pin!(owners[position].turn_with(&store, &settings));
            tokio::select! {
                biased;
                turn = &mut turning => {
                    drop(gate);
                    settle(model, publishes, begun).await;
                    turn
                }
                () = gate.reached() => {
                    settle(model, publishes, begun).await;
                    gate.release();
                    turning.await
                }
            }
        };
        self.take_in(&turn);
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Run(work) => self.run(&work).await,
            Step::Open(work) => {
                let begun = self.begin(&work).await;
                self.open.push(begun);
            }
            Step::CommitOpen if self.open.is_empty() => {}
            Step::CommitOpen => {
                let begun = self.open.remove(0);
                self.commit(begun).await;
            }
            Step::Advance { ms } => self.clock.advance(ms),
            Step::Turn { partition, records_max } => self.turn(partition, records_max).await,
            Step::TurnAgainst { partition, work } => self.turn_against(partition, &work).await,
            Step::TurnFailing { partition: index, fault } => {
                let state = PartitionStateKey { id: partition(index) }.encode();
                let on = On::next().touching(KeyRange::new(state.clone(), KeyRange::successor(&state)));
                self.store.faults().fail_commit(on, fault);
                self.turn(index, 10).await;
            }
            Step::TakeOver { partition: index } => {
                let position = usize::try_from(index).expect("a partition");
                self.owners[position] = Owner::of(&self.store, partition(index)).await;
            }
        }
    }

    async fn finish(mut self) {
        while !self.open.is_empty() {
            self.step(Step::CommitOpen).await;
        }
        self.clock.advance(1_000);
        while let Some(late) = self.store.deliver_late().await {
            assert_eq!(late, Err(CommitError::Conflict), "what was settled never arrives");
        }
        for index in 0..PARTITIONS {
            // Rules that were never used up fail a few more.
            for _ in 0..200 {
                self.turn(index, 10).await;
            }
        }
        for index in 0..PARTITIONS {
            assert_eq!(waiting(&self.store, partition(index)).await, (0, 0, 0));
        }
        let mut logged = BTreeSet::new();
        for index in 0..PARTITIONS {
            let values = values_of(&self.store, partition(index)).await;
            let log: Vec<usize> = values.iter().map(|value| self.publishes[value]).collect();
            self.model.check_order(&log);
            for number in log {
                assert!(logged.insert(number), "entry {number} is in the log twice");
            }
        }
        for (number, entry) in self.model.entries.iter().enumerate() {
            assert_eq!(entry.fate == Fate::Moved, logged.contains(&number), "{entry:?}");
            assert_ne!(entry.fate, Fate::Waiting);
        }
    }
}

/// Commits, and tells the model if that succeeds.
async fn settle(model: &mut Model, publishes: &mut BTreeMap<String, usize>, (txn, plan, tick): Begun) {
    match txn.commit().await {
        Ok(_) => {
            if plan.publishes.is_some() {
                publishes.insert(plan_name(&plan, tick), model.entries.len());
            }
            model.commit(plan);
        }
        Err(error) => assert_eq!(error, CommitError::Conflict),
    }
}

/// A name for what a transaction publishes, from when it began.
fn plan_name(plan: &Plan, tick: usize) -> String {
    plan.publishes
        .as_ref()
        .map_or_else(|| format!("nothing {tick}"), |(entry, _)| format!("event {}", entry.began))
}

fn limited(records_max: usize) -> RelaySettings {
    let limits = RelayLimits { records_max, ..RelayLimits::default() };
    RelaySettings { limits, ..RelaySettings::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_entry_is_moved_once_or_cancelled_and_never_both_nor_early(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await;
            }
            world.finish().await;
        });
    }
}
