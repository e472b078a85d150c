//! A process that runs the whole application on a store that it has opened is killed with SIGKILL, again and again, in the midst
//! of its work: clerks, workers of events, workers of ordered batches, the broker within it.
//!
//! What it was told of it says; what it had begun and was not told of is found in the store. In each round one group is joined,
//! by a static member, and the other has two workers on fixed partitions that do not know of one another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_store::{EmbeddedOptions, EmbeddedStore, Store, SystemClock};
use tidegate_tests::test_process::TestProcess;
use tokio::sync::watch;

use super::application::{
    CLERKS, FILING, GROUP, ORDERS, ORDERS_PARTITIONS, RETRY, clerk_key, file, handle, transact,
};
use super::check::check;
use super::doubts::Book;
use super::expected::State;
use super::site::{Stored, offset, partition_id, read_log, take_over};
use crate::{AppStore, Assignor, ConsumerOptions, Db, OpenOptions, Tidegate, Worker};

/// Set for the process that is to be killed: the directory, and the number of its round.
const DIRECTORY: &str = "TIDEGATE_TEST_APPLICATION_DIRECTORY";
const ROUND: &str = "TIDEGATE_TEST_APPLICATION_ROUND";
const TEST: &str = "worker::proofs::kill::whatever_kill_9_hits_all_that_is_stored_is_what_was_acknowledged";
/// How many times it is killed; `TIDEGATE_KILL_ROUNDS` has another number.
const ROUNDS: u64 = 20;
/// It is killed when it has said so much at most.
const LINES_MAX: usize = 60;
const SEED: u64 = 11;
/// Clerks wait while more records than this are not handled, or not filed.
const BEHIND_MAX: i64 = 16;
/// Small enough that both are reached.
const PARKED_MAX: usize = 6;
const BATCH_MAX: usize = 4;
/// How often it is looked at what is there.
const LOOK: Duration = Duration::from_millis(2);
/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(180);

fn say(what: &str) {
    // The line before may be one of the test's harness.
    println!("\n{what}");
}

async fn open(directory: &Path) -> Tidegate {
    let mut options = OpenOptions::new(directory);
    options.settings.group_initial_rebalance_delay_ms = 0;
    options.settings.store_overlay_bytes = 1 << 20;
    options.settings.store_segment_bytes = 1 << 20;
    options.settings.store_reserve_bytes = 0;
    options.db.retry.attempts_max = 1_000;
    Tidegate::open_with(options).await.expect("nobody else has it")
}

/// The workers of a round.
async fn start(tidegate: &Tidegate, round: u64) -> Vec<Worker> {
    let mut workers = vec![];
    for group in [GROUP, FILING] {
        let is_joined = (group == GROUP) == round.is_multiple_of(2);
        for _ in 0..if is_joined { 1 } else { 2 } {
            let consumer = ConsumerOptions {
                assignors: vec![Assignor::CooperativeSticky],
                // Who comes after one that was killed takes its place at once.
                group_instance_id: is_joined.then(|| format!("{group}-1")),
                heartbeat_interval_ms: 20,
                fetch_max_wait_ms: 50,
                ..ConsumerOptions::default()
            };
            let worker = tidegate.worker().expect("it has a broker").group(group).consumer_options(consumer);
            let worker = worker.retry(RETRY).parked_max(PARKED_MAX).batch_max(BATCH_MAX);
            let worker = if is_joined {
                worker.topics([ORDERS])
            } else {
                worker.partitions(ORDERS, 0..ORDERS_PARTITIONS)
            };
            let started = if group == GROUP {
                worker.start(|event, tx| handle(SEED, event, tx)).await
            } else {
                worker.start_batches(|events, tx| file(SEED, events, tx)).await
            };
            workers.push(started.expect("it starts"));
        }
    }
    workers
}

/// Does the work of a clerk, and says which transactions are committed.
async fn write(db: &Db<AppStore>, clerk: u8, mut behind: watch::Receiver<i64>) {
    let snapshot = db.snapshot().await.expect("read");
    let last = snapshot.user().get(clerk_key(clerk)).await.expect("read");
    let last = last.map_or(0, |last| std::str::from_utf8(&last).expect("text").parse().expect("a number"));
    for number in last + 1.. {
        behind.wait_for(|behind| *behind <= BEHIND_MAX).await.expect("somebody looks");
        transact(db, SEED, clerk, number).await.expect("it is committed");
        say(&format!("ack {clerk} {number}"));
    }
}

/// Looks how far the groups have come, and says so.
async fn look(store: &AppStore, behind: watch::Sender<i64>) {
    let (mut ends, mut said) = (BTreeMap::new(), BTreeMap::new());
    loop {
        let mut txn = store.begin_reading().await.expect("read");
        let mut behind_most = 0;
        for partition in 0..ORDERS_PARTITIONS {
            let end: &mut i64 = ends.entry(partition).or_default();
            let records = read_log(&mut txn, ORDERS, partition, *end).await.expect("read");
            *end = records.last().map_or(*end, |last| last.offset + 1);
            for group in [GROUP, FILING] {
                let row = offset(&mut txn, group, partition_id(ORDERS, partition)).await.expect("read");
                let committed = row.map_or(0, |row| row.offset.0);
                behind_most = behind_most.max(*end - committed);
                if said.insert((group, partition), committed).is_some_and(|before| before < committed) {
                    say(&format!("at {group} {partition} {committed}"));
                }
            }
        }
        drop(txn);
        behind.send_replace(behind_most);
        tokio::time::sleep(LOOK).await;
    }
}

/// Works until it is killed.
async fn work(directory: &Path, round: u64) {
    let tidegate = open(directory).await;
    say("open");
    let _workers = start(&tidegate, round).await;
    let (news, behind) = watch::channel(0);
    let db = tidegate.db();
    let clerks = CLERKS.map(|clerk| write(db, clerk, behind.clone()));
    tokio::join!(look(db.raw_store(), news), futures::future::join_all(clerks));
    panic!("it goes on until it is killed");
}

/// What a process has said before it was killed.
#[derive(Debug, Default)]
struct Said {
    /// The last transaction of each clerk that was acknowledged.
    clerks: BTreeMap<u8, u64>,
    /// How far each group had come in each partition.
    committed: BTreeMap<(String, i32), i64>,
}

impl Said {
    fn take_in(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u32>().expect("a small number");
        match words[..] {
            ["ack", clerk, last] => {
                let clerk = u8::try_from(number(clerk)).expect("a few");
                self.clerks.insert(clerk, number(last).into());
            }
            ["at", group, partition, committed] => {
                let partition = i32::try_from(number(partition)).expect("a few");
                self.committed.insert((group.to_owned(), partition), number(committed).into());
            }
            _ => {}
        }
    }

    /// Starts the process, and kills it when it has said so much.
    fn until_killed(directory: &Path, round: u64, lines: usize) -> Self {
        let directory = directory.to_str().expect("text");
        let variables = [(DIRECTORY, directory), (ROUND, &round.to_string())];
        let mut process = TestProcess::start(TEST, &variables);
        process.said("open");
        let mut said = Self::default();
        for _ in 0..lines {
            said.take_in(&process.line());
        }
        process.kill().iter().for_each(|line| said.take_in(line));
        said
    }

    fn check(&self, stored: &Stored) {
        for ((group, partition), said) in &self.committed {
            let committed = match group.as_str() {
                GROUP => stored.committed[partition],
                _ => stored.filed[partition].committed,
            };
            assert!(
                committed >= *said,
                "{group} had come to {said} in partition {partition}, and is at {committed}"
            );
        }
    }
}

/// Opens what a process has left, moves what is due, and compares.
async fn check_left(directory: &Path, said: &Said, book: &mut Book) {
    let options = EmbeddedOptions {
        overlay_bytes: 1 << 20,
        segment_bytes: 1 << 20,
        reserve_bytes: 0,
        ..EmbeddedOptions::new(Arc::new(SystemClock))
    };
    let store = EmbeddedStore::open(directory, options).expect("nobody else has it");
    for mut owner in take_over(&store).await.expect("the store is there") {
        assert!(owner.drain(&store).await, "the store is there");
    }
    let stored = Stored::read(&store).await.expect("the store is there");
    said.check(&stored);
    book.follow(&stored, &said.clerks);
    check(&store, &book.expected, &stored).await;
    store.shutdown().await;
}

/// Deals with all that is left.
async fn finish(directory: &Path) {
    let tidegate = open(directory).await;
    let workers = start(&tidegate, ROUNDS).await;
    let is_over = async {
        while !Stored::read(tidegate.db().raw_store()).await.expect("read").is_dealt_with() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(HANG_AFTER, is_over).await.expect("it comes to an end");
    for worker in workers {
        worker.stop().await.expect("it stops");
    }
    tidegate.shutdown().await;
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn whatever_kill_9_hits_all_that_is_stored_is_what_was_acknowledged() {
    if let (Ok(directory), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(ROUND)) {
        return block_on(work(Path::new(&directory), round.parse().expect("a number")));
    }
    let asked = std::env::var("TIDEGATE_KILL_ROUNDS").ok().map(|rounds| rounds.parse().expect("a number"));
    let directory = tempfile::tempdir().expect("a directory");
    let mut book = Book::new(SEED);
    let mut rng = StdRng::seed_from_u64(SEED);
    // Topics are there before a broker is.
    block_on(check_left(directory.path(), &Said::default(), &mut book));
    let (mut parked, mut noted) = (0, 0);
    for round in 0..asked.unwrap_or(ROUNDS) {
        let lines = rng.random_range(0..LINES_MAX);
        let said = Said::until_killed(directory.path(), round, lines);
        block_on(check_left(directory.path(), &said, &mut book));
        parked += book.expected.parked();
        noted += book.expected.filed.values().filter(|filed| filed.front.noted.is_some()).count();
    }
    block_on(async {
        finish(directory.path()).await;
        check_left(directory.path(), &Said::default(), &mut book).await;
    });
    let expected = &book.expected;
    assert!(
        expected.records.keys().all(|spot| !expected.is_fresh(*spot)),
        "everything was handled or buried"
    );
    let buried = expected.states.values().filter(|state| matches!(state, State::Buried { .. })).count();
    let buried_of_batches: usize = expected.filed.values().map(|filed| filed.buried.len()).sum();
    let counts = [expected.records.len(), parked, noted, buried, buried_of_batches];
    println!("records, parked, noted, buried, of batches: {counts:?}; {:?}", book.settled);
    assert!(asked.is_some() || !counts.contains(&0), "all of it happens: {counts:?}");
}
