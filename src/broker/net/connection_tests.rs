//! What a connection promises, in virtual time: the peer is at the other end of a pipe in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;
use tidegate_protocol::batch::{BatchOptions, Record, encode_batch};
use tidegate_protocol::frame::{decode_response, encode_request};
use tidegate_protocol::{WireLayout, versions};
use tidegate_store::{ManualClock, MemoryStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::connection;
use super::memory::RequestMemory;
use crate::RunningBroker;
use crate::settings::Settings;

/// Bytes that a pipe holds before its writer waits.
const PIPE_BYTES: usize = 8 << 10;
const TOPIC: &str = "flights";

struct Fixture {
    running: RunningBroker,
    memory: Arc<RequestMemory>,
}

/// The peer of one connection.
struct Peer {
    pipe: DuplexStream,
    served: JoinHandle<()>,
}

impl Fixture {
    async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let any_port: SocketAddr = ([127, 0, 0, 1], 0).into();
        let mut settings = Settings { listen: any_port, admin: any_port, ..Settings::default() };
        change(&mut settings);
        let memory = Arc::new(RequestMemory::new(settings.queued_max_request_bytes));
        let store = MemoryStore::new(Arc::new(ManualClock::at(1_700_000_000_000)));
        let running = RunningBroker::start(settings, store.into()).await.expect("free ports, an empty store");
        let created = running.broker().catalogue.create(TOPIC, 1, BTreeMap::new(), false).await;
        created.expect("a new topic");
        Self { running, memory }
    }

    /// So many that metadata of all of them is larger than a pipe.
    async fn create_topics(&self, count: usize) {
        for n in 0..count {
            let name = format!("t{n}");
            let created = self.running.broker().catalogue.create(&name, 1, BTreeMap::new(), false).await;
            created.expect("a new topic");
        }
    }

    fn connect(&self) -> Peer {
        let (pipe, other) = tokio::io::duplex(PIPE_BYTES);
        let (read, write) = tokio::io::split(other);
        let address = ([127, 0, 0, 1], 4_000).into();
        let (broker, memory) = (self.running.broker().clone(), self.memory.clone());
        Peer { pipe, served: tokio::spawn(connection::serve(broker, read, write, address, memory)) }
    }
}

impl Peer {
    async fn send<R: WireLayout>(&mut self, version: i16, id: i32, request: &R) {
        let frame = encode_request(version, id, None, request).expect("it can be said");
        self.pipe.write_all(&frame).await.expect("it is open");
    }

    /// The next answer without its length; none if the connection was closed.
    async fn frame(&mut self) -> Option<Bytes> {
        next_frame(&mut self.pipe).await
    }

    /// The id of the next answer.
    async fn id(&mut self) -> Option<i32> {
        next_id(&mut self.pipe).await
    }

    /// Waits until the broker has closed, and has nothing to say before.
    async fn closed(mut self) {
        assert_eq!(self.frame().await, None);
        self.served.await.expect("it does not panic");
    }
}

async fn next_frame(pipe: &mut (impl AsyncRead + Unpin)) -> Option<Bytes> {
    let length = pipe.read_i32().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).expect("a length")];
    pipe.read_exact(&mut frame).await.ok()?;
    Some(frame.into())
}

async fn next_id(pipe: &mut (impl AsyncRead + Unpin)) -> Option<i32> {
    next_frame(pipe).await.map(|frame| i32::from_be_bytes(*frame.first_chunk().expect("an id")))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn metadata() -> m::MetadataRequest {
    m::MetadataRequest::default().with_topics(None)
}

/// A Fetch that waits so long for records that do not come.
fn long_poll(max_wait_ms: i32) -> m::FetchRequest {
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(TopicName(text(TOPIC))).with_partitions(vec![partition]);
    m::FetchRequest::default().with_max_wait_ms(max_wait_ms).with_min_bytes(1).with_topics(vec![topic])
}

fn produce(value: &'static [u8]) -> m::ProduceRequest {
    let record = Record {
        timestamp_ms: 1_700_000_000_000,
        value: Some(Bytes::from_static(value)),
        ..Record::default()
    };
    let batch = encode_batch(&[record], &BatchOptions::default()).expect("it is small");
    let partition = PartitionProduceData::default().with_records(Some(batch));
    let topic =
        TopicProduceData::default().with_name(TopicName(text(TOPIC))).with_partition_data(vec![partition]);
    m::ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic])
}

/// A Produce that wants no answer.
fn unanswered(topic: &str, value: &'static [u8]) -> m::ProduceRequest {
    let mut request = produce(value).with_acks(0);
    request.topic_data[0].name = TopicName(text(topic));
    request
}

/// A request of this version that has nothing but its beginning: no client id and no tagged fields.
fn bare(api_key: i16, version: i16) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(11);
    frame.put_i16(api_key);
    frame.put_i16(version);
    frame.put_i32(9);
    frame.put_i16(-1);
    frame.put_u8(0);
    frame.freeze()
}

/// The beginning of a request of so many bytes, of which half are there.
fn half_a_frame(length: usize) -> Bytes {
    let mut half = BytesMut::new();
    half.put_i32(i32::try_from(length).expect("a length"));
    half.put_bytes(0, length / 2);
    half.freeze()
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_in_their_order_whatever_each_of_them_waits_for() {
    let fixture = Fixture::new(|_| {}).await;
    let mut peer = fixture.connect();
    peer.send(11, 1, &long_poll(30_000)).await;
    peer.send(12, 2, &metadata()).await;
    for id in 3..20 {
        peer.send(9, id, &produce(b"a record")).await;
    }
    let began = Instant::now();
    for id in 1..3 {
        assert_eq!(peer.id().await, Some(id));
    }
    assert!(began.elapsed() < Duration::from_secs(30), "what was produced behind it ends its wait");
    for id in 3..20 {
        let frame = peer.frame().await.expect("it is open");
        let (answered, response) = decode_response::<m::ProduceRequest>(9, frame).expect("an answer");
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((answered, partition.error_code, partition.base_offset), (id, 0, i64::from(id) - 3));
    }
    fixture.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_begun_than_may_be_in_flight() {
    let fixture = Fixture::new(|settings| settings.max_in_flight_requests_per_connection = 2).await;
    let mut peer = fixture.connect();
    peer.send(11, 1, &long_poll(30_000)).await;
    peer.send(11, 2, &long_poll(1)).await;
    peer.send(9, 3, &produce(b"a record")).await;
    let began = Instant::now();
    assert_eq!(peer.id().await, Some(1));
    assert_eq!(began.elapsed().as_secs(), 30, "the third, which would have ended its wait, was not begun");
    assert_eq!((peer.id().await, peer.id().await), (Some(2), Some(3)));
    fixture.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_one_that_waits_is_not() {
    let fixture = Fixture::new(|settings| settings.connections_max_idle_ms = 1_000).await;
    let (silent, mut waiting) = (fixture.connect(), fixture.connect());
    waiting.send(11, 1, &long_poll(60_000)).await;
    let began = Instant::now();
    silent.closed().await;
    assert_eq!(began.elapsed().as_secs(), 1);
    assert_eq!(waiting.id().await, Some(1));
    assert_eq!(began.elapsed().as_secs(), 60);
    waiting.closed().await;
    assert_eq!(began.elapsed().as_secs(), 61, "idle from its last answer on");
    fixture.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_request_holds_nobody_up() {
    let fixture = Fixture::new(|settings| settings.queued_max_request_bytes = 4 << 20).await;
    let mut halves = [fixture.connect(), fixture.connect()];
    // All there is of memory for large requests, and a small one.
    let large = half_a_frame(3 << 20);
    halves[0].pipe.write_all(&large[..PIPE_BYTES]).await.expect("it is open");
    halves[1].pipe.write_all(&half_a_frame(100)).await.expect("it is open");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let began = Instant::now();
    let mut peer = fixture.connect();
    peer.send(12, 1, &metadata()).await;
    assert_eq!(peer.id().await, Some(1));
    assert_eq!(began.elapsed().as_secs(), 0, "small requests have memory of their own");
    let padding = StrBytes::from_string("x".repeat(30_000));
    let names =
        vec![m::metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName(padding))); 4];
    let large = m::MetadataRequest::default().with_topics(Some(names));
    peer.send(12, 2, &large).await;
    assert_eq!(peer.id().await, Some(2));
    assert!(began.elapsed() < Duration::from_secs(10), "whoever holds memory and sends nothing is closed");
    let [half, other] = halves;
    half.closed().await;
    assert!(!other.served.is_finished(), "a small one holds nothing");
    fixture.running.stop().await;
}

/// What waits behind a long poll is held in memory until that ends.
#[tokio::test(start_paused = true)]
async fn requests_that_wait_behind_a_long_poll_hold_up_their_own_connection_alone() {
    let fixture = Fixture::new(|settings| {
        settings.queued_max_request_bytes = 4 << 20;
        settings.queued_max_connection_bytes = 1 << 20;
    })
    .await;
    // A topic that the long poll does not wait for.
    fixture.create_topics(1).await;
    let mut large = produce(vec![b'x'; 200 << 10].leak());
    large.topic_data[0].name = TopicName(text("t0"));
    let large = |id| encode_request(9, id, None, &large).expect("it can be said");

    let Peer { pipe: greedy, served: _serving } = fixture.connect();
    let (mut answers, mut requests) = tokio::io::split(greedy);
    // More than all the memory there is.
    let poll = encode_request(11, 1, None, &long_poll(60_000)).expect("it can be said");
    let frames: Vec<Bytes> = std::iter::once(poll).chain((2..32).map(large)).collect();
    let sending = tokio::spawn(async move { requests.write_all(&frames.concat()).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!sending.is_finished(), "what does not fit is not read");

    let began = Instant::now();
    let mut other = fixture.connect();
    for id in 1..5 {
        other.pipe.write_all(&large(id)).await.expect("it is open");
        assert_eq!(other.id().await, Some(id));
    }
    assert_eq!(began.elapsed().as_secs(), 0, "others have the rest of the memory");
    for id in 1..32 {
        assert_eq!(next_id(&mut answers).await, Some(id));
    }
    sending.await.expect("it does not panic").expect("it is open");
    fixture.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_its_answers_is_given_up() {
    let fixture = Fixture::new(|_| {}).await;
    let mut peer = fixture.connect();
    // Its answer is larger than the pipe.
    fixture.create_topics(400).await;
    peer.send(12, 1, &metadata()).await;
    let began = Instant::now();
    (&mut peer.served).await.expect("it does not panic");
    assert_eq!(began.elapsed().as_secs(), 60);
    let mut other = fixture.connect();
    other.send(0, 1, &m::ApiVersionsRequest::default()).await;
    assert_eq!(other.id().await, Some(1), "nobody else noticed");
    fixture.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_gets_its_answer_however_long_it_takes() {
    let fixture = Fixture::new(|_| {}).await;
    let mut peer = fixture.connect();
    fixture.create_topics(400).await;
    peer.send(12, 1, &metadata()).await;
    let length = usize::try_from(peer.pipe.read_i32().await.expect("it is open")).expect("a length");
    assert!(length > PIPE_BYTES + PIPE_BYTES / 2);
    let mut left = length;
    let mut step = vec![0; PIPE_BYTES];
    while left > 0 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        let count = peer.pipe.read(&mut step).await.expect("it is open");
        assert!(count > 0, "it was closed {left} bytes before the end");
        left -= count;
    }
    fixture.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_bad_input_is_answered_and_others_are_served() {
    let fixture = Fixture::new(|_| {}).await;
    let absurd_length = Bytes::copy_from_slice(&i32::MAX.to_be_bytes());
    let unknown_api = Bytes::from_static(&[0, 0, 0, 8, 3, 231, 0, 0, 0, 0, 0, 9]);
    let unknown_version = Bytes::from_static(&[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 9, 255, 255]);
    let cut_short = Bytes::from_static(&[0, 0, 0, 3, 0, 3, 0]);
    for bad in [absurd_length, unknown_api, unknown_version, cut_short] {
        let mut peer = fixture.connect();
        peer.send(9, 1, &produce(b"a record")).await;
        peer.send(12, 2, &metadata()).await;
        peer.pipe.write_all(&bad).await.expect("it is open");
        assert_eq!((peer.id().await, peer.id().await), (Some(1), Some(2)), "{bad:?}");
        peer.closed().await;
    }
    let mut peer = fixture.connect();
    peer.send(12, 1, &metadata()).await;
    assert_eq!(peer.id().await, Some(1));
    fixture.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_api_versions_is_answered_in_a_version_that_is_not_served() {
    let fixture = Fixture::new(|_| {}).await;
    for range in versions::SERVED {
        for version in [range.min - 1, range.max + 1] {
            let mut peer = fixture.connect();
            peer.send(12, 1, &metadata()).await;
            peer.pipe.write_all(&bare(range.key as i16, version)).await.expect("it is open");
            assert_eq!(peer.id().await, Some(1));
            if range.key == m::ApiKey::ApiVersions {
                let frame = peer.frame().await.expect("an answer");
                let (id, answer) = decode_response::<m::ApiVersionsRequest>(0, frame).expect("in version 0");
                let own = answer.api_keys[0].clone();
                let told = (answer.error_code, answer.api_keys.len(), own.min_version, own.max_version);
                assert_eq!((id, told), (9, (35, 1, range.min, range.max)));
                peer.send(12, 2, &metadata()).await;
                assert_eq!(peer.id().await, Some(2), "the client goes on");
            } else {
                peer.closed().await;
            }
        }
    }
    // What is advertised for librdkafka's sake is served no more than anything else.
    for version in 0..3 {
        let mut peer = fixture.connect();
        peer.pipe.write_all(&bare(m::ApiKey::Produce as i16, version)).await.expect("it is open");
        peer.closed().await;
    }
    fixture.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_produced_without_an_answer_is_there_for_whoever_asks_next() {
    let fixture = Fixture::new(|_| {}).await;
    let mut peer = fixture.connect();
    for _ in 0..10 {
        peer.send(9, 1, &unanswered(TOPIC, b"a record")).await;
    }
    peer.send(9, 2, &produce(b"a record")).await;
    let frame = peer.frame().await.expect("it is open");
    let (id, response) = decode_response::<m::ProduceRequest>(9, frame).expect("an answer");
    assert_eq!((id, response.responses[0].partition_responses[0].base_offset), (2, 10));
    fixture.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_that_nobody_waits_for_ends_the_connection() {
    let fixture = Fixture::new(|_| {}).await;
    let broken = {
        let mut request = unanswered(TOPIC, b"a record");
        let records = &mut request.topic_data[0].partition_data[0].records;
        let mut bytes = records.take().expect("there are some").to_vec();
        *bytes.last_mut().expect("there is one") ^= 1;
        *records = Some(bytes.into());
        request
    };
    for bad in [unanswered("nowhere", b"a record"), broken] {
        let mut peer = fixture.connect();
        peer.send(12, 1, &metadata()).await;
        peer.send(9, 2, &unanswered(TOPIC, b"a record")).await;
        peer.send(9, 3, &bad).await;
        assert_eq!(peer.id().await, Some(1), "what was asked before is answered");
        let began = Instant::now();
        peer.closed().await;
        assert_eq!(began.elapsed().as_secs(), 0, "it is not closed for being idle");
    }
    let mut peer = fixture.connect();
    peer.send(9, 1, &produce(b"a record")).await;
    let frame = peer.frame().await.expect("it is open");
    let (_, response) = decode_response::<m::ProduceRequest>(9, frame).expect("an answer");
    assert_eq!(response.responses[0].partition_responses[0].base_offset, 2, "what was good before is kept");
    fixture.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_answers_what_was_read_and_waits_for_no_poll_and_no_join() {
    let fixture = Fixture::new(|_| {}).await;
    let (mut polling, mut joining) = (fixture.connect(), fixture.connect());
    polling.send(11, 1, &long_poll(300_000)).await;
    polling.send(12, 2, &metadata()).await;
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    let join = m::JoinGroupRequest::default()
        .with_group_id(GroupId(text("crew")))
        .with_session_timeout_ms(600_000)
        .with_rebalance_timeout_ms(600_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    joining.send(3, 1, &join).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    let stopping = tokio::spawn(fixture.running.stop());
    assert_eq!((polling.id().await, polling.id().await, joining.id().await), (Some(1), Some(2), Some(1)));
    polling.closed().await;
    joining.closed().await;
    stopping.await.expect("it does not panic");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
