//! What a relay turn costs after many entries went through one partition: flat is the promise.
//!
//! `cargo bench -p tidegate-outbox` sends a million entries through the outbox, a million through the timer, and a
//! million through the timer while another million waits there, of one partition on the embedded store in a temporary
//! directory. For each hundred thousand it prints what a turn took that moves 1,000 entries, one that finds nothing, one
//! that finds nothing in a partition through which nothing ever went, and one that reads from the start. The two that find
//! nothing differ by what the entries left behind; what they have in common is the store's. The store's clock is set: 20,000 entries a second come due.
//!
//! `-- --store tikv://PD/NAMESPACE` does the first of these on TiKV, in a namespace that is not used yet, before and after
//! old versions were collected. Entries of the last `commit.max.ms` are looked at again there in each turn, so a turn that
//! moves nothing is taken once those have passed. `--transactions N` sends N times a thousand entries in each step.

#![allow(clippy::expect_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_format::{BrokerId, PartitionId, PartitionIndex, TopicId};
use tidegate_log::{Ownership, take_ownership};
use tidegate_outbox::relay::{Relay, RelayLimits, RelaySettings};
use tidegate_outbox::{Event, PublishSettings, Publisher, TopicDefaults, ensure_topic};
use tidegate_store::{
    AnyStore, EmbeddedOptions, EmbeddedStore, ManualClock, Store, TikvOptions, TikvStore, Txn, Version,
};
use uuid::Uuid;

const STEPS: usize = 10;
const PER_TRANSACTION: usize = 1_000;
const VALUE_BYTES: usize = 100;
/// How far ahead timer entries are due, and how long it is from one transaction to the next.
const AHEAD_MS: i64 = 50;
const A_DAY_MS: i64 = 86_400_000;
const IDLE_TURNS: u32 = 100;

struct Bench {
    store: AnyStore,
    clock: ManualClock,
    ownership: Ownership,
    relay: Relay,
    settings: RelaySettings,
}

impl Bench {
    async fn publish(&self, due_ahead_ms: Option<i64>) {
        let settings = PublishSettings::default();
        let now_ms = self.store.now_ms();
        let mut txn = self.store.begin().await.expect("a snapshot");
        let mut publisher = Publisher::new(&txn, &settings, now_ms, Uuid::new_v4());
        for n in 0..PER_TRANSACTION {
            let event = Event {
                id: n.to_string(),
                event_type: "bench".to_owned(),
                source: "/bench".to_owned(),
                time_ms: now_ms,
                key: Some(Bytes::from(n.to_string())),
                value: Some(Bytes::from(vec![b'x'; VALUE_BYTES])),
                due_ms: due_ahead_ms.map(|ahead_ms| now_ms + ahead_ms),
                ..Event::default()
            };
            publisher.publish(&mut txn, &event).await.expect("published");
        }
        txn.commit().await.expect("committed");
    }

    /// One turn: how many entries it moved, and how long it took.
    async fn turn(&mut self) -> (usize, Duration) {
        let now_ms = self.store.now_ms();
        let began = Instant::now();
        let turn = self.relay.turn(&self.store, &self.ownership, now_ms, &self.settings).await;
        (turn.expect("the store answers").records, began.elapsed())
    }

    async fn run(&mut self, name: &str, due_ahead_ms: Option<i64>, transactions: usize) {
        println!(
            "\n{name}: entries through | moving 1,000: p50, max ms | finding none, in a new partition: us | sweeping: us"
        );
        for step in 1..=STEPS {
            let mut moving = Vec::with_capacity(transactions);
            for _ in 0..transactions {
                self.publish(due_ahead_ms).await;
                self.clock.advance(AHEAD_MS);
                let (records, took) = self.turn().await;
                assert_eq!(records, PER_TRANSACTION);
                moving.push(took);
            }
            moving.sort_unstable();
            // What was moved within that time is looked over again until it has passed.
            tokio::time::sleep(Duration::from_millis(self.store.order_lag_ms())).await;
            self.turn().await;
            let mut untouched = partition(&self.store, &self.clock, &format!("{name}-{step}")).await;
            let (mut idle, mut idle_untouched) = (Duration::ZERO, Duration::ZERO);
            for _ in 0..IDLE_TURNS {
                idle += self.turn().await.1;
                idle_untouched += untouched.turn().await.1;
            }
            self.relay.sweep();
            let (_, sweeping) = self.turn().await;
            println!(
                "{:>9} | {:>6.2} {:>6.2} | {:>6} {:>6} | {:>6}",
                step * transactions * PER_TRANSACTION,
                moving[moving.len() / 2].as_secs_f64() * 1e3,
                moving[moving.len() - 1].as_secs_f64() * 1e3,
                (idle / IDLE_TURNS).as_micros(),
                (idle_untouched / IDLE_TURNS).as_micros(),
                sweeping.as_micros(),
            );
        }
    }
}

/// The value of an argument.
fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

/// A new topic's only partition.
async fn partition(store: &AnyStore, clock: &ManualClock, name: &str) -> Bench {
    let topic = TopicId(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()));
    let mut txn = store.begin().await.expect("a snapshot");
    ensure_topic(&mut txn, &name.replace([' ', ','], "-"), &TopicDefaults::default(), topic)
        .await
        .expect("a topic");
    txn.commit().await.expect("committed");
    let id = PartitionId { topic, partition: PartitionIndex(0) };
    let (ownership, _) = take_ownership(store, id, BrokerId(1)).await.expect("taken");
    let lag_ms = i64::try_from(store.order_lag_ms()).expect("some seconds");
    let limits = RelayLimits { records_max: PER_TRANSACTION, ..RelayLimits::default() };
    let settings = RelaySettings { limits, overlap_ms: lag_ms, ..RelaySettings::default() };
    Bench { store: store.clone(), clock: clock.clone(), ownership, relay: Relay::new(id), settings }
}

async fn on_tikv(address: &str, transactions: usize) {
    let mut options = TikvOptions::new(address.parse().expect("tikv://PD/NAMESPACE"));
    // Nothing of the bench is needed for long, and it is to see the old versions go.
    options.limits.max_ms = 10_000;
    (options.hold_after_ms, options.hold_renew_ms) = (1_000, 1_000);
    let tikv = TikvStore::connect(options).await.expect("a store");
    let mut bench = partition(&AnyStore::Tikv(tikv.clone()), &ManualClock::at(0), "bench").await;
    bench.run("outbox", None, transactions).await;
    let newest = tikv.oracle_version().await.expect("a version");
    tokio::time::sleep(Duration::from_secs(15)).await;
    let collected = tikv.collect_garbage(Version(newest.0)).await.expect("collected");
    println!("\nold versions may go up to {:?}", collected.safe_point);
    bench.run("outbox, after that", None, transactions).await;
    tikv.shutdown().await;
}

#[tokio::main]
async fn main() {
    // As part of a test run it only shows that it works.
    let default = if std::env::args().any(|arg| arg == "--bench") { 100 } else { 1 };
    let transactions = argument("--transactions").map_or(default, |count| count.parse().expect("a number"));
    if let Some(address) = argument("--store") {
        return on_tikv(&address, transactions).await;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::at(1_700_000_000_000);
    let options = EmbeddedOptions::new(Arc::new(clock.clone()));
    let store = EmbeddedStore::open(directory.path(), options).expect("a store");
    let mut bench = partition(&store.into(), &clock, "bench").await;
    bench.run("outbox", None, transactions).await;
    bench.run("timer", Some(AHEAD_MS), transactions).await;
    for _ in 0..STEPS * transactions {
        bench.publish(Some(A_DAY_MS)).await;
    }
    bench.run("timer, with as many pending", Some(AHEAD_MS), transactions).await;
}
