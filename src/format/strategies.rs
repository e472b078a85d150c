//! Keys and values at random, for the property tests: many that are near one another, so that order is really tried.

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use crate::*;

pub(crate) fn text(max: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        vec(prop_oneof![Just('\0'), Just('\u{1}'), Just('\u{2}'), Just('a'), Just('b'), Just('é')], 1..6)
            .prop_map(|characters| characters.into_iter().collect::<String>()),
        vec(any::<char>(), 1..(max / 4).max(2))
            .prop_map(|characters| characters.into_iter().collect::<String>()),
    ]
}

pub(crate) fn octets(max: usize) -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(0xFF)], 0..5), vec(any::<u8>(), 0..max),]
        .prop_map(Bytes::from)
}

pub(crate) fn int32() -> impl Strategy<Value = i32> {
    prop_oneof![-2..3_i32, Just(i32::MIN), Just(i32::MAX), any::<i32>()]
}

pub(crate) fn int64() -> impl Strategy<Value = i64> {
    prop_oneof![-2..3_i64, Just(i64::MIN), Just(i64::MAX), any::<i64>()]
}

fn version() -> impl Strategy<Value = OrderVersion> {
    prop_oneof![0..3_u64, Just(u64::MAX), any::<u64>()].prop_map(OrderVersion)
}

fn uuid() -> impl Strategy<Value = Uuid> {
    prop_oneof![0..3_u128, Just(u128::MAX), any::<u128>()].prop_map(Uuid::from_u128)
}

fn partition() -> impl Strategy<Value = PartitionId> {
    (uuid(), int32()).prop_map(|(topic, partition)| PartitionId {
        topic: TopicId(topic),
        partition: PartitionIndex(partition),
    })
}

fn float() -> impl Strategy<Value = Float> {
    prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MIN_POSITIVE),
        Just(-f64::MIN_POSITIVE / 2.0),
        -2.0..2.0,
        any::<f64>().prop_filter("a number", |value| !value.is_nan()),
    ]
    .prop_map(|value| Float::new(value).expect("not NaN"))
}

pub(crate) fn index_value() -> impl Strategy<Value = IndexValue> {
    prop_oneof![
        any::<bool>().prop_map(IndexValue::Bool),
        int64().prop_map(IndexValue::I64),
        float().prop_map(IndexValue::F64),
        int64().prop_map(IndexValue::TimeMs),
        uuid().prop_map(IndexValue::Uuid),
        text(64).prop_map(IndexValue::Str),
        octets(64).prop_map(IndexValue::Bytes),
    ]
}

pub(crate) fn model_id() -> impl Strategy<Value = ModelId> {
    prop_oneof![
        int64().prop_map(ModelId::Integer),
        uuid().prop_map(ModelId::Uuid),
        text(64).prop_map(ModelId::String),
    ]
}

/// A strategy for a struct, field by field.
macro_rules! of {
    ($name:ident: $type:ident { $($field:ident: $strategy:expr),* $(,)? }) => {
        pub(crate) fn $name() -> impl Strategy<Value = $type> {
            ($($strategy,)*).prop_map(|($($field,)*)| $type { $($field),* })
        }
    };
}

of!(topic_key: TopicKey { name: text(249) });
of!(event_type_key: EventTypeKey { name: text(249) });
of!(group_key: GroupKey { group: text(512) });
of!(group_member_key: GroupMemberKey { group: text(512), member: text(1024) });
of!(offset_key: OffsetKey { group: text(512), id: partition() });
of!(done_key: DoneKey { group: text(512), id: partition(), offset: int64().prop_map(Offset) });
of!(parked_key: ParkedKey {
    group: text(512),
    id: partition(),
    key: octets(1024),
    offset: int64().prop_map(Offset),
});
of!(broker_key: BrokerKey { id: int32().prop_map(BrokerId) });
of!(attempt_key: AttemptKey { client: uuid(), lane: any::<u32>() });
of!(gc_hold_key: GcHoldKey { id: uuid() });
of!(dropped_topic_key: DroppedTopicKey { id: uuid().prop_map(TopicId) });
of!(log_key: LogKey { id: partition(), last_offset: int64().prop_map(Offset) });
of!(state_key: PartitionStateKey { id: partition() });
of!(producer_key: ProducerKey { id: partition(), producer: int64().prop_map(ProducerId) });
of!(outbox_key: OutboxKey { id: partition(), version: version(), n: any::<u32>() });
of!(timer_key: TimerKey { id: partition(), due_ms: int64(), entry: uuid() });
of!(schedule_key: ScheduleKey { topic: uuid().prop_map(TopicId), schedule: text(512) });
of!(model_key: ModelKey { table: text(128), id: model_id().prop_map(|id| id.encode()) });
of!(manifest_key: ManifestKey { table: text(128), id: model_id().prop_map(|id| id.encode()) });
of!(index_key: IndexKey {
    table: text(128),
    index: text(128),
    values: vec(index_value(), 0..4),
    id: model_id().prop_map(|id| id.encode()),
});
of!(unique_key: UniqueKey { table: text(128), index: text(128), values: vec(index_value(), 0..4) });
of!(reference_key: ReferenceKey {
    parent_table: text(128),
    parent: model_id().prop_map(|id| id.encode()),
    table: text(128),
    field: text(128),
    id: model_id().prop_map(|id| id.encode()),
});
of!(backfill_key: BackfillKey { table: text(128) });
of!(built_key: BuiltKey { table: text(128) });
of!(event_id_key: EventIdKey { until_ms: int64(), source: text(1024), id: text(512) });
of!(published_key: PublishedKey { source: text(1024), id: text(512) });
of!(user_key: UserKey { key: octets(4095) });

of!(topic_value: TopicValue {
    id: uuid().prop_map(TopicId),
    partitions: int32(),
    created_version: version(),
    configs: btree_map(text(16), text(16), 0..4),
});
of!(event_type_value: EventTypeValue { topic: text(249) });
fn maxima() -> impl Strategy<Value = TimestampMaxima> {
    let falling = |(overall_ms, steps): (i64, Vec<u64>)| {
        let mut lower_ms: Vec<i64> = steps
            .into_iter()
            .scan(overall_ms, |wider_ms, step| {
                *wider_ms = wider_ms.saturating_sub_unsigned(step);
                Some(*wider_ms)
            })
            .collect();
        lower_ms.reverse();
        TimestampMaxima::new(overall_ms, lower_ms)
    };
    let step = prop_oneof![0..2_u64, 0..100_000_u64, any::<u64>()];
    (int64(), vec(step, 0..=STRETCHES_MAX)).prop_map(falling)
}

of!(log_value: LogValue {
    append_version: version(),
    maxima: maxima(),
    end_bytes: any::<u64>(),
    batch: octets(300),
});
of!(partition_state: PartitionState {
    log_start: int64().prop_map(Offset),
    next_offset: int64().prop_map(Offset),
    owner: int32().prop_map(BrokerId),
    epoch: int32().prop_map(OwnerEpoch),
    log_bytes: any::<u64>(),
    appended_bytes: any::<u64>(),
    maxima: maxima(),
    commit_token: any::<u128>(),
});
of!(producer_batch: ProducerBatch {
    first_sequence: int32(),
    last_sequence: int32(),
    base_offset: int64().prop_map(Offset),
    append_time_ms: int64(),
});
of!(producer_value: ProducerValue {
    epoch: any::<i16>().prop_map(ProducerEpoch),
    last_version: version(),
    batches: vec(producer_batch(), 0..=ProducerValue::MAX_BATCHES),
});
of!(producer_id_block_value: ProducerIdBlockValue { next: int64().prop_map(ProducerId) });
of!(event_value: EventValue {
    schedule: option::of(text(64)),
    timestamp_ms: option::of(int64()),
    key: option::of(octets(64)),
    value: option::of(octets(300)),
    headers: vec((text(16), option::of(octets(200))), 0..4),
});
of!(parked_value: ParkedValue {
    attempts: any::<u32>(),
    due_ms: int64(),
    cause: option::of(text(64)),
    timestamp_ms: int64(),
    key: option::of(octets(64)),
    value: option::of(octets(300)),
    headers: vec((text(16), option::of(octets(200))), 0..4),
});
of!(schedule_value: ScheduleValue {
    partition: int32().prop_map(PartitionIndex),
    due_ms: int64(),
    entry: uuid(),
});
of!(group_value: GroupValue {
    epoch: int32().prop_map(OwnerEpoch),
    owner: int32().prop_map(BrokerId),
    generation: int32().prop_map(Generation),
    state: prop_oneof![
        Just(GroupState::Empty),
        Just(GroupState::PreparingRebalance),
        Just(GroupState::CompletingRebalance),
        Just(GroupState::Stable),
    ],
    protocol_type: option::of(text(16)),
    protocol: option::of(text(16)),
    leader: option::of(text(16)),
    state_since_ms: int64(),
});
of!(group_member_value: GroupMemberValue {
    instance: option::of(text(16)),
    client_id: text(16),
    client_host: text(16),
    session_timeout_ms: int32(),
    rebalance_timeout_ms: int32(),
    protocols: vec((text(16), octets(64)), 0..4),
    assignment: octets(64),
});
of!(offset_value: OffsetValue {
    offset: int64().prop_map(Offset),
    leader_epoch: int32(),
    metadata: text(64),
    commit_time_ms: int64(),
    expire_time_ms: option::of(int64()),
});
of!(broker_value: BrokerValue {
    host: text(64),
    port: any::<u16>(),
    rack: option::of(text(16)),
    incarnation: any::<u128>(),
    renewals: any::<u64>(),
    lease_ms: any::<u32>(),
});
of!(attempt_value: AttemptValue { number: any::<u64>(), applied: any::<bool>(), at_ms: int64() });
of!(gc_hold_value: GcHoldValue { version: version(), renewals: any::<u64>() });
of!(cluster_value: ClusterValue { id: uuid() });
of!(restoring_value: RestoringValue {
    attempt: uuid(),
    snapshot: version(),
    began_ms: int64(),
});
of!(dropped_topic_value: DroppedTopicValue { name: text(249), partitions: int32() });
of!(model_value: ModelValue { schema_version: any::<u32>(), body: octets(300) });
of!(manifest_value: ManifestValue { index_keys: vec(octets(64), 0..4) });
of!(unique_value: UniqueValue { id: model_id().prop_map(|id| id.encode()) });
of!(published_value: PublishedValue { until_ms: int64() });
of!(backfill_value: BackfillValue {
    definition: uuid(),
    rows: any::<u64>(),
    after: option::of(model_id().prop_map(|id| id.encode())),
});
of!(built: Built {
    kind: prop_oneof![Just(BuiltKind::Index), Just(BuiltKind::Reference)],
    name: text(128),
    definition: uuid(),
    is_complete: any::<bool>(),
});
of!(built_value: BuiltValue { built: vec(built(), 0..4) });
