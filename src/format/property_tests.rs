//! Round trip, order and refusal of every kind, on keys and values at random.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::strategies as at_random;
use crate::*;

/// How valid bytes are spoiled.
fn damage() -> impl Strategy<Value = (Index, u8, u8)> {
    (any::<Index>(), 0..4_u8, any::<u8>())
}

fn spoil(bytes: &[u8], (place, how, byte): (Index, u8, u8)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = place.index(bytes.len());
    match how {
        0 => bytes.truncate(at),
        1 => bytes[at] = byte,
        2 => bytes.insert(at, byte),
        _ => drop(bytes.remove(at)),
    }
    bytes
}

fn in_range(range: &(Bytes, Bytes), key: &Bytes) -> bool {
    range.0 <= *key && *key < range.1
}

/// For each key: it comes back, it sorts as it does, spoiled and arbitrary bytes are refused or are its only encoding.
macro_rules! keys {
    ($($test:ident: $type:ident from $strategy:ident;)*) => { $(
        mod $test {
            use super::*;

            proptest! {
                #[test]
                fn comes_back_and_belongs_to_its_kind(key in at_random::$strategy()) {
                    let bytes = key.encode();
                    prop_assert!(bytes.len() <= KEY_MAX_BYTES);
                    prop_assert_eq!($type::decode(&bytes), Ok(key));
                    prop_assert_eq!(Kind::of_key(&bytes).map(Kind::name), Some(NAMES.with_type(stringify!($type))));
                }

                #[test]
                fn sorts_as_it_does(left in at_random::$strategy(), right in at_random::$strategy()) {
                    prop_assert_eq!(left.cmp(&right), left.encode().cmp(&right.encode()));
                }

                #[test]
                fn has_one_encoding(key in at_random::$strategy(), damage in damage()) {
                    let bytes = spoil(&key.encode(), damage);
                    if let Ok(decoded) = $type::decode(&bytes) {
                        prop_assert_eq!(decoded.encode(), bytes);
                    }
                }

                #[test]
                fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
                    let _ = $type::decode(&bytes);
                }
            }
        }
    )* };
}

/// For each value, likewise; values have no order.
macro_rules! values {
    ($($test:ident: $type:ident from $strategy:ident;)*) => { $(
        mod $test {
            use super::*;

            proptest! {
                #[test]
                fn comes_back_and_is_never_empty(value in at_random::$strategy()) {
                    let bytes = value.encode();
                    prop_assert!(!bytes.is_empty());
                    prop_assert_eq!($type::decode(bytes), Ok(value));
                }

                #[test]
                fn has_one_encoding(value in at_random::$strategy(), damage in damage()) {
                    let bytes = Bytes::from(spoil(&value.encode(), damage));
                    if let Ok(decoded) = $type::decode(bytes.clone()) {
                        prop_assert_eq!(decoded.encode(), bytes);
                    }
                }

                #[test]
                fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
                    let mut first = bytes;
                    let _ = $type::decode(Bytes::from(first.clone()));
                    first.insert(0, 1);
                    let _ = $type::decode(Bytes::from(first));
                }
            }

            #[test]
            fn a_newer_one_is_refused_by_version() {
                let newer = $type::decode(Bytes::from_static(&[200, 0, 0]));
                assert!(matches!(newer, Err(FormatError::Newer { found: 200, supported: 1, .. })));
            }
        }
    )* };
}

/// The name of a kind in FORMAT.md, by the name of its key's type.
struct Names;
const NAMES: Names = Names;

impl Names {
    fn with_type(&self, key_type: &str) -> &'static str {
        match key_type {
            "PartitionStateKey" => "state",
            "GroupMemberKey" => "group-member",
            "EventTypeKey" => "event-type",
            "GcHoldKey" => "gc-hold",
            "DroppedTopicKey" => "dropped-topic",
            "EventIdKey" => "event-id",
            other => {
                let name = other.trim_end_matches("Key").to_lowercase();
                Kind::ALL.iter().map(|kind| kind.name()).find(|known| *known == name).expect("a kind")
            }
        }
    }
}

keys! {
    topic_key: TopicKey from topic_key;
    event_type_key: EventTypeKey from event_type_key;
    group_key: GroupKey from group_key;
    group_member_key: GroupMemberKey from group_member_key;
    offset_key: OffsetKey from offset_key;
    done_key: DoneKey from done_key;
    parked_key: ParkedKey from parked_key;
    broker_key: BrokerKey from broker_key;
    attempt_key: AttemptKey from attempt_key;
    gc_hold_key: GcHoldKey from gc_hold_key;
    dropped_topic_key: DroppedTopicKey from dropped_topic_key;
    log_key: LogKey from log_key;
    state_key: PartitionStateKey from state_key;
    producer_key: ProducerKey from producer_key;
    outbox_key: OutboxKey from outbox_key;
    timer_key: TimerKey from timer_key;
    schedule_key: ScheduleKey from schedule_key;
    model_key: ModelKey from model_key;
    manifest_key: ManifestKey from manifest_key;
    reference_key: ReferenceKey from reference_key;
    backfill_key: BackfillKey from backfill_key;
    built_key: BuiltKey from built_key;
    event_id_key: EventIdKey from event_id_key;
    published_key: PublishedKey from published_key;
    user_key: UserKey from user_key;
}

values! {
    topic_value: TopicValue from topic_value;
    event_type_value: EventTypeValue from event_type_value;
    log_value: LogValue from log_value;
    partition_state: PartitionState from partition_state;
    producer_value: ProducerValue from producer_value;
    producer_id_block_value: ProducerIdBlockValue from producer_id_block_value;
    event_value: EventValue from event_value;
    schedule_value: ScheduleValue from schedule_value;
    group_value: GroupValue from group_value;
    group_member_value: GroupMemberValue from group_member_value;
    offset_value: OffsetValue from offset_value;
    parked_value: ParkedValue from parked_value;
    broker_value: BrokerValue from broker_value;
    attempt_value: AttemptValue from attempt_value;
    gc_hold_value: GcHoldValue from gc_hold_value;
    cluster_value: ClusterValue from cluster_value;
    restoring_value: RestoringValue from restoring_value;
    dropped_topic_value: DroppedTopicValue from dropped_topic_value;
    model_value: ModelValue from model_value;
    manifest_value: ManifestValue from manifest_value;
    unique_value: UniqueValue from unique_value;
    backfill_value: BackfillValue from backfill_value;
    published_value: PublishedValue from published_value;
    built_value: BuiltValue from built_value;
}

proptest! {
    #[test]
    fn an_index_key_comes_back(key in at_random::index_key()) {
        let bytes = key.encode().expect("short values");
        prop_assert_eq!(IndexKey::decode(&bytes), Ok(key.clone()));
        for count in 0..=key.values.len() {
            let range = IndexKey::range(&key.table, &key.index, &key.values[..count]).expect("short values");
            prop_assert!(in_range(&range, &bytes));
        }
        prop_assert!(in_range(&IndexKey::range_table(&key.table), &bytes));
    }

    #[test]
    fn an_index_key_sorts_as_it_does(left in at_random::index_key(), right in at_random::index_key()) {
        prop_assert_eq!(left.cmp(&right), left.encode().expect("short").cmp(&right.encode().expect("short")));
        let same_index = IndexKey { table: left.table.clone(), index: left.index.clone(), ..right };
        prop_assert_eq!(
            left.cmp(&same_index),
            left.encode().expect("short").cmp(&same_index.encode().expect("short"))
        );
    }

    #[test]
    fn an_index_key_has_one_encoding(key in at_random::index_key(), damage in damage()) {
        let bytes = spoil(&key.encode().expect("short values"), damage);
        if let Ok(decoded) = IndexKey::decode(&bytes) {
            prop_assert_eq!(decoded.encode().expect("no longer than it was"), bytes);
        }
    }

    #[test]
    fn a_unique_key_comes_back_and_sorts_as_it_does(left in at_random::unique_key(), right in at_random::unique_key()) {
        let bytes = left.encode().expect("short values");
        prop_assert_eq!(UniqueKey::decode(&bytes), Ok(left.clone()));
        prop_assert!(in_range(&UniqueKey::range_table(&left.table), &bytes));
        prop_assert_eq!(left.cmp(&right), bytes.cmp(&right.encode().expect("short values")));
    }

    #[test]
    fn a_unique_key_has_one_encoding(key in at_random::unique_key(), damage in damage()) {
        let bytes = spoil(&key.encode().expect("short values"), damage);
        if let Ok(decoded) = UniqueKey::decode(&bytes) {
            prop_assert_eq!(decoded.encode().expect("no longer than it was"), bytes);
        }
    }

    #[test]
    fn references_lie_in_the_ranges_of_what_they_name(left in at_random::reference_key(), right in at_random::reference_key()) {
        let key = right.encode();
        prop_assert_eq!(
            in_range(&ReferenceKey::range_parent_table(&left.parent_table), &key),
            left.parent_table == right.parent_table
        );
        let same_parent = (&left.parent_table, &left.parent) == (&right.parent_table, &right.parent);
        prop_assert_eq!(in_range(&ReferenceKey::range_parent(&left.parent_table, &left.parent), &key), same_parent);
        let of_field = ReferenceKey::range_field(&right.parent_table, &right.parent, &right.table, &right.field);
        prop_assert!(in_range(&of_field, &key));
    }

    #[test]
    fn marks_of_a_worker_lie_in_the_ranges_of_their_group(done in at_random::done_key(), parked in at_random::parked_key()) {
        let (done_bytes, parked_bytes) = (done.encode(), parked.encode());
        prop_assert!(in_range(&DoneKey::all(), &done_bytes) && in_range(&ParkedKey::all(), &parked_bytes));
        let same = done.group == parked.group;
        prop_assert_eq!(in_range(&DoneKey::range_group(&parked.group), &done_bytes), same);
        prop_assert_eq!(in_range(&ParkedKey::range_group(&done.group), &parked_bytes), same);
        let of_key = ParkedKey::range_key(&parked.group, parked.id, &parked.key);
        prop_assert!(in_range(&of_key, &parked_bytes) && in_range(&DoneKey::range(&done.group, done.id), &done_bytes));
    }

    #[test]
    fn event_ids_whose_time_is_over_are_before(key in at_random::event_id_key(), now_ms in at_random::int64()) {
        prop_assert_eq!(in_range(&EventIdKey::range_before(now_ms), &key.encode()), key.until_ms < now_ms);
    }

    #[test]
    fn an_index_value_alone_sorts_as_it_does(left in at_random::index_value(), right in at_random::index_value()) {
        let range = |value: &IndexValue| IndexKey::range("t", "i", std::slice::from_ref(value)).expect("short");
        prop_assert_eq!(left.cmp(&right), range(&left).0.cmp(&range(&right).0));
        if left < right {
            prop_assert!(range(&left).1 <= range(&right).0, "the ranges of two values do not overlap");
        }
    }

    #[test]
    fn a_model_id_comes_back_and_sorts_as_it_does(left in at_random::model_id(), right in at_random::model_id()) {
        prop_assert_eq!(ModelId::decode(&left.encode()), Ok(left.clone()));
        prop_assert_eq!(left.cmp(&right), left.encode().cmp(&right.encode()));
    }

    #[test]
    fn a_model_id_has_one_encoding(id in at_random::model_id(), damage in damage()) {
        let bytes = spoil(&id.encode(), damage);
        if let Ok(decoded) = ModelId::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
        }
    }

    #[test]
    fn everything_of_a_partition_lies_in_its_range_in_the_order_of_the_kinds(
        log in at_random::log_key(), producer in any::<i64>(), due_ms in any::<i64>(), version in any::<u64>(),
    ) {
        let id = log.id;
        let keys = [
            log.encode(),
            PartitionStateKey { id }.encode(),
            ProducerKey { id, producer: ProducerId(producer) }.encode(),
            OutboxKey { id, version: OrderVersion(version), n: 0 }.encode(),
            TimerKey { id, due_ms, entry: uuid::Uuid::nil() }.encode(),
        ];
        prop_assert!(keys.is_sorted());
        prop_assert_eq!(&LogKey::range(id).1, &keys[1], "the state row sorts right after the last batch");
        for key in &keys {
            prop_assert!(in_range(&partition_range(id), key));
            prop_assert!(in_range(&topic_range(id.topic), key));
        }
        if id.partition.0 < i32::MAX {
            let next = PartitionId { topic: id.topic, partition: PartitionIndex(id.partition.0 + 1) };
            prop_assert!(partition_range(id).1 <= partition_range(next).0);
        }
    }

    #[test]
    fn ranges_hold_what_they_say(
        log in at_random::log_key(), from in at_random::int64(),
        timer in at_random::timer_key(), until in at_random::int64(),
        outbox in at_random::outbox_key(), version in any::<u64>(),
        schedule in at_random::schedule_key(), after in at_random::text(16),
    ) {
        let key = log.encode();
        prop_assert!(in_range(&LogKey::range(log.id), &key));
        prop_assert_eq!(in_range(&LogKey::range_from(log.id, Offset(from)), &key), log.last_offset.0 >= from);
        let key = timer.encode();
        prop_assert!(in_range(&TimerKey::range(timer.id), &key));
        prop_assert_eq!(in_range(&TimerKey::range_until(timer.id, until), &key), timer.due_ms <= until);
        let key = outbox.encode();
        prop_assert!(in_range(&OutboxKey::range(outbox.id), &key));
        let from_version = OutboxKey::range_from(outbox.id, OrderVersion(version));
        prop_assert_eq!(in_range(&from_version, &key), outbox.version.0 >= version);
        let pieces =
            [OutboxKey::prefix(outbox.id), outbox.version.0.to_be_bytes().to_vec().into(), OutboxKey::suffix(outbox.n)];
        prop_assert_eq!(pieces.concat(), key, "the store fills in the version");
        let key = schedule.encode();
        prop_assert!(in_range(&ScheduleKey::range(schedule.topic), &key));
        let page = ScheduleKey::range_from(schedule.topic, &after);
        prop_assert_eq!(in_range(&page, &key), schedule.schedule > after);
    }

    #[test]
    fn one_name_is_not_in_the_range_of_another(left in at_random::group_member_key(), right in at_random::group_member_key()) {
        prop_assert_eq!(in_range(&GroupMemberKey::range(&left.group), &right.encode()), left.group == right.group);
    }
}

#[test]
fn nan_is_no_index_value_and_minus_zero_is_zero() {
    assert_eq!(Float::new(f64::NAN), None);
    let zero = |value| IndexValue::F64(Float::new(value).expect("a number"));
    assert_eq!(zero(-0.0), zero(0.0));
    let range = |value| IndexKey::range("t", "i", &[zero(value)]).expect("short");
    assert_eq!(range(-0.0), range(0.0));
}

#[test]
fn the_longest_names_fit_into_a_key_even_if_every_byte_is_escaped() {
    let name = |length| "\0".repeat(length);
    let id = PartitionId { topic: TopicId(uuid::Uuid::max()), partition: PartitionIndex(0) };
    let member = GroupMemberKey { group: name(GROUP_ID_MAX_BYTES), member: name(MEMBER_ID_MAX_BYTES) };
    let parked = ParkedKey {
        group: name(GROUP_ID_MAX_BYTES),
        id,
        key: name(ParkedKey::KEY_MAX_BYTES).into(),
        offset: Offset(0),
    };
    let schedule = ScheduleKey { topic: id.topic, schedule: name(SCHEDULE_ID_MAX_BYTES) };
    let longest_id = ModelId::String(name(ModelId::STRING_MAX_BYTES)).encode();
    let reference = ReferenceKey {
        parent_table: name(TABLE_NAME_MAX_BYTES),
        parent: longest_id.clone(),
        table: name(TABLE_NAME_MAX_BYTES),
        field: name(TABLE_NAME_MAX_BYTES),
        id: longest_id,
    };
    let event_id = EventIdKey {
        until_ms: 0,
        source: name(EventIdKey::SOURCE_MAX_BYTES),
        id: name(EventIdKey::ID_MAX_BYTES),
    };
    for key in [member.encode(), parked.encode(), schedule.encode(), reference.encode(), event_id.encode()] {
        assert!(key.len() <= KEY_MAX_BYTES);
    }
}

#[test]
fn values_that_do_not_fit_into_an_index_key_are_an_error() {
    let values = vec![IndexValue::Str("x".repeat(KEY_MAX_BYTES))];
    assert!(matches!(IndexKey::range("t", "i", &values), Err(FormatError::KeyTooLong { .. })));
    let key = IndexKey { table: "t".into(), index: "i".into(), values, id: Bytes::from_static(b"\x03a") };
    assert!(matches!(key.encode(), Err(FormatError::KeyTooLong { limit: KEY_MAX_BYTES, .. })));
}

#[test]
fn names_from_outside_are_refused_with_the_reason() {
    assert_eq!(check_topic_name("flights.v1_eu-west"), Ok(()));
    assert_eq!(check_topic_name(""), Err(NameError::Empty { what: "topic name" }));
    assert_eq!(check_topic_name(".."), Err(NameError::Illegal { what: "topic name" }));
    assert_eq!(check_topic_name("a/b"), Err(NameError::Illegal { what: "topic name" }));
    let long = "x".repeat(250);
    let too_long = NameError::TooLong { what: "topic name", actual: 250, limit: 249 };
    assert_eq!(check_topic_name(&long), Err(too_long));
    assert_eq!(check_group_id("any thing/at all"), Ok(()));
}

#[test]
fn tags_are_unique_and_in_the_order_of_the_kinds() {
    let tags: Vec<_> = Kind::ALL.iter().map(|kind| (kind.tag(), kind.second_tag())).collect();
    assert!(tags.is_sorted_by(|left, right| left < right));
    assert_eq!(Kind::of_key(&[]), None);
    assert_eq!(Kind::of_key(&[0xEE]), None);
    assert_eq!(Kind::of_key(&[Kind::Log.tag(), 1, 2]), None, "cut before the second tag");
}

#[test]
fn a_count_beyond_the_bytes_is_refused_before_it_is_allocated() {
    let bytes = Bytes::from_static(&[1, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
    assert!(matches!(ManifestValue::decode(bytes), Err(FormatError::Truncated { .. })));
}

#[test]
fn a_store_of_a_newer_or_an_older_format_is_refused() {
    assert_eq!(FormatVersion::decode(&FormatVersion::SUPPORTED.encode()), Ok(FormatVersion::SUPPORTED));
    let newer = FormatVersion::decode(&[0, 0, 0, 3]);
    assert_eq!(newer, Err(FormatError::Newer { kind: Kind::FormatVersion, found: 3, supported: 2 }));
    let older = FormatVersion::decode(&[0, 0, 0, 1]);
    assert_eq!(older, Err(FormatError::Older { kind: Kind::FormatVersion, found: 1, oldest: 2 }));
    assert!(FormatVersion::decode(&[0, 1]).is_err());
    assert!(FormatVersion::decode(&[0, 0, 0, 0]).is_err());
}

#[test]
fn single_keys_take_only_themselves() {
    assert_eq!(FormatVersionKey::decode(&FormatVersionKey.encode()), Ok(FormatVersionKey));
    assert_eq!(ClusterKey::decode(&ClusterKey.encode()), Ok(ClusterKey));
    assert_eq!(RestoringKey::decode(&RestoringKey.encode()), Ok(RestoringKey));
    assert_eq!(ProducerIdBlockKey::decode(&ProducerIdBlockKey.encode()), Ok(ProducerIdBlockKey));
    assert!(ProducerIdBlockKey::decode(&FormatVersionKey.encode()).is_err());
    assert!(ProducerIdBlockKey::decode(&[Kind::ProducerIdBlock.tag(), 0]).is_err());
}
