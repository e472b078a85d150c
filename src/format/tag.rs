//! The pinned first bytes of every key: the one table that says which kind of key begins with what.
//!
//! Always holds: a tag is never given to another kind, not even after its kind is gone. Keys of one partition share
//! the tag [`PARTITION`] and sort by their second tag: log, state, producer, outbox, timer.

use std::fmt;

/// The tag that every key inside a partition begins with.
pub(crate) const PARTITION: u8 = 0x30;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $tag:expr, $second:expr, $name:literal;)*) => {
        /// A kind of key, with the kind of value under it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// Every kind, in the order of their keys.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The first byte of a key, its byte after topic and partition if the first is [`PARTITION`], its name.
            const fn row(self) -> (u8, Option<u8>, &'static str) {
                match self { $(Self::$kind => ($tag, $second, $name),)* }
            }
        }
    };
}

kinds! {
    /// Under which version of this format the store was written.
    FormatVersion = 0x01, None, "format-version";
    /// A broker's address and lease.
    Broker = 0x02, None, "broker";
    /// A snapshot that garbage collection must leave alone.
    GcHold = 0x03, None, "gc-hold";
    /// The cluster's id.
    Cluster = 0x04, None, "cluster";
    /// That a backup is being restored.
    Restoring = 0x05, None, "restoring";
    /// The newest commit attempt of one lane of a client that uses the store through a broker.
    Attempt = 0x08, None, "attempt";
    /// A topic by name.
    Topic = 0x10, None, "topic";
    /// The topic that an event type belongs to.
    EventType = 0x11, None, "event-type";
    /// The next producer id that was not handed out.
    ProducerIdBlock = 0x12, None, "producer-id-block";
    /// A topic whose data is being removed.
    DroppedTopic = 0x13, None, "dropped-topic";
    /// A consumer group.
    Group = 0x20, None, "group";
    /// A member of a consumer group.
    GroupMember = 0x21, None, "group-member";
    /// A committed offset.
    Offset = 0x22, None, "offset";
    /// The worker's mark on a record that is done.
    Done = 0x23, None, "done";
    /// A record that waits for another try.
    Parked = 0x24, None, "parked";
    /// A batch of records.
    Log = PARTITION, Some(0x01), "log";
    /// A partition's offsets and owner.
    PartitionState = PARTITION, Some(0x02), "state";
    /// What is known of one idempotent producer.
    Producer = PARTITION, Some(0x03), "producer";
    /// An event that was due at its commit.
    Outbox = PARTITION, Some(0x04), "outbox";
    /// An event or record that is due later.
    Timer = PARTITION, Some(0x05), "timer";
    /// Where a schedule's timer entry is.
    Schedule = 0x31, None, "schedule";
    /// When the id of an event that was published may be forgotten.
    EventId = 0x32, None, "event-id";
    /// That an event with an id was published.
    Published = 0x33, None, "published";
    /// A model.
    Model = 0x40, None, "model";
    /// An entry of a model's index.
    Index = 0x41, None, "index";
    /// The index keys that a model has.
    Manifest = 0x42, None, "manifest";
    /// A claim on the values of a unique index.
    Unique = 0x43, None, "unique";
    /// That a model names another.
    Reference = 0x44, None, "reference";
    /// How far a table was brought to its model's definition.
    Backfill = 0x45, None, "backfill";
    /// Which indexes and references of a table are complete.
    Built = 0x46, None, "built";
    /// What applications keep for themselves.
    User = 0x50, None, "user";
}

impl Kind {
    /// The first byte of this kind's keys.
    #[must_use]
    pub const fn tag(self) -> u8 {
        self.row().0
    }

    /// The byte after topic and partition, for the kinds that live inside a partition.
    #[must_use]
    pub const fn second_tag(self) -> Option<u8> {
        self.row().1
    }

    /// Its name in FORMAT.md and in errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().2
    }

    /// The kind of an encoded key, by its tags alone; `None` if there is no such kind.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Option<Self> {
        let tag = *key.first()?;
        let second = if tag == PARTITION { Some(*key.get(crate::partition::SECOND_TAG_AT)?) } else { None };
        Self::ALL.iter().copied().find(|kind| kind.tag() == tag && kind.second_tag() == second)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
