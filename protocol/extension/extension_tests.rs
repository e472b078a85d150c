use std::fmt::Debug;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::commit::{Attempt, Commit, CommittedAt, VersionedPut};
use super::delete_range::DeleteRange;
use super::hello::{Hello, Welcome};
use super::hint::{Hint, HintedPartition};
use super::outcome::{Outcome, Settled};
use super::read::{By, Entries, Get, Keys, Range, Scan, ScanKeys, Values};
use super::session::{Begin, Begun, End};
use super::*;
use crate::frame::RequestHead;

const CORRELATION_ID: i32 = 7;
const CLIENT_ID: &str = "app";

/// A request's body as a broker reads it from the frame.
fn request_back<R: ExtensionRequest>(request: &R) -> Result<R, FrameError> {
    let mut frame = encode_request(0, CORRELATION_ID, CLIENT_ID, request).expect("short");
    let length = frame.get_i32();
    assert_eq!(usize::try_from(length), Ok(frame.len()));
    let head = RequestHead::decode(frame).expect("a head");
    assert_eq!((head.api_key, head.api_version), (R::API.key(), 0));
    assert_eq!(head.correlation_id, CORRELATION_ID);
    assert_eq!(head.client_id.as_deref(), Some(CLIENT_ID));
    decode_request(head.body)
}

fn response_back<T: Message>(response: &Response<T>) -> Result<(i32, Response<T>), FrameError> {
    let frame = encode_response(CORRELATION_ID, response).expect("short");
    decode_response(frame.slice(LENGTH_LEN..))
}

fn octets() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn by() -> impl Strategy<Value = By> {
    (any::<u64>(), any::<bool>()).prop_map(|(session, writes)| By { session, writes })
}

fn range() -> impl Strategy<Value = Range> {
    (octets(), octets(), any::<bool>(), any::<u32>()).prop_map(|(start, end, backward, count)| Range {
        start,
        end,
        backward,
        count,
    })
}

fn commit() -> impl Strategy<Value = Commit> {
    let attempt = (any::<u128>(), any::<u32>(), any::<u64>());
    let attempt = attempt.prop_map(|(client, lane, number)| Attempt { client, lane, number });
    let versioned = (octets(), octets(), octets());
    let versioned = versioned.prop_map(|(prefix, suffix, value)| VersionedPut { prefix, suffix, value });
    let lists =
        (vec((octets(), octets()), 0..5), vec(octets(), 0..5), vec(octets(), 0..5), vec(versioned, 0..5));
    (any::<u64>(), attempt, any::<bool>(), lists).prop_map(|(session, attempt, growing, lists)| {
        let (puts, deletes, guards, versioned) = lists;
        Commit { session, attempt, growing, puts, deletes, guards, versioned }
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    let limited = proptest::sample::select(&Limited::ALL[..]);
    prop_oneof![
        Just(Failure::Conflict),
        (octets(), any::<u128>()).prop_map(|(key, nonce)| Failure::Unknown { key, nonce }),
        any::<String>().prop_map(|reason| Failure::Unavailable { reason }),
        any::<u64>().prop_map(|max_ms| Failure::Expired { max_ms }),
        (limited, any::<u64>(), any::<u64>()).prop_map(|(what, actual, limit)| Failure::TooLarge {
            what,
            actual,
            limit
        }),
        any::<u64>().prop_map(|reserve_bytes| Failure::DiskFull { reserve_bytes }),
        any::<String>().prop_map(|place| Failure::Damaged { place }),
        any::<(String, String)>().prop_map(|(kind, reason)| Failure::Refused { kind, reason }),
        any::<(String, u64)>().prop_map(|(setting, limit)| Failure::TooManySessions { setting, limit }),
        any::<String>().prop_map(|setting| Failure::SwitchedOff { setting }),
        any::<(i16, i16)>().prop_map(|(min, max)| Failure::UnsupportedVersion { min, max }),
    ]
}

fn response<T: Debug + Clone + 'static>(
    answer: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Response<T>> {
    let time = any::<(i64, i64, u64)>();
    let time = time.prop_map(|(now_ms, oldest_open_ms, steps_back)| StoreTime {
        now_ms,
        oldest_open_ms,
        steps_back,
    });
    let outcome = prop_oneof![answer.prop_map(Ok), failure().prop_map(Err)];
    (time, outcome).prop_map(|(time, outcome)| Response { time, outcome })
}

proptest! {
    #[test]
    fn every_request_comes_back(
        hello in any::<(i16, i16)>(),
        session in any::<u64>(),
        get in (by(), vec(octets(), 0..5)),
        scan in (by(), range(), any::<u64>()),
        commit in commit(),
        outcome in (octets(), any::<u128>()),
        delete in (octets(), octets()),
        hinted in vec(any::<(u128, i32)>(), 0..5),
    ) {
        let hello = Hello { version_min: hello.0, version_max: hello.1 };
        prop_assert_eq!(request_back(&hello), Ok(hello));
        for begin in [Begin { reading: false }, Begin { reading: true }] {
            prop_assert_eq!(request_back(&begin), Ok(begin));
        }
        let end = End { session };
        prop_assert_eq!(request_back(&end), Ok(end));
        let get = Get { by: get.0, keys: get.1 };
        prop_assert_eq!(request_back(&get), Ok(get));
        let keys = ScanKeys { by: scan.0, range: scan.1.clone() };
        prop_assert_eq!(request_back(&keys), Ok(keys));
        let scan = Scan { by: scan.0, range: scan.1, value_bytes: scan.2 };
        prop_assert_eq!(request_back(&scan), Ok(scan));
        prop_assert_eq!(request_back(&commit), Ok(commit));
        let outcome = Outcome { key: outcome.0, nonce: outcome.1 };
        prop_assert_eq!(request_back(&outcome), Ok(outcome));
        let delete = DeleteRange { start: delete.0, end: delete.1 };
        prop_assert_eq!(request_back(&delete), Ok(delete));
        let hinted = hinted.into_iter().map(|(topic, partition)| HintedPartition { topic, partition });
        let hint = Hint { partitions: hinted.collect() };
        prop_assert_eq!(request_back(&hint), Ok(hint));
    }

    #[test]
    fn every_answer_comes_back(
        begun in response(any::<(u64, u64)>().prop_map(|(session, start_version)| Begun { session, start_version })),
        values in response(vec(option::of(octets()), 0..5).prop_map(|values| Values { values })),
        entries in response((vec((octets(), octets()), 0..5), any::<bool>())
            .prop_map(|(entries, exhausted)| Entries { entries, exhausted })),
        keys in response((vec(octets(), 0..5), any::<bool>()).prop_map(|(keys, exhausted)| Keys { keys, exhausted })),
        committed in response(any::<u64>().prop_map(|version| CommittedAt { version })),
        settled in response(any::<bool>().prop_map(|applied| Settled { applied })),
        done in response(Just(Done)),
    ) {
        prop_assert_eq!(response_back(&begun), Ok((CORRELATION_ID, begun)));
        prop_assert_eq!(response_back(&values), Ok((CORRELATION_ID, values)));
        prop_assert_eq!(response_back(&entries), Ok((CORRELATION_ID, entries)));
        prop_assert_eq!(response_back(&keys), Ok((CORRELATION_ID, keys)));
        prop_assert_eq!(response_back(&committed), Ok((CORRELATION_ID, committed)));
        prop_assert_eq!(response_back(&settled), Ok((CORRELATION_ID, settled)));
        prop_assert_eq!(response_back(&done), Ok((CORRELATION_ID, done)));
    }

    /// What decodes is what an encoder writes: no two byte strings mean the same message.
    #[test]
    fn bytes_at_random_are_refused_or_mean_one_message(body in vec(any::<u8>(), 0..80)) {
        fn try_as<R: ExtensionRequest>(body: &[u8]) -> Result<(), TestCaseError> {
            if let Ok(request) = decode_request::<R>(Bytes::copy_from_slice(body)) {
                let frame = encode_request(0, 1, "", &request).expect("short");
                prop_assert_eq!(&frame[LENGTH_LEN + 10..], body);
            }
            Ok(())
        }
        try_as::<Hello>(&body)?;
        try_as::<Begin>(&body)?;
        try_as::<End>(&body)?;
        try_as::<Get>(&body)?;
        try_as::<Scan>(&body)?;
        try_as::<ScanKeys>(&body)?;
        try_as::<Commit>(&body)?;
        try_as::<Outcome>(&body)?;
        try_as::<DeleteRange>(&body)?;
        try_as::<Hint>(&body)?;
        let mut framed = 1_i32.to_be_bytes().to_vec();
        framed.extend(&body);
        if let Ok((_, entries)) = decode_response::<Entries>(framed.clone().into()) {
            prop_assert_eq!(&encode_response(1, &entries).expect("short")[LENGTH_LEN..], &framed);
        }
    }

    /// A message that is cut short or has more behind it is none.
    #[test]
    fn a_damaged_end_is_noticed(commit in commit(), cut in 1..50_usize) {
        let frame = encode_request(0, 1, "", &commit).expect("short").slice(LENGTH_LEN + 10..);
        prop_assert!(decode_request::<Commit>(frame.slice(..frame.len().saturating_sub(cut))).is_err());
        let mut longer = frame.to_vec();
        longer.extend(vec![0; cut]);
        prop_assert!(decode_request::<Commit>(longer.into()).is_err());
    }
}

#[test]
fn more_elements_than_a_request_may_have_are_refused() {
    let keys = vec![Bytes::new(); REQUEST_ELEMENTS_MAX + 1];
    let by = By { session: 1, writes: false };
    let get = Get { by, keys };
    assert_eq!(request_back(&get), Err(FrameError::Malformed { field: "keys" }));
    let get = Get { by, keys: get.keys[1..].to_vec() };
    assert_eq!(request_back(&get), Ok(get));
}

#[test]
fn no_key_of_the_extension_is_one_of_kafka() {
    for api in ExtensionApi::ALL {
        assert_eq!(ExtensionApi::of_key(api.key()), Some(*api));
        assert!(crate::messages::ApiKey::try_from(api.key()).is_err());
        assert!(crate::versions::served(api.key()).is_none(), "stock clients are not told of it");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// An example of each message, as its line in `vectors.txt`.
fn vectors() -> Vec<String> {
    let mut lines = Vec::new();
    fn request<R: ExtensionRequest + PartialEq + Debug>(lines: &mut Vec<String>, request: &R) {
        assert_eq!(request_back(request).as_ref(), Ok(request));
        let frame = encode_request(0, CORRELATION_ID, CLIENT_ID, request).expect("short");
        lines.push(format!("{:?} request {}", R::API, hex(&frame)));
    }
    fn answer<R: ExtensionRequest<Answer: PartialEq + Debug>>(
        lines: &mut Vec<String>,
        outcome: Result<R::Answer, Failure>,
    ) {
        let time = StoreTime { now_ms: 1_772_000_000_123, oldest_open_ms: 1_772_000_000_100, steps_back: 0 };
        let response = Response { time, outcome };
        let frame = encode_response(CORRELATION_ID, &response).expect("short");
        let back = decode_response::<R::Answer>(frame.slice(LENGTH_LEN..)).expect("it comes back");
        assert_eq!(back, (CORRELATION_ID, response));
        lines.push(format!("{:?} answer {}", R::API, hex(&frame)));
    }
    let by = By { session: 3, writes: true };
    let range = Range { start: bytes("Pa"), end: bytes("Pb"), backward: false, count: 100 };
    request(&mut lines, &Hello { version_min: 0, version_max: 0 });
    answer::<Hello>(
        &mut lines,
        Ok(Welcome {
            version: 0,
            cluster_id: "ASNFZ4mrTN6PASNFZ4mrzQ".into(),
            transaction_max_ms: 60_000,
            transaction_max_bytes: 64 << 20,
            value_max_bytes: 16 << 20,
            sessions_max: 256,
        }),
    );
    answer::<Hello>(&mut lines, Err(Failure::SwitchedOff { setting: "extension.enable".into() }));
    answer::<Hello>(&mut lines, Err(Failure::UnsupportedVersion { min: 0, max: 0 }));
    request(&mut lines, &Begin { reading: false });
    request(&mut lines, &Begin { reading: true });
    answer::<Begin>(&mut lines, Ok(Begun { session: 3, start_version: 0x0672_3045_0003_0001 }));
    let setting = "extension.sessions.max".into();
    answer::<Begin>(&mut lines, Err(Failure::TooManySessions { setting, limit: 4096 }));
    request(&mut lines, &Get { by, keys: vec![bytes("Pa"), bytes("Pab")] });
    answer::<Get>(&mut lines, Ok(Values { values: vec![Some(bytes("1")), None] }));
    answer::<Get>(&mut lines, Err(Failure::Expired { max_ms: 60_000 }));
    request(&mut lines, &Scan { by, range: range.clone(), value_bytes: 1 << 20 });
    answer::<Scan>(&mut lines, Ok(Entries { entries: vec![(bytes("Pa"), bytes("1"))], exhausted: true }));
    answer::<Scan>(&mut lines, Err(Failure::Damaged { place: "journal 1 at 4096".into() }));
    request(&mut lines, &ScanKeys { by, range: Range { backward: true, ..range } });
    answer::<ScanKeys>(&mut lines, Ok(Keys { keys: vec![bytes("Pab"), bytes("Pa")], exhausted: false }));
    request(&mut lines, &End { session: 3 });
    answer::<End>(&mut lines, Ok(Done));
    request(
        &mut lines,
        &Commit {
            session: 3,
            attempt: Attempt { client: 0x0190_0000_0000_7000_8000_0000_0000_0001, lane: 2, number: 9 },
            growing: true,
            puts: vec![(bytes("Pa"), bytes("2"))],
            deletes: vec![bytes("Pab")],
            guards: vec![bytes("Pc")],
            versioned: vec![VersionedPut { prefix: bytes("Pv"), suffix: bytes("s"), value: bytes("3") }],
        },
    );
    answer::<Commit>(&mut lines, Ok(CommittedAt { version: 0x0672_3045_0003_0002 }));
    answer::<Commit>(&mut lines, Err(Failure::Conflict));
    answer::<Commit>(&mut lines, Err(Failure::Unknown { key: bytes("k"), nonce: 9 }));
    answer::<Commit>(&mut lines, Err(Failure::Unavailable { reason: "the store is closing".into() }));
    let what = Limited::ValueBytes;
    answer::<Commit>(&mut lines, Err(Failure::TooLarge { what, actual: 17 << 20, limit: 16 << 20 }));
    answer::<Commit>(&mut lines, Err(Failure::DiskFull { reserve_bytes: 256 << 20 }));
    let refused = Failure::Refused { kind: "log".into(), reason: "it is not written from outside".into() };
    answer::<Commit>(&mut lines, Err(refused));
    request(&mut lines, &Outcome { key: bytes("k"), nonce: 9 });
    answer::<Outcome>(&mut lines, Ok(Settled { applied: true }));
    request(&mut lines, &DeleteRange { start: bytes("Pa"), end: bytes("Pb") });
    answer::<DeleteRange>(&mut lines, Ok(Done));
    let topic = 0x0123_4567_89ab_4cde_8f01_2345_6789_abcd;
    request(&mut lines, &Hint { partitions: vec![HintedPartition { topic, partition: 7 }] });
    answer::<Hint>(&mut lines, Ok(Done));
    lines
}

#[test]
fn the_bytes_of_every_message_are_those_in_vectors_txt() {
    let written: Vec<&str> =
        include_str!("../vectors.txt").lines().filter(|line| !line.starts_with('#')).collect();
    let expected = vectors();
    assert_eq!(written, expected, "as it is now:\n{}", expected.join("\n"));
}

#[test]
fn every_api_has_a_vector_of_its_request_and_of_a_good_answer() {
    let lines = vectors();
    for api in ExtensionApi::ALL {
        assert!(lines.iter().any(|line| line.starts_with(&format!("{api:?} request "))));
        let good = lines.iter().any(|line| line.starts_with(&format!("{api:?} answer ")));
        assert!(good, "{api:?}");
    }
}
