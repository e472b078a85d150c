//! One file of the journal.

use std::io;
use std::sync::Arc;

use super::super::files::StoreFile;
use super::super::slot::Position;
use super::group::{GROUP_ALIGN_BYTES, GROUP_ALIGN_LEN, GROUP_HEADER_BYTES, GroupHeader, StoreId};

/// Where the first group of a segment begins.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = HEADER_LEN as u64;
const HEADER_LEN: usize = 64;
const SEGMENT_MAGIC: u32 = 0x4A47_4454;
pub(super) const NAME_PREFIX: &str = "journal-";
/// How much is read from a segment at a time.
const READ_BYTES: usize = 1 << 20;

/// The file name of a segment.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{NAME_PREFIX}{number:012}")
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Its number.
    pub(crate) number: u64,
    /// The number of its first group.
    pub(crate) first_sequence: u64,
    /// Where the groups of the segment before end; 0 for the first one.
    pub(crate) previous_end: u64,
}

impl SegmentHeader {
    /// The bytes at the start of the file.
    pub(crate) fn encode(&self, store: StoreId) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&SEGMENT_MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous_end.to_le_bytes());
        let crc = crc(&bytes, store);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the head of a segment; `None` if it has none of this store.
    pub(crate) fn read(file: &dyn StoreFile, store: StoreId) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER_LEN];
        if file.len()? < SEGMENT_HEADER_BYTES {
            return Ok(None);
        }
        file.read_exact_at(0, &mut bytes)?;
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if u32_at(0) != SEGMENT_MAGIC || u32_at(4) != crc(&bytes, store) {
            return Ok(None);
        }
        Ok(Some(Self { number: u64_at(8), first_sequence: u64_at(16), previous_end: u64_at(24) }))
    }
}

fn crc(header: &[u8; HEADER_LEN], store: StoreId) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&store.0.to_le_bytes()), &header[8..])
}

/// Reads the groups of one segment in order.
pub(crate) struct SegmentReader {
    file: Arc<dyn StoreFile>,
    store: StoreId,
    len: u64,
    position: Position,
    /// Bytes of the file from `buffer_offset` on.
    buffer: Vec<u8>,
    buffer_offset: u64,
}

impl SegmentReader {
    /// A reader of the groups from `position` on, which is where one begins.
    pub(crate) fn new(file: Arc<dyn StoreFile>, store: StoreId, position: Position) -> io::Result<Self> {
        let len = file.len()?;
        Ok(Self { file, store, len, position, buffer: Vec::new(), buffer_offset: 0 })
    }

    /// Where the next group begins, or should.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The next group with its body and where that lies, if it is there, whole, and has this number.
    pub(crate) fn next(&mut self, sequence: u64) -> io::Result<Option<(GroupHeader, Position, &[u8])>> {
        let store = self.store;
        let start = self.position;
        let Some(bytes) = self.bytes(start.offset, GROUP_HEADER_BYTES)? else { return Ok(None) };
        let Some(header) = GroupHeader::decode(bytes, store).filter(|header| header.sequence == sequence)
        else {
            return Ok(None);
        };
        let body = Position { offset: start.offset + GROUP_HEADER_BYTES as u64, ..start };
        let Some(bytes) = self.bytes(body.offset, header.body_bytes as usize)? else { return Ok(None) };
        if !header.matches(bytes) {
            return Ok(None);
        }
        self.position.offset += header.group_bytes();
        // Borrowed anew: the first borrow cannot be returned on one path only.
        let bytes = self.bytes(body.offset, header.body_bytes as usize)?.expect("it was read just now");
        Ok(Some((header, body, bytes)))
    }

    /// Whether anywhere from the reader's position on there is the header of a group that is `wanted`.
    pub(crate) fn finds_ahead(&mut self, wanted: impl Fn(&GroupHeader) -> bool) -> io::Result<bool> {
        let mut offset = self.position.offset.next_multiple_of(GROUP_ALIGN_BYTES);
        let store = self.store;
        while offset + GROUP_HEADER_BYTES as u64 <= self.len {
            let count = usize::try_from(self.len - offset).unwrap_or(usize::MAX).min(READ_BYTES);
            let Some(bytes) = self.bytes(offset, count)? else { return Ok(false) };
            let starts = (0..count - GROUP_HEADER_BYTES + 1).step_by(GROUP_ALIGN_LEN);
            let mut headers = starts.clone().filter_map(|start| GroupHeader::decode(&bytes[start..], store));
            if headers.any(|header| wanted(&header)) {
                return Ok(true);
            }
            // The next step begins behind the last place looked at, so that no header is cut in two.
            offset += starts.len() as u64 * GROUP_ALIGN_BYTES;
        }
        Ok(false)
    }

    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<Option<&[u8]>> {
        if offset.checked_add(count as u64).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let buffer_end = self.buffer_offset + self.buffer.len() as u64;
        if offset < self.buffer_offset || offset + count as u64 > buffer_end {
            let rest = usize::try_from(self.len - offset).unwrap_or(usize::MAX);
            self.buffer.resize(count.max(READ_BYTES).min(rest), 0);
            self.file.read_exact_at(offset, &mut self.buffer)?;
            self.buffer_offset = offset;
        }
        let start = usize::try_from(offset - self.buffer_offset).expect("it lies in the buffer");
        Ok(Some(&self.buffer[start..start + count]))
    }
}
