//! What the store does while its disk does not answer.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::lossy_files::LossyFiles;
use super::super::{EmbeddedOptions, EmbeddedStore};
use crate::{
    Clock, CommitError, CommitToken, Committed, ManualClock, Outcome, ReadError, Store, SystemClock, Txn,
};

const SEGMENT: &str = "journal-000000000001";

fn open(files: &LossyFiles) -> EmbeddedStore {
    let options = EmbeddedOptions { reserve_bytes: 0, ..EmbeddedOptions::new(Arc::new(SystemClock)) };
    EmbeddedStore::open_files(Arc::new(files.clone()), None, options).unwrap()
}

async fn get(store: &EmbeddedStore, key: &str) -> Option<Bytes> {
    store.begin().await.unwrap().get(key.as_bytes()).await.unwrap()
}

type Committing = std::pin::Pin<Box<dyn Future<Output = Result<Committed, CommitError>> + Send>>;

/// Hands a put of `key` over to the committer.
async fn putting(store: &EmbeddedStore, key: &'static str, value: &'static str) -> Committing {
    let mut txn = store.begin().await.unwrap();
    txn.put(key.into(), value.into());
    let mut committing: Committing = Box::pin(txn.commit());
    assert!(is_waiting(&mut committing).await, "the disk has not answered");
    committing
}

/// A new store whose disk does not answer the put of `key`.
async fn hanging(key: &'static str) -> (LossyFiles, EmbeddedStore, Committing) {
    let files = LossyFiles::new();
    let store = open(&files);
    files.hold_syncs_of(SEGMENT);
    let committing = putting(&store, key, "1").await;
    files.wait_until_held(1);
    (files, store, committing)
}

async fn is_waiting(committing: &mut Committing) -> bool {
    std::future::poll_fn(|context| Poll::Ready(committing.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn what_is_being_committed_counts_as_open_however_long_the_disk_takes() {
    let (files, clock) = (LossyFiles::new(), ManualClock::at(1_000_000));
    let options = EmbeddedOptions { reserve_bytes: 0, ..EmbeddedOptions::new(Arc::new(clock.clone())) };
    let store = EmbeddedStore::open_files(Arc::new(files.clone()), None, options).unwrap();
    let began_ms = clock.now_ms();
    files.hold_syncs_of(SEGMENT);
    let committing = putting(&store, "k", "1").await;
    let _forgotten = store.begin().await.unwrap();
    files.wait_until_held(1);
    clock.advance(600_000);
    assert_eq!(store.oldest_open_ms(), began_ms);
    files.release_syncs();
    committing.await.unwrap();
    let now_ms = clock.now_ms();
    while store.oldest_open_ms() < now_ms {
        // The committer answers a little before it lets go.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_conflict_is_answered_when_what_came_first_can_be_seen() {
    let (files, store, first) = hanging("other").await;
    // These two make the next group.
    let winner = putting(&store, "k", "winner").await;
    let mut loser = putting(&store, "k", "loser").await;
    files.release_one_sync();
    first.await.unwrap();
    files.wait_until_held(2);
    assert!(is_waiting(&mut loser).await, "the winner is not durable");
    assert_eq!(get(&store, "k").await, None);
    files.release_syncs();
    assert_eq!(loser.await, Err(CommitError::Conflict));
    assert_eq!(get(&store, "k").await, Some("winner".into()));
    winner.await.unwrap();
}

/// Waits until the deadline without waiting: nothing but a time-out can come next.
#[tokio::test]
async fn commits_that_wait_share_one_sync() {
    let (files, store, first) = hanging("first").await;
    let before = files.syncs();
    let mut waiting = Vec::new();
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        waiting.push(putting(&store, key, "1").await);
    }
    files.release_syncs();
    first.await.unwrap();
    for committing in waiting {
        committing.await.unwrap();
    }
    assert_eq!(files.syncs() - before, 2, "that of the first, and one for all others");
}

async fn past_its_deadline(committing: Committing) -> Result<Committed, CommitError> {
    tokio::time::pause();
    let answer = committing.await;
    tokio::time::resume();
    answer
}

async fn token(committing: Committing) -> CommitToken {
    match past_its_deadline(committing).await {
        Err(CommitError::Unknown { token }) => token,
        other => panic!("nobody knows yet: {other:?}"),
    }
}

/// Commits something, which comes after all that was handed over before.
async fn pass(store: &EmbeddedStore) {
    let mut txn = store.begin().await.unwrap();
    txn.put("pass".into(), "1".into());
    txn.commit().await.unwrap();
}

#[tokio::test]
async fn a_commit_that_the_disk_does_not_answer_is_unknown_until_it_does() {
    let (files, store, committing) = hanging("k").await;
    let token = token(committing).await;
    let not_known = store.outcome(&token).await;
    assert!(matches!(not_known, Err(ReadError::Unavailable { .. })), "{not_known:?}");
    assert_eq!(get(&store, "k").await, None);
    assert_eq!((store.metrics().commits_given_up, store.metrics().is_stalled), (1, 1));
    files.release_syncs();
    pass(&store).await;
    assert_eq!(store.outcome(&token).await, Ok(Outcome::Applied));
    assert_eq!(get(&store, "k").await, Some("1".into()));
    assert_eq!((store.metrics().commits_given_up, store.metrics().is_stalled), (1, 0));
    store.shutdown().await;
    assert_eq!(open(&files).outcome(&token).await, Ok(Outcome::Applied));
}

#[tokio::test]
async fn what_waits_behind_it_is_withdrawn_and_never_applied() {
    let (files, store, first) = hanging("first").await;
    let second = putting(&store, "second", "1").await;
    let token = token(first).await;
    assert!(matches!(past_its_deadline(second).await, Err(CommitError::Unavailable { .. })));
    files.release_syncs();
    pass(&store).await;
    assert_eq!(get(&store, "second").await, None);
    // Nor does it make others conflict.
    let mut txn = store.begin().await.unwrap();
    txn.put("second".into(), "2".into());
    txn.commit().await.unwrap();
    assert_eq!(store.outcome(&token).await, Ok(Outcome::Applied));
}

#[tokio::test]
async fn a_sync_that_fails_after_it_was_given_up_is_settled_by_the_next_opening() {
    for fails in [false, true] {
        let (files, store, committing) = hanging("k").await;
        let token = token(committing).await;
        if fails {
            files.fail_sync_at(files.syncs() + 1);
        } else {
            files.crash_at(files.changes() + 1);
        }
        files.release_syncs();
        store.closed().await;
        assert!(matches!(store.outcome(&token).await, Err(ReadError::Unavailable { .. })));
        drop(store);
        let mut rng = StdRng::seed_from_u64(7);
        let files = if fails { files.after_kill() } else { files.after_crash(&mut rng) };
        let store = open(&files);
        let is_there = get(&store, "k").await.is_some();
        let outcome = if is_there { Outcome::Applied } else { Outcome::NotApplied };
        assert_eq!(store.outcome(&token).await, Ok(outcome));
    }
}

#[tokio::test]
async fn commits_given_up_hold_no_more_than_the_queue() {
    let files = LossyFiles::new();
    let store = open(&files);
    let queue = store.handle.shared.queue.clone();
    let free = queue.available_permits();
    files.hold_syncs_of(SEGMENT);
    let mut committing = vec![putting(&store, "first", "1").await];
    files.wait_until_held(1);
    // Twice as much as the queue takes.
    for number in 0..128 {
        let mut txn = store.begin().await.unwrap();
        txn.put(format!("key/{number}").into(), vec![7; 1 << 20].into());
        committing.push(Box::pin(txn.commit()));
    }
    let first = committing.remove(0);
    let waiting: Vec<_> = committing.into_iter().map(tokio::spawn).collect();
    let first = token(first).await;
    tokio::time::pause();
    for committing in waiting {
        assert!(matches!(committing.await.unwrap(), Err(CommitError::Unavailable { .. })));
    }
    tokio::time::resume();
    assert!(queue.available_permits() < free / 32, "{} of {free}", queue.available_permits());
    files.release_syncs();
    while queue.available_permits() < free {
        pass(&store).await;
    }
    assert_eq!(store.outcome(&first).await, Ok(Outcome::Applied));
    assert!(files.used_bytes() < 16 << 20, "none of it was written: {} bytes", files.used_bytes());
}
