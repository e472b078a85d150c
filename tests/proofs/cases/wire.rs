//! What no well-behaved client sends: the broker answers with the protocol's own error code or ends that one connection,
//! goes on serving all others, and stores nothing of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Shutdown;

use kafka_protocol::messages::{self, RequestHeader};
use kafka_protocol::protocol::{Encodable, Request, StrBytes};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tidegate_tests::admin::{create_topic, log_bounds};
use tidegate_tests::broker::Broker;
use tidegate_tests::deadline::Deadline;
use tidegate_tests::refusals::refusals;
use tidegate_tests::store_under_test::StoreUnderTest;
use tidegate_tests::wire::{self, Body, Connection, Reader, api};

use super::STORE;

const TOPIC: &str = "wire";
const TIMESTAMP_MS: i64 = 1_700_000_000_000;

/// The keys of the extension's requests, and that of Begin.
const EXTENSION_KEYS: std::ops::Range<i16> = 21_575..21_585;
const EXTENSION_BEGIN: i16 = 21_576;

/// How many cases each property is tried with: what is read of a frame is the same on every store.
const CASES: u32 = match STORE {
    StoreUnderTest::Embedded => 512,
    StoreUnderTest::Tikv => 64,
};

fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) }
}

/// How many batches are acknowledged before anybody does any harm.
const KEPT: usize = 50;

/// A broker with a topic, and a well-behaved connection that must be served whatever others do.
struct Served {
    broker: Broker,
    other: Connection,
    versions: Vec<(i16, i16, i16)>,
    /// What was acknowledged, by base offset: it must be there whatever others do.
    kept: BTreeMap<i64, Vec<u8>>,
}

impl Served {
    fn start() -> Self {
        let broker = STORE.start_broker();
        create_topic(broker.bootstrap(), TOPIC, 1, &[]);
        let mut other = Connection::open(broker.bootstrap());
        let versions = other.api_versions();
        Self { broker, other, versions, kept: BTreeMap::new() }
    }

    /// Produces a batch that must be there at the end.
    fn keep(&mut self) {
        let value = format!("acknowledged {}", self.kept.len());
        let batch = wire::batch_of(1 + self.kept.len() % 3, value.as_bytes(), TIMESTAMP_MS);
        let (error, base) = wire::produce(&mut self.other, TOPIC, &batch).expect("it is answered");
        assert_eq!(error, 0, "a well-behaved producer is served");
        assert_eq!(self.kept.insert(base, batch), None, "no offset is given twice");
    }

    /// Everything that was acknowledged is there, byte for byte but for what the broker fills in.
    fn has_all_kept(&mut self) {
        let sent = |batch: &[u8]| [&batch[8..12], &batch[16..]].concat();
        let found = wire::read_batches(&mut self.other, TOPIC);
        for (base, batch) in &self.kept {
            let found = found.get(base).unwrap_or_else(|| panic!("what was acknowledged at {base} is gone"));
            assert_eq!(sent(found), sent(batch), "at {base}");
        }
    }

    fn open(&self) -> Connection {
        Connection::open(self.broker.bootstrap())
    }

    /// The connection that was there before, and a new one, are served as ever.
    fn still_serves(&mut self) {
        assert_eq!(self.other.api_versions(), self.versions);
        assert_eq!(self.open().api_versions(), self.versions);
    }

    /// At the end of a test: the process lives, nothing in it panicked, and produce and fetch work.
    fn ends_well(mut self) {
        self.still_serves();
        assert!(self.broker.is_running());
        let error = self.broker.standard_error();
        assert!(!error.contains("panicked"), "{error}");
        let (_, end) = log_bounds(self.broker.bootstrap(), TOPIC, 0);
        let batch = wire::batch(b"well", TIMESTAMP_MS);
        // What somebody has sent and not waited for may still come before it.
        let produced = wire::produce(&mut self.other, TOPIC, &batch);
        assert!(
            produced.is_some_and(|(error, base)| error == 0 && base >= end),
            "{produced:?}, not from {end} on"
        );
        self.has_all_kept();
        if !self.kept.is_empty() {
            self.broker.kill();
            self.broker.restart();
            self.other = self.open();
            self.has_all_kept();
        }
    }
}

/// Runs a property over one broker: what was acknowledged before it and between its cases is there at its end.
fn check<S: Strategy>(mut served: Served, strategy: &S, test: impl Fn(&mut Served, S::Value)) {
    (0..KEPT).for_each(|_| served.keep());
    let served = std::cell::RefCell::new(served);
    let mut runner = proptest::test_runner::TestRunner::new(cases());
    let result = runner.run(strategy, |value| {
        let mut served = served.borrow_mut();
        test(&mut served, value);
        served.keep();
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    served.into_inner().ends_well();
}

/// Sends a frame to a connection of its own and leaves without waiting: an answer may be due only in days.
fn send_and_leave(served: &Served, frame: &[u8]) {
    let mut connection = served.open();
    // The broker may close the connection at any byte.
    let _ = connection.send(frame);
    let _ = connection.stream().shutdown(Shutdown::Write);
}

/// The smallest valid request of a kind in each of its versions.
fn smallest<T: Request + Default>(frames: &mut Vec<Vec<u8>>) {
    for version in T::VERSIONS.min..=T::VERSIONS.max {
        let header = RequestHeader::default()
            .with_request_api_key(T::KEY)
            .with_request_api_version(version)
            .with_client_id(Some(StrBytes::from_static_str("wire")));
        let mut frame = bytes::BytesMut::new();
        // Some versions cannot express the defaults: they are left out.
        if header.encode(&mut frame, T::header_version(version)).is_ok()
            && T::default().encode(&mut frame, version).is_ok()
        {
            frames.push(frame.to_vec());
        }
    }
}

/// Valid requests of all kinds and versions: what mutations start from.
fn valid_frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    macro_rules! smallest_of {
        ($($kind:ident)*) => { $(smallest::<messages::$kind>(&mut frames);)* };
    }
    smallest_of! {
        ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
        FindCoordinatorRequest JoinGroupRequest HeartbeatRequest LeaveGroupRequest SyncGroupRequest DescribeGroupsRequest
        ListGroupsRequest ApiVersionsRequest CreateTopicsRequest DeleteTopicsRequest DeleteRecordsRequest
        InitProducerIdRequest OffsetForLeaderEpochRequest DescribeConfigsRequest AlterConfigsRequest
        IncrementalAlterConfigsRequest CreatePartitionsRequest DeleteGroupsRequest OffsetDeleteRequest
        DescribeClusterRequest DescribeLogDirsRequest ConsumerGroupHeartbeatRequest ConsumerGroupDescribeRequest
        DescribeTopicPartitionsRequest
    }
    let batch = wire::batch(b"mutated", TIMESTAMP_MS);
    frames.push(wire::request(api::PRODUCE, 3, 1, &wire::produce_body(TOPIC, 0, -1, &batch)));
    frames.push(wire::request(api::FETCH, 4, 1, &wire::fetch_body(TOPIC, 0, 0, 100)));
    frames.extend(extension_requests());
    frames.extend(refusals(TOPIC).iter().map(|case| wire::request(case.key, case.version, 1, &case.body)));
    frames
}

/// An example of each request of the extension, without its length.
fn extension_requests() -> Vec<Vec<u8>> {
    let vectors = include_str!("../../../protocol/vectors.txt").lines();
    let requests = vectors.filter_map(|line| line.split_once(" request ").map(|(_, frame)| frame));
    let digits = |frame: &str, at: usize| u8::from_str_radix(&frame[at..at + 2], 16).expect("digits");
    requests.map(|frame| (8..frame.len()).step_by(2).map(|at| digits(frame, at)).collect()).collect()
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index),
    /// Four bytes that read as a very large or a negative length.
    Length(Index, i32),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let length = prop_oneof![Just(i32::MAX), Just(i32::MIN), Just(-1), Just(-2), Just(1 << 24), any::<i32>()];
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        any::<Index>().prop_map(Mutation::Cut),
        (any::<Index>(), length).prop_map(|(at, length)| Mutation::Length(at, length)),
    ]
}

fn mutate(frame: &mut Vec<u8>, mutation: &Mutation) {
    if frame.is_empty() {
        return;
    }
    match mutation {
        Mutation::Flip(at, bit) => {
            let at = at.index(frame.len());
            frame[at] ^= 1 << bit;
        }
        Mutation::Set(at, byte) => {
            let at = at.index(frame.len());
            frame[at] = *byte;
        }
        Mutation::Insert(at, bytes) => {
            let at = at.index(frame.len());
            frame.splice(at..at, bytes.iter().copied());
        }
        Mutation::Cut(at) => frame.truncate(at.index(frame.len())),
        Mutation::Length(at, length) => {
            let at = at.index(frame.len());
            let end = (at + 4).min(frame.len());
            frame.splice(at..end, length.to_be_bytes());
        }
    }
}

#[test]
fn mutated_requests_of_every_api_harm_nobody() {
    let frames = valid_frames();
    let strategy = (proptest::sample::select(frames), vec(mutation(), 1..4));
    check(Served::start(), &strategy, |served, (mut frame, mutations)| {
        mutations.iter().for_each(|mutation| mutate(&mut frame, mutation));
        send_and_leave(served, &frame);
        served.still_serves();
    });
}

/// With the sessions that they name: what is mutated reaches the store.
#[test]
fn mutated_requests_of_the_extension_harm_nobody_within_a_session() {
    let requests = extension_requests();
    let begin =
        requests.iter().find(|frame| frame[..2] == EXTENSION_BEGIN.to_be_bytes()).expect("a vector").clone();
    let mutated = (proptest::sample::select(requests), vec(mutation(), 0..3));
    check(Served::start(), &vec(mutated, 1..6), |served, requests| {
        let mut connection = served.open();
        for _ in 0..3 {
            connection.send(&begin).expect("it is read");
            assert!(connection.receive().is_some(), "a session is opened");
        }
        for (mut frame, mutations) in requests {
            mutations.iter().for_each(|mutation| mutate(&mut frame, mutation));
            // The broker may close the connection at any byte.
            let _ = connection.send(&frame);
        }
        let _ = connection.stream().shutdown(Shutdown::Write);
        served.still_serves();
    });
}

#[test]
fn random_bodies_under_every_request_of_the_extension_harm_nobody() {
    let strategy = (EXTENSION_KEYS, vec(any::<u8>(), 0..300));
    check(Served::start(), &strategy, |served, (key, body)| {
        send_and_leave(served, &wire::request(key, 0, 1, &body));
        served.still_serves();
    });
}

/// Stock clients are told of nothing but Kafka's requests.
#[test]
fn the_extension_is_not_listed() {
    let served = Served::start();
    assert!(served.versions.iter().all(|(key, _, _)| !EXTENSION_KEYS.contains(key)), "{:?}", served.versions);
    served.ends_well();
}

#[test]
fn random_bodies_under_every_api_harm_nobody() {
    let served = Served::start();
    let strategy =
        (proptest::sample::select(served.versions.clone()), any::<Index>(), vec(any::<u8>(), 0..300));
    check(served, &strategy, |served, ((key, low, high), version, body)| {
        let span = usize::try_from(high - low).expect("a range") + 1;
        let version = low + i16::try_from(version.index(span)).expect("a version");
        send_and_leave(served, &wire::request(key, version, 1, &body));
        served.still_serves();
    });
}

#[test]
fn random_bytes_harm_nobody() {
    check(Served::start(), &vec(any::<u8>(), 0..2_000), |served, bytes| {
        let mut connection = served.open();
        // The broker may close the connection at any byte.
        let _ = connection.send_raw(&bytes);
        drop(connection);
        served.still_serves();
    });
}

#[test]
fn requests_that_break_off_harm_nobody() {
    let strategy = (proptest::sample::select(valid_frames()), any::<Index>());
    check(Served::start(), &strategy, |served, (frame, at)| {
        let framed = Body::new().bytes(&frame).into_bytes();
        let mut connection = served.open();
        connection.send_raw(&framed[..at.index(framed.len())]).expect("an unfinished frame is waited for");
        // While it is unfinished, and after it was given up.
        served.still_serves();
        drop(connection);
    });
    // Whoever never finishes a frame keeps nobody waiting, however many do so.
    let mut served = Served::start();
    let mut unfinished = Vec::new();
    for _ in 0..200 {
        let mut connection = served.open();
        connection.send_raw(&[0, 0, 1, 0, 0, 18]).expect("an unfinished frame is waited for");
        unfinished.push(connection);
    }
    served.still_serves();
    served.ends_well();
}

#[test]
fn absurd_lengths_end_the_connection_before_anything_is_allocated() {
    let absurd = prop_oneof![
        Just(i32::MAX),
        Just(i32::MIN),
        Just(-1),
        i32::MIN..0,
        // Over Kafka's `socket.request.max.bytes`.
        104_857_601..=i32::MAX
    ];
    check(Served::start(), &absurd, |served, length| {
        let mut connection = served.open();
        connection.send_raw(&length.to_be_bytes()).expect("the length is read");
        assert_eq!(connection.receive(), None, "a frame of {length} bytes is not waited for");
        served.still_serves();
    });
}

#[test]
fn unknown_apis_and_versions_end_only_their_own_connection() {
    check(Served::start(), &(any::<i16>(), any::<i16>()), |served, (key, version)| {
        let known = served.versions.iter().any(|&(k, low, high)| k == key && (low..=high).contains(&version));
        if known || key == api::API_VERSIONS {
            return;
        }
        // Kafka closes the connection; an answer would have to be in a layout that nobody knows.
        assert_eq!(served.open().ask(key, version, &[]), None, "API {key} version {version}");
        served.still_serves();
    });
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_with_the_known_ones() {
    let served = Served::start();
    for version in [5, 6, 99, i16::MAX] {
        // From version 3 on, the request's header ends with a count of tagged fields.
        let answer = served.open().ask(api::API_VERSIONS, version, &[0]).expect("it is answered");
        let mut reader = Reader::new(&answer);
        assert_eq!(reader.int16(), 35, "UNSUPPORTED_VERSION");
        let listed: Vec<_> =
            (0..reader.int32()).map(|_| (reader.int16(), reader.int16(), reader.int16())).collect();
        assert!(listed.iter().any(|&(key, _, high)| key == api::API_VERSIONS && high >= 3), "{listed:?}");
    }
    served.ends_well();
}

#[test]
fn every_damaged_bit_of_a_batch_is_noticed_and_nothing_of_it_is_stored() {
    let served = Served::start();
    let batch = wire::batch(b"some bytes that are to arrive as they were sent", TIMESTAMP_MS);
    let mut connection = served.open();
    assert_eq!(wire::produce(&mut connection, TOPIC, &batch), Some((0, 0)));
    for byte in 0..batch.len() {
        // Base offset and leader epoch are the broker's to fill in, whatever a producer sends.
        if (0..8).contains(&byte) || (12..16).contains(&byte) {
            continue;
        }
        for bit in 0..8 {
            let mut damaged = batch.clone();
            damaged[byte] ^= 1 << bit;
            match wire::produce(&mut connection, TOPIC, &damaged) {
                Some((error, _)) => assert_ne!(error, 0, "bit {bit} of byte {byte} was damaged"),
                // A batch length that lies may also make the request unreadable.
                None => connection = served.open(),
            }
        }
    }
    assert_eq!(log_bounds(served.broker.bootstrap(), TOPIC, 0), (0, 1));
    served.ends_well();
}

#[test]
fn batches_that_break_off_are_refused() {
    let served = Served::start();
    let batch = wire::batch(b"whole", TIMESTAMP_MS);
    for length in 0..batch.len() {
        if let Some((error, _)) = wire::produce(&mut served.open(), TOPIC, &batch[..length]) {
            // Kafka takes no records at all for nothing to do.
            assert!(error != 0 || length == 0, "a batch cut to {length} bytes was accepted");
        }
    }
    assert_eq!(log_bounds(served.broker.bootstrap(), TOPIC, 0), (0, 0));
    served.ends_well();
}

#[test]
fn an_oversize_record_is_refused_and_its_connection_goes_on() {
    let served = Served::start();
    let mut connection = served.open();
    let oversize = wire::batch(&vec![7; 1_100_000], TIMESTAMP_MS);
    let (error, _) = wire::produce(&mut connection, TOPIC, &oversize).expect("it is answered");
    assert_eq!(error, 10, "MESSAGE_TOO_LARGE");
    let fits = wire::batch(&vec![7; 1_000_000], TIMESTAMP_MS);
    assert_eq!(wire::produce(&mut connection, TOPIC, &fits), Some((0, 0)));
    served.ends_well();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let served = Served::start();
    let mut connection = served.open();
    for correlation in 0..300 {
        let frame = match correlation % 3 {
            0 => wire::request(api::API_VERSIONS, 0, correlation, &[]),
            // Waits for records that never come, while the next requests are here already.
            1 => wire::request(api::FETCH, 4, correlation, &wire::fetch_body(TOPIC, 0, 0, 20)),
            _ => wire::request(api::METADATA, 1, correlation, &Body::new().int32(-1).into_bytes()),
        };
        connection.send(&frame).expect("it is read");
    }
    for correlation in 0..300 {
        let answer = connection.receive().expect("it is answered");
        assert_eq!(Reader::new(&answer).int32(), correlation);
    }
    served.ends_well();
}

#[test]
fn who_does_not_read_answers_holds_up_nobody() {
    let mut served = Served::start();
    let mut deaf = Vec::new();
    for _ in 0..4 {
        let connection = served.open();
        connection.stream().set_nonblocking(true).expect("the option is known");
        let frame =
            Body::new().bytes(&wire::request(api::API_VERSIONS, 0, 1, &[])).into_bytes().repeat(1_000);
        // Until the broker takes no more, or 64 MiB were taken.
        for _ in 0..2_600 {
            if connection.stream().write(&frame).is_err() {
                break;
            }
        }
        deaf.push(connection);
        served.still_serves();
    }
    served.ends_well();
}

#[test]
fn bad_input_gets_the_error_code_that_kafka_gives_it() {
    let served = Served::start();
    let mut connection = served.open();
    // Kafka makes its coordinator when it is first asked for.
    let find = Body::new().string("nobody").int8(0).into_bytes();
    let deadline = Deadline::start();
    loop {
        let answer = connection.ask(api::FIND_COORDINATOR, 1, &find).expect("it is answered");
        let mut reader = Reader::new(&answer);
        if (reader.int32(), reader.int16()) == (0, 0) {
            break;
        }
        deadline.check("a coordinator is there");
    }
    let mut wrong = Vec::new();
    for case in refusals(TOPIC) {
        let Some(answer) = connection.ask(case.key, case.version, &case.body) else {
            wrong.push(format!("{}: the connection was closed, expected was {}", case.what, case.expected));
            connection = served.open();
            continue;
        };
        let code = (case.code)(&mut Reader::new(&answer));
        if code != case.expected {
            wrong.push(format!("{}: {code}, expected was {}", case.what, case.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    served.ends_well();
}
