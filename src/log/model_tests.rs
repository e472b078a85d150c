//! Random appends, reads, deletes and take-overs against a plain vector of records.

use proptest::prelude::*;
use tidegate_format::{LogKey, Offset, OwnerEpoch};
use tidegate_protocol::batch::{self, BatchHeader};
use tidegate_store::{MemoryStore, Store, Txn, commit_settled};

use crate::fixture::{ALL, ID, append_group, batch, compressed, memory, own, state};
use crate::{
    EpochEnd, OffsetError, Ownership, ReadLimit, Retention, TailCache, TimestampedOffset, delete_records,
    epoch_end_offset, find_by_timestamp, find_max_timestamp, read, retain, sweep,
};

const DECOMPRESSED_MAX_BYTES: usize = 1 << 20;

#[derive(Clone, Debug)]
enum Step {
    /// One transaction: batches of records with these timestamps.
    Append(Vec<(bool, Vec<i64>)>),
    /// From this fraction of the log, at most so many bytes.
    Read(u16, usize, bool),
    /// Up to this fraction of the log.
    Delete(u16),
    RetainBytes(u64),
    Sweep,
    TakeOver,
    ByTimestamp(i64),
    MaxTimestamp,
    EpochEnd(i32),
}

fn step() -> impl Strategy<Value = Step> {
    let batch = (any::<bool>(), prop::collection::vec(-1..40i64, 1..5));
    prop_oneof![
        6 => prop::collection::vec(batch, 1..4).prop_map(Step::Append),
        4 => (any::<u16>(), 0..600usize, any::<bool>()).prop_map(|(at, max, one)| Step::Read(at, max, one)),
        1 => any::<u16>().prop_map(Step::Delete),
        1 => (0..2000u64).prop_map(Step::RetainBytes),
        1 => Just(Step::Sweep),
        1 => Just(Step::TakeOver),
        4 => (-2..42i64).prop_map(Step::ByTimestamp),
        2 => Just(Step::MaxTimestamp),
        2 => (-1..8i32).prop_map(Step::EpochEnd),
    ]
}

/// One batch as the model remembers it.
#[derive(Clone, Debug)]
struct ModelBatch {
    base: i64,
    last: i64,
    epoch: i32,
    bytes: usize,
    row_bytes: usize,
    timestamps: Vec<i64>,
}

struct Run {
    store: MemoryStore,
    owner: Ownership,
    cache: TailCache,
    batches: Vec<ModelBatch>,
    log_start: i64,
}

impl Run {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.last + 1)
    }

    /// All records that can be read: offset, timestamp, epoch.
    fn records(&self) -> impl Iterator<Item = TimestampedOffset> + '_ {
        let records = self.batches.iter().flat_map(|batch| {
            (batch.base..).zip(&batch.timestamps).map(|(offset, timestamp_ms)| TimestampedOffset {
                offset: Offset(offset),
                timestamp_ms: *timestamp_ms,
                leader_epoch: batch.epoch,
            })
        });
        records.filter(|record| record.offset.0 >= self.log_start)
    }

    /// Somewhere from a little before the log to a little after it.
    fn place(&self, at: u16) -> i64 {
        i64::from(at) * (self.end() + 3) / i64::from(u16::MAX) - 1
    }

    async fn append(&mut self, group: &[(bool, Vec<i64>)]) {
        let admitted: Vec<_> = group
            .iter()
            .map(|(compress, timestamps)| if *compress { compressed(timestamps) } else { batch(timestamps) })
            .collect();
        let (appends, outcomes) = append_group(&self.store, &self.owner, &admitted).await.expect("owned");
        self.cache.push(ID, appends.entries);
        for ((outcome, admitted), (_, timestamps)) in outcomes.into_iter().zip(admitted).zip(group) {
            let base = self.end();
            let last = base + i64::try_from(timestamps.len()).expect("few") - 1;
            assert_eq!(outcome.expect("no sequence").base_offset, Offset(base));
            self.batches.push(ModelBatch {
                base,
                last,
                epoch: self.owner.epoch.0,
                bytes: admitted.bytes().len(),
                row_bytes: self.row_bytes(last).await,
                timestamps: timestamps.clone(),
            });
        }
    }

    async fn row_bytes(&self, last: i64) -> usize {
        let mut txn = self.store.begin().await.expect("a store that works");
        let row = txn.get(&LogKey { id: ID, last_offset: Offset(last) }.encode()).await;
        row.expect("a store that works").expect("a row for each batch").len()
    }

    /// What a read must give: the batch that holds the offset, and those after it that the limit allows. A page from
    /// the store ends with the row that brings its values, which are larger than their batches, to the limit.
    fn expected(&self, from: i64, limit: ReadLimit) -> Vec<&ModelBatch> {
        let (mut bytes, mut page) = (0, 0);
        let following = self.batches.iter().filter(|batch| batch.last >= from).enumerate();
        following
            .take_while(|(count, batch)| {
                let page_has_room = page < limit.max_bytes;
                bytes += batch.bytes;
                page += batch.row_bytes;
                (page_has_room && bytes <= limit.max_bytes) || (*count == 0 && limit.at_least_one)
            })
            .map(|(_, batch)| batch)
            .collect()
    }

    async fn read(&self, from: i64, limit: ReadLimit) {
        let mut txn = self.store.begin().await.expect("a store that works");
        let result = read(&mut txn, ID, Offset(from), limit).await;
        if from < self.log_start || from > self.end() {
            let (log_start, high_watermark) = (Offset(self.log_start), Offset(self.end()));
            assert_eq!(result, Err(OffsetError::OutOfRange { log_start, high_watermark }));
            return;
        }
        let expected = self.expected(from, limit);
        let read = result.expect("an offset in the log").batches;
        assert_eq!(read.bytes, expected.iter().map(|batch| batch.bytes).sum::<usize>());
        let headers: Vec<BatchHeader> =
            read.batches.iter().map(|batch| batch::check(batch).expect("an intact batch")).collect();
        let found: Vec<_> =
            headers.iter().map(|h| (h.base_offset, h.last_offset(), h.partition_leader_epoch)).collect();
        let wanted: Vec<_> = expected.iter().map(|batch| (batch.base, batch.last, batch.epoch)).collect();
        assert_eq!(found, wanted);
        assert!(
            headers.first().is_none_or(|first| first.base_offset <= from),
            "a read begins at or before its offset"
        );
        if let Some(cached) = self.cache.read(ID, Offset(from), limit) {
            let shared = cached.batches.len().min(read.batches.len());
            assert_eq!(
                cached.batches[..shared],
                read.batches[..shared],
                "the cache gives what the store gives"
            );
            assert!(shared == read.batches.len() && (cached.bytes <= limit.max_bytes || shared == 1));
        }
    }

    async fn move_start(&mut self, to: i64) {
        let mut txn = self.store.begin().await.expect("a store that works");
        match delete_records(&mut txn, &self.owner, Offset(to)).await {
            Ok(after) => {
                assert!((0..=self.end()).contains(&to));
                self.log_start = self.log_start.max(to);
                assert_eq!(after.log_start, Offset(self.log_start));
                commit_settled(&self.store, txn).await.expect("owned");
            }
            Err(error) => {
                assert!(matches!(error, OffsetError::OutOfRange { .. }), "{error}");
                assert!(!(0..=self.end()).contains(&to));
            }
        }
    }

    async fn retain_bytes(&mut self, bytes: u64) {
        let retention = Retention { retention_ms: None, retention_bytes: Some(bytes) };
        let mut txn = self.store.begin().await.expect("a store that works");
        retain(&mut txn, &self.owner, &retention, 0).await.expect("owned");
        commit_settled(&self.store, txn).await.expect("owned");
        let size = |batches: &[ModelBatch]| batches.iter().map(|batch| batch.bytes as u64).sum::<u64>();
        let gone = (0..self.batches.len()).filter(|place| size(&self.batches[place + 1..]) >= bytes).max();
        if let Some(gone) = gone {
            self.log_start = self.log_start.max(self.batches[gone].last + 1);
        }
    }

    async fn look_up(&self, step: &Step) {
        let mut txn = self.store.begin().await.expect("a store that works");
        match step {
            Step::ByTimestamp(target_ms) => {
                let found = find_by_timestamp(&mut txn, ID, *target_ms, DECOMPRESSED_MAX_BYTES).await;
                let expected = self.records().find(|record| record.timestamp_ms >= *target_ms);
                assert_eq!(found, Ok(expected));
            }
            Step::MaxTimestamp => {
                let found = find_max_timestamp(&mut txn, ID, DECOMPRESSED_MAX_BYTES).await.expect("intact");
                let max_ms = self.records().map(|record| record.timestamp_ms).max().filter(|max| *max >= 0);
                assert_eq!(found, self.records().find(|record| Some(record.timestamp_ms) == max_ms));
            }
            Step::EpochEnd(asked) => {
                let found = epoch_end_offset(&mut txn, ID, OwnerEpoch(*asked)).await.expect("intact");
                assert_eq!(found, self.epoch_end(*asked));
            }
            _ => unreachable!("not a look-up"),
        }
    }

    fn epoch_end(&self, asked: i32) -> Option<EpochEnd> {
        if !(0..=self.owner.epoch.0).contains(&asked) {
            return None;
        }
        let end_offset =
            self.records().find(|record| record.leader_epoch > asked).map(|record| record.offset);
        let end_offset = end_offset.unwrap_or(Offset(self.end()));
        let epoch = self.records().filter(|record| record.leader_epoch <= asked).last();
        let epoch = if asked == self.owner.epoch.0 {
            asked
        } else {
            epoch.map_or(asked, |record| record.leader_epoch)
        };
        Some(EpochEnd { epoch: OwnerEpoch(epoch), end_offset })
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Append(group) => self.append(&group).await,
            Step::Read(at, max_bytes, at_least_one) => {
                self.read(self.place(at), ReadLimit { max_bytes, at_least_one }).await;
            }
            Step::Delete(at) => self.move_start(self.place(at)).await,
            Step::RetainBytes(bytes) => self.retain_bytes(bytes).await,
            Step::Sweep => drop(sweep(&self.store, ID).await.expect("a store that works")),
            Step::TakeOver => {
                self.owner = own(&self.store, 1).await;
                self.cache.remove(ID);
            }
            look_up => self.look_up(&look_up).await,
        }
        self.check().await;
    }

    async fn check(&self) {
        let state = state(&self.store).await;
        assert_eq!((state.log_start.0, state.next_offset.0), (self.log_start, self.end()));
        let kept = self.batches.iter().filter(|batch| batch.last >= self.log_start);
        assert_eq!(state.log_bytes, kept.map(|batch| batch.bytes as u64).sum::<u64>());
        assert!(self.cache.bytes() <= 1500);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_log_behaves_as_a_vector_of_records(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let (store, _) = memory();
            let owner = own(&store, 1).await;
            let mut run = Run { store, owner, cache: TailCache::new(1500), batches: vec![], log_start: 0 };
            for step in steps {
                run.run(step).await;
            }
            run.read(run.log_start, ALL).await;
        });
    }
}
