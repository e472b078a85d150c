//! Snapshots that the broker holds are bounded in number and age, and end with their connection.

use std::sync::Arc;

use bytes::Bytes;
use tidegate::model::NoWakeup;
use tidegate::{Db, DbSettings, Error, RemoteOptions, RemoteStore, Tidegate};
use tidegate_broker::settings::ExtensionEnable;
use tidegate_format::UserKey;
use tidegate_protocol::extension::commit::{Attempt, Commit};
use tidegate_protocol::extension::hello::Hello;
use tidegate_protocol::extension::session::Begin;
use tidegate_protocol::extension::{ExtensionRequest, Failure, decode_response, encode_request};
use tidegate_store::{Clock, CommitError, ManualClock, ReadError, Store, SystemClock, Txn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Broker, connect, directory, in_time, options, settings};
use crate::proxy::Proxy;

fn key() -> Bytes {
    UserKey { key: "k".into() }.encode()
}

/// Options that give up soon.
fn impatient(address: std::net::SocketAddr) -> RemoteOptions {
    let mut options = options(address);
    options.connections = 1;
    options.client.call_timeout_ms = 100;
    options
}

/// With such options: a machine that is slow just then is asked again.
async fn connect_impatient(address: std::net::SocketAddr) -> RemoteStore {
    let connected = async {
        loop {
            if let Ok(store) = RemoteStore::connect(impatient(address)).await {
                return store;
            }
        }
    };
    in_time("a connection", connected).await
}

#[tokio::test]
async fn a_snapshot_that_nobody_reads_from_ends_and_so_does_one_that_is_too_old() {
    for is_idle in [true, false] {
        let dir = directory();
        let mut settings = settings();
        settings.extension_sessions_max = 1;
        settings.extension_session_max_ms = if is_idle { 600_000 } else { 100 };
        settings.extension_session_idle_ms = if is_idle { 50 } else { 600_000 };
        let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings).await;
        let (store, other) = (connect(broker.address()).await, connect(broker.address()).await);
        let mut first = store.begin().await.expect("there is room");
        // There is room for another one when the first has ended, and not before.
        let waiting = tokio::spawn(async move { other.begin().await.map(drop) });
        // Of a snapshot that is read from all the time, only the age counts.
        while !is_idle && first.get(&key()).await.is_ok() {
            tokio::task::yield_now().await;
        }
        in_time("the end of the snapshot", waiting).await.expect("no panic").expect("it begins");
        assert!(matches!(first.get(&key()).await, Err(ReadError::Expired { .. })));
        first.put(key(), "1".into());
        assert!(matches!(first.commit().await, Err(CommitError::Expired { .. })));
        // Of the next ones too, but for one that is read in time.
        let read = async { while store.begin().await.expect("another one").get(&key()).await != Ok(None) {} };
        in_time("a read within the time", read).await;
        broker.stop().await;
    }
}

#[tokio::test]
async fn there_are_so_many_snapshots_and_no_more_and_room_when_one_ends() {
    let dir = directory();
    let mut settings = settings();
    settings.extension_sessions_max = 3;
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings).await;
    let store = connect(broker.address()).await;
    let impatient = connect_impatient(broker.address()).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(store.begin().await.expect("there is room"));
    }
    // None of them is let in, and the first that has its answer in time is told why.
    let told = async {
        loop {
            let refused = impatient.begin().await.expect_err("no more").to_string();
            if refused.contains("extension.sessions.max") {
                break;
            }
        }
    };
    in_time("the reason", told).await;
    drop(open.pop());
    store.begin().await.expect("there is room again");
    broker.stop().await;
}

#[tokio::test]
async fn a_connection_has_so_many_and_further_transactions_wait_for_one_to_end() {
    let dir = directory();
    let mut settings = settings();
    settings.extension_session_connection_max = 2;
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings).await;
    let mut one_connection = options(broker.address());
    one_connection.connections = 1;
    let store = RemoteStore::connect(one_connection).await.expect("it listens");
    let (first, second) = (store.begin().await.expect("one"), store.begin().await.expect("two"));
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.begin().await.map(drop) }
    });
    let other = connect(broker.address()).await;
    let elsewhere = other.begin().await.expect("another connection has its own");
    drop(first);
    in_time("a place", waiting).await.expect("no panic").expect("it begins");
    drop((second, elsewhere));
    broker.stop().await;
}

#[tokio::test]
async fn a_snapshot_that_nobody_waits_for_any_more_takes_no_room() {
    let dir = directory();
    let mut settings = settings();
    settings.extension_sessions_max = 1;
    // None ends by itself.
    settings.extension_session_idle_ms = 600_000;
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings).await;
    let mut one_connection = options(broker.address());
    one_connection.connections = 1;
    let store = RemoteStore::connect(one_connection).await.expect("it listens");
    for _ in 0..3 {
        let mut begun = Box::pin(store.begin());
        assert!(futures::poll!(&mut begun).is_pending(), "it was asked for, and the answer is not there");
        drop(begun);
        in_time("room", store.begin()).await.expect("there is room again");
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_lost_connection_ends_its_snapshots() {
    let dir = directory();
    let mut settings = settings();
    settings.extension_sessions_max = 3;
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings).await;
    let other = connect(broker.address()).await;
    let proxy = Proxy::to(broker.address()).await;
    let lost = connect(proxy.address).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(lost.begin().await.expect("there is room"));
    }
    proxy.cut_off();
    let room = async {
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(other.begin().await.expect("it waits for room"));
        }
    };
    in_time("the places of the lost connection", room).await;
    for mut txn in open {
        assert!(matches!(txn.get(&key()).await, Err(ReadError::Unavailable { .. })));
        txn.put(key(), "1".into());
        // It was not sent, and it is known that it was not.
        assert!(matches!(txn.commit().await, Err(CommitError::Unavailable { .. })));
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_snapshot_that_is_only_read_holds_up_no_time_of_the_broker() {
    let (dir, clock) = (directory(), ManualClock::at(1_772_000_000_000));
    let broker = Broker::open(dir.path(), Arc::new(clock.clone()), settings()).await;
    let db = Db::new(connect(broker.address()).await, DbSettings::default(), Arc::new(NoWakeup));
    let snapshot = db.snapshot().await.expect("there is room");
    assert_eq!(snapshot.user().get("k").await, Ok(None));
    clock.advance(5_000);
    let held_up_by_nothing = async {
        // What the client looked at when it connected ends a little later.
        while broker.store.oldest_open_ms() < clock.now_ms() {
            tokio::task::yield_now().await;
        }
    };
    in_time("the time of the broker", held_up_by_nothing).await;
    let transaction = db.begin().await.expect("there is room");
    clock.advance(5_000);
    assert_eq!(broker.store.oldest_open_ms(), clock.now_ms() - 5_000);
    drop((snapshot, transaction));
    broker.stop().await;
}

/// Sends a request as it is, and waits for its answer.
async fn ask<R: ExtensionRequest>(stream: &mut TcpStream, request: &R) -> Result<R::Answer, Failure> {
    let frame = encode_request(0, 1, "raw", request).expect("short");
    stream.write_all(&frame).await.expect("it reads");
    let length = in_time("an answer", stream.read_u32()).await.expect("it answers");
    let mut answer = vec![0; usize::try_from(length).expect("short")];
    stream.read_exact(&mut answer).await.expect("all of it");
    decode_response::<R::Answer>(answer.into()).expect("an answer").1.outcome
}

#[tokio::test]
async fn a_session_that_was_begun_for_reading_commits_nothing_and_harms_nobody() {
    let dir = directory();
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings()).await;
    let mut stream = TcpStream::connect(broker.address()).await.expect("it listens");
    ask(&mut stream, &Hello { version_min: 0, version_max: 0 }).await.expect("it is on");
    let begun = ask(&mut stream, &Begin { reading: true }).await.expect("there is room");
    let commit = Commit {
        session: begun.session,
        attempt: Attempt { client: 7, lane: 0, number: 1 },
        growing: true,
        puts: vec![(key(), "1".into())],
        deletes: vec![],
        guards: vec![],
        versioned: vec![],
    };
    let refused = ask(&mut stream, &commit).await;
    assert!(
        matches!(&refused, Err(Failure::Unavailable { reason }) if reason.contains("reading")),
        "{refused:?}"
    );
    assert!(matches!(ask(&mut stream, &commit).await, Err(Failure::Expired { .. })), "it has ended");
    let store = connect(broker.address()).await;
    assert_eq!(store.begin().await.expect("it serves").get(&key()).await, Ok(None));
    broker.stop().await;
}

#[tokio::test]
async fn a_listener_where_it_is_switched_off_says_how_to_switch_it_on() {
    let dir = directory();
    let mut settings = settings();
    settings.extension_enable = ExtensionEnable::Never;
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings).await;
    let refused = RemoteStore::connect(options(broker.address())).await;
    assert!(matches!(&refused, Err(Error::Invalid(why)) if why.contains("extension.enable")), "{refused:?}");
    broker.stop().await;
}

#[test]
fn it_is_on_where_only_this_machine_can_come() {
    let on = |enable: ExtensionEnable, address: &str| enable.is_on_at(address.parse().expect("an address"));
    for address in ["127.0.0.1", "127.8.9.1", "::1"] {
        assert!(on(ExtensionEnable::Loopback, address) && !on(ExtensionEnable::Never, address));
    }
    for address in ["0.0.0.0", "10.0.0.1", "::", "2001:db8::1"] {
        assert!(!on(ExtensionEnable::Loopback, address) && on(ExtensionEnable::Always, address));
    }
}

#[tokio::test]
async fn what_the_client_of_the_store_is_told_holds_for_the_application_s_others() {
    let dir = directory();
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings()).await;
    let mut remote = options(broker.address());
    remote.client.client_id = "billing".into();
    let tidegate = Tidegate::connect_with(remote, DbSettings::default()).await.expect("it listens");
    let client = tidegate.client_options().expect("it has a broker");
    assert_eq!((client.client_id.as_str(), client.backoff_max_ms), ("billing", 20));
    tidegate.shutdown().await;
    broker.stop().await;
}
