//! Every key and value that Tidegate keeps in its store, byte for byte: one file per kind.
//!
//! What it is: per kind a key and, unless the value is a mere [`MARKER`] or the application's own, a value, each with
//! `encode` and `decode`, and ranges as (inclusive start, exclusive end). The bytes are written down in `FORMAT.md`.
//!
//! What it refuses to do: it reads and writes no store, and decides nothing about what it encodes.
//!
//! What always holds: encoded keys sort as the keys themselves do, and none is over [`KEY_MAX_BYTES`]; no value is
//! empty; every value begins with a version of its kind; decoding takes exactly what an encoder writes, checks every
//! length before it allocates, and never panics. Names from outside are checked (`check_topic_name` and so on) before
//! they become keys.

mod attempt;
mod backfill;
mod broker;
mod built;
mod cluster;
mod done;
mod dropped_topic;
mod error;
mod event_id;
mod event_type;
mod event_value;
mod field;
mod format_version;
mod gc_hold;
mod group;
mod group_member;
mod id;
mod index;
mod index_value;
mod log;
mod manifest;
mod model;
mod model_id;
mod name;
mod offset;
mod order;
mod outbox;
mod parked;
mod partition;
mod partition_state;
mod payload;
mod producer;
mod producer_id_block;
mod published;
mod reference;
mod restoring;
mod schedule;
mod tag;
mod timer;
mod timestamp_maxima;
mod topic;
mod unique;
mod user;

pub use attempt::{AttemptKey, AttemptValue};
pub use backfill::{BackfillKey, BackfillValue};
pub use broker::{BrokerKey, BrokerValue};
pub use built::{Built, BuiltKey, BuiltKind, BuiltValue};
pub use cluster::{ClusterKey, ClusterValue};
pub use done::DoneKey;
pub use dropped_topic::{DroppedTopicKey, DroppedTopicValue};
pub use error::{FormatError, NameError};
pub use event_id::EventIdKey;
pub use event_type::{EventTypeKey, EventTypeValue};
pub use event_value::EventValue;
pub use format_version::{FormatVersion, FormatVersionKey};
pub use gc_hold::{GcHoldKey, GcHoldValue};
pub use group::{GroupKey, GroupState, GroupValue};
pub use group_member::{GroupMemberKey, GroupMemberValue};
pub use id::{
    BrokerId, Generation, Offset, OrderVersion, OwnerEpoch, PartitionId, PartitionIndex, ProducerEpoch,
    ProducerId, TopicId,
};
pub use index::IndexKey;
pub use index_value::{Float, IndexValue};
pub use log::{LogKey, LogValue};
pub use manifest::{ManifestKey, ManifestValue};
pub use model::{ModelKey, ModelValue};
pub use model_id::ModelId;
pub use name::{
    EVENT_TYPE_MAX_BYTES, GROUP_ID_MAX_BYTES, MEMBER_ID_MAX_BYTES, SCHEDULE_ID_MAX_BYTES,
    TABLE_NAME_MAX_BYTES, TOPIC_NAME_MAX_BYTES, check_event_type, check_group_id, check_member_id,
    check_schedule_id, check_table_name, check_topic_name,
};
pub use offset::{OffsetKey, OffsetValue};
pub use order::KEY_MAX_BYTES;
pub use outbox::OutboxKey;
pub use parked::{ParkedKey, ParkedValue};
pub use partition::{partition_range, topic_range};
pub use partition_state::{PartitionState, PartitionStateKey};
pub use producer::{ProducerBatch, ProducerKey, ProducerValue};
pub use producer_id_block::{ProducerIdBlockKey, ProducerIdBlockValue};
pub use published::{PublishedKey, PublishedValue};
pub use reference::ReferenceKey;
pub use restoring::{RestoringKey, RestoringValue};
pub use schedule::{ScheduleKey, ScheduleValue};
pub use tag::Kind;
pub use timer::TimerKey;
pub use timestamp_maxima::{STRETCHES_MAX, TimestampMaxima};
pub use topic::{TopicKey, TopicValue};
pub use unique::{UniqueKey, UniqueValue};
pub use user::UserKey;

/// The value of a key that says all by being there.
pub const MARKER: bytes::Bytes = bytes::Bytes::from_static(&[1]);

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod strategies;
