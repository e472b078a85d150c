//! The codecs of a batch's records: gzip, snappy, lz4 and zstd, each with a bound on what comes out.
//!
//! What guards memory, codec by codec, when hostile bytes are decompressed:
//! - all: output is collected into a buffer that never grows past the bound plus one byte;
//! - snappy: the length that a block announces is compared with the bound, and with what its compressed bytes can
//!   expand to at best, before it is allocated; in xerial framing so is the sum of the blocks;
//! - lz4: the frame's blocks are at most 8 MiB by the format, and the decoder holds two of them;
//! - zstd: a window above `max(8 MiB, the bound)` is refused. Java's levels up to 19 stay below 8 MiB; levels 20
//!   to 22, streamed, announce 32 to 128 MiB whatever they carry, and need a bound of that size.

use std::fmt;
use std::io::Read;
use std::str::FromStr;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::BatchError;
use super::header::COMPRESSION_MASK;

/// The codec of a batch's records; the discriminant is its id on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// None.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy blocks, in snappy-java's ("xerial") framing or bare.
    Snappy = 2,
    /// The LZ4 frame format.
    Lz4 = 3,
    /// RFC 8878.
    Zstd = 4,
}

impl Compression {
    /// All codecs, by their id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec in a batch's attributes.
    ///
    /// # Errors
    /// `UnknownCompression` for an id that no codec has.
    pub fn from_attributes(attributes: i16) -> Result<Self, BatchError> {
        let id = u8::try_from(attributes & COMPRESSION_MASK).expect("3 bits");
        Self::ALL.get(usize::from(id)).copied().ok_or(BatchError::UnknownCompression { id })
    }

    /// Its id on the wire.
    #[must_use]
    pub fn id(self) -> i16 {
        self as i16
    }

    /// Its name in Kafka's configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No codec has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no compression; known are none, gzip, snappy, lz4 and zstd")]
pub struct UnknownCompressionName(pub String);

impl FromStr for Compression {
    type Err = UnknownCompressionName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| UnknownCompressionName(name.into()))
    }
}

/// Blocks of snappy-java's framing hold this much, as that library has it.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_LEN: usize = 16;
/// A snappy element yields at most 64 bytes and takes at least two bytes (three above 11): this is never reached.
const SNAPPY_MAX_EXPANSION: usize = 32;
/// zstd windows up to this size are always accepted: 2^23 bytes is what the format's standard asks of a decoder.
const ZSTD_MIN_WINDOW_LOG: u32 = 23;
/// The largest window that the reference decoder accepts.
const ZSTD_MAX_WINDOW_LOG: u32 = 27;
const ZSTD_LEVEL: i32 = 3;
const FIRST_OUTPUT_BYTES: usize = 16 * 1024;

/// The records' bytes in this codec.
///
/// # Errors
/// `TooLarge` if the codec cannot hold that much (snappy: 4 GiB a block, so never in practice).
pub fn compress(compression: Compression, data: Bytes) -> Result<Bytes, BatchError> {
    let failed = |_| BatchError::TooLarge { limit: data.len() };
    match compression {
        Compression::None => Ok(data),
        Compression::Gzip => {
            let mut out = Vec::with_capacity(data.len() / 2);
            flate2::read::GzEncoder::new(data.as_ref(), flate2::Compression::default())
                .read_to_end(&mut out)
                .map_err(failed)?;
            Ok(out.into())
        }
        Compression::Snappy => compress_xerial(&data),
        Compression::Lz4 => {
            // Kafka's Java client reads independent blocks only.
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder =
                lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::with_capacity(data.len() / 2));
            std::io::Write::write_all(&mut encoder, &data).map_err(failed)?;
            let out = encoder.finish().map_err(|_| BatchError::TooLarge { limit: data.len() })?;
            Ok(out.into())
        }
        Compression::Zstd => zstd::bulk::compress(&data, ZSTD_LEVEL).map(Into::into).map_err(failed),
    }
}

/// What `data` holds in this codec, if that is at most `max_bytes`. Uncompressed data is returned as it is.
///
/// # Errors
/// `TooLarge` if it is more, `Decompress` if it is damaged.
pub fn decompress(compression: Compression, data: Bytes, max_bytes: usize) -> Result<Bytes, BatchError> {
    match compression {
        Compression::None => Ok(data),
        Compression::Gzip => read_bounded(
            compression,
            flate2::bufread::MultiGzDecoder::new(data.as_ref()),
            data.len(),
            max_bytes,
        ),
        Compression::Snappy => decompress_snappy(&data, max_bytes),
        Compression::Lz4 => read_bounded(
            compression,
            lz4_flex::frame::FrameDecoder::new(data.as_ref()),
            data.len(),
            max_bytes,
        ),
        Compression::Zstd => {
            let damaged = |_| BatchError::Decompress { compression };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(data.as_ref()).map_err(damaged)?;
            let window_log = max_bytes.max(1).next_power_of_two().trailing_zeros();
            decoder
                .window_log_max(window_log.clamp(ZSTD_MIN_WINDOW_LOG, ZSTD_MAX_WINDOW_LOG))
                .map_err(damaged)?;
            read_bounded(compression, decoder, data.len(), max_bytes)
        }
    }
}

/// Everything that `reader` gives, in a buffer that never takes more than `max_bytes` + 1.
fn read_bounded(
    compression: Compression,
    mut reader: impl Read,
    compressed_bytes: usize,
    max_bytes: usize,
) -> Result<Bytes, BatchError> {
    let most = max_bytes.saturating_add(1);
    let mut out = vec![0; compressed_bytes.saturating_mul(2).max(FIRST_OUTPUT_BYTES).min(most)];
    let mut filled = 0;
    loop {
        if filled == out.len() {
            if filled == most {
                return Err(BatchError::TooLarge { limit: max_bytes });
            }
            let size = out.len().saturating_mul(2).min(most);
            out.reserve_exact(size - out.len());
            out.resize(size, 0);
        }
        match reader.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err(BatchError::Decompress { compression }),
        }
    }
    out.truncate(filled);
    Ok(out.into())
}

fn compress_xerial(data: &[u8]) -> Result<Bytes, BatchError> {
    let too_large = || BatchError::TooLarge { limit: data.len() };
    let mut encoder = snap::raw::Encoder::new();
    let mut out = BytesMut::with_capacity(XERIAL_HEADER_LEN + data.len() / 2);
    out.put_slice(&XERIAL_MAGIC);
    // The framing's version, and the lowest version that reads it.
    out.put_i32(1);
    out.put_i32(1);
    for block in data.chunks(XERIAL_BLOCK_BYTES) {
        let length_at = out.len();
        let block_at = length_at + 4;
        out.resize(block_at + snap::raw::max_compress_len(block.len()), 0);
        let written = encoder.compress(block, &mut out[block_at..]).map_err(|_| too_large())?;
        out.truncate(block_at + written);
        let length = i32::try_from(written).map_err(|_| too_large())?;
        out[length_at..block_at].copy_from_slice(&length.to_be_bytes());
    }
    Ok(out.freeze())
}

fn decompress_snappy(data: &[u8], max_bytes: usize) -> Result<Bytes, BatchError> {
    let mut out = Vec::new();
    if !data.starts_with(&XERIAL_MAGIC) {
        append_snappy_block(data, &mut out, max_bytes)?;
        return Ok(out.into());
    }
    let damaged = BatchError::Decompress { compression: Compression::Snappy };
    let mut rest = data.get(XERIAL_HEADER_LEN..).ok_or(damaged)?;
    while !rest.is_empty() {
        let length = usize::try_from(rest.try_get_i32().map_err(|_| damaged)?).map_err(|_| damaged)?;
        let block = rest.get(..length).ok_or(damaged)?;
        append_snappy_block(block, &mut out, max_bytes)?;
        rest = &rest[length..];
    }
    Ok(out.into())
}

fn append_snappy_block(block: &[u8], out: &mut Vec<u8>, max_bytes: usize) -> Result<(), BatchError> {
    let damaged = BatchError::Decompress { compression: Compression::Snappy };
    let announced = snap::raw::decompress_len(block).map_err(|_| damaged)?;
    if announced > max_bytes - out.len() {
        return Err(BatchError::TooLarge { limit: max_bytes });
    }
    if announced > block.len().saturating_mul(SNAPPY_MAX_EXPANSION) {
        return Err(damaged);
    }
    let start = out.len();
    out.resize(start + announced, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|_| damaged)?;
    out.truncate(start + written);
    Ok(())
}
