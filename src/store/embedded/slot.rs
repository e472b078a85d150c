//! Where a value is: in the entry itself, or in the journal for good.
//!
//! What always holds: a value of [`LARGE_VALUE_BYTES`] and up is written once, to the journal, and everything else
//! points there; a pointer carries the checksum of what it points to.

use bytes::Bytes;

/// From this size on a value stays in the journal.
pub(super) const LARGE_VALUE_BYTES: usize = 4_096;

/// A place in the journal. Later places are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The number of the segment.
    pub(super) segment: u64,
    /// Bytes from the start of its file.
    pub(super) offset: u64,
}

/// A value in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    /// Where its first byte is.
    pub(super) position: Position,
    /// How many bytes it has.
    pub(super) len: u32,
    /// CRC32C of those bytes.
    pub(super) crc: u32,
}

/// The value of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Here it is.
    Inline(Bytes),
    /// There it is.
    Pointer(Pointer),
}

const TAG_INLINE: u8 = 0;
const TAG_POINTER: u8 = 1;
const CRC_BYTES: usize = 4;
const POINTER_BYTES: usize = 1 + 8 + 8 + 4 + 4 + CRC_BYTES;

impl Slot {
    /// The bytes that the tree keeps for it: tag, content, and a checksum of both and of the key.
    pub(super) fn encode(&self, key: &[u8], into: &mut Vec<u8>) {
        into.clear();
        match self {
            Self::Inline(value) => {
                into.push(TAG_INLINE);
                into.extend_from_slice(value);
            }
            Self::Pointer(pointer) => {
                into.push(TAG_POINTER);
                into.extend_from_slice(&pointer.position.segment.to_le_bytes());
                into.extend_from_slice(&pointer.position.offset.to_le_bytes());
                into.extend_from_slice(&pointer.len.to_le_bytes());
                into.extend_from_slice(&pointer.crc.to_le_bytes());
            }
        }
        let crc = checksum(key, into);
        into.extend_from_slice(&crc.to_le_bytes());
    }

    /// What [`encode`](Self::encode) made the bytes from for this key; `None` if they are damaged.
    pub(super) fn decode(key: &[u8], bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
        if checksum(key, content) != u32::from_le_bytes(*crc) {
            return None;
        }
        match content.split_first()? {
            (&TAG_INLINE, value) => Some(Self::Inline(Bytes::copy_from_slice(value))),
            (&TAG_POINTER, _) => Some(Self::Pointer(decode_pointer(bytes)?)),
            _ => None,
        }
    }
}

fn checksum(key: &[u8], content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), content)
}

/// The pointer in the bytes that [`Slot::encode`] made, if it is one.
pub(super) fn decode_pointer(bytes: &[u8]) -> Option<Pointer> {
    if bytes.len() != POINTER_BYTES || bytes[0] != TAG_POINTER {
        return None;
    }
    let u64_at = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes[at..at + 4].try_into().ok()?));
    let position = Position { segment: u64_at(1)?, offset: u64_at(9)? };
    Some(Pointer { position, len: u32_at(17)?, crc: u32_at(21)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer() -> Pointer {
        Pointer { position: Position { segment: 7, offset: 1 << 33 }, len: 5_000, crc: 0xDEAD_BEEF }
    }

    #[test]
    fn a_slot_comes_back_from_its_bytes() {
        let mut bytes = Vec::new();
        for slot in [Slot::Inline(Bytes::from_static(b"value")), Slot::Pointer(pointer())] {
            slot.encode(b"key", &mut bytes);
            assert_eq!(Slot::decode(b"key", &bytes), Some(slot));
        }
        assert_eq!(decode_pointer(&bytes), Some(pointer()));
    }

    #[test]
    fn a_changed_bit_or_another_key_is_noticed() {
        let mut bytes = Vec::new();
        for slot in [Slot::Inline(Bytes::from_static(b"value")), Slot::Pointer(pointer())] {
            slot.encode(b"key", &mut bytes);
            assert_eq!(Slot::decode(b"kez", &bytes), None);
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Slot::decode(b"key", &changed), None, "bit {bit}");
            }
        }
        assert_eq!(Slot::decode(b"key", b""), None);
    }
}
