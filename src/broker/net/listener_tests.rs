//! The limit on connections, over TCP and from this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate_protocol::frame::encode_request;
use tidegate_protocol::messages::ApiVersionsRequest;
use tidegate_store::{MemoryStore, SystemClock};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::settings::Settings;
use crate::{Ports, RunningBroker};

/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(120);

/// Whether a request on this connection is answered, or it was closed.
async fn is_served(connection: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
    let frame = encode_request(0, 1, None, &ApiVersionsRequest::default()).expect("it can be said");
    let answer = async {
        connection.write_all(&frame).await.ok()?;
        let length = connection.read_i32().await.ok()?;
        let mut answer = vec![0; usize::try_from(length).ok()?];
        connection.read_exact(&mut answer).await.ok()
    };
    tokio::time::timeout(HANG_AFTER, answer).await.expect("it does not hang").is_some()
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_until_there_is_a_place() {
    let any_port: SocketAddr = ([127, 0, 0, 1], 0).into();
    let settings = Settings { listen: any_port, admin: any_port, max_connections: 2, ..Settings::default() };
    let store = MemoryStore::new(Arc::new(SystemClock));
    let broker = RunningBroker::start(settings, store.into()).await.expect("free ports, an empty store");
    let connect = async || TcpStream::connect(broker.listen()).await.expect("it listens");
    let (mut first, mut second) = (connect().await, connect().await);
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    assert!(!is_served(&mut connect().await).await);
    assert!(is_served(&mut first).await && is_served(&mut second).await, "they go on");
    drop(first);
    // Its place is free once the broker has noticed.
    let retried = async { while !is_served(&mut connect().await).await {} };
    tokio::time::timeout(HANG_AFTER, retried).await.expect("the place is free again");
    broker.stop().await;
}

#[tokio::test]
async fn streams_of_this_process_count_as_connections_and_are_refused_after_the_end() {
    let settings = Settings { max_connections: 2, ..Settings::default() };
    let store = MemoryStore::new(Arc::new(SystemClock));
    let broker =
        RunningBroker::start_with(settings, store.into(), Ports::NONE).await.expect("an empty store");
    let entry = broker.entry();
    let (mut first, mut second) = (entry.connect().expect("a place"), entry.connect().expect("a place"));
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    assert!(entry.connect().is_err(), "there are two");
    assert!(is_served(&mut first).await && is_served(&mut second).await, "they go on");
    drop(first);
    // Its place is free once the broker has noticed.
    let retried = async {
        while entry.connect().is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG_AFTER, retried).await.expect("the place is free again");
    broker.stop().await;
    assert!(!is_served(&mut second).await, "it ends with the broker");
    assert!(entry.connect().is_err(), "nobody is there");
}
