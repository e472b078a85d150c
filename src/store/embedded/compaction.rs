//! Moves the live values out of a sparse segment, so that it can be removed.
//!
//! What it is: a segment is read from its start; each large value that its key still points to is committed again, as
//! any transaction is, and so comes to lie at the end of the journal. When the tree has those, it no longer points to
//! the old segment.
//!
//! What always holds: a value is moved only if its key still points to the old place at the moment of the commit; a
//! move changes nothing that anybody reads, and makes no other transaction conflict.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::committer::{Message, Submission};
use super::journal::{
    Change, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, SegmentReader, StoreId, TransactionEncoder,
};
use super::metrics::add;
use super::shared::Shared;
use super::slot::{Pointer, Position, Slot};
use super::tree::LiveBytes;
use super::view::Purpose;
use crate::{CommitError, ReadError};

/// A segment is sparse when at most this share of it is live.
const SPARSE_LIVE_PERCENT: u64 = 50;
/// How many bytes of values one transaction moves.
const MOVE_BYTES: usize = 1 << 20;
/// How often a step is tried when keys are written at the same moment.
const MOVE_ATTEMPTS: usize = 16;

/// A segment that is being emptied.
pub(super) struct Compaction {
    segment: u64,
    reader: SegmentReader,
    sequence: u64,
}

/// How far a compaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more in the segment.
    More,
    /// All of it was looked at. It can be removed when what was moved is flushed.
    Done,
}

impl Compaction {
    /// Begins with the segment that has the smallest share of live bytes, if one is sparse.
    pub(super) fn of_sparsest<'a>(
        candidates: impl Iterator<Item = &'a Arc<Segment>>,
        live: &LiveBytes,
        store: StoreId,
    ) -> Option<Self> {
        let percent = |segment: &'a Arc<Segment>| {
            let live = live.get(&segment.number())?;
            let percent = live * 100 / segment.final_len().ok()?.max(1);
            (percent <= SPARSE_LIVE_PERCENT).then(|| (percent, segment.number(), segment))
        };
        let (_, segment, sparsest) =
            candidates.filter_map(percent).min_by_key(|(percent, number, _)| (*percent, *number))?;
        let file = sparsest.file().ok()?;
        let header = SegmentHeader::read(&*file, store).ok()??;
        let start = Position { segment, offset: SEGMENT_HEADER_BYTES };
        let reader = SegmentReader::new(file, store, start).ok()?;
        Some(Self { segment, reader, sequence: header.first_sequence })
    }

    /// The number of the segment.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// Moves the live values of the next groups.
    pub(super) fn step(&mut self, shared: &Shared) -> Result<Step, ReadError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut is_done = false;
        while bytes < MOVE_BYTES && !is_done {
            let group = self.reader.next(self.sequence).map_err(|error| unreadable(self.segment, &error))?;
            let Some((header, position, body)) = group else {
                is_done = true;
                continue;
            };
            self.sequence += 1;
            let mut key_buffer = Vec::new();
            let each = header.for_each_change(body, position, |version, change| {
                if let Change::PutLarge(pointer) = change.change {
                    bytes += pointer.len as usize;
                    found.push((change.key(version, &mut key_buffer).to_vec(), pointer));
                }
            });
            each.map_err(|_| unreadable(self.segment, &format!("malformed group at {}", position.offset)))?;
        }
        for _ in 0..MOVE_ATTEMPTS {
            match move_values(shared, &found)? {
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(unreadable(self.segment, &error)),
                Ok(moved) => {
                    add(&shared.counters.relocated_values, moved);
                    return Ok(if is_done { Step::Done } else { Step::More });
                }
            }
        }
        Err(unreadable(self.segment, &"its keys are written all the time"))
    }
}

fn unreadable(segment: u64, what: &dyn std::fmt::Display) -> ReadError {
    ReadError::Unavailable { reason: format!("segment {segment}: {what}") }
}

/// Commits those values again that their keys still point to; gives how many.
fn move_values(shared: &Shared, found: &[(Vec<u8>, Pointer)]) -> Result<Result<u64, CommitError>, ReadError> {
    let snapshot = shared.views.open(&shared.clock, Purpose::Writing);
    let mut encoder = TransactionEncoder::default();
    let mut writes = Vec::new();
    let mut put_bytes = 0;
    for (key, pointer) in found {
        if snapshot.view.find(key, snapshot.version)? == Some(Slot::Pointer(*pointer)) {
            let value = snapshot.view.load(Slot::Pointer(*pointer))?;
            encoder.put(key, &value);
            writes.push(shared.hasher.hash(key));
            put_bytes += value.len();
        }
    }
    let moved = writes.len() as u64;
    if moved == 0 {
        return Ok(Ok(0));
    }
    let (reply, answer) = oneshot::channel();
    let submission = Submission {
        snapshot,
        transaction: encoder.finish(),
        writes,
        guards: Vec::new(),
        token_key: bytes::Bytes::new(),
        put_bytes,
        is_growing: false,
        is_relocation: true,
        _permit: None,
        attempt: Arc::default(),
        reply,
    };
    let closed = || CommitError::Unavailable { reason: "the store is closing".to_owned() };
    if shared.committer.send(Message::Commit(Box::new(submission))).is_err() {
        return Ok(Err(closed()));
    }
    Ok(answer.blocking_recv().unwrap_or_else(|_| Err(closed())).map(|_| moved))
}
