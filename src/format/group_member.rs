//! A member of a consumer group: a row of its own, so that a change of one member writes one row.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::GroupMember;
const VERSION: u8 = 1;

/// `group-member/{group}/{member}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupMemberKey {
    /// The group's id.
    pub group: String,
    /// The member's id, one that [`check_member_id`](crate::check_member_id) takes.
    pub member: String,
}

impl GroupMemberKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).str(&self.group).str(&self.member).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let group = reader.str("group")?;
        let member = reader.str("member")?;
        reader.finish()?;
        Ok(Self { group, member })
    }

    /// Every member of a group, by id.
    #[must_use]
    pub fn range(group: &str) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).str(group).range()
    }
}

/// What a member is, and what it was assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMemberValue {
    /// The instance id of a static member.
    pub instance: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// The host it connected from.
    pub client_host: String,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long it may take to join again, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// The assignors it supports, the one it likes best first, each with its subscription.
    pub protocols: Vec<(String, Bytes)>,
    /// Its assignment; empty until it has one.
    pub assignment: Bytes,
}

impl GroupMemberValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 256)
            .opt_str(self.instance.as_deref())
            .str(&self.client_id)
            .str(&self.client_host)
            .i32(self.session_timeout_ms)
            .i32(self.rebalance_timeout_ms)
            .each(&self.protocols, |writer, (name, metadata)| writer.str(name).bytes(metadata))
            .bytes(&self.assignment)
            .finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let member = Self {
            instance: reader.opt_str("instance")?,
            client_id: reader.str("client id")?,
            client_host: reader.str("client host")?,
            session_timeout_ms: reader.i32()?,
            rebalance_timeout_ms: reader.i32()?,
            protocols: reader
                .each("protocols", |reader| Ok((reader.str("protocol")?, reader.bytes("metadata")?)))?,
            assignment: reader.bytes("assignment")?,
        };
        reader.finish()?;
        Ok(member)
    }
}
