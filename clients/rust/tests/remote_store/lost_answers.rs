//! A commit whose answer is lost is unknown, and is settled over another connection: nothing is applied twice, nothing is
//! lost.

use std::sync::Arc;

use bytes::Bytes;
use tidegate::model::Db;
use tidegate::{DbSettings, RemoteStore};
use tidegate_format::UserKey;
use tidegate_model::NoWakeup;
use tidegate_store::{CommitError, CommitToken, Outcome, ReadError, Store, SystemClock, Txn};

use crate::fixture::{Broker, connect, directory, in_time, settings};
use crate::proxy::Proxy;

fn key(name: &str) -> Bytes {
    UserKey { key: Bytes::copy_from_slice(name.as_bytes()) }.encode()
}

async fn put(store: &RemoteStore, name: &str) -> Result<(), CommitError> {
    let mut txn = store.begin().await.expect("it begins");
    txn.put(key(name), "1".into());
    txn.commit().await.map(drop)
}

async fn put_losing(store: &RemoteStore, name: &str) -> CommitToken {
    match put(store, name).await {
        Err(CommitError::Unknown { token }) => token,
        answer => panic!("the answer was not lost: {answer:?}"),
    }
}

async fn is_there(store: &RemoteStore, name: &str) -> bool {
    store.begin().await.expect("it begins").get(&key(name)).await.expect("a get").is_some()
}

#[tokio::test]
async fn an_applied_commit_whose_answer_was_lost_is_found_applied() {
    let dir = directory();
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings()).await;
    let proxy = Proxy::to(broker.address()).await;
    let store = connect(proxy.address).await;
    let witness = connect(broker.address()).await;
    put(&store, "before").await.expect("nothing is lost yet");
    proxy.lose_next_answer();
    let token = put_losing(&store, "lost").await;
    // It arrives whenever it does: what is answered after that is final.
    while !is_there(&witness, "lost").await {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        assert_eq!(store.outcome(&token).await, Ok(Outcome::Applied));
        assert_eq!(witness.outcome(&token).await, Ok(Outcome::Applied));
        put(&store, "after").await.expect("it goes on");
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_commit_that_was_lost_on_its_way_there_is_found_not_applied() {
    let dir = directory();
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings()).await;
    let proxy = Proxy::to(broker.address()).await;
    let store = connect(proxy.address).await;
    proxy.lose_next_request();
    let token = put_losing(&store, "lost").await;
    for _ in 0..3 {
        assert_eq!(store.outcome(&token).await, Ok(Outcome::NotApplied));
        put(&store, "after").await.expect("it goes on");
    }
    assert!(!is_there(&store, "lost").await);
    broker.stop().await;
}

/// Whichever comes first, and however they race: what is answered is what is there, for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_is_what_is_there_however_commit_and_question_race() {
    const ROUNDS: usize = 60;
    let dir = directory();
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings()).await;
    let proxy = Proxy::to(broker.address()).await;
    let store = connect(proxy.address).await;
    let witness = connect(broker.address()).await;
    for round in 0..ROUNDS {
        let name = format!("k{round}");
        proxy.lose_next_answer();
        let token = put_losing(&store, &name).await;
        let asked = in_time("the outcome", witness.outcome(&token)).await.expect("settled");
        assert_eq!(asked == Outcome::Applied, is_there(&witness, &name).await, "{name}");
        assert_eq!(witness.outcome(&token).await, Ok(asked));
    }
    broker.stop().await;
}

/// A counter that is incremented once per transaction, while every other answer is lost, one way or the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_settles_what_it_does_not_know_and_runs_nothing_twice() {
    const INCREMENTS: usize = 60;
    let dir = directory();
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings()).await;
    let proxy = Proxy::to(broker.address()).await;
    let db = Db::new(connect(proxy.address).await, DbSettings::default(), Arc::new(NoWakeup));
    for round in 0..INCREMENTS {
        match round % 3 {
            0 => proxy.lose_next_answer(),
            1 => proxy.lose_next_request(),
            _ => {}
        }
        let increment = db.transaction(|tx| async move {
            let user = tx.user();
            let count: usize = match user.get("count").await? {
                Some(count) => std::str::from_utf8(&count).expect("text").parse().expect("a number"),
                None => 0,
            };
            user.put("count", (count + 1).to_string()).await
        });
        in_time("an increment", increment).await.expect("it is applied in the end");
    }
    let snapshot = db.snapshot().await.expect("a snapshot");
    let count = snapshot.user().get("count").await.expect("readable");
    assert_eq!(count, Some(INCREMENTS.to_string().into()));
    broker.stop().await;
}

/// A token that says nothing is not answered by guessing.
#[tokio::test]
async fn tokens_that_are_nobodys_or_too_old_have_no_answer() {
    let dir = directory();
    let mut settings = settings();
    settings.extension_attempt_retention_ms = 600_000;
    let clock = tidegate_store::ManualClock::at(1_700_000_000_000);
    let broker = Broker::open(dir.path(), Arc::new(clock.clone()), settings).await;
    let proxy = Proxy::to(broker.address()).await;
    let store = connect(proxy.address).await;
    proxy.lose_next_request();
    let token = put_losing(&store, "lost").await;
    // Of an opening of the store that never was.
    let foreign = CommitToken { key: key("k"), nonce: (99 << 64) | 7 };
    assert!(matches!(store.outcome(&foreign).await, Err(ReadError::Unavailable { .. })));
    let broken = CommitToken { key: token.key.slice(..5), nonce: token.nonce };
    assert!(matches!(store.outcome(&broken).await, Err(ReadError::Unavailable { .. })));
    clock.advance(600_001);
    let too_old = store.outcome(&token).await.expect_err("too old").to_string();
    assert!(too_old.contains("extension.attempt.retention.ms"), "{too_old}");
    broker.stop().await;
}
