//! What a name may be before it becomes part of a key.
//!
//! Whoever takes a name from outside checks it here first; the keys themselves only assert that they are not too long.

use crate::NameError;

/// The longest topic name, in bytes, as in Kafka.
pub const TOPIC_NAME_MAX_BYTES: usize = 249;
/// The longest name of an event type, in bytes.
pub const EVENT_TYPE_MAX_BYTES: usize = 249;
/// The longest consumer group id, in bytes.
pub const GROUP_ID_MAX_BYTES: usize = 512;
/// The longest member id, in bytes.
pub const MEMBER_ID_MAX_BYTES: usize = 1024;
/// The longest schedule id, in bytes.
pub const SCHEDULE_ID_MAX_BYTES: usize = 512;
/// The longest name of a model's table or index, in bytes.
pub const TABLE_NAME_MAX_BYTES: usize = 128;

fn check_length(what: &'static str, name: &str, limit: usize) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty { what }),
        actual if actual > limit => Err(NameError::TooLong { what, actual, limit }),
        _ => Ok(()),
    }
}

fn check_legal(what: &'static str, name: &str, limit: usize) -> Result<(), NameError> {
    check_length(what, name, limit)?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name == "." || name == ".." || !name.bytes().all(legal) {
        return Err(NameError::Illegal { what });
    }
    Ok(())
}

/// A topic's name: 1 to 249 of ASCII letters, digits, `.`, `_` and `-`, not `.` or `..` (Kafka's `Topic.validate`).
///
/// # Errors
/// What is wrong with it.
pub fn check_topic_name(name: &str) -> Result<(), NameError> {
    check_legal("topic name", name, TOPIC_NAME_MAX_BYTES)
}

/// An event type's name: as a topic's.
///
/// # Errors
/// What is wrong with it.
pub fn check_event_type(name: &str) -> Result<(), NameError> {
    check_legal("event type", name, EVENT_TYPE_MAX_BYTES)
}

/// A table's or index's name: 1 to 128 of the characters of topic names.
///
/// # Errors
/// What is wrong with it.
pub fn check_table_name(name: &str) -> Result<(), NameError> {
    check_legal("table or index name", name, TABLE_NAME_MAX_BYTES)
}

/// A consumer group's id: any 1 to 512 bytes of UTF-8.
///
/// # Errors
/// What is wrong with it.
pub fn check_group_id(group: &str) -> Result<(), NameError> {
    check_length("group id", group, GROUP_ID_MAX_BYTES)
}

/// A group member's id: any 1 to 1,024 bytes of UTF-8.
///
/// # Errors
/// What is wrong with it.
pub fn check_member_id(member: &str) -> Result<(), NameError> {
    check_length("member id", member, MEMBER_ID_MAX_BYTES)
}

/// A schedule's id: any 1 to 512 bytes of UTF-8.
///
/// # Errors
/// What is wrong with it.
pub fn check_schedule_id(schedule: &str) -> Result<(), NameError> {
    check_length("schedule id", schedule, SCHEDULE_ID_MAX_BYTES)
}
