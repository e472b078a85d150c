//! What the embedded store says that recent writes take of memory, compared with the allocator. One test, as the allocator
//! counts the whole process.

#![allow(clippy::unwrap_used, missing_docs)]

use std::alloc::System;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tidegate_store::{EmbeddedOptions, EmbeddedStore, Store, SyncPolicy, SystemClock, Txn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ENTRIES: u64 = 30_000;
const PER_TRANSACTION: usize = 100;
/// What the allocator rounds up and the store's other memory (its window of conflicts) may make of difference.
const PERCENT_OF_ALLOCATED: Range<u64> = 85..135;

fn in_order(number: u64) -> u64 {
    number
}

fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn often_the_same(number: u64) -> u64 {
    number % (ENTRIES / 2)
}

#[tokio::test]
async fn what_recent_writes_are_said_to_take_is_what_they_take() {
    for (name, key) in [
        ("in order", in_order as fn(u64) -> u64),
        ("scattered", scattered),
        ("often the same", often_the_same),
    ] {
        for value_bytes in [20, 130, 1_000] {
            let (said, allocated) = fill(key, value_bytes).await;
            let percent = said * 100 / allocated;
            assert!(
                PERCENT_OF_ALLOCATED.contains(&percent),
                "{name}, values of {value_bytes} B: {said} of {allocated} bytes, {percent} %"
            );
        }
    }
}

/// Fills a store whose tree gets nothing: what it says that this takes, and what it does.
async fn fill(key: fn(u64) -> u64, value_bytes: usize) -> (u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        overlay_bytes: 1 << 32,
        journal_flush_bytes: 1 << 40,
        journal_ahead_bytes: 0,
        reserve_bytes: 0,
        sync: SyncPolicy::Interval(3_600_000),
        ..EmbeddedOptions::new(Arc::new(SystemClock))
    };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let region = Region::new(ALLOCATOR);
    let numbers: Vec<u64> = (0..ENTRIES).collect();
    for numbers in numbers.chunks(PER_TRANSACTION) {
        let mut txn = store.begin().await.unwrap();
        for number in numbers {
            // As long as the key of a record that is held.
            let key = format!("{:046x}", key(*number));
            txn.put(Bytes::from(key), Bytes::from(vec![1; value_bytes]));
        }
        txn.commit().await.unwrap();
    }
    drop(numbers);
    let said = store.metrics().overlay_bytes;
    let change = region.change();
    assert_eq!(store.metrics().flushes, 0);
    store.shutdown().await;
    (said, u64::try_from(change.bytes_allocated.saturating_sub(change.bytes_deallocated)).unwrap())
}
