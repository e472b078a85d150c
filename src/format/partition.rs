//! What the keys of one partition have in common: `30`, topic id, partition, second tag.

use bytes::Bytes;

use crate::order::{KeyReader, KeyWriter};
use crate::tag::PARTITION;
use crate::{FormatError, Kind, PartitionId, PartitionIndex, TopicId};

/// Where the second tag is: after the first, a UUID and 4 bytes.
pub(crate) const SECOND_TAG_AT: usize = 21;

/// Begins a key of a kind that lives inside a partition.
pub(crate) fn write(kind: Kind, id: PartitionId) -> KeyWriter {
    let second = kind.second_tag().expect("a kind inside a partition");
    prefix(id).u8(second)
}

/// Reads what [`write`] wrote.
pub(crate) fn read(kind: Kind, key: &[u8]) -> Result<(KeyReader<'_>, PartitionId), FormatError> {
    let mut reader = KeyReader::new(kind, key)?;
    let topic = TopicId(reader.uuid()?);
    let partition = PartitionIndex(reader.i32()?);
    if Some(reader.u8()?) != kind.second_tag() {
        return Err(FormatError::Tag { kind });
    }
    Ok((reader, PartitionId { topic, partition }))
}

fn prefix(id: PartitionId) -> KeyWriter {
    debug_assert_eq!(Kind::Log.tag(), PARTITION);
    KeyWriter::new(Kind::Log).uuid(id.topic.0).i32(id.partition.0)
}

/// Every key inside a partition (schedules are the topic's): inclusive start, exclusive end.
#[must_use]
pub fn partition_range(id: PartitionId) -> (Bytes, Bytes) {
    prefix(id).range()
}

/// Every key inside every partition of a topic. Its schedules are [`ScheduleKey::range`](crate::ScheduleKey::range).
#[must_use]
pub fn topic_range(topic: TopicId) -> (Bytes, Bytes) {
    KeyWriter::new(Kind::Log).uuid(topic.0).range()
}
