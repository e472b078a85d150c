//! A consumer group, without its members.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{BrokerId, FormatError, Generation, Kind, OwnerEpoch};

const KIND: Kind = Kind::Group;
const VERSION: u8 = 1;
/// The owner of a group that no broker has taken over: one that is asked for it does.
const NOBODY: BrokerId = BrokerId(-1);

/// `group/{group}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The group's id, one that [`check_group_id`](crate::check_group_id) takes.
    pub group: String,
}

impl GroupKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).str(&self.group).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let group = reader.str("group")?;
        reader.finish()?;
        Ok(Self { group })
    }

    /// All groups, by id.
    #[must_use]
    pub fn all() -> (Bytes, Bytes) {
        KeyWriter::new(KIND).range()
    }
}

/// Where a group of the classic protocol is in its rebalance (Kafka's names; a dead group has no row).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// No members; it may have offsets.
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

impl GroupState {
    const ALL: [Self; 4] = [Self::Empty, Self::PreparingRebalance, Self::CompletingRebalance, Self::Stable];

    fn code(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::PreparingRebalance => 1,
            Self::CompletingRebalance => 2,
            Self::Stable => 3,
        }
    }
}

/// What a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupValue {
    /// Raised by each new coordinator.
    pub epoch: OwnerEpoch,
    /// The broker that coordinates it.
    pub owner: BrokerId,
    /// Raised by each rebalance.
    pub generation: Generation,
    /// Where it is in its rebalance.
    pub state: GroupState,
    /// What its members are, `consumer` for consumers; none until the first joins.
    pub protocol_type: Option<String>,
    /// The assignor that its members agreed on.
    pub protocol: Option<String>,
    /// The member that assigns.
    pub leader: Option<String>,
    /// Since when it is in this state, in milliseconds since the Unix epoch.
    pub state_since_ms: i64,
}

impl GroupValue {
    /// A group that nobody has joined and no broker has taken over yet, as whoever needs no members founds it.
    #[must_use]
    pub fn founded(at_ms: i64) -> Self {
        Self {
            epoch: OwnerEpoch(0),
            owner: NOBODY,
            generation: Generation(0),
            state: GroupState::Empty,
            protocol_type: None,
            protocol: None,
            leader: None,
            state_since_ms: at_ms,
        }
    }

    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 96)
            .i32(self.epoch.0)
            .i32(self.owner.0)
            .i32(self.generation.0)
            .u8(self.state.code())
            .opt_str(self.protocol_type.as_deref())
            .opt_str(self.protocol.as_deref())
            .opt_str(self.leader.as_deref())
            .i64(self.state_since_ms)
            .finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let epoch = OwnerEpoch(reader.i32()?);
        let owner = BrokerId(reader.i32()?);
        let generation = Generation(reader.i32()?);
        let code = reader.u8()?;
        let state = GroupState::ALL.into_iter().find(|state| state.code() == code);
        let group = Self {
            epoch,
            owner,
            generation,
            state: state.ok_or_else(|| reader.malformed("state"))?,
            protocol_type: reader.opt_str("protocol type")?,
            protocol: reader.opt_str("protocol")?,
            leader: reader.opt_str("leader")?,
            state_since_ms: reader.i64()?,
        };
        reader.finish()?;
        Ok(group)
    }
}
