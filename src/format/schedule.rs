//! Where a schedule's timer entry is: to cancel or replace it by its id alone.

use bytes::Bytes;
use uuid::Uuid;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter, after_prefix};
use crate::{FormatError, Kind, PartitionId, PartitionIndex, TimerKey, TopicId};

const KIND: Kind = Kind::Schedule;
const VERSION: u8 = 1;

/// `schedule/{topic id}/{schedule id}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleKey {
    /// The topic.
    pub topic: TopicId,
    /// The schedule's id, one that [`check_schedule_id`](crate::check_schedule_id) takes.
    pub schedule: String,
}

impl ScheduleKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).uuid(self.topic.0).str(&self.schedule).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let topic = TopicId(reader.uuid()?);
        let schedule = reader.str("schedule")?;
        reader.finish()?;
        Ok(Self { topic, schedule })
    }

    /// Every schedule of a topic, by id.
    #[must_use]
    pub fn range(topic: TopicId) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).uuid(topic.0).range()
    }

    /// Every schedule of a topic whose id sorts after `after`: the next page.
    #[must_use]
    pub fn range_from(topic: TopicId, after: &str) -> (Bytes, Bytes) {
        let last = Self { topic, schedule: after.to_owned() }.encode();
        (after_prefix(&last), Self::range(topic).1)
    }
}

/// The timer entry of a schedule, without its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleValue {
    /// The partition that the entry is in.
    pub partition: PartitionIndex,
    /// When it is due, in milliseconds since the Unix epoch.
    pub due_ms: i64,
    /// The entry's id.
    pub entry: Uuid,
}

impl ScheduleValue {
    /// The key of the timer entry.
    #[must_use]
    pub fn timer_key(&self, topic: TopicId) -> TimerKey {
        let id = PartitionId { topic, partition: self.partition };
        TimerKey { id, due_ms: self.due_ms, entry: self.entry }
    }

    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 28).i32(self.partition.0).i64(self.due_ms).uuid(self.entry).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let schedule =
            Self { partition: PartitionIndex(reader.i32()?), due_ms: reader.i64()?, entry: reader.uuid()? };
        reader.finish()?;
        Ok(schedule)
    }
}
