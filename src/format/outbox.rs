//! The outbox: events that were due at their commit, in commit order.

use bytes::Bytes;

use crate::order::after_prefix;
use crate::{FormatError, Kind, OrderVersion, PartitionId, partition};

const KIND: Kind = Kind::Outbox;

/// `p/{topic id}/{partition}/outbox/{order version}/{n}`, over an [`EventValue`](crate::EventValue).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxKey {
    /// The partition.
    pub id: PartitionId,
    /// The order version of the transaction that published it.
    pub version: OrderVersion,
    /// Its place within that transaction.
    pub n: u32,
}

impl OutboxKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        partition::write(KIND, self.id).u64(self.version.0).u32(self.n).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (mut reader, id) = partition::read(KIND, key)?;
        let version = OrderVersion(reader.u64()?);
        let n = reader.u32()?;
        reader.finish()?;
        Ok(Self { id, version, n })
    }

    /// What comes before the order version, 8 bytes big endian, that the store fills in at commit.
    #[must_use]
    pub fn prefix(id: PartitionId) -> Bytes {
        partition::write(KIND, id).finish()
    }

    /// What comes after the order version.
    #[must_use]
    pub fn suffix(n: u32) -> Bytes {
        Bytes::copy_from_slice(&n.to_be_bytes())
    }

    /// Every event of a partition's outbox.
    #[must_use]
    pub fn range(id: PartitionId) -> (Bytes, Bytes) {
        partition::write(KIND, id).range()
    }

    /// Every event of order version `version` and later.
    #[must_use]
    pub fn range_from(id: PartitionId, version: OrderVersion) -> (Bytes, Bytes) {
        (Self { id, version, n: 0 }.encode(), after_prefix(&Self::prefix(id)))
    }
}
