//! Rounds of transactions, actions of workers and relays that run side by side while the clock stands still.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use rand::Rng;
use rand::rngs::StdRng;
use tidegate_log::{AdmittedBatch, Appender};
use tidegate_protocol::batch::{BatchBuilder, BatchOptions};
use tidegate_protocol::murmur2::partition_for_key;
use tidegate_store::{CommitError, Store, commit_settled};

use super::application::{
    CLERKS, Disk, FILING, GROUP, LETTERS, ORDERS, ORDERS_PARTITIONS, RETRY, database, file, handle, transact,
};
use super::doubts::{Book, Doubt};
use super::filed::Tried;
use super::site::{Owner, REDRIVE_GROUP, Spot, Stored, partition_id, read_log, take_over};
use super::told::was_told;
use crate::model::Error;
use crate::worker::attempt::Place;
use crate::worker::context::{Context, Handler};
use crate::worker::held::{Task, Work};
use crate::worker::load::{begin_at, found_group, load_begun};
use crate::worker::outcome::IntoOutcome;
use crate::worker::partition::{Action, Limits};
use crate::worker::progress::Progress;
use crate::worker::redrive::send_back;
use crate::worker::run::carry_out;
use crate::{ConsumerRecord, Db, TopicPartition};

/// Small enough that each is reached.
const LIMITS: Limits = Limits {
    parked_max: 6,
    ahead_max: 12,
    advance_max: 4,
    advance_linger_ms: 50,
    park_max: 3,
    park_max_bytes: 400,
};
/// Two of each group that do not know of one another.
const WORKERS: usize = 2;
const BATCH_MAX: usize = 4;
/// Longer than a test takes: a handler that hangs is no matter of these tests.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(3_600);

/// A worker that handles events, or batches: the partitions that it has loaded, and the next offset that it reads of each.
struct Worker {
    is_of_batches: bool,
    held: BTreeMap<i32, (Place, Work, i64)>,
}

/// What was begun for a worker.
#[derive(Clone, Debug)]
pub(super) enum Began {
    Handle(Spot),
    Retry(Spot),
    Park(Vec<Spot>),
    Advance(i32, i64, i64),
    Batch(Tried),
}

/// What runs on a store from its opening until it is gone.
pub(super) struct Rounds<'a> {
    store: Disk,
    db: Db<Disk>,
    context: Context<Disk>,
    filing: Context<Disk>,
    seed: u64,
    book: &'a mut Book,
    owners: Option<Vec<Owner>>,
    workers: Vec<Worker>,
}

/// What the workers of a group share.
fn context(db: &Db<Disk>, group: &str, handler: Handler<Disk>) -> Context<Disk> {
    Context {
        db: db.clone(),
        group: group.to_owned(),
        handler,
        policy: RETRY,
        handler_timeout: HANDLER_TIMEOUT,
        counters: Arc::default(),
    }
}

impl<'a> Rounds<'a> {
    pub(super) fn new(store: &Disk, seed: u64, book: &'a mut Book) -> Self {
        let db = database(store.clone());
        let call = move |event, tx| handle(seed, event, tx).map(IntoOutcome::into_outcome).boxed();
        let handling = context(&db, GROUP, Handler::Each(Arc::new(call)));
        let call = move |events, tx| file(seed, events, tx).map(IntoOutcome::into_outcome).boxed();
        let filing = context(&db, FILING, Handler::Batch(Arc::new(call)));
        let kinds = [false, true].into_iter().flat_map(|is_of_batches| [is_of_batches; WORKERS]);
        let workers = kinds.map(|is_of_batches| Worker { is_of_batches, held: BTreeMap::new() }).collect();
        Self { store: store.clone(), db, context: handling, filing, seed, book, owners: None, workers }
    }

    /// One round; with `all`, everything that can be done, but no transactions of clerks. Says whether anything was done by
    /// workers.
    pub(super) async fn round(&mut self, rng: &mut StdRng, all: bool) -> bool {
        if self.owners.is_none() {
            self.owners = take_over(&self.store).await;
        }
        if self.owners.is_none() {
            // Whoever published now would create the topics.
            return false;
        }
        if !all && rng.random_bool(0.05) {
            self.workers[rng.random_range(0..2 * WORKERS)].held.clear();
        }
        if all || rng.random_bool(0.2) {
            self.send_one_back().await;
        }
        for who in 0..2 * WORKERS {
            for partition in 0..ORDERS_PARTITIONS {
                self.load(who, partition).await;
                if all || rng.random_bool(0.4) {
                    let count = if all { usize::MAX } else { rng.random_range(1..5) };
                    self.fetch(who, partition, count).await;
                }
            }
        }
        let now_ms = self.store.now_ms();
        let begun = self.begin(rng, all, now_ms);
        let clerks = CLERKS.into_iter().filter(|_| !all && rng.random_bool(0.4));
        let clerks: Vec<(u8, u64)> = clerks.map(|clerk| (clerk, self.next_number())).collect();
        let (handling, filing) = (&self.context, &self.filing);
        let actions = begun.into_iter().map(|(who, partition, began, place, task)| async move {
            let context = if matches!(began, Began::Batch(_)) { filing } else { handling };
            let done = carry_out(context, &place, task).await;
            (who, partition, began, done)
        });
        let transactions =
            clerks.iter().map(|(clerk, number)| transact(&self.db, self.seed, *clerk, *number));
        let relays = self.owners.iter_mut().flatten().map(|owner| owner.drain(&self.store));
        let (done, told, moved) = futures::join!(join_all(actions), join_all(transactions), join_all(relays));
        if moved.contains(&false) {
            self.owners = None;
        }
        for ((clerk, number), told) in clerks.into_iter().zip(told) {
            match told {
                Ok(()) => self.book.expected.transacted(clerk, number),
                Err(error) => {
                    let may_be = matches!(error, Error::Unknown { .. });
                    self.book.doubts.push(Doubt::Transaction { clerk, number, may_be });
                }
            }
        }
        let is_any = !done.is_empty();
        for (who, partition, began, done) in done {
            was_told(self.book, &began, &done, now_ms);
            let held = &mut self.workers[who].held;
            let is_as_known = held.get_mut(&partition).is_some_and(|(_, work, _)| work.take_in(now_ms, done));
            if !is_as_known {
                held.remove(&partition);
            }
        }
        if !self.book.doubts.is_empty()
            && let Ok(stored) = Stored::read(&self.store).await
        {
            self.book.settle(&stored);
        }
        is_any
    }

    fn next_number(&mut self) -> u64 {
        self.book.last_number += 1;
        self.book.last_number
    }

    /// Loads a partition for a worker that does not have it.
    async fn load(&mut self, who: usize, partition: i32) {
        if self.workers[who].held.contains_key(&partition) {
            return;
        }
        let is_of_batches = self.workers[who].is_of_batches;
        let group = if is_of_batches { FILING } else { GROUP };
        let progress = Progress::new(group.to_owned(), partition_id(ORDERS, partition));
        if begin_at(&self.db, &progress, 0).await.is_err() || found_group(&self.db, group).await.is_err() {
            return;
        }
        let Ok(loaded) = load_begun(&self.db, progress).await else { return };
        let place = Place { at: TopicPartition::new(ORDERS, partition), progress: loaded.progress.clone() };
        let next = loaded.committed;
        let work = if is_of_batches {
            Work::ordered(BATCH_MAX, &place.at, loaded).expect("this group handles batches alone")
        } else {
            Work::keyed(LIMITS, loaded)
        };
        self.workers[who].held.insert(partition, (place, work, next));
    }

    /// Reads so many records for a worker.
    async fn fetch(&mut self, who: usize, partition: i32, count: usize) {
        let Some((_, work, next)) = self.workers[who].held.get_mut(&partition) else { return };
        let Ok(mut txn) = self.store.begin_reading().await else { return };
        let Ok(records) = read_log(&mut txn, ORDERS, partition, *next).await else { return };
        for record in records.into_iter().take(count) {
            self.book.expected.read(&record);
            *next = record.offset + 1;
            work.offer(self.store.now_ms(), Arc::new(record));
        }
    }

    /// What each worker starts.
    fn begin(&mut self, rng: &mut StdRng, all: bool, now_ms: i64) -> Vec<(usize, i32, Began, Place, Task)> {
        let mut begun = vec![];
        for (who, worker) in self.workers.iter_mut().enumerate() {
            for (partition, (place, work, _)) in &mut worker.held {
                let count = if all { usize::MAX } else { rng.random_range(0..4) };
                let mut tasks = vec![];
                while tasks.len() < count
                    && let Some(task) = work.next_task(now_ms)
                {
                    tasks.push(task);
                }
                tasks.extend(work.next_step(now_ms, all || rng.random_bool(0.3)));
                if !all && rng.random_bool(0.05) {
                    tasks.extend(work.refresh(now_ms));
                }
                let of = |task: Task| (who, *partition, began(*partition, &task), place.clone(), task);
                begun.extend(tasks.into_iter().map(of));
            }
        }
        begun
    }

    /// Sends the next dead letter back, as a producer would, and commits that then.
    async fn send_one_back(&mut self) {
        let from = self.book.expected.redriven;
        let Ok(mut txn) = self.store.begin_reading().await else { return };
        let Ok(letters) = read_log(&mut txn, LETTERS, 0, from).await else { return };
        let Some(letter) = letters.into_iter().next() else { return };
        let (next, partition) = (letter.offset + 1, partition_of(&letter));
        match self.append(&letter, partition).await {
            Some(Ok(())) => self.book.expected.was_sent_back(&letter, partition),
            Some(Err(CommitError::Unknown { .. })) => {
                return self.book.doubts.push(Doubt::SendBack { letter, partition });
            }
            _ => return,
        }
        let committed = self
            .db
            .transaction(|tx| async move { tx.commit_offset(REDRIVE_GROUP, LETTERS, 0, next).await })
            .await;
        match committed {
            Ok(()) => self.book.expected.redriven = next,
            Err(_) => self.book.doubts.push(Doubt::Redriven(next)),
        }
    }

    /// Appends a record that is sent back; none if the partition has no owner, or somebody else has it.
    async fn append(&self, letter: &ConsumerRecord, partition: i32) -> Option<Result<(), CommitError>> {
        let id = partition_id(ORDERS, partition);
        let owner = self.owners.iter().flatten().find(|owner| owner.ownership.id == id)?;
        let record = send_back(letter.clone(), "no other");
        assert_eq!(record.topic, ORDERS);
        let now_ms = self.store.now_ms();
        let mut builder = BatchBuilder::new();
        builder.push(now_ms, record.key.as_deref(), record.value.as_deref(), &record.headers).expect("small");
        let batch = builder.finish(&BatchOptions::default()).expect("small");
        let batch = AdmittedBatch::built(batch, now_ms).expect("a batch");
        let mut txn = self.store.begin().await.ok()?;
        let mut appender = Appender::begin(&mut txn, &owner.ownership).await.ok()?;
        appender.append(&mut txn, &batch).await.ok()?;
        let _readers_read_the_store = appender.finish(&mut txn);
        Some(commit_settled(&self.store, txn).await)
    }
}

/// Where a producer would send it: by its key, or anywhere.
fn partition_of(letter: &ConsumerRecord) -> i32 {
    match &letter.key {
        Some(key) => partition_for_key(key, ORDERS_PARTITIONS),
        None => i32::from(letter.offset % 2 == 1),
    }
}

fn began(partition: i32, task: &Task) -> Began {
    match task {
        Task::Action(Action::Handle { offset, .. }, _) => Began::Handle((partition, *offset)),
        Task::Action(Action::Retry { offset, .. }, _) => Began::Retry((partition, *offset)),
        Task::Action(Action::Park { records, .. }, _) => {
            Began::Park(records.iter().map(|(offset, _)| (partition, *offset)).collect())
        }
        Task::Advance(step) => Began::Advance(partition, step.from, step.to),
        Task::Batch(batch) => Began::Batch(Tried::of(partition, batch)),
    }
}
