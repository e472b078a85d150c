//! What is under each kind of key that is written from outside: decoded whole, or refused.

use bytes::Bytes;
use tidegate_format::{
    BackfillKey, BackfillValue, BuiltKey, BuiltValue, DoneKey, EventIdKey, EventValue, FormatError, GroupKey,
    GroupValue, IndexKey, Kind, MARKER, ManifestKey, ManifestValue, ModelId, ModelKey, ModelValue, OffsetKey,
    OffsetValue, OutboxKey, ParkedKey, ParkedValue, PublishedKey, PublishedValue, ReferenceKey, ScheduleKey,
    ScheduleValue, TimerKey, UniqueKey, UniqueValue, check_group_id, check_schedule_id, check_table_name,
};

/// What is wrong with a row, in words.
pub(super) type Wrong = String;

/// What admission wants to know of a row besides that it is whole.
pub(super) enum Row {
    /// Nothing.
    Plain,
    /// An event or record that waits.
    Timer(TimerKey, EventValue),
    /// A committed offset.
    Offset(OffsetKey, OffsetValue),
    /// A consumer group, without its members.
    Group(GroupValue),
}

/// Decodes a row that is put.
pub(super) fn decode(kind: Kind, key: &[u8], value: &Bytes) -> Result<Row, Wrong> {
    let value = value.clone();
    match kind {
        Kind::Model => {
            let key = read(ModelKey::decode(key))?;
            check_table(&key.table)?;
            read(ModelId::decode(&key.id))?;
            read(ModelValue::decode(value))?;
        }
        Kind::Index => {
            check_table(&read(IndexKey::decode(key))?.table)?;
            check_marker(&value)?;
        }
        Kind::Manifest => {
            check_table(&read(ManifestKey::decode(key))?.table)?;
            read(ManifestValue::decode(value))?;
        }
        Kind::Unique => {
            check_table(&read(UniqueKey::decode(key))?.table)?;
            read(UniqueValue::decode(value))?;
        }
        Kind::Reference => {
            check_table(&read(ReferenceKey::decode(key))?.table)?;
            check_marker(&value)?;
        }
        Kind::Backfill => {
            check_table(&read(BackfillKey::decode(key))?.table)?;
            read(BackfillValue::decode(value))?;
        }
        Kind::Built => {
            check_table(&read(BuiltKey::decode(key))?.table)?;
            read(BuiltValue::decode(value))?;
        }
        Kind::EventId => {
            read(EventIdKey::decode(key))?;
            check_marker(&value)?;
        }
        Kind::Published => {
            read(PublishedKey::decode(key))?;
            read(PublishedValue::decode(value))?;
        }
        Kind::Done => {
            check_group(&read(DoneKey::decode(key))?.group)?;
            check_marker(&value)?;
        }
        Kind::Parked => {
            check_group(&read(ParkedKey::decode(key))?.group)?;
            read(ParkedValue::decode(value))?;
        }
        Kind::Offset => {
            let key = read(OffsetKey::decode(key))?;
            check_group(&key.group)?;
            return Ok(Row::Offset(key, read(OffsetValue::decode(value))?));
        }
        Kind::Group => {
            check_group(&read(GroupKey::decode(key))?.group)?;
            return Ok(Row::Group(read(GroupValue::decode(value))?));
        }
        Kind::Timer => {
            let (key, value) = (read(TimerKey::decode(key))?, read(EventValue::decode(value))?);
            return Ok(Row::Timer(key, value));
        }
        Kind::Schedule => {
            let key = read(ScheduleKey::decode(key))?;
            check_schedule_id(&key.schedule).map_err(|error| error.to_string())?;
            read(ScheduleValue::decode(value))?;
        }
        Kind::User => {}
        _ => return Err("it is not written from outside".to_owned()),
    }
    Ok(Row::Plain)
}

/// Decodes what is put into an outbox: the key is whole but for the version.
pub(super) fn decode_outbox(
    prefix: &[u8],
    suffix: &[u8],
    value: &Bytes,
) -> Result<(OutboxKey, EventValue), Wrong> {
    let key = [prefix, &[0; size_of::<u64>()], suffix].concat();
    Ok((read(OutboxKey::decode(&key))?, read(EventValue::decode(value.clone()))?))
}

fn read<T>(decoded: Result<T, FormatError>) -> Result<T, Wrong> {
    decoded.map_err(|error| error.to_string())
}

fn check_table(name: &str) -> Result<(), Wrong> {
    check_table_name(name).map_err(|error| error.to_string())
}

fn check_group(group: &str) -> Result<(), Wrong> {
    check_group_id(group).map_err(|error| error.to_string())
}

fn check_marker(value: &Bytes) -> Result<(), Wrong> {
    if *value == MARKER { Ok(()) } else { Err("the value is not the marker".to_owned()) }
}
