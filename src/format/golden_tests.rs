//! The bytes of an example of every kind are those in FORMAT.md, and those in FORMAT.md mean the example.

use std::collections::BTreeSet;

use bytes::Bytes;
use uuid::Uuid;

use crate::*;

/// An example's kind, what it shows, its key, its value if the kind has one of its own, and whether both come back.
struct Golden {
    kind: Kind,
    shows: &'static str,
    key: Bytes,
    value: Option<Bytes>,
    comes_back: bool,
}

macro_rules! golden {
    ($kind:ident, $shows:literal, $key_type:ident $key:tt, $value_type:ident $value:tt) => {{
        let key = $key_type $key;
        let value = $value_type $value;
        let (key_bytes, value_bytes) = (key.encode(), value.encode());
        let comes_back = $key_type::decode(&key_bytes) == Ok(key) && $value_type::decode(value_bytes.clone()) == Ok(value);
        Golden { kind: Kind::$kind, shows: $shows, key: key_bytes, value: Some(value_bytes), comes_back }
    }};
    ($kind:ident, $shows:literal, $key_type:ident $key:tt) => {{
        let key = $key_type $key;
        let key_bytes = key.encode();
        let comes_back = $key_type::decode(&key_bytes) == Ok(key);
        Golden { kind: Kind::$kind, shows: $shows, key: key_bytes, value: None, comes_back }
    }};
}

fn restoring_golden() -> Golden {
    let value = RestoringValue { attempt: ENTRY, snapshot: VERSION, began_ms: TIME_MS };
    let is_same = RestoringValue::decode(value.encode()) == Ok(value);
    Golden {
        kind: Kind::Restoring,
        shows: "an attempt",
        key: RestoringKey.encode(),
        value: Some(value.encode()),
        comes_back: is_same && RestoringKey::decode(&RestoringKey.encode()).is_ok(),
    }
}

fn with_marker(golden: Golden) -> Golden {
    Golden { value: Some(MARKER), ..golden }
}

const TOPIC: TopicId = TopicId(Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_2345_6789_abcd));
const ENTRY: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
const ID: PartitionId = PartitionId { topic: TOPIC, partition: PartitionIndex(7) };
const VERSION: OrderVersion = OrderVersion(0x0672_3045_0003_0001);
const TIME_MS: i64 = 1_772_000_000_123;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn index_golden(shows: &'static str, values: Vec<IndexValue>) -> Golden {
    let key = IndexKey {
        table: "flights".into(),
        index: "by_gate".into(),
        values,
        id: ModelId::String("KL1".into()).encode(),
    };
    let encoded = key.encode().expect("short values");
    let comes_back = IndexKey::decode(&encoded) == Ok(key);
    Golden { kind: Kind::Index, shows, key: encoded, value: Some(MARKER), comes_back }
}

fn unique_golden() -> Golden {
    let values = vec![IndexValue::Str("D7".into())];
    let key = UniqueKey { table: "flights".into(), index: "by_gate".into(), values };
    let value = UniqueValue { id: ModelId::String("KL1".into()).encode() };
    let encoded = key.encode().expect("short values");
    let comes_back =
        UniqueKey::decode(&encoded) == Ok(key) && UniqueValue::decode(value.encode()).as_ref() == Ok(&value);
    let shows = "text";
    Golden { kind: Kind::Unique, shows, key: encoded, value: Some(value.encode()), comes_back }
}

fn model_golden(shows: &'static str, id: &ModelId) -> Golden {
    let comes_back = ModelId::decode(&id.encode()).as_ref() == Ok(id);
    let golden = golden!(
        Model,
        "",
        ModelKey { table: "flights".into(), id: id.encode() },
        ModelValue { schema_version: 3, body: bytes("{\"gate\":\"D7\"}") }
    );
    Golden { shows, comes_back: comes_back && golden.comes_back, ..golden }
}

fn goldens() -> Vec<Golden> {
    let mut goldens = store_goldens();
    goldens.extend(group_goldens());
    goldens.extend(partition_goldens());
    goldens.extend(model_goldens());
    goldens
}

fn store_goldens() -> Vec<Golden> {
    let version_bytes = FormatVersion::SUPPORTED.encode();
    let version_comes_back = FormatVersion::decode(&version_bytes) == Ok(FormatVersion::SUPPORTED)
        && FormatVersionKey::decode(&FormatVersionKey.encode()).is_ok();
    vec![
        Golden {
            kind: Kind::FormatVersion,
            shows: "version 2",
            key: FormatVersionKey.encode(),
            value: Some(version_bytes),
            comes_back: version_comes_back,
        },
        golden!(
            Broker,
            "broker 3 in a rack",
            BrokerKey { id: BrokerId(3) },
            BrokerValue {
                host: "localhost".into(),
                port: 9092,
                rack: Some("r1".into()),
                incarnation: 0xABCD,
                renewals: 5,
                lease_ms: 10_000
            }
        ),
        golden!(GcHold, "a hold", GcHoldKey { id: ENTRY }, GcHoldValue { version: VERSION, renewals: 2 }),
        Golden {
            kind: Kind::Cluster,
            shows: "its id",
            key: ClusterKey.encode(),
            value: Some(ClusterValue { id: TOPIC.0 }.encode()),
            comes_back: ClusterKey::decode(&ClusterKey.encode()).is_ok(),
        },
        restoring_golden(),
        golden!(
            Attempt,
            "the ninth of a lane",
            AttemptKey { client: ENTRY, lane: 2 },
            AttemptValue { number: 9, applied: true, at_ms: TIME_MS }
        ),
        golden!(
            Topic,
            "two configurations",
            TopicKey { name: "flights".into() },
            TopicValue {
                id: TOPIC,
                partitions: 12,
                created_version: VERSION,
                configs: [("retention.ms", "1000"), ("tidegate.delivery", "scheduled")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into()
            }
        ),
        golden!(
            EventType,
            "its topic",
            EventTypeKey { name: "flight.departed".into() },
            EventTypeValue { topic: "flights".into() }
        ),
        Golden {
            kind: Kind::ProducerIdBlock,
            shows: "next 2000",
            key: ProducerIdBlockKey.encode(),
            value: Some(ProducerIdBlockValue { next: ProducerId(2000) }.encode()),
            comes_back: ProducerIdBlockKey::decode(&ProducerIdBlockKey.encode()).is_ok(),
        },
        golden!(
            DroppedTopic,
            "its name and partitions",
            DroppedTopicKey { id: TOPIC },
            DroppedTopicValue { name: "flights".into(), partitions: 12 }
        ),
    ]
}

fn group_goldens() -> Vec<Golden> {
    let group = || String::from("billing");
    vec![
        golden!(
            Group,
            "stable",
            GroupKey { group: group() },
            GroupValue {
                epoch: OwnerEpoch(2),
                owner: BrokerId(3),
                generation: Generation(9),
                state: GroupState::Stable,
                protocol_type: Some("consumer".into()),
                protocol: Some("range".into()),
                leader: Some("m-1".into()),
                state_since_ms: TIME_MS
            }
        ),
        golden!(
            Group,
            "empty, with a NUL in its id",
            GroupKey { group: "a\0b\u{1}".into() },
            GroupValue {
                epoch: OwnerEpoch(0),
                owner: BrokerId(0),
                generation: Generation(0),
                state: GroupState::Empty,
                protocol_type: None,
                protocol: None,
                leader: None,
                state_since_ms: TIME_MS
            }
        ),
        golden!(
            GroupMember,
            "a static member",
            GroupMemberKey { group: group(), member: "m-1".into() },
            GroupMemberValue {
                instance: Some("i1".into()),
                client_id: "c".into(),
                client_host: "/127.0.0.1".into(),
                session_timeout_ms: 45_000,
                rebalance_timeout_ms: 300_000,
                protocols: vec![("range".into(), bytes("meta"))],
                assignment: bytes("mine")
            }
        ),
        golden!(
            Offset,
            "with metadata and expiry",
            OffsetKey { group: group(), id: ID },
            OffsetValue {
                offset: Offset(42),
                leader_epoch: -1,
                metadata: "note".into(),
                commit_time_ms: TIME_MS,
                expire_time_ms: Some(TIME_MS + 1)
            }
        ),
        with_marker(golden!(Done, "offset 42", DoneKey { group: group(), id: ID, offset: Offset(42) })),
        golden!(
            Parked,
            "key KL1, offset 42",
            ParkedKey { group: group(), id: ID, key: bytes("KL1"), offset: Offset(42) },
            ParkedValue {
                attempts: 2,
                due_ms: TIME_MS,
                cause: Some("late".into()),
                timestamp_ms: TIME_MS,
                key: Some(bytes("KL1")),
                value: Some(bytes("{}")),
                headers: vec![("h".into(), Some(bytes("v")))]
            }
        ),
    ]
}

fn partition_goldens() -> Vec<Golden> {
    let event = || EventValue {
        schedule: Some("s1".into()),
        timestamp_ms: Some(TIME_MS),
        key: Some(bytes("KL1")),
        value: None,
        headers: vec![("ce_type".into(), Some(bytes("flight.departed"))), ("none".into(), None)],
    };
    let at_once = EventValue { key: Some(bytes("KL1")), value: Some(bytes("{}")), ..EventValue::default() };
    vec![
        golden!(
            Log,
            "a batch that ends at offset 42",
            LogKey { id: ID, last_offset: Offset(42) },
            LogValue {
                append_version: VERSION,
                maxima: TimestampMaxima::new(TIME_MS, []),
                end_bytes: 8192,
                batch: bytes("batch")
            }
        ),
        golden!(
            Log,
            "the same, after higher timestamps in wider stretches",
            LogKey { id: ID, last_offset: Offset(42) },
            LogValue {
                append_version: VERSION,
                maxima: TimestampMaxima::new(TIME_MS, [TIME_MS - 300, TIME_MS - 300, TIME_MS - 1]),
                end_bytes: 8192,
                batch: bytes("batch")
            }
        ),
        golden!(
            PartitionState,
            "owned by broker 3 in epoch 2",
            PartitionStateKey { id: ID },
            PartitionState {
                log_start: Offset(5),
                next_offset: Offset(43),
                owner: BrokerId(3),
                epoch: OwnerEpoch(2),
                log_bytes: 4096,
                appended_bytes: 8192,
                maxima: TimestampMaxima::new(TIME_MS, [TIME_MS - 1]),
                commit_token: 0xBEEF
            }
        ),
        golden!(
            Producer,
            "one batch, and one that was held",
            ProducerKey { id: ID, producer: ProducerId(2000) },
            ProducerValue {
                epoch: ProducerEpoch(1),
                last_version: VERSION,
                batches: vec![
                    ProducerBatch {
                        first_sequence: 0,
                        last_sequence: 9,
                        base_offset: Offset(33),
                        append_time_ms: TIME_MS
                    },
                    ProducerBatch {
                        first_sequence: 10,
                        last_sequence: 19,
                        base_offset: Offset(-1),
                        append_time_ms: TIME_MS
                    },
                ]
            }
        ),
        {
            let key = OutboxKey { id: ID, version: VERSION, n: 1 };
            let comes_back = OutboxKey::decode(&key.encode()) == Ok(key)
                && EventValue::decode(at_once.encode()).as_ref() == Ok(&at_once);
            Golden {
                kind: Kind::Outbox,
                shows: "an event without headers",
                key: key.encode(),
                value: Some(at_once.encode()),
                comes_back,
            }
        },
        {
            let key = TimerKey { id: ID, due_ms: TIME_MS, entry: ENTRY };
            let comes_back = TimerKey::decode(&key.encode()) == Ok(key)
                && EventValue::decode(event().encode()) == Ok(event());
            Golden {
                kind: Kind::Timer,
                shows: "a deletion with a schedule id and headers",
                key: key.encode(),
                value: Some(event().encode()),
                comes_back,
            }
        },
        golden!(
            Schedule,
            "its timer entry",
            ScheduleKey { topic: TOPIC, schedule: "s1".into() },
            ScheduleValue { partition: PartitionIndex(7), due_ms: TIME_MS, entry: ENTRY }
        ),
        with_marker(golden!(
            EventId,
            "until a day begins",
            EventIdKey { until_ms: 1_771_977_600_000, source: "/flights".into(), id: "KL1".into() }
        )),
        golden!(
            Published,
            "until a day begins",
            PublishedKey { source: "/flights".into(), id: "KL1".into() },
            PublishedValue { until_ms: 1_771_977_600_000 }
        ),
    ]
}

fn model_goldens() -> Vec<Golden> {
    let float = |value| IndexValue::F64(Float::new(value).expect("a number"));
    vec![
        model_golden("a string id", &ModelId::String("KL1".into())),
        model_golden("an integer id", &ModelId::Integer(-5)),
        model_golden("a UUID id", &ModelId::Uuid(ENTRY)),
        index_golden("text and time", vec![IndexValue::Str("D7".into()), IndexValue::TimeMs(TIME_MS)]),
        index_golden("bool and number", vec![IndexValue::Bool(true), IndexValue::I64(-1)]),
        index_golden("floats", vec![float(-1.5), float(0.0), float(1.5)]),
        index_golden(
            "UUID and bytes",
            vec![IndexValue::Uuid(ENTRY), IndexValue::Bytes(Bytes::from_static(&[0, 1, 2]))],
        ),
        index_golden("no values", vec![]),
        golden!(
            Manifest,
            "two index keys",
            ManifestKey { table: "flights".into(), id: ModelId::String("KL1".into()).encode() },
            ManifestValue { index_keys: vec![bytes("A"), bytes("BB")] }
        ),
        unique_golden(),
        with_marker(golden!(
            Reference,
            "a flight names its airline",
            ReferenceKey {
                parent_table: "airlines".into(),
                parent: ModelId::String("KL".into()).encode(),
                table: "flights".into(),
                field: "airline_id".into(),
                id: ModelId::String("KL1".into()).encode(),
            }
        )),
        golden!(
            Backfill,
            "under way",
            BackfillKey { table: "flights".into() },
            BackfillValue {
                definition: ENTRY,
                rows: 500,
                after: Some(ModelId::String("KL1".into()).encode())
            }
        ),
        golden!(
            Backfill,
            "done",
            BackfillKey { table: "flights".into() },
            BackfillValue { definition: ENTRY, rows: 501, after: None }
        ),
        golden!(
            Built,
            "an index, and a reference that is being filled",
            BuiltKey { table: "flights".into() },
            BuiltValue {
                built: vec![
                    Built {
                        kind: BuiltKind::Index,
                        name: "by_gate".into(),
                        definition: ENTRY,
                        is_complete: true
                    },
                    Built {
                        kind: BuiltKind::Reference,
                        name: "airline_id".into(),
                        definition: ENTRY,
                        is_complete: false
                    },
                ]
            }
        ),
        golden!(User, "an application's key", UserKey { key: bytes("settings/a") }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn row(golden: &Golden) -> String {
    let value = golden.value.as_ref().map_or_else(|| "-".to_owned(), |value| format!("`{}`", hex(value)));
    format!("| {} | {} | `{}` | {value} |", golden.kind, golden.shows, hex(&golden.key))
}

#[test]
fn the_bytes_of_every_kind_are_those_in_format_md() {
    let written = include_str!("FORMAT.md");
    let (_, table) = written.split_once("## Golden bytes").expect("the section of golden bytes");
    let written: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let goldens = goldens();
    assert!(goldens.is_sorted_by_key(|golden| golden.kind), "the table is in the order of the keys");
    let expected: Vec<String> = goldens.iter().map(row).collect();
    assert_eq!(
        written,
        expected,
        "what is stored must stay readable; as it is now:\n{}",
        expected.join("\n")
    );
}

#[test]
fn every_golden_example_comes_back() {
    for golden in goldens() {
        assert!(golden.comes_back, "{}: {}", golden.kind, golden.shows);
        assert_eq!(Kind::of_key(&golden.key), Some(golden.kind));
    }
}

#[test]
fn every_kind_has_a_golden_example() {
    let shown: BTreeSet<Kind> = goldens().iter().map(|golden| golden.kind).collect();
    assert_eq!(shown, Kind::ALL.iter().copied().collect());
}
