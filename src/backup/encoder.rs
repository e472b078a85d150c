//! From entries to the bytes of a file.
//!
//! What it is: it is given entries in the order of their keys, and gives frames, to be written in their order.
//!
//! What it refuses to do: it writes nowhere, and keeps no more than one frame.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::entries::{KEY_MAX_BYTES, VALUE_MAX_BYTES};
use crate::frame::{self, FrameKind, INTRODUCTION_BYTES, MAGIC};
use crate::trailer::Trailer;
use crate::{FORMAT, Header, entries};

/// A frame of entries is complete when it has this many bytes.
const PAGE_BYTES: usize = 1 << 20;
/// Fast, and about as small as higher levels make what mostly is records that were compressed before.
const ZSTD_LEVEL: i32 = 1;

/// Whether entries are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// With zstd, where that makes them shorter.
    Zstd,
}

/// Makes a file.
pub struct Encoder {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    page: Vec<u8>,
    page_bytes: usize,
    last_key: Bytes,
    next_number: u32,
    entries: u64,
    entry_bytes: u64,
    digest: Sha256,
}

impl Encoder {
    /// Begins a file, and gives its first bytes.
    #[must_use]
    pub fn begin(header: &Header, compression: Compression) -> (Self, Bytes) {
        let compressor = match compression {
            Compression::None => None,
            Compression::Zstd => {
                Some(zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("the level is one that exists"))
            }
        };
        let mut encoder = Self {
            compressor,
            page: Vec::new(),
            page_bytes: PAGE_BYTES,
            last_key: Bytes::new(),
            next_number: 0,
            entries: 0,
            entry_bytes: 0,
            digest: Sha256::new(),
        };
        let mut bytes = Vec::with_capacity(INTRODUCTION_BYTES + 256);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        let header = header.encode();
        encoder.put(FrameKind::Header, &header, header.len(), &mut bytes);
        encoder.digest.update(&bytes);
        (encoder, bytes.into())
    }

    /// As it is, with frames of another length.
    #[cfg(test)]
    pub(crate) fn in_frames_of(self, page_bytes: usize) -> Self {
        Self { page_bytes, ..self }
    }

    /// Adds an entry; gives a frame when one is complete.
    ///
    /// # Panics
    /// If the key does not come after the one before, or key or value are empty or over their limits.
    pub fn entry(&mut self, key: &Bytes, value: &[u8]) -> Option<Bytes> {
        assert!(*key > self.last_key, "entries come in the order of their keys");
        assert!(key.len() <= KEY_MAX_BYTES && (1..=VALUE_MAX_BYTES).contains(&value.len()));
        entries::put(key, value, &mut self.page);
        self.last_key.clone_from(key);
        self.entries += 1;
        self.entry_bytes += (key.len() + value.len()) as u64;
        (self.page.len() >= self.page_bytes).then(|| self.finish_page())
    }

    /// Ends the file: everything that is left of it.
    #[must_use]
    pub fn end(mut self) -> Bytes {
        let mut bytes = if self.page.is_empty() { Vec::new() } else { self.finish_page().to_vec() };
        let digest = std::mem::take(&mut self.digest).finalize().into();
        let trailer = Trailer { entries: self.entries, entry_bytes: self.entry_bytes, digest }.encode();
        self.put(FrameKind::End, &trailer, trailer.len(), &mut bytes);
        bytes.into()
    }

    /// Ends the file as one that is not whole, with the reason.
    #[must_use]
    pub fn broken_off(mut self, reason: &str) -> Bytes {
        let mut bytes = Vec::new();
        self.put(FrameKind::BrokenOff, reason.as_bytes(), reason.len(), &mut bytes);
        bytes.into()
    }

    fn finish_page(&mut self) -> Bytes {
        let page = std::mem::take(&mut self.page);
        let mut bytes = Vec::with_capacity(frame::HEAD_BYTES + page.len());
        let compressed = self.compressor.as_mut().and_then(|compressor| compressor.compress(&page).ok());
        match compressed.filter(|compressed| compressed.len() < page.len()) {
            Some(shorter) => self.put(FrameKind::CompressedEntries, &shorter, page.len(), &mut bytes),
            None => self.put(FrameKind::Entries, &page, page.len(), &mut bytes),
        }
        self.digest.update(&bytes);
        self.page = page;
        self.page.clear();
        self.page.shrink_to(2 * PAGE_BYTES);
        bytes.into()
    }

    fn put(&mut self, kind: FrameKind, content: &[u8], decompressed_bytes: usize, into: &mut Vec<u8>) {
        frame::put(kind, self.next_number, content, decompressed_bytes, into);
        self.next_number = self.next_number.checked_add(1).expect("a file of 4 PiB is not written");
    }
}
