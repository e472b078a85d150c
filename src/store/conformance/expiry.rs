//! A transaction that writes or guards lives at most `transaction.max.ms` by the store's clock.

use crate::conformance::Backend;
use crate::conformance::steps::{begin, commit, entries, entries_now, everything, get, now, put, text};
use crate::{CommitError, Direction, ReadError, ScanLimit, Store, Txn};

/// No backend's commit takes longer.
const COMMIT_MAX_MS: i64 = 600_000;

fn max_ms(backend: &impl Backend) -> i64 {
    i64::try_from(backend.limits().max_ms).expect("a limit of less than an age")
}

/// Up to its very last millisecond.
pub async fn a_transaction_within_its_time_commits<B: Backend>(backend: B) {
    let store = backend.store();
    let mut txn = begin(store).await;
    txn.put(text("k"), text("1"));
    backend.clock().advance(max_ms(&backend));
    assert_eq!(get(&mut txn, "k").await, Some(text("1")));
    commit(txn).await;
    assert_eq!(now(store, "k").await, Some(text("1")));
}

/// And says so.
pub async fn a_writing_transaction_past_its_time_has_no_effect<B: Backend>(backend: B) {
    let store = backend.store();
    let expired = Err(CommitError::Expired { max_ms: backend.limits().max_ms });
    put(store, "removed", "1").await;
    let write: [fn(&mut <B::Store as Store>::Txn); 3] = [
        |txn| txn.put(text("new"), text("1")),
        |txn| txn.delete(text("removed")),
        |txn| txn.put_versioned(text("versioned"), text(""), text("1")),
    ];
    for write in write {
        let mut txn = begin(store).await;
        write(&mut txn);
        backend.clock().advance(max_ms(&backend) + 1);
        assert_eq!(txn.commit().await, expired);
    }
    assert_eq!(entries_now(store, &everything()).await, entries([("removed", "1")]));
}

/// So that user code that runs for ever hears of it.
pub async fn reads_of_a_writing_transaction_past_its_time_fail<B: Backend>(backend: B) {
    let store = backend.store();
    let expired = ReadError::Expired { max_ms: backend.limits().max_ms };
    put(store, "k", "1").await;
    let mut txn = begin(store).await;
    txn.put(text("own"), text("1"));
    backend.clock().advance(max_ms(&backend) + 1);
    assert_eq!(txn.get(b"k").await, Err(expired.clone()));
    assert_eq!(txn.get_many(&[text("k")]).await, Err(expired.clone()));
    let limit = ScanLimit::count(1);
    assert_eq!(txn.scan(&everything(), limit, Direction::Forward).await, Err(expired.clone()));
    assert_eq!(txn.scan_keys(&everything(), 1, Direction::Backward).await, Err(expired));
}

/// Guards need the same memory of what others wrote.
pub async fn a_guarding_transaction_past_its_time_fails<B: Backend>(backend: B) {
    let store = backend.store();
    let mut txn = begin(store).await;
    txn.guard(text("k"));
    backend.clock().advance(max_ms(&backend) + 1);
    assert_eq!(txn.commit().await, Err(CommitError::Expired { max_ms: backend.limits().max_ms }));
}

/// Without writes and guards there is nothing to fail.
pub async fn a_reading_transaction_does_not_fail_at_commit<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "k", "1").await;
    let mut txn = begin(store).await;
    assert_eq!(get(&mut txn, "k").await, Some(text("1")));
    backend.clock().advance(max_ms(&backend) * 10);
    put(store, "k", "2").await;
    commit(txn).await;
}

/// Not from the first write: what it read before is as old as its snapshot.
pub async fn time_counts_from_the_begin<B: Backend>(backend: B) {
    let store = backend.store();
    let mut txn = begin(store).await;
    assert_eq!(get(&mut txn, "k").await, None);
    backend.clock().advance(max_ms(&backend) + 1);
    txn.put(text("k"), text("1"));
    assert_eq!(txn.commit().await, Err(CommitError::Expired { max_ms: backend.limits().max_ms }));
    assert_eq!(now(store, "k").await, None);
}

/// So that a reader in order of time knows how far back nothing new will come; and that time goes on.
pub async fn no_open_transaction_began_before_the_oldest_open_time<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "k", "1").await;
    assert!(store.oldest_open_ms() <= store.now_ms());
    let began_ms = store.now_ms();
    let mut open = begin(store).await;
    open.put(text("late"), text("1"));
    for _ in 0..3 {
        backend.clock().advance(max_ms(&backend) / 3);
        put(store, "k", "2").await;
        assert!(store.oldest_open_ms() <= began_ms);
    }
    commit(open).await;
    backend.clock().advance(max_ms(&backend) + 1);
    put(store, "k", "3").await;
    assert!(store.oldest_open_ms() > began_ms);
}

/// Whatever it is that forgets to drop it.
pub async fn a_transaction_that_can_write_no_more_holds_up_no_time<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "k", "1").await;
    let began_ms = store.now_ms();
    let mut forgotten = begin(store).await;
    forgotten.put(text("late"), text("1"));
    let idle = begin(store).await;
    // Longer than any backend's commit may take after that.
    backend.clock().advance(max_ms(&backend) + COMMIT_MAX_MS);
    put(store, "k", "2").await;
    assert!(store.oldest_open_ms() > began_ms);
    assert_eq!(forgotten.commit().await, Err(CommitError::Expired { max_ms: backend.limits().max_ms }));
    drop(idle);
}
