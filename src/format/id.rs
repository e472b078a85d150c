//! The numbers and names that keys are made of, each a type of its own.

use std::fmt;

use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A topic's id: new each time a topic of that name is created, and never used again.
    TopicId(Uuid)
}
number! {
    /// A partition's number within its topic, from 0.
    PartitionIndex(i32)
}
number! {
    /// A record's place in its partition, from 0.
    Offset(i64)
}
number! {
    /// A broker's id.
    BrokerId(i32)
}
number! {
    /// Fences earlier owners of a partition or group; on the wire it is the partition's leader epoch.
    OwnerEpoch(i32)
}
number! {
    /// An idempotent producer's id.
    ProducerId(i64)
}
number! {
    /// Fences earlier incarnations of one producer id.
    ProducerEpoch(i16)
}
number! {
    /// A consumer group's generation.
    Generation(i32)
}
number! {
    /// A store version at rest: milliseconds << 18 | counter.
    OrderVersion(u64)
}

impl OrderVersion {
    /// The milliseconds since the Unix epoch that this version carries.
    #[must_use]
    pub fn unix_ms(self) -> i64 {
        i64::try_from(self.0 >> 18).expect("46 bits fit in an i64")
    }
}

impl Offset {
    /// The offset `count` records later.
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self(self.0 + count)
    }
}

/// One partition of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// Its topic.
    pub topic: TopicId,
    /// Its number there.
    pub partition: PartitionIndex,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
