//! A broker's address and lease.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{BrokerId, FormatError, Kind};

const KIND: Kind = Kind::Broker;
const VERSION: u8 = 1;

/// `broker/{id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerKey {
    /// The broker's id.
    pub id: BrokerId,
}

impl BrokerKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).i32(self.id.0).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let id = BrokerId(reader.i32()?);
        reader.finish()?;
        Ok(Self { id })
    }

    /// All brokers, by id.
    #[must_use]
    pub fn all() -> (Bytes, Bytes) {
        KeyWriter::new(KIND).range()
    }
}

/// Where a broker is, and that it lives: an observer counts it as gone once this value has not changed for
/// [`lease_ms`](Self::lease_ms).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerValue {
    /// The host that clients connect to.
    pub host: String,
    /// The port that clients connect to.
    pub port: u16,
    /// The rack it stands in.
    pub rack: Option<String>,
    /// A random number that tells this process from the one that had the id before.
    pub incarnation: u128,
    /// Raised with each renewal of the lease.
    pub renewals: u64,
    /// How long its lease is, in milliseconds.
    pub lease_ms: u32,
}

impl BrokerValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 64)
            .str(&self.host)
            .u16(self.port)
            .opt_str(self.rack.as_deref())
            .u128(self.incarnation)
            .u64(self.renewals)
            .u32(self.lease_ms)
            .finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let broker = Self {
            host: reader.str("host")?,
            port: reader.u16()?,
            rack: reader.opt_str("rack")?,
            incarnation: reader.u128()?,
            renewals: reader.u64()?,
            lease_ms: reader.u32()?,
        };
        reader.finish()?;
        Ok(broker)
    }
}
