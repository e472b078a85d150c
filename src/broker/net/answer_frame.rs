//! A framed answer in pieces: what is large goes to the socket from where it lies, what is small is put together.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// From this size on a piece is not copied: a place of its own in a vectored write costs less.
const PIECE_MIN_BYTES: usize = 4 << 10;

/// What is left to send of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct AnswerFrame {
    /// None of them is empty.
    pieces: VecDeque<Bytes>,
    remaining: usize,
}

impl AnswerFrame {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.remaining += piece.len();
            self.pieces.push_back(piece);
        }
    }
}

impl From<Bytes> for AnswerFrame {
    fn from(frame: Bytes) -> Self {
        let mut answer = Self::default();
        answer.push(frame);
        answer
    }
}

/// Puts an answer together.
#[derive(Debug, Default)]
pub(crate) struct AnswerFrameBuilder {
    frame: AnswerFrame,
    /// What is not yet a piece.
    small: BytesMut,
}

impl AnswerFrameBuilder {
    /// Bytes that are copied.
    pub(crate) fn put_slice(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
    }

    /// Bytes that are only shared, unless they are few.
    pub(crate) fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < PIECE_MIN_BYTES {
            return self.put_slice(bytes);
        }
        self.frame.push(self.small.split().freeze());
        self.frame.push(bytes.clone());
    }

    pub(crate) fn finish(mut self) -> AnswerFrame {
        self.frame.push(self.small.freeze());
        self.frame
    }
}

impl Buf for AnswerFrame {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let count = slices.len().min(self.pieces.len());
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
        }
        count
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining, "no more is sent than there is");
        self.remaining -= count;
        let mut rest = count;
        while let Some(first) = self.pieces.front_mut().filter(|_| rest > 0) {
            let sent = rest.min(first.len());
            first.advance(sent);
            rest -= sent;
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn large_pieces_are_shared_and_small_ones_put_together() {
        let large = Bytes::from(vec![1; PIECE_MIN_BYTES]);
        let small = Bytes::from(vec![2; PIECE_MIN_BYTES - 1]);
        let mut builder = AnswerFrameBuilder::default();
        for piece in [&small, &small, &large, &large, &small] {
            builder.put_slice(&[0]);
            builder.put_shared(piece);
        }
        let frame = builder.finish();
        let lengths: Vec<usize> = frame.pieces.iter().map(Bytes::len).collect();
        let (few, many) = (PIECE_MIN_BYTES, 2 * PIECE_MIN_BYTES + 1);
        assert_eq!(lengths, [many, large.len(), 1, large.len(), few]);
        assert_eq!(frame.pieces[1].as_ptr(), large.as_ptr(), "not a copy");
    }

    proptest! {
        #[test]
        fn it_is_sent_whole_however_little_of_it_is_taken_at_a_time(
            parts in prop::collection::vec((any::<bool>(), 0..10_000_usize), 0..12),
            taken in prop::collection::vec(1..9_000_usize, 1..8),
            slices in 1..5_usize,
        ) {
            let mut builder = AnswerFrameBuilder::default();
            let mut whole = Vec::new();
            for (place, (is_shared, length)) in parts.into_iter().enumerate() {
                let part = vec![u8::try_from(place).expect("few"); length];
                whole.extend_from_slice(&part);
                if is_shared { builder.put_shared(&part.into()) } else { builder.put_slice(&part) }
            }
            let mut frame = builder.finish();
            let mut sent = Vec::new();
            for step in taken.into_iter().cycle() {
                prop_assert_eq!(frame.remaining(), whole.len() - sent.len());
                if !frame.has_remaining() {
                    break;
                }
                let mut vectored = vec![IoSlice::new(&[]); slices];
                let count = frame.chunks_vectored(&mut vectored);
                let ahead: Vec<u8> = vectored[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
                prop_assert!(ahead.starts_with(frame.chunk()) && !frame.chunk().is_empty());
                let step = step.min(ahead.len());
                sent.extend_from_slice(&ahead[..step]);
                frame.advance(step);
            }
            prop_assert_eq!(sent, whole);
        }
    }
}
