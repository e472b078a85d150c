//! Cancels that race the relay, on several threads: each entry is moved or cancelled, never both, and relay and produce go
//! on.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_format::Offset;
use tidegate_store::{CommitError, Store, Txn};
use tokio::sync::Barrier;

use crate::fixture::{
    Backend, Embedded, InMemory, NOW_MS, Owner, TOPIC, commit, create_topic, event, partition, scheduled,
    values_of, waiting,
};
use crate::hold::fixture::{plain, produce, record};
use crate::schedule;

const CANCELS: usize = 10_000;
/// Every other entry is to be cancelled.
const ENTRIES: usize = 2 * CANCELS;
/// The entries come due in so many waves, and the cancels of each come with it.
const WAVES: usize = 100;
const ENTRIES_PER_WAVE: usize = ENTRIES / WAVES;
const CANCELLERS: usize = 8;
const PARTITIONS: i32 = 2;
/// What the values of records begin with that are produced meanwhile.
const BESIDE: &str = "beside ";

async fn publish_wave<S: Store>(store: &S, wave: usize, due_ms: i64) {
    commit(store, async |publisher, txn| {
        for n in entries_of(wave) {
            let name = n.to_string();
            publisher.publish(txn, &scheduled(event(&name, &name), &name, due_ms)).await.expect("published");
        }
    })
    .await;
}

fn entries_of(wave: usize) -> std::ops::Range<usize> {
    wave * ENTRIES_PER_WAVE..(wave + 1) * ENTRIES_PER_WAVE
}

/// Cancels one schedule, running again on conflict; whether it was still there.
async fn cancel<S: Store>(store: &S, name: &str) -> bool {
    loop {
        let mut txn = store.begin().await.expect("a snapshot");
        let cancelled = schedule::cancel(&mut txn, TOPIC, name).await.expect("readable");
        match txn.commit().await {
            Ok(_) => return cancelled.is_some(),
            Err(error) => assert_eq!(error, CommitError::Conflict),
        }
    }
}

/// Cancels its share of every other entry, wave after wave, and returns what was still there.
async fn cancel_share<S: Store>(store: S, share: usize, wave_begins: Arc<Barrier>) -> Vec<String> {
    let mut cancelled = Vec::new();
    for wave in 0..WAVES {
        wave_begins.wait().await;
        // From the end, so that relay and cancels meet.
        for n in entries_of(wave).rev().filter(|n| n % 2 == 0 && n / 2 % CANCELLERS == share) {
            let name = n.to_string();
            if cancel(&store, &name).await {
                cancelled.push(name);
            }
        }
    }
    cancelled
}

/// What a partition's owner does when its entries come due and producers send it batches meanwhile: both in turn, until
/// nothing is due. Gives how many batches it appended.
async fn relay_and_produce<S: Store>(store: &S, owner: &mut Owner, produced: usize) -> usize {
    for appended in 1.. {
        // Ends although the cancels of the wave go on.
        let turn = owner.turn(store).await;
        // Its commit meets no conflict: cancels write nothing that an append reads or writes.
        let batch = plain(vec![record(&format!("{BESIDE}{}", produced + appended - 1), NOW_MS)]);
        assert!(produce(store, owner, &batch).await.appended.base_offset >= Offset(0));
        if !turn.more {
            return appended;
        }
    }
    unreachable!("it returns")
}

async fn check_race<B: Backend>(backend: B) {
    let (store, clock) = (backend.open(), backend.clock());
    create_topic(&store, PARTITIONS).await;
    for (wave, due_ms) in (0..WAVES).zip(NOW_MS + 1..) {
        publish_wave(&store, wave, due_ms).await;
    }
    let mut owners = Vec::new();
    for index in 0..PARTITIONS {
        owners.push(Owner::of(&store, partition(index)).await);
    }
    let wave_begins = Arc::new(Barrier::new(CANCELLERS + 1));
    let cancellers: Vec<_> = (0..CANCELLERS)
        .map(|share| tokio::spawn(cancel_share(store.clone(), share, wave_begins.clone())))
        .collect();
    let mut produced = [0; PARTITIONS as usize];
    for _ in 0..WAVES {
        clock.advance(1);
        wave_begins.wait().await;
        for (owner, produced) in owners.iter_mut().zip(&mut produced) {
            *produced += relay_and_produce(&store, owner, *produced).await;
        }
    }
    let mut cancelled = BTreeSet::new();
    for canceller in cancellers {
        cancelled.extend(canceller.await.expect("no canceller panics"));
    }
    let mut moved = BTreeSet::new();
    for ((index, owner), produced) in (0..PARTITIONS).zip(&mut owners).zip(produced) {
        assert_eq!(owner.drain(&store).await, 0, "what was due was moved while the cancels went on");
        assert_eq!(waiting(&store, partition(index)).await, (0, 0, 0));
        let values = values_of(&store, partition(index)).await;
        let (beside, entries): (Vec<_>, Vec<_>) =
            values.into_iter().partition(|value| value.starts_with(BESIDE));
        let expected: Vec<_> = (0..produced).map(|n| format!("{BESIDE}{n}")).collect();
        assert_eq!(beside, expected, "what was produced meanwhile, each once and in order");
        for value in entries {
            assert!(!cancelled.contains(&value), "entry {value} was moved and cancelled");
            assert!(moved.insert(value.clone()), "entry {value} was moved twice");
        }
    }
    assert_eq!(moved.len() + cancelled.len(), ENTRIES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_ten_thousand_cancels_against_due_entries_each_wins_or_loses_and_produce_goes_on() {
    check_race(InMemory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn so_it_is_on_the_embedded_store() {
    check_race(Embedded::new()).await;
}
