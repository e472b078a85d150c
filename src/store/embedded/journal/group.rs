//! The frame of a group of transactions: what one write and one sync make durable.
//!
//! What it is: a header and, for each transaction, a length and its bytes. The header says which group of the journal
//! this is (`sequence`, contiguous), the version of its first transaction (the others follow one by one), and up to
//! which group the journal was durable when it was written: so whoever finds a later group knows that an unreadable
//! earlier one is damage, and not the torn tail of a crash.
//!
//! What always holds: the checksums are seeded with the store's identity and cover header and body, so neither bytes of
//! another store nor a value that looks like a group pass for one.

use super::super::slot::Position;
use super::transaction::{KeyChange, Malformed, TransactionDecoder};
use crate::Version;

/// Groups begin at multiples of this.
pub(super) const GROUP_ALIGN_BYTES: u64 = GROUP_ALIGN_LEN as u64;
pub(super) const GROUP_ALIGN_LEN: usize = 8;
/// How long the header is.
pub(crate) const GROUP_HEADER_BYTES: usize = 48;
const GROUP_MAGIC: u32 = 0x5047_4454;
const TRANSACTION_HEAD_BYTES: usize = 4;

/// Which store the journal belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreId(pub(in super::super) u64);

/// What a group says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    /// How many bytes follow the header.
    pub(crate) body_bytes: u32,
    /// CRC32C of those bytes.
    body_crc: u32,
    /// The number of the group.
    pub(crate) sequence: u64,
    /// The version of the first transaction.
    pub(crate) first_version: Version,
    /// All groups below this number were durable before this one was written.
    pub(crate) durable_sequence: u64,
    /// How many transactions there are.
    pub(crate) transactions: u32,
}

impl GroupHeader {
    /// Reads a header; `None` if there is none of this store.
    pub(crate) fn decode(bytes: &[u8], store: StoreId) -> Option<Self> {
        let bytes = bytes.first_chunk::<GROUP_HEADER_BYTES>()?;
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes[at..at + 4].try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
        if u32_at(0)? != GROUP_MAGIC || u32_at(4)? != header_crc(bytes, store) {
            return None;
        }
        Some(Self {
            body_bytes: u32_at(8)?,
            body_crc: u32_at(12)?,
            sequence: u64_at(16)?,
            first_version: Version(u64_at(24)?),
            durable_sequence: u64_at(32)?,
            transactions: u32_at(40)?,
        })
    }

    /// Whether these are the bytes that followed the header.
    pub(crate) fn matches(&self, body: &[u8]) -> bool {
        body.len() == self.body_bytes as usize && crc32c::crc32c(body) == self.body_crc
    }

    /// How many bytes the group takes, up to where the next one begins.
    pub(crate) fn group_bytes(&self) -> u64 {
        (GROUP_HEADER_BYTES as u64 + u64::from(self.body_bytes)).next_multiple_of(GROUP_ALIGN_BYTES)
    }

    /// Calls `each` with the changes of a body that [`matches`](Self::matches) and begins at `position`.
    pub(crate) fn for_each_change<'a>(
        &self,
        body: &'a [u8],
        position: Position,
        mut each: impl FnMut(Version, KeyChange<'a>),
    ) -> Result<(), Malformed> {
        let mut at = 0;
        for number in 0..self.transactions {
            let head = body.get(at..at + TRANSACTION_HEAD_BYTES).ok_or(Malformed)?;
            let len = u32::from_le_bytes(head.try_into().map_err(|_| Malformed)?) as usize;
            at += TRANSACTION_HEAD_BYTES;
            let bytes = body.get(at..at + len).ok_or(Malformed)?;
            let position = Position { offset: position.offset + at as u64, ..position };
            let version = Version(self.first_version.0 + u64::from(number));
            let mut changes = TransactionDecoder::new(bytes, position);
            while let Some(change) = changes.next()? {
                each(version, change);
            }
            at += len;
        }
        if at == body.len() { Ok(()) } else { Err(Malformed) }
    }
}

fn header_crc(header: &[u8; GROUP_HEADER_BYTES], store: StoreId) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&store.0.to_le_bytes()), &header[8..])
}

/// Builds groups, one after the other, in one buffer.
#[derive(Debug)]
pub(crate) struct GroupBuilder {
    bytes: Vec<u8>,
    transactions: u32,
}

/// What the buffer keeps between groups.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

impl GroupBuilder {
    /// A builder of an empty group.
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; GROUP_HEADER_BYTES], transactions: 0 }
    }

    /// Adds the bytes of a transaction; its version is the group's first one plus the number of those added before.
    pub(crate) fn add(&mut self, transaction: &[u8]) {
        let len = u32::try_from(transaction.len()).expect("a transaction is within its limit");
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(transaction);
        self.transactions += 1;
    }

    /// How many transactions were added.
    pub(crate) fn transactions(&self) -> u32 {
        self.transactions
    }

    /// How many bytes the group has by now.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What follows the header.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[GROUP_HEADER_BYTES..]
    }

    /// Fills in the header; gives it and the bytes of the whole group.
    pub(crate) fn finish(
        &mut self,
        sequence: u64,
        durable_sequence: u64,
        first_version: Version,
        store: StoreId,
    ) -> (GroupHeader, &[u8]) {
        let body = self.body();
        let header = GroupHeader {
            body_bytes: u32::try_from(body.len()).expect("a group is at most one transaction over its limit"),
            body_crc: crc32c::crc32c(body),
            sequence,
            first_version,
            durable_sequence,
            transactions: self.transactions,
        };
        let mut bytes = [0; GROUP_HEADER_BYTES];
        bytes[..4].copy_from_slice(&GROUP_MAGIC.to_le_bytes());
        bytes[8..12].copy_from_slice(&header.body_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&header.body_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&first_version.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&durable_sequence.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.transactions.to_le_bytes());
        let crc = header_crc(&bytes, store);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        self.bytes[..GROUP_HEADER_BYTES].copy_from_slice(&bytes);
        (header, &self.bytes)
    }

    /// Makes the buffer ready for the next group.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(GROUP_HEADER_BYTES);
        self.bytes.shrink_to(BUFFER_KEPT_BYTES);
        self.transactions = 0;
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
