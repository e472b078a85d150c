use bytes::Bytes;
use tidegate_format::{PartitionIndex, TopicId};
use uuid::Uuid;

use super::*;

const BATCH_BYTES: usize = 100;
const COST: usize = BATCH_BYTES + ENTRY_OVERHEAD_BYTES;
const ALL: ReadLimit = ReadLimit { max_bytes: usize::MAX, at_least_one: false };

fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId(Uuid::nil()), partition: PartitionIndex(index) }
}

/// A batch of ten records.
fn entry(base: i64) -> LogEntry {
    LogEntry {
        base_offset: Offset(base),
        last_offset: Offset(base + 9),
        append_version: OrderVersion(base.unsigned_abs()),
        batch: Bytes::from(vec![0; BATCH_BYTES]),
    }
}

fn count(cache: &TailCache, index: i32, from: i64) -> Option<usize> {
    cache.read(partition(index), Offset(from), ALL).map(|batches| batches.batches.len())
}

#[test]
fn what_was_put_in_is_read_from_any_offset_in_it() {
    let cache = TailCache::new(10 * COST);
    cache.push(partition(0), [entry(40), entry(50), entry(60)]);
    assert_eq!(
        [39, 40, 49, 50, 69, 70].map(|from| count(&cache, 0, from)),
        [None, Some(3), Some(3), Some(2), Some(1), None]
    );
    assert_eq!(cache.append_version_at(partition(0), Offset(55)), Some(OrderVersion(50)));
    assert_eq!(cache.append_version_at(partition(0), Offset(70)), None);
    let two = ReadLimit { max_bytes: 2 * BATCH_BYTES, at_least_one: true };
    assert_eq!(cache.read(partition(0), Offset(45), two).expect("there").bytes, 2 * BATCH_BYTES);
    let none = ReadLimit { max_bytes: 1, at_least_one: false };
    assert_eq!(cache.read(partition(0), Offset(45), none), Some(Batches::default()));
}

#[test]
fn over_its_budget_the_oldest_batch_of_all_partitions_goes_first() {
    let cache = TailCache::new(3 * COST);
    cache.push(partition(0), [entry(0)]);
    cache.push(partition(1), [entry(0)]);
    cache.push(partition(0), [entry(10)]);
    cache.push(partition(1), [entry(10)]);
    assert_eq!((count(&cache, 0, 0), count(&cache, 0, 10)), (None, Some(1)));
    assert_eq!(count(&cache, 1, 0), Some(2));
    assert_eq!(cache.bytes(), 3 * COST);
}

#[test]
fn a_gap_replaces_what_was_before_it() {
    let cache = TailCache::new(10 * COST);
    cache.push(partition(0), [entry(0), entry(10)]);
    cache.push(partition(0), [entry(30)]);
    assert_eq!((count(&cache, 0, 10), count(&cache, 0, 30)), (None, Some(1)));
    assert_eq!(cache.bytes(), COST);
}

#[test]
fn a_batch_over_the_whole_budget_leaves_no_hole_to_read_across() {
    let cache = TailCache::new(2 * COST);
    let large = LogEntry { batch: Bytes::from(vec![0; 3 * COST]), ..entry(10) };
    cache.push(partition(0), [entry(0), large, entry(20)]);
    assert_eq!((count(&cache, 0, 0), count(&cache, 0, 10), count(&cache, 0, 20)), (None, None, Some(1)));
}

#[test]
fn it_does_not_grow_with_what_came_and_went() {
    let cache = TailCache::new(4 * COST);
    for round in 0..1000 {
        cache.push(partition(0), [entry(round * 20)]);
        cache.push(partition(1), [entry(round * 10)]);
        if round % 7 == 0 {
            cache.remove(partition(1));
        }
        let inner = cache.inner();
        assert!(inner.bytes <= 4 * COST && inner.order.len() <= 2 * inner.entries + 64);
        assert_eq!(inner.entries, inner.partitions.values().map(VecDeque::len).sum::<usize>());
        assert_eq!(inner.bytes, inner.entries * COST);
    }
}

#[test]
fn with_no_budget_it_keeps_nothing() {
    let cache = TailCache::new(0);
    cache.push(partition(0), [entry(0)]);
    assert_eq!((count(&cache, 0, 0), cache.bytes()), (None, 0));
}
