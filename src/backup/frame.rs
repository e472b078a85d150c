//! Frames: pieces of a file, each with its number, its lengths and their checksums.
//!
//! What always holds: a frame's head proves itself before its lengths are believed, and no length is over
//! [`CONTENT_MAX_BYTES`].

/// How a file begins.
pub(crate) const MAGIC: [u8; 8] = *b"TIDEGBAK";
/// The magic and the number of the format.
pub(crate) const INTRODUCTION_BYTES: usize = MAGIC.len() + 4;
/// The bytes before a frame's content.
pub(crate) const HEAD_BYTES: usize = 21;
/// The largest content, compressed or not: one page and one value of the largest size.
pub(crate) const CONTENT_MAX_BYTES: usize = 66 << 20;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Header,
    Entries,
    CompressedEntries,
    End,
    BrokenOff,
}

impl FrameKind {
    const ALL: [Self; 5] = [Self::Header, Self::Entries, Self::CompressedEntries, Self::End, Self::BrokenOff];

    fn tag(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Entries => 2,
            Self::CompressedEntries => 3,
            Self::End => 4,
            Self::BrokenOff => 5,
        }
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: FrameKind,
    pub(crate) number: u32,
    pub(crate) content_bytes: usize,
    pub(crate) decompressed_bytes: usize,
    pub(crate) content_crc: u32,
}

/// Adds a frame to `into`. `decompressed_bytes` is the content's own length where nothing is compressed.
pub(crate) fn put(
    kind: FrameKind,
    number: u32,
    content: &[u8],
    decompressed_bytes: usize,
    into: &mut Vec<u8>,
) {
    assert!(content.len().max(decompressed_bytes) <= CONTENT_MAX_BYTES, "a frame is of bounded length");
    let length = |bytes: usize| u32::try_from(bytes).expect("it was just checked").to_be_bytes();
    let start = into.len();
    into.push(kind.tag());
    into.extend_from_slice(&number.to_be_bytes());
    into.extend_from_slice(&length(content.len()));
    into.extend_from_slice(&length(decompressed_bytes));
    into.extend_from_slice(&crc32c::crc32c(content).to_be_bytes());
    let head_crc = crc32c::crc32c(&into[start..]);
    into.extend_from_slice(&head_crc.to_be_bytes());
    into.extend_from_slice(content);
}

impl Head {
    /// What [`put`] wrote before the content; what is wrong with it if it did not.
    pub(crate) fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<Self, &'static str> {
        let u32_at = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if crc32c::crc32c(&bytes[..17]) != u32_at(17) {
            return Err("the checksum of the frame's head does not match");
        }
        let kind = FrameKind::ALL.into_iter().find(|kind| kind.tag() == bytes[0]);
        let length = |at| usize::try_from(u32_at(at)).ok().filter(|bytes| *bytes <= CONTENT_MAX_BYTES);
        let too_long = "the frame is longer than any can be";
        let (content_bytes, decompressed_bytes) = (length(5).ok_or(too_long)?, length(9).ok_or(too_long)?);
        let kind = kind.ok_or("the frame is of no known kind")?;
        if kind != FrameKind::CompressedEntries && content_bytes != decompressed_bytes {
            return Err("the frame has two lengths and is not compressed");
        }
        Ok(Self { kind, number: u32_at(1), content_bytes, decompressed_bytes, content_crc: u32_at(13) })
    }
}
