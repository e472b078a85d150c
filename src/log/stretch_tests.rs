//! Random logs against plain vectors: which batch claims a time, wherever the log begins and whatever was before it.

use proptest::prelude::*;
use tidegate_protocol::batch::NO_TIMESTAMP;
use tidegate_store::{MemoryStore, Store, commit_settled};

use super::*;
use crate::fixture::{ID, append_group, batch, memory, own, state};
use crate::{Ownership, delete_records, sweep};

/// One batch of a plain vector: its last offset and its highest timestamp.
type Plain = (i64, i64);

/// How the timestamps of a log run.
fn timestamps_ms() -> impl Strategy<Value = Vec<i64>> {
    let anyhow = prop::collection::vec(-1..60_i64, 1..300);
    let falling = (1..300_i64).prop_map(|count| (0..count).rev().collect());
    let rising_and_falling = (1..300_i64, 1..40_i64)
        .prop_map(|(count, period)| (0..count).map(|at| at / 7 + at % period).collect());
    prop_oneof![2 => anyhow, 1 => falling, 2 => rising_and_falling]
}

/// Appends a batch for each timestamp, of so many records: some offsets then end no batch.
async fn append(
    store: &MemoryStore,
    owner: &Ownership,
    timestamps_ms: &[i64],
    records: usize,
    plain: &mut Vec<Plain>,
) {
    let mut end = plain.last().map_or(0, |(last, _)| last + 1);
    for group in timestamps_ms.chunks(16) {
        let batches: Vec<_> = group
            .iter()
            .enumerate()
            .map(|(place, ms)| {
                let count = 1 + place % records;
                end += i64::try_from(count).expect("few");
                plain.push((end - 1, *ms));
                batch(&vec![*ms; count])
            })
            .collect();
        let _ = append_group(store, owner, &batches).await.expect("owned");
    }
}

async fn claiming(store: &impl Store, from: i64, to: i64, target_ms: i64) -> Option<i64> {
    let mut txn = store.begin().await.expect("a store that works");
    let found = first_claiming(&mut txn, ID, Offset(from), Offset(to), target_ms).await.expect("intact");
    found.map(|found| found.last_offset.0)
}

async fn highest(store: &impl Store, from: i64, to: i64) -> Option<i64> {
    let mut txn = store.begin().await.expect("a store that works");
    highest_claim_ms(&mut txn, ID, Offset(from), Offset(to)).await.expect("intact")
}

async fn check(store: &impl Store, plain: &[Plain], from: i64, to: i64) {
    let within: Vec<Plain> = plain.iter().copied().filter(|(last, _)| (from..to).contains(last)).collect();
    let expected = within.iter().map(|(_, ms)| *ms).max();
    assert_eq!(highest(store, from, to).await, expected, "the highest of {from}..{to}");
    let top_ms = expected.unwrap_or(0);
    for target_ms in [0, 1, top_ms / 2, top_ms - 1, top_ms, top_ms + 1] {
        let expected = within.iter().find(|(_, ms)| *ms >= target_ms).map(|(last, _)| *last);
        assert_eq!(claiming(store, from, to, target_ms).await, expected, "{target_ms} in {from}..{to}");
    }
}

async fn delete_to(store: &MemoryStore, owner: &Ownership, to: i64) {
    let mut txn = store.begin().await.expect("a store that works");
    delete_records(&mut txn, owner, Offset(to)).await.expect("in range");
    commit_settled(store, txn).await.expect("owned");
    sweep(store, ID).await.expect("a store that works");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_batch_is_found_by_its_timestamp_wherever_the_log_begins(
        before in timestamps_ms(),
        after in timestamps_ms(),
        records in 1..9_usize,
        places in prop::collection::vec((0..=100_i64, 0..=100_i64), 1..6),
        trims in prop::collection::vec(0..=100_i64, 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let (store, _) = memory();
            let mut plain = Vec::new();
            append(&store, &own(&store, 1).await, &before, records, &mut plain).await;
            // What comes after a restart goes on from what the state row says.
            let owner = own(&store, 1).await;
            append(&store, &owner, &after, records, &mut plain).await;
            let end = plain.last().expect("a batch at least").0 + 1;
            for (from, length) in places {
                let from = from * end / 100;
                check(&store, &plain, from, (from + length * end / 100).min(end)).await;
                check(&store, &plain, from, end).await;
            }
            for trim in trims {
                delete_to(&store, &owner, trim * end / 100).await;
                let start = state(&store).await.log_start.0;
                plain.retain(|(last, _)| *last >= start);
                check(&store, &plain, start, end).await;
            }
        });
    }
}

#[test]
fn maxima_are_those_of_the_stretches_that_a_batch_lies_in() {
    let mut maxima = TimestampMaxima::new(NO_TIMESTAMP, []);
    // Stretches of 4: 0..4, 4..8, 8..12; of 16: 0..16, 16..32. A batch of two records that ends at 4 lies in the second.
    let appended = [(0, 2, 90), (3, 4, 50), (5, 7, 40), (8, 8, 10), (9, 15, 20), (16, 16, 5)];
    let expected = [(90, 90, 90), (50, 90, 90), (50, 90, 90), (10, 90, 90), (20, 90, 90), (5, 5, 90)];
    for ((base, last, ms), expected) in appended.into_iter().zip(expected) {
        maxima = extend(&maxima, Offset(base), Offset(last), ms);
        assert_eq!((maxima.stretch_ms(0), maxima.stretch_ms(1), maxima.stretch_ms(2)), expected, "at {last}");
        assert_eq!(maxima.overall_ms(), 90);
    }
}

#[test]
fn the_widest_stretches_are_those_of_the_largest_offsets() {
    let last = Offset(i64::MAX);
    assert_eq!(Width::WIDEST.start(last), Offset(1 << 62));
    assert_eq!(Width::WIDEST.end(Offset(1 << 62)), last);
    assert_eq!(Width::widest_from(Offset(0), Offset(5)), Width::WIDEST);
    assert_eq!(Width::widest_from(Offset(5), Offset(5)), Width(0));
    assert_eq!(Width::widest_from(Offset(4), Offset(5)), Width(1));
}
