//! From the bytes of a file to entries.
//!
//! What it is: it is fed bytes in pieces of any size, and gives what they hold as soon as it is proven: each frame by
//! its checksums, the file as a whole by its end mark.
//!
//! What it refuses to do: it reads from nowhere, and keeps no more than the frame that is not complete yet.
//!
//! What always holds: [`Decoder::finish`] succeeds only after each byte that was written was fed, in order, and none else.

use bytes::{Buf, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::frame::{CONTENT_MAX_BYTES, FrameKind, HEAD_BYTES, Head, INTRODUCTION_BYTES, MAGIC};
use crate::trailer::{DIGEST_BYTES, Trailer};
use crate::{FORMAT, FileError, Header, entries};

/// What comes next in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What it is a backup of: the first part, once.
    Header(Header),
    /// Entries, in the order of their keys.
    Entries(Vec<(Bytes, Bytes)>),
    /// The end mark.
    End,
}

/// A file that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What it is a backup of.
    pub header: Header,
    /// How many entries it has.
    pub entries: u64,
    /// How many bytes their keys and values have.
    pub entry_bytes: u64,
    /// How many bytes the file has.
    pub file_bytes: u64,
    /// The SHA-256 of the file up to its end mark.
    pub digest: [u8; DIGEST_BYTES],
}

/// Reads a file.
pub struct Decoder {
    buffer: BytesMut,
    /// How many bytes of the file come before the buffer.
    offset: u64,
    next_number: u32,
    header: Option<Header>,
    last_key: Bytes,
    entries: u64,
    entry_bytes: u64,
    digest: Sha256,
    summary: Option<Summary>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            offset: 0,
            next_number: 0,
            header: None,
            last_key: Bytes::new(),
            entries: 0,
            entry_bytes: 0,
            digest: Sha256::new(),
            summary: None,
        }
    }

    /// Takes the next bytes of the file. To be followed by [`next_part`](Self::next_part) until that gives none.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next part that is complete; none if it takes more bytes.
    ///
    /// # Errors
    /// What is wrong with the file, and where. It is of no use from then on.
    pub fn next_part(&mut self) -> Result<Option<Part>, FileError> {
        if self.summary.is_some() {
            return if self.buffer.is_empty() {
                Ok(None)
            } else {
                Err(FileError::Trailing { offset: self.offset })
            };
        }
        if self.offset == 0 && !self.take_introduction()? {
            return Ok(None);
        }
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let head = Head::decode(head).map_err(|what| self.damaged(what))?;
        if self.buffer.len() < HEAD_BYTES + head.content_bytes {
            return Ok(None);
        }
        self.take_frame(head).map(Some)
    }

    /// Ends the file: all of its bytes were fed.
    ///
    /// # Errors
    /// If it is not whole.
    pub fn finish(mut self) -> Result<Summary, FileError> {
        while self.next_part()?.is_some() {}
        let offset = self.offset + self.buffer.len() as u64;
        self.summary.ok_or(FileError::CutOff { offset })
    }

    /// How many bytes of the file were taken so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Magic and format; false if they are not here yet.
    fn take_introduction(&mut self) -> Result<bool, FileError> {
        let length = self.buffer.len().min(MAGIC.len());
        if self.buffer[..length] != MAGIC[..length] {
            return Err(FileError::NotABackup);
        }
        let Some(introduction) = self.buffer.first_chunk::<INTRODUCTION_BYTES>() else { return Ok(false) };
        let (_, format) = introduction.split_last_chunk::<4>().expect("it is longer than that");
        let found = u32::from_be_bytes(*format);
        if found > FORMAT {
            return Err(FileError::NewerFormat { found, supported: FORMAT });
        }
        if found == 0 {
            return Err(self.damaged("there is no such format"));
        }
        self.digest.update(introduction);
        self.advance(INTRODUCTION_BYTES);
        Ok(true)
    }

    fn take_frame(&mut self, head: Head) -> Result<Part, FileError> {
        let content = &self.buffer[HEAD_BYTES..HEAD_BYTES + head.content_bytes];
        if crc32c::crc32c(content) != head.content_crc {
            return Err(self.damaged("the checksum of the frame's content does not match"));
        }
        if head.kind == FrameKind::BrokenOff {
            return Err(FileError::BrokenOff { reason: String::from_utf8_lossy(content).into_owned() });
        }
        if head.number != self.next_number {
            return Err(self.damaged("a frame is missing, or not in its place"));
        }
        if (head.kind == FrameKind::Header) != self.header.is_none() {
            return Err(self.damaged("the header is not the first frame, and the only one"));
        }
        if head.kind != FrameKind::End {
            self.digest.update(&self.buffer[..HEAD_BYTES + head.content_bytes]);
        }
        let part = match head.kind {
            FrameKind::Header => {
                let header =
                    Header::decode(content).ok_or_else(|| self.damaged("the header is malformed"))?;
                self.header = Some(header.clone());
                Part::Header(header)
            }
            FrameKind::Entries => {
                let content = Bytes::copy_from_slice(content);
                self.take_entries(content)?
            }
            FrameKind::CompressedEntries => {
                let content = decompress(content, head.decompressed_bytes)
                    .ok_or_else(|| self.damaged("the frame cannot be decompressed"))?;
                self.take_entries(content)?
            }
            FrameKind::End => {
                let trailer =
                    Trailer::decode(content).ok_or_else(|| self.damaged("the end mark is malformed"))?;
                self.take_end(trailer, (HEAD_BYTES + head.content_bytes) as u64)?
            }
            FrameKind::BrokenOff => unreachable!("it was returned as an error"),
        };
        self.advance(HEAD_BYTES + head.content_bytes);
        self.next_number += 1;
        Ok(part)
    }

    fn take_entries(&mut self, content: Bytes) -> Result<Part, FileError> {
        let mut last_key = std::mem::take(&mut self.last_key);
        let taken = entries::take(content, &mut last_key).map_err(|what| self.damaged(what))?;
        // Not to hold a whole page for the sake of one key.
        self.last_key = Bytes::copy_from_slice(&last_key);
        self.entries += taken.len() as u64;
        self.entry_bytes += taken.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
        Ok(Part::Entries(taken))
    }

    fn take_end(&mut self, trailer: Trailer, frame_bytes: u64) -> Result<Part, FileError> {
        let digest: [u8; DIGEST_BYTES] = std::mem::take(&mut self.digest).finalize().into();
        let seen = Trailer { entries: self.entries, entry_bytes: self.entry_bytes, digest };
        if seen != trailer {
            return Err(self.damaged("what came before is not what the end mark says"));
        }
        self.summary = Some(Summary {
            header: self.header.clone().expect("the header is the first frame"),
            entries: self.entries,
            entry_bytes: self.entry_bytes,
            file_bytes: self.offset + frame_bytes,
            digest,
        });
        Ok(Part::End)
    }

    fn damaged(&self, what: &'static str) -> FileError {
        FileError::Damaged { what, frame: self.next_number, offset: self.offset }
    }

    fn advance(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.offset += bytes as u64;
    }
}

/// What zstd made of so many bytes, at most [`CONTENT_MAX_BYTES`].
fn decompress(content: &[u8], bytes: usize) -> Option<Bytes> {
    debug_assert!(bytes <= CONTENT_MAX_BYTES);
    let decompressed = zstd::bulk::decompress(content, bytes).ok()?;
    (decompressed.len() == bytes).then(|| decompressed.into())
}
