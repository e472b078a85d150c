//! The end mark: how much there was, and a digest of all of it.

use bytes::{Buf, BufMut};

pub(crate) const DIGEST_BYTES: usize = 32;
const TRAILER_BYTES: usize = 8 + 8 + DIGEST_BYTES;

/// What the end mark says of everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) entries: u64,
    pub(crate) entry_bytes: u64,
    pub(crate) digest: [u8; DIGEST_BYTES],
}

impl Trailer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TRAILER_BYTES);
        bytes.put_u64(self.entries);
        bytes.put_u64(self.entry_bytes);
        bytes.put_slice(&self.digest);
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() != TRAILER_BYTES {
            return None;
        }
        let (entries, entry_bytes) = (bytes.get_u64(), bytes.get_u64());
        Some(Self { entries, entry_bytes, digest: bytes.try_into().ok()? })
    }
}
