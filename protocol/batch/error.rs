//! What can be wrong with a batch.

use kafka_protocol::ResponseError;

use super::Compression;

/// Why a batch was refused. [`BatchError::response_error`] is what its producer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the batch ends early: {needed} bytes announced, {found} there")]
    Truncated {
        /// Bytes that a length or the layout announced.
        needed: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// There are bytes after the batch.
    #[error("{extra} bytes follow the batch")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// The batch is of another format than v2.
    #[error("message format {found} is not supported, only 2")]
    Magic {
        /// Its magic byte.
        found: i8,
    },
    /// The stored checksum is not that of the bytes.
    #[error("CRC32C is {computed:08x}, the batch says {stored:08x}")]
    Crc {
        /// What the batch says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// No codec has this id.
    #[error("compression {id} is unknown")]
    UnknownCompression {
        /// The id in the attributes.
        id: u8,
    },
    /// A field of the header has a value that the protocol forbids.
    #[error("{field} is {value} in the batch's header")]
    Header {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// A record does not parse.
    #[error("record {index} of the batch: bad {field}")]
    Record {
        /// The record's place in the batch, from 0.
        index: i32,
        /// The field's name.
        field: &'static str,
    },
    /// The codec rejects the compressed bytes.
    #[error("the batch's {compression} data is damaged")]
    Decompress {
        /// The codec.
        compression: Compression,
    },
    /// The records are, or would be, bigger than allowed.
    #[error("the records take more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

impl BatchError {
    /// The error code that a producer of such a batch gets, as Kafka has it.
    #[must_use]
    pub fn response_error(&self) -> ResponseError {
        match self {
            Self::Truncated { .. } | Self::Trailing { .. } | Self::Crc { .. } | Self::Decompress { .. } => {
                ResponseError::CorruptMessage
            }
            Self::Magic { .. } => ResponseError::UnsupportedForMessageFormat,
            Self::UnknownCompression { .. } => ResponseError::UnsupportedCompressionType,
            Self::Header { .. } | Self::Record { .. } => ResponseError::InvalidRecord,
            Self::TooLarge { .. } => ResponseError::MessageTooLarge,
        }
    }
}
