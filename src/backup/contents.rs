//! What of a store belongs into a backup: the one place that says it for every kind of key.

use tidegate_format::Kind;

use crate::ContentError;

/// How much of a key errors show.
const SHOWN_BYTES: usize = 24;

/// Where an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the entries.
    Entries,
    /// Into the header.
    Header,
    /// Nowhere: it belongs to a process that runs.
    Nowhere,
}

/// Where entries of a kind go.
#[must_use]
pub fn place_of(kind: Kind) -> Place {
    match kind {
        Kind::FormatVersion | Kind::Cluster => Place::Header,
        Kind::Broker | Kind::GcHold | Kind::Restoring => Place::Nowhere,
        Kind::Attempt
        | Kind::Topic
        | Kind::EventType
        | Kind::ProducerIdBlock
        | Kind::DroppedTopic
        | Kind::Group
        | Kind::GroupMember
        | Kind::Offset
        | Kind::Done
        | Kind::Parked
        | Kind::Log
        | Kind::PartitionState
        | Kind::Producer
        | Kind::Outbox
        | Kind::Timer
        | Kind::Schedule
        | Kind::EventId
        | Kind::Published
        | Kind::Model
        | Kind::Index
        | Kind::Manifest
        | Kind::Unique
        | Kind::Reference
        | Kind::Backfill
        | Kind::Built
        | Kind::User => Place::Entries,
    }
}

/// The kind of a key.
pub(crate) fn kind_of(key: &[u8]) -> Result<Kind, ContentError> {
    Kind::of_key(key).ok_or_else(|| ContentError::UnknownKind { key: shown(key) })
}

/// How a key begins, for errors.
pub(crate) fn shown(key: &[u8]) -> String {
    key[..key.len().min(SHOWN_BYTES)].escape_ascii().to_string()
}
