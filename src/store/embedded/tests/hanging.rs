//! What the store does while its disk does not answer.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::super::{EmbeddedOptions, EmbeddedStore};
use super::lossy_files::LossyFiles;
use crate::{CommitError, Committed, Store, SystemClock, Txn};

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

async fn is_waiting(committing: &mut Committing) -> bool {
    std::future::poll_fn(|context| Poll::Ready(committing.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn a_conflict_is_answered_when_what_came_first_can_be_seen() {
    let files = LossyFiles::new();
    let store = open(&files);
    files.hold_syncs_of(SEGMENT);
    let first = putting(&store, "other", "1").await;
    files.wait_until_held(1);
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
