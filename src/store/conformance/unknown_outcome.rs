//! A commit whose answer was lost is settled by writing: what was answered once stays true, whatever arrives late.
//!
//! The backend runs inside a [`FaultyStore`], which loses the answers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::conformance::Backend;
use crate::conformance::steps::{
    begin, commit, delete, entries, entries_now, everything, keys_now, now, put, text,
};
use crate::faulty::{CommitFault, FaultyStore, On};
use crate::{CommitError, CommitToken, Outcome, ReadError, Store, Txn};

fn faulty<B: Backend>(backend: &B) -> FaultyStore<B::Store> {
    FaultyStore::new(backend.store().clone(), nonces())
}

/// Nonces that no other wrapper of this process has.
pub(super) fn nonces() -> impl FnMut() -> u128 + Send + 'static {
    static WRAPPERS: AtomicU64 = AtomicU64::new(1);
    let wrapper = u128::from(WRAPPERS.fetch_add(1, Ordering::SeqCst));
    let mut last = wrapper << 64;
    move || {
        last += 1;
        last
    }
}

/// Commits and loses the answer.
async fn commit_losing<S: Store>(
    store: &FaultyStore<S>,
    txn: <FaultyStore<S> as Store>::Txn,
    fault: CommitFault,
) -> CommitToken {
    store.faults().fail_commit(On::next(), fault);
    match txn.commit().await {
        Err(CommitError::Unknown { token }) => token,
        answer => panic!("the answer was not lost: {answer:?}"),
    }
}

async fn put_losing<S: Store>(
    store: &FaultyStore<S>,
    key: &str,
    value: &str,
    fault: CommitFault,
) -> CommitToken {
    let mut txn = begin(store).await;
    txn.put(text(key), text(value));
    commit_losing(store, txn, fault).await
}

/// The answer was lost on its way back.
pub async fn an_applied_commit_is_found_applied<B: Backend>(backend: B) {
    let store = faulty(&backend);
    let token = put_losing(&store, "k", "1", CommitFault::LostApplied).await;
    assert_eq!(store.outcome(&token).await, Ok(Outcome::Applied));
    assert_eq!(entries_now(&store, &everything()).await, entries([("k", "1")]));
}

/// The request was lost on its way there; and a conflict whose answer was lost is no different.
pub async fn a_commit_not_applied_is_found_not_applied<B: Backend>(backend: B) {
    let store = faulty(&backend);
    let token = put_losing(&store, "k", "1", CommitFault::LostNotApplied).await;
    assert_eq!(store.outcome(&token).await, Ok(Outcome::NotApplied));
    assert_eq!(entries_now(&store, &everything()).await, []);
    let mut txn = begin(&store).await;
    txn.put(text("k"), text("1"));
    put(&store, "k", "other").await;
    let token = commit_losing(&store, txn, CommitFault::LostApplied).await;
    assert_eq!(store.outcome(&token).await, Ok(Outcome::NotApplied));
    assert_eq!(entries_now(&store, &everything()).await, entries([("k", "other")]));
}

/// To look would not have been enough: this attempt was still under way when it was asked about.
pub async fn a_late_commit_that_was_asked_about_never_arrives<B: Backend>(backend: B) {
    let store = faulty(&backend);
    let token = put_losing(&store, "k", "late", CommitFault::LostLate).await;
    assert_eq!(now(&store, "k").await, None);
    assert_eq!(store.outcome(&token).await, Ok(Outcome::NotApplied));
    // The caller believes the answer and runs again under another key, as nothing forbids.
    put(&store, "other", "2").await;
    assert_eq!(store.deliver_late().await, Some(Err(CommitError::Conflict)));
    assert_eq!(store.outcome(&token).await, Ok(Outcome::NotApplied));
    assert_eq!(entries_now(&store, &everything()).await, entries([("other", "2")]));
}

/// Later transactions of others do not keep it out, if they write other keys.
pub async fn a_late_commit_that_arrives_before_it_is_asked_about_is_applied<B: Backend>(backend: B) {
    let store = faulty(&backend);
    let token = put_losing(&store, "k", "late", CommitFault::LostLate).await;
    put(&store, "other", "1").await;
    assert!(store.deliver_late().await.expect("one is under way").is_ok());
    assert_eq!(store.deliver_late().await, None);
    assert_eq!(store.outcome(&token).await, Ok(Outcome::Applied));
    assert_eq!(entries_now(&store, &everything()).await, entries([("k", "late"), ("other", "1")]));
}

/// The other one came first.
pub async fn a_late_commit_after_another_writer_is_not_applied<B: Backend>(backend: B) {
    let store = faulty(&backend);
    let token = put_losing(&store, "k", "late", CommitFault::LostLate).await;
    put(&store, "k", "other").await;
    assert_eq!(store.deliver_late().await, Some(Err(CommitError::Conflict)));
    assert_eq!(store.outcome(&token).await, Ok(Outcome::NotApplied));
    assert_eq!(now(&store, "k").await, Some(text("other")));
}

/// What it wrote may long be overwritten or removed, or its range dropped.
pub async fn an_applied_commit_is_found_whatever_was_written_since<B: Backend>(backend: B) {
    let store = faulty(&backend);
    let mut tokens = Vec::new();
    for (key, fault) in
        [("a", CommitFault::LostApplied), ("b", CommitFault::LostLate), ("c", CommitFault::LostApplied)]
    {
        tokens.push(put_losing(&store, key, "1", fault).await);
    }
    assert!(store.deliver_late().await.expect("one is under way").is_ok());
    for round in 0..40 {
        put(&store, "a", &round.to_string()).await;
        put(&store, "b", &round.to_string()).await;
    }
    delete(&store, "b").await;
    store.delete_range(everything()).await.expect("the range is removed");
    for token in tokens {
        assert_eq!(store.outcome(&token).await, Ok(Outcome::Applied));
    }
}

/// Transactions without a value of their own.
pub async fn deletes_and_versioned_writes_and_guards_alone_are_settled<B: Backend>(backend: B) {
    let store = faulty(&backend);
    let faults = [
        (CommitFault::LostApplied, Outcome::Applied),
        (CommitFault::LostNotApplied, Outcome::NotApplied),
        (CommitFault::LostLate, Outcome::NotApplied),
    ];
    for (fault, outcome) in faults {
        let applied = outcome == Outcome::Applied;
        put(&store, "k", "1").await;
        let mut deleting = begin(&store).await;
        deleting.delete(text("k"));
        let token = commit_losing(&store, deleting, fault.clone()).await;
        assert_eq!(store.outcome(&token).await, Ok(outcome));
        assert_eq!(now(&store, "k").await.is_none(), applied);

        let mut versioned = begin(&store).await;
        versioned.put_versioned(text("p"), text(""), text("1"));
        let token = commit_losing(&store, versioned, fault.clone()).await;
        assert_eq!(store.outcome(&token).await, Ok(outcome));
        assert_eq!(keys_now(&store, &crate::KeyRange::prefix(b"p")).await.len(), usize::from(applied));
        store.delete_range(crate::KeyRange::prefix(b"p")).await.expect("the range is removed");

        let mut guarding = begin(&store).await;
        guarding.guard(text("g"));
        let token = commit_losing(&store, guarding, fault).await;
        assert_eq!(store.outcome(&token).await, Ok(outcome));
    }
    while let Some(late) = store.deliver_late().await {
        assert_eq!(late, Err(CommitError::Conflict));
    }
    assert_eq!(entries_now(&store, &everything()).await, entries([("k", "1")]));
}

/// Ask as often as you like, also through another handle.
pub async fn the_answer_does_not_change<B: Backend>(backend: B) {
    let store = faulty(&backend);
    let other_process = faulty(&backend);
    let applied = put_losing(&store, "a", "1", CommitFault::LostApplied).await;
    let late = put_losing(&store, "b", "1", CommitFault::LostLate).await;
    for round in 0..3 {
        assert_eq!(store.outcome(&applied).await, Ok(Outcome::Applied));
        assert_eq!(other_process.outcome(&late).await, Ok(Outcome::NotApplied));
        assert_eq!(other_process.outcome(&applied).await, Ok(Outcome::Applied));
        assert_eq!(store.outcome(&late).await, Ok(Outcome::NotApplied));
        put(&store, "a", &round.to_string()).await;
        put(&other_process, "b", &round.to_string()).await;
    }
    assert_eq!(store.deliver_late().await, Some(Err(CommitError::Conflict)));
}

/// Many ask while the attempt arrives: either way, but all the same, and as the data says.
pub async fn all_who_ask_at_once_get_the_same_answer<B: Backend>(backend: B) {
    const ROUNDS: usize = 30;
    for round in 0..ROUNDS {
        let store = faulty(&backend);
        let key = format!("k{round}");
        let token = put_losing(&store, &key, "late", CommitFault::LostLate).await;
        let mut asking = Vec::new();
        for asker in 0..4 {
            let (store, token) = (store.clone(), token.clone());
            asking.push(tokio::spawn(async move {
                if asker == round % 5 {
                    tokio::task::yield_now().await;
                }
                store.outcome(&token).await.expect("settled")
            }));
        }
        let arrived = store.deliver_late().await.expect("one is under way");
        for asker in asking {
            let outcome = asker.await.expect("the task ends");
            assert_eq!(outcome == Outcome::Applied, arrived.is_ok());
        }
        assert_eq!(now(&store, &key).await.is_some(), arrived.is_ok());
    }
}

/// No answer is better than a wrong one, and it can be had later.
pub async fn while_the_store_is_away_nothing_is_settled<B: Backend>(backend: B) {
    let store = faulty(&backend);
    let token = put_losing(&store, "k", "1", CommitFault::LostApplied).await;
    store.faults().go_away();
    assert!(matches!(store.outcome(&token).await, Err(ReadError::Unavailable { .. })));
    assert!(matches!(store.begin().await, Err(ReadError::Unavailable { .. })));
    store.faults().come_back();
    assert_eq!(store.outcome(&token).await, Ok(Outcome::Applied));
    let mut txn = begin(&store).await;
    txn.put(text("k"), text("2"));
    store.faults().go_away();
    assert!(matches!(txn.commit().await, Err(CommitError::Unavailable { .. })));
    store.faults().come_back();
    commit(begin(&store).await).await;
    assert_eq!(now(&store, "k").await, Some(text("1")));
}
