//! Everything that can happen to entries, at random, against a plain model: each is moved once or cancelled, never both,
//! none early, and per key in order.

use proptest::prelude::*;
use tidegate_format::{PartitionId, PartitionStateKey};
use tidegate_protocol::batch::decode_records;
use tidegate_store::faulty::{CommitFault, On, Point};
use tidegate_store::{CommitError, FaultyStore, KeyRange, ManualClock, Store, Txn};
use uuid::Uuid;

use super::model::{Model, Plan, Work};
use crate::fixture::{
    Backend, Embedded, InMemory, Owner, TOPIC_NAME, block_on, create_topic, event, faulty, partition,
    publish_settings, text, values_of, waiting,
};
use crate::relay::{RelayLimits, RelaySettings, Turn};
use crate::{Event, PublishSettings, Publisher};

const PARTITIONS: usize = 2;

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
        partition: usize,
        records_max: usize,
    },
    /// A turn during which something else commits.
    TurnAgainst {
        partition: usize,
        work: Work,
    },
    /// A turn whose commit fails in this way.
    TurnFailing {
        partition: usize,
        fault: CommitFault,
    },
    /// The owner goes without a word, and another takes over.
    TakeOver {
        partition: usize,
    },
    /// Everything open is lost, and the store is opened again.
    Crash,
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
        16 => work().prop_map(Step::Run),
        4 => work().prop_map(Step::Open),
        4 => Just(Step::CommitOpen),
        6 => (1..100_i64).prop_map(|ms| Step::Advance { ms }),
        8 => (partition(), 1..6_usize).prop_map(|(partition, records_max)| Step::Turn { partition, records_max }),
        4 => (partition(), work()).prop_map(|(partition, work)| Step::TurnAgainst { partition, work }),
        2 => (partition(), fault).prop_map(|(partition, fault)| Step::TurnFailing { partition, fault }),
        2 => partition().prop_map(|partition| Step::TakeOver { partition }),
        1 => Just(Step::Crash),
    ]
}

/// An open transaction, and what it will have done.
struct Begun<S: Store> {
    txn: <FaultyStore<S> as Store>::Txn,
    plan: Plan,
}

impl<S: Store> Begun<S> {
    /// Commits, and tells the model if that succeeds.
    async fn commit(self, model: &mut Model) {
        match self.txn.commit().await {
            Ok(_) => model.commit(self.plan),
            Err(error) => assert_eq!(error, CommitError::Conflict),
        }
    }
}

struct World<B: Backend> {
    backend: B,
    store: FaultyStore<B::Store>,
    clock: ManualClock,
    settings: PublishSettings,
    owners: Vec<Owner>,
    open: Vec<Begun<B::Store>>,
    model: Model,
}

impl<B: Backend> World<B> {
    async fn new(backend: B) -> Self {
        let clock = backend.clock();
        let store = faulty(backend.open());
        create_topic(&store, i32::try_from(PARTITIONS).expect("a few")).await;
        let owners = own_all(&store).await;
        let (settings, model) = (publish_settings(), Model::default());
        Self { backend, store, clock, settings, owners, open: Vec::new(), model }
    }

    /// Does the work in a new transaction.
    async fn begin(&mut self, work: &Work) -> Begun<B::Store> {
        let now_ms = self.store.now_ms();
        let plan = self.model.plan(work, now_ms);
        let mut txn = self.store.begin().await.expect("a snapshot");
        let mut publisher = Publisher::new(&txn, &self.settings, now_ms, Uuid::from_u128(u128::MAX));
        match work {
            Work::Publish { key, delay_ms, schedule } => {
                let (name, ..) = plan.publishes.as_ref().expect("an entry");
                let event = Event {
                    due_ms: delay_ms.map(|delay_ms| now_ms + delay_ms),
                    schedule: schedule.map(|schedule| schedule.to_string()),
                    ..event(&key.to_string(), name)
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
        Begun { txn, plan }
    }

    async fn turn(&mut self, index: usize, records_max: usize) {
        let turn = self.owners[index].turn_with(&self.store, &limited(records_max)).await;
        assert!(turn.records <= records_max);
        take_in(&mut self.model, &turn, self.store.now_ms());
    }

    /// A turn, and right before its commit, if it comes to one, that of `work`.
    async fn turn_against(&mut self, index: usize, work: &Work) {
        let mut gate = self.store.faults().hold(of_owner(index), Point::BeforeCommit);
        let begun = self.begin(work).await;
        let Self { store, owners, model, .. } = self;
        let settings = limited(10);
        let mut turning = std::pin::pin!(owners[index].turn_with(store, &settings));
        let turn = tokio::select! {
            biased;
            turn = &mut turning => {
                drop(gate);
                take_in(model, &turn, store.now_ms());
                return begun.commit(model).await;
            }
            () = gate.reached() => {
                begun.commit(model).await;
                gate.release();
                turning.await
            }
        };
        take_in(model, &turn, store.now_ms());
    }

    async fn crash(&mut self) {
        self.open.clear();
        self.store = faulty(self.backend.reopen(self.store.inner()).await);
        self.owners = own_all(&self.store).await;
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Run(work) => self.begin(&work).await.commit(&mut self.model).await,
            Step::Open(work) => {
                let begun = self.begin(&work).await;
                self.open.push(begun);
            }
            Step::CommitOpen if self.open.is_empty() => {}
            Step::CommitOpen => self.open.remove(0).commit(&mut self.model).await,
            Step::Advance { ms } => self.clock.advance(ms),
            Step::Turn { partition, records_max } => self.turn(partition, records_max).await,
            Step::TurnAgainst { partition, work } => self.turn_against(partition, &work).await,
            Step::TurnFailing { partition, fault } => {
                self.store.faults().fail_commit(of_owner(partition), fault);
                self.turn(partition, 10).await;
            }
            Step::TakeOver { partition } => {
                self.owners[partition] = Owner::of(&self.store, id_of(partition)).await;
            }
            Step::Crash => self.crash().await,
        }
    }

    /// Lets everything come due, and compares.
    async fn finish(mut self) {
        while !self.open.is_empty() {
            self.step(Step::CommitOpen).await;
        }
        while let Some(late) = self.store.deliver_late().await {
            assert_eq!(late, Err(CommitError::Conflict), "what was settled never arrives");
        }
        // Faults that no commit met yet go with the wrapper.
        self.crash().await;
        self.clock.advance(1_000);
        for index in 0..PARTITIONS {
            loop {
                let turn = self.owners[index].turn(&self.store).await;
                take_in(&mut self.model, &turn, self.store.now_ms());
                if !turn.more {
                    break;
                }
            }
        }
        let mut logs = Vec::new();
        for index in 0..PARTITIONS {
            assert_eq!(waiting(&self.store, id_of(index)).await, (0, 0, 0));
            logs.push(values_of(&self.store, id_of(index)).await);
        }
        self.model.check_logs(&logs);
    }
}

/// Tells the model what a turn has moved.
fn take_in(model: &mut Model, turn: &Turn, now_ms: i64) {
    assert!(turn.due_ms.is_sorted(), "in due order");
    assert_eq!(turn.late, 0, "the watermark is exact");
    let entries = turn.appends.iter().flat_map(|appends| &appends.entries);
    let records: Vec<_> =
        entries.flat_map(|entry| decode_records(&entry.batch, 1 << 20).expect("a batch")).collect();
    assert_eq!(records.len(), turn.records);
    for record in records {
        model.moved(&text(record.value.as_ref()), now_ms);
    }
}

async fn own_all<S: Store>(store: &S) -> Vec<Owner> {
    let mut owners = Vec::new();
    for index in 0..PARTITIONS {
        owners.push(Owner::of(store, id_of(index)).await);
    }
    owners
}

fn id_of(index: usize) -> PartitionId {
    partition(i32::try_from(index).expect("a few"))
}

/// Commits of a partition's owner.
fn of_owner(index: usize) -> On {
    let state = PartitionStateKey { id: id_of(index) }.encode();
    On::next().touching(KeyRange::new(state.clone(), KeyRange::successor(&state)))
}

fn limited(records_max: usize) -> RelaySettings {
    let limits = RelayLimits { records_max, ..RelayLimits::default() };
    RelaySettings { limits, ..RelaySettings::default() }
}

fn check<B: Backend>(backend: B, steps: Vec<Step>) {
    block_on(async {
        let mut world = World::new(backend).await;
        for step in steps {
            world.step(step).await;
        }
        world.finish().await;
    });
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn each_entry_is_moved_once_or_cancelled_and_never_both_nor_early(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        check(InMemory::new(), steps);
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn so_it_is_on_the_embedded_store_across_its_reopening(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        check(Embedded::new(), steps);
    }
}
