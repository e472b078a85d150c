//! Lag from rows that a test wrote itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_format::{
    BrokerId, LogKey, LogValue, Offset, OffsetKey, OffsetValue, OrderVersion, OwnerEpoch, ParkedKey,
    ParkedValue, PartitionId, PartitionState, PartitionStateKey, TimestampMaxima,
};
use tidegate_protocol::batch::{BatchOptions, Record, encode_batch};
use tidegate_store::{ManualClock, MemoryStore, Store, Txn};

use super::*;
use crate::settings::Settings;
use crate::topics::{Catalogue, Topic, Topics};

const NOW_MS: i64 = 1_700_000_000_000;

/// A topic of two partitions, and what is remembered between two looks.
struct Fixture {
    store: MemoryStore,
    catalogue: Catalogue,
    topic: Arc<Topic>,
    times: AppendTimes,
}

impl Fixture {
    async fn new() -> Self {
        let store = MemoryStore::new(Arc::new(ManualClock::at(NOW_MS)));
        let settings = Arc::new(Settings::default());
        let catalogue = Catalogue::load(store.clone().into(), settings).await.expect("it is empty");
        let topic = catalogue.create("flights", 2, BTreeMap::new(), false).await.expect("a new one");
        Self { store, catalogue, topic, times: AppendTimes::default() }
    }

    fn partition(&self, index: i32) -> PartitionId {
        self.topic.partition(index).expect("it has two")
    }

    async fn write(&self, writes: impl IntoIterator<Item = (Bytes, Option<Bytes>)>) {
        let mut txn = self.store.begin().await.expect("in memory");
        for (key, value) in writes {
            match value {
                Some(value) => txn.put(key, value),
                None => txn.delete(key),
            }
        }
        txn.commit().await.expect("nobody else writes");
    }

    /// A log of batches of ten records, each appended so many milliseconds ago; the first `deleted` records are gone.
    async fn log(&self, index: i32, appended_ago_ms: &[i64], deleted: i64) {
        let id = self.partition(index);
        let mut writes = Vec::new();
        let mut next = 0;
        for ago_ms in appended_ago_ms {
            writes.push((log_key(id, next + 9), Some(batch(next, NOW_MS - ago_ms))));
            next += 10;
        }
        let state = PartitionState {
            log_start: Offset(deleted),
            next_offset: Offset(next),
            owner: BrokerId(1),
            epoch: OwnerEpoch(0),
            log_bytes: 0,
            appended_bytes: 0,
            maxima: TimestampMaxima::new(0, []),
            commit_token: 0,
        };
        writes.push((PartitionStateKey { id }.encode(), Some(state.encode())));
        self.write(writes).await;
    }

    async fn commit(&self, group: &str, index: i32, offset: i64) {
        let key = OffsetKey { group: group.to_owned(), id: self.partition(index) };
        let value = OffsetValue {
            offset: Offset(offset),
            leader_epoch: -1,
            metadata: String::new(),
            commit_time_ms: NOW_MS,
            expire_time_ms: None,
        };
        self.write([(key.encode(), Some(value.encode()))]).await;
    }

    /// Group, partition, lag in records and in seconds.
    async fn lags(&mut self) -> Vec<(String, i32, i64, f64)> {
        let shown = self.shown(usize::MAX, |_, _| None).await;
        assert!(!shown.truncated);
        shown.rows.into_iter().map(|lag| (lag.group, lag.id.partition.0, lag.records, lag.seconds)).collect()
    }

    async fn shown(
        &mut self,
        max: usize,
        recent: impl Fn(PartitionId, Offset) -> Option<OrderVersion>,
    ) -> Shown<PartitionLag> {
        let topics: Arc<Topics> = self.catalogue.topics();
        let mut txn = self.store.begin().await.expect("in memory");
        let states = load_states(&mut txn, &topics).await.expect("in memory");
        let logs = Logs { topics: &topics, states: &states, recent, now_ms: NOW_MS };
        load_lags(&mut txn, &logs, &mut self.times, max).await.expect("in memory")
    }
}

fn log_key(id: PartitionId, last_offset: i64) -> Bytes {
    LogKey { id, last_offset: Offset(last_offset) }.encode()
}

fn version(ms: i64) -> OrderVersion {
    OrderVersion(u64::try_from(ms).expect("after 1970") << 18)
}

/// Ten records from an offset on.
fn batch(base_offset: i64, appended_ms: i64) -> Bytes {
    let record = |offset_delta| Record { offset_delta, ..Record::default() };
    let records: Vec<Record> = (0..10).map(record).collect();
    let options = BatchOptions { base_offset, ..BatchOptions::default() };
    let batch = encode_batch(&records, &options).expect("it is small");
    let append_version = version(appended_ms);
    let maxima = TimestampMaxima::new(0, []);
    LogValue { append_version, maxima, end_bytes: batch.len() as u64, batch }.encode()
}

fn lag(group: &str, partition: i32, records: i64, seconds: f64) -> (String, i32, i64, f64) {
    (group.to_owned(), partition, records, seconds)
}

#[tokio::test]
async fn lag_is_counted_from_the_first_record_that_is_not_committed() {
    let mut fixture = Fixture::new().await;
    fixture.log(0, &[9_000, 4_500, 250], 0).await;
    for (group, offset) in
        [("all", 30), ("beyond", 31), ("first", 0), ("in a batch", 9), ("second", 10), ("third", 20)]
    {
        fixture.commit(group, 0, offset).await;
    }
    let expected = [
        lag("all", 0, 0, 0.0),
        lag("beyond", 0, 0, 0.0),
        lag("first", 0, 30, 9.0),
        lag("in a batch", 0, 21, 9.0),
        lag("second", 0, 20, 4.5),
        lag("third", 0, 10, 0.25),
    ];
    assert_eq!(fixture.lags().await, expected);
}

#[tokio::test]
async fn a_partition_that_was_never_used_has_no_lag() {
    let mut fixture = Fixture::new().await;
    fixture.commit("early", 1, 0).await;
    assert_eq!(fixture.lags().await, [lag("early", 1, 0, 0.0)]);
}

#[tokio::test]
async fn seconds_are_those_of_records_that_are_still_there() {
    let mut fixture = Fixture::new().await;
    fixture.log(0, &[9_000, 4_500, 250], 12).await;
    fixture.log(1, &[9_000], 10).await;
    fixture.commit("behind", 0, 3).await;
    fixture.commit("behind", 1, 3).await;
    // Of partition 0 the batch of the first ten is below the log's start, though its row is not removed yet.
    assert_eq!(fixture.lags().await, [lag("behind", 0, 27, 4.5), lag("behind", 1, 7, 0.0)]);
}

#[tokio::test]
async fn an_append_time_is_looked_up_again_only_when_it_is_that_of_another_record() {
    let mut fixture = Fixture::new().await;
    fixture.log(0, &[9_000, 4_500], 0).await;
    fixture.commit("board", 0, 5).await;
    assert_eq!(fixture.lags().await, [lag("board", 0, 15, 9.0)]);
    // Rows of the log never change. As these do, it is seen which was read.
    fixture.log(0, &[8_000, 3_000], 0).await;
    assert_eq!(fixture.lags().await, [lag("board", 0, 15, 9.0)]);
    fixture.commit("board", 0, 11).await;
    assert_eq!(fixture.lags().await, [lag("board", 0, 9, 3.0)]);
    fixture.commit("board", 0, 20).await;
    assert_eq!(fixture.lags().await, [lag("board", 0, 0, 0.0)]);
    fixture.commit("board", 0, 5).await;
    assert_eq!(fixture.lags().await, [lag("board", 0, 15, 8.0)], "what is not needed is forgotten");
}

#[tokio::test]
async fn what_is_in_memory_is_not_read_from_the_store() {
    let mut fixture = Fixture::new().await;
    fixture.log(0, &[9_000], 0).await;
    fixture.commit("board", 0, 5).await;
    let id = fixture.partition(0);
    let recent = |asked, offset| (asked == id && offset == Offset(5)).then(|| version(NOW_MS - 1_000));
    assert!(fixture.shown(1, recent).await.rows.iter().all(|lag| (lag.seconds - 1.0).abs() < f64::EPSILON));
}

#[tokio::test]
async fn topics_groups_and_offsets_that_are_deleted_disappear() {
    let mut fixture = Fixture::new().await;
    fixture.log(0, &[9_000], 0).await;
    fixture.commit("board", 0, 5).await;
    fixture.commit("gate", 0, 6).await;
    assert_eq!(fixture.lags().await, [lag("board", 0, 5, 9.0), lag("gate", 0, 4, 9.0)]);
    let key = OffsetKey { group: "board".to_owned(), id: fixture.partition(0) };
    fixture.write([(key.encode(), None)]).await;
    assert_eq!(fixture.lags().await, [lag("gate", 0, 4, 9.0)]);
    fixture.catalogue.drop_topic("flights", None).await.expect("it is there");
    assert_eq!(fixture.lags().await, []);
}

#[tokio::test]
async fn more_than_may_be_shown_is_cut_and_said() {
    let mut fixture = Fixture::new().await;
    fixture.log(0, &[9_000], 0).await;
    for group in 0..5 {
        fixture.commit(&format!("group {group}"), 0, group).await;
    }
    for (max, truncated) in [(4, true), (5, false), (6, false)] {
        let shown = fixture.shown(max, |_, _| None).await;
        assert_eq!((shown.rows.len(), shown.truncated), (max.min(5), truncated));
    }
}

#[tokio::test]
async fn groups_beyond_one_page_are_all_there() {
    let mut fixture = Fixture::new().await;
    let groups = PAGE + 7;
    for group in 0..groups {
        fixture.commit(&format!("group {group}"), 0, 0).await;
    }
    assert_eq!(fixture.lags().await.len(), groups);
}

#[tokio::test]
async fn parked_records_count_and_are_told_apart() {
    let mut fixture = Fixture::new().await;
    fixture.log(0, &[9_000], 0).await;
    for group in ["first", "second"] {
        fixture.commit(group, 0, 8).await;
    }
    let id = fixture.partition(0);
    let parked = |key: &'static str, offset| {
        let key = ParkedKey { group: "first".to_owned(), id, key: key.into(), offset: Offset(offset) };
        (key.encode(), Some(ParkedValue::default().encode()))
    };
    fixture.write([parked("a", 1), parked("a", 2), parked("b", 7)]).await;
    let shown = fixture.shown(usize::MAX, |_, _| None).await;
    let figures: Vec<_> =
        shown.rows.iter().map(|lag| (lag.group.as_str(), lag.records, lag.parked)).collect();
    assert_eq!(figures, [("first", 5, 3), ("second", 2, 0)]);
}
