//! Cancels by producers that race entries as they come due, with produce on the same partitions: it goes on while the
//! cancels never pause, and each entry is moved or cancelled, never both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tidegate_format::{Offset, TimerKey};
use tidegate_outbox::hold::{HEADER_SCHEDULE_ID, HoldRules, Plan, plan};
use tidegate_protocol::batch::{BatchOptions, Record, TimestampType, encode_batch};
use tidegate_store::{Direction, KeyRange, Store, Txn};

use super::fixture::{Broker, START_MS, config, partition};
use crate::settings::{Delivery, Settings};
use crate::topics::TopicConfig;

/// At least so many cancels meet entries that come due.
const CANCELS_MIN: usize = 10_000;
/// Batches that each partition's producer sends meanwhile, one after the other.
const PRODUCED: usize = 200;
/// So many tasks schedule and cancel, each one batch after the other.
const CANCELLERS: usize = 4;
/// Entries that one batch schedules; every other one is cancelled by the next.
const PER_BATCH: usize = 100;
/// What the values of records begin with that are produced meanwhile.
const BESIDE: &str = "beside ";
/// In both partitions of a topic; the cancels of its entries come to the other one, so that they race its relay.
const ENTRIES_IN: i32 = 0;
const CANCELS_IN: i32 = 1;

fn planned(mut records: Vec<Record>, now_ms: i64) -> Plan {
    for (delta, record) in (0..).zip(&mut records) {
        record.offset_delta = delta;
    }
    let payload = encode_batch(&records, &BatchOptions::default()).expect("small");
    let rules = tidegate_log::BatchRules {
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        max_message_bytes: 1 << 20,
    };
    let batch = tidegate_log::AdmittedBatch::new(&payload, &rules, now_ms).expect("a good batch");
    plan(batch, &HoldRules::default(), now_ms).expect("a scheduled topic takes it")
}

fn named(schedule: usize, timestamp_ms: i64, value: Option<String>) -> Record {
    let name = Some(Bytes::from(schedule.to_string()));
    let headers = vec![(HEADER_SCHEDULE_ID.to_owned(), name)];
    Record { timestamp_ms, value: value.map(Bytes::from), headers, ..Record::default() }
}

/// A batch of cancels that was answered: the numbers of the batch's entries, and where the log ended then.
struct Cancelled {
    numbers: std::ops::Range<usize>,
    end: Offset,
}

/// What those who cancel have in common.
#[derive(Default)]
struct Race {
    scheduled: AtomicUsize,
    stop: AtomicBool,
}

impl Race {
    /// The entries of the next batch; none once there were enough and produce has ended.
    fn next_batch(&self) -> Option<std::ops::Range<usize>> {
        let enough = self.scheduled.load(Ordering::Relaxed) >= 2 * CANCELS_MIN;
        if enough && self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let first = self.scheduled.fetch_add(PER_BATCH, Ordering::Relaxed);
        Some(first..first + PER_BATCH)
    }
}

/// Schedules entries and cancels every other one of them as they come due, until it is told to stop.
async fn schedule_and_cancel(broker: Arc<Broker>, race: Arc<Race>) -> Vec<Cancelled> {
    let mut answered = Vec::new();
    while let Some(numbers) = race.next_batch() {
        let now_ms = broker.store.now_ms();
        let due_ms = now_ms + 2;
        let entries = numbers.clone().map(|n| named(n, due_ms, Some(n.to_string())));
        broker.produce(partition(ENTRIES_IN), planned(entries.collect(), now_ms)).await.expect("scheduled");
        // A little later each time, so that now the cancels come first and now the relay.
        let cancel_at_ms = due_ms + i64::try_from(answered.len() % 3).expect("a few");
        while broker.store.now_ms() < cancel_at_ms {
            tokio::task::yield_now().await;
        }
        let cancels = numbers.clone().filter(|n| n % 2 == 0).map(|n| named(n, now_ms, None));
        let cancelled = broker.produce(partition(CANCELS_IN), planned(cancels.collect(), now_ms)).await;
        assert_eq!(cancelled, Ok(-1), "cancelling what is gone succeeds too");
        answered.push(Cancelled { numbers, end: end_of(&broker).await });
    }
    answered
}

/// Where the log ends in the store, which readers may not have been told of yet.
async fn end_of(broker: &Broker) -> Offset {
    let mut txn = broker.memory.begin().await.expect("a store that works");
    let state = tidegate_log::load_state(&mut txn, partition(ENTRIES_IN)).await.expect("it decodes");
    state.expect("it was written to").next_offset
}

async fn produce_beside(broker: Arc<Broker>, index: i32) {
    for n in 0..PRODUCED {
        let value = Some(Bytes::from(format!("{BESIDE}{n}")));
        let record = Record { timestamp_ms: START_MS, value, ..Record::default() };
        let produced = broker.produce(partition(index), planned(vec![record], START_MS)).await;
        assert!(produced.as_ref().is_ok_and(|offset| *offset >= 0), "produce is not refused: {produced:?}");
    }
}

/// How many entries wait for their time.
async fn waiting(broker: &Broker) -> usize {
    let (start, end) = TimerKey::range(partition(ENTRIES_IN));
    let mut txn = broker.memory.begin().await.expect("a store that works");
    let keys = txn.scan_keys(&KeyRange::new(start, end), usize::MAX, Direction::Forward).await;
    keys.expect("a store that works").len()
}

/// The records of a partition: of which entry each is, and at which offset, without what was produced beside them, which
/// must all be there in its order.
async fn moved_in(broker: &Broker, index: i32) -> BTreeMap<usize, i64> {
    let (mut moved, mut beside) = (BTreeMap::new(), Vec::new());
    for (offset, value) in broker.records(partition(index)).await {
        if value.starts_with(BESIDE) {
            beside.push(value);
            continue;
        }
        let before = moved.insert(value.parse().expect("the number of an entry"), offset);
        assert_eq!(before, None, "entry {value} was moved twice");
    }
    assert_eq!(beside, (0..PRODUCED).map(|n| format!("{BESIDE}{n}")).collect::<Vec<_>>());
    moved
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn produce_goes_on_while_cancels_race_entries_that_come_due_and_what_was_cancelled_never_comes() {
    let topic = TopicConfig { delivery: Delivery::Scheduled, ..config() };
    let broker = Arc::new(Broker::with(2, topic, Settings::default()).await);
    let race = Arc::new(Race::default());
    let cancellers: Vec<_> =
        (0..CANCELLERS).map(|_| tokio::spawn(schedule_and_cancel(broker.clone(), race.clone()))).collect();
    let beside = [ENTRIES_IN, CANCELS_IN].map(|index| tokio::spawn(produce_beside(broker.clone(), index)));
    for produced in beside {
        // The cancels do not end before: if they held produce up, neither would ever end.
        produced.await.expect("no panic");
    }
    race.stop.store(true, Ordering::Relaxed);
    let mut answered = Vec::new();
    for canceller in cancellers {
        answered.extend(canceller.await.expect("no panic"));
    }
    let mut watch = broker.hosts.watch(partition(ENTRIES_IN)).expect("it exists");
    while waiting(&broker).await > 0 {
        watch.changed().await;
    }
    // Its answer comes behind the last move, of which readers know then.
    broker.hosts.delete_records(partition(ENTRIES_IN), Some(Offset(0))).await.expect("it changes nothing");
    let moved = moved_in(&broker, ENTRIES_IN).await;
    assert!(moved_in(&broker, CANCELS_IN).await.is_empty(), "cancels enter no log");
    let (mut cancelled, mut came_too_late) = (0, 0);
    for Cancelled { numbers, end } in answered {
        for n in numbers {
            match moved.get(&n) {
                Some(offset) if n % 2 == 0 => {
                    assert!(*offset < end.0, "entry {n} came after its cancel was answered");
                    came_too_late += 1;
                }
                None if n % 2 == 0 => cancelled += 1,
                moved => assert!(moved.is_some(), "entry {n} is lost"),
            }
        }
    }
    assert!(cancelled > 0 && came_too_late > 0, "they raced: {cancelled} cancelled, {came_too_late} moved");
}
