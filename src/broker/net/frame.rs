//! Frames in two steps: first their length, then their bytes.
//!
//! `tokio-util`'s length-delimited codec does the framing. In front of it stands a peek at the length, so that a
//! connection can wait for memory before it reads a large request, and so that an absurd length is refused before
//! anything is allocated for it.

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

/// Bytes of the length in front of each frame.
pub(crate) const LENGTH_BYTES: usize = 4;

/// What comes out of a connection.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A frame of so many bytes follows; nothing was allocated for it yet.
    Announced(usize),
    /// The announced frame, without its length.
    Complete(Bytes),
}

/// Why a connection's bytes cannot be frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a request of {length} bytes is over socket.request.max.bytes = {max}{}", guess(*length))]
    TooLong { length: i64, max: usize },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What the peer takes this for, if its first bytes say so where a length should be.
fn guess(length: i64) -> &'static str {
    match u32::try_from(length).unwrap_or_default().to_be_bytes() {
        // A handshake record of TLS.
        [0x16, 0x03, ..] => ": the client begins with TLS, which is not served here",
        [b'A'..=b'Z', b'A'..=b'Z', b'A'..=b'Z', b'A'..=b'Z' | b' '] => ": the client begins with HTTP",
        _ => "",
    }
}

/// Decodes [`Frame`]s of at most `max` bytes.
pub(crate) struct FrameDecoder {
    inner: LengthDelimitedCodec,
    max: usize,
    announced: bool,
}

impl FrameDecoder {
    pub(crate) fn new(max: usize) -> Self {
        let inner = LengthDelimitedCodec::builder()
            .length_field_length(LENGTH_BYTES)
            .max_frame_length(max)
            .new_codec();
        Self { inner, max, announced: false }
    }
}

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if !self.announced {
            let Some(prefix) = source.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
            // The length is signed on the wire; a negative one is as absurd as one over the limit.
            let signed = i32::from_be_bytes(*prefix);
            let length = usize::try_from(signed).ok().filter(|length| *length <= self.max);
            let Some(length) = length else {
                return Err(FrameError::TooLong { length: signed.into(), max: self.max });
            };
            self.announced = true;
            return Ok(Some(Frame::Announced(length)));
        }
        let frame = self.inner.decode(source)?;
        self.announced = frame.is_none();
        Ok(frame.map(|bytes| Frame::Complete(bytes.freeze())))
    }

    /// A connection may end in the middle of a frame: nobody waits for the answer to half a request.
    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        self.decode(source)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    #[test]
    fn a_frame_is_announced_before_its_bytes_are_there() {
        let mut decoder = FrameDecoder::new(100);
        let mut source = BytesMut::new();
        source.put_i32(3);
        assert!(matches!(decoder.decode(&mut source), Ok(Some(Frame::Announced(3)))));
        assert!(matches!(decoder.decode(&mut source), Ok(None)));
        source.put_slice(b"abc");
        source.put_i32(0);
        assert!(matches!(decoder.decode(&mut source), Ok(Some(Frame::Complete(bytes))) if bytes == "abc"));
        assert!(matches!(decoder.decode(&mut source), Ok(Some(Frame::Announced(0)))));
        assert!(matches!(decoder.decode(&mut source), Ok(Some(Frame::Complete(bytes))) if bytes.is_empty()));
    }

    #[test]
    fn a_client_that_begins_with_another_protocol_is_told_by_its_first_bytes() {
        let said = |bytes: &[u8]| {
            let refused = FrameDecoder::new(100).decode(&mut BytesMut::from(bytes)).expect_err("no length");
            refused.to_string()
        };
        assert!(said(b"GET / HTTP/1.1").ends_with("begins with HTTP"));
        assert!(said(b"POST /").ends_with("begins with HTTP"));
        assert!(said(&[0x16, 0x03, 0x01, 0x02, 0x00]).ends_with("begins with TLS, which is not served here"));
        assert_eq!(said(&[0, 0, 0, 101]), "a request of 101 bytes is over socket.request.max.bytes = 100");
        assert_eq!(said(&[0xff; 4]), "a request of -1 bytes is over socket.request.max.bytes = 100");
    }

    #[test]
    fn an_absurd_length_is_refused_before_anything_is_allocated() {
        for length in [101, i32::MAX, -1, i32::MIN] {
            let mut source = BytesMut::new();
            source.put_i32(length);
            let capacity = source.capacity();
            let error = FrameDecoder::new(100).decode(&mut source).expect_err("over the limit");
            assert!(matches!(error, FrameError::TooLong { max: 100, .. }));
            assert_eq!(source.capacity(), capacity);
        }
    }
}
