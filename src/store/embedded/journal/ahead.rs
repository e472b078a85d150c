//! Writes zeros ahead of the journal's end.
//!
//! What it is: a thread that fills the reserved space of the segment in use, a bounded way ahead of where the journal ends.
//! A commit then overwrites blocks that the file has, and its sync waits for no change of the file's metadata: with groups
//! of 16 KiB that halves it.
//!
//! What it refuses to do: it fills no more than was appended since the opening, so that a store that is hardly used does
//! not grow; nothing where groups are large, since there metadata are a small part of a sync; and no more a second than
//! [`RATE_BYTES_PER_SECOND`], so that the disk is the journal's.
//!
//! What always holds: zeros are only written where no group is and none is being written, so they can neither overwrite
//! one nor be taken for one; a commit never waits for the disk on their account, and for one piece to be copied to the page
//! cache only when it has caught up with the filling. A failed sync of zeros closes the store, as that of a group does: the
//! file has its own handle here, so that the committer is told of the failure as well.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::super::files::{FileLayer, StoreFile};
use super::segment::segment_name;

/// How much is filled a second, at most.
const RATE_BYTES_PER_SECOND: u64 = 256 << 20;
/// How much is filled with one write and one sync, at most; less if the whole distance is small.
const PIECE_MAX_BYTES: u64 = 512 << 10;
/// How many pieces the distance has.
const PIECES: u64 = 8;
/// Behind a group that is larger than this nothing is filled.
const GROUP_MAX_BYTES: u64 = 128 << 10;
/// Pieces begin at multiples of this if they are no smaller, so that no page is written twice.
const PAGE_BYTES: u64 = 4 << 10;

/// What is to be filled, between the committer and the thread that fills.
pub(crate) struct Ahead {
    distance_bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The segment in use.
    segment: u64,
    /// Where the journal ends, or is about to: everything below belongs to it.
    end: u64,
    /// Up to where the segment may be filled.
    until: u64,
    /// Up to where it is filled, from some place on.
    filled: u64,
    /// Where the piece begins that is being written.
    writing: Option<u64>,
    /// How much this opening has appended.
    appended: u64,
    /// Whether filling this segment has failed.
    is_given_up: bool,
    /// Whether the thread waits for more to do.
    is_idle: bool,
    is_stopped: bool,
}

/// A stretch to be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    segment: u64,
    start: u64,
    len: u64,
}

impl Piece {
    /// Writes it, and gives the handle that has to be synced. It is not kept: a segment may be removed meanwhile.
    fn write(&self, files: &dyn FileLayer) -> io::Result<Arc<dyn StoreFile>> {
        let file = files.open(&segment_name(self.segment))?;
        // In one write: its pages stay together in the page cache, which a later sync has less to do with.
        file.write_all_at(self.start, &vec![0; usize::try_from(self.len).expect("pieces are small")])?;
        Ok(file)
    }
}

impl Ahead {
    /// Fills up to that far ahead; 0 for not at all.
    pub(crate) fn new(distance_bytes: u64) -> Self {
        Self { distance_bytes, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Whether there is anything to do for the thread.
    pub(crate) fn is_wanted(&self) -> bool {
        self.distance_bytes > 0
    }

    /// The journal goes on in a segment, at `end`. Nothing is written to the one before any more.
    pub(super) fn begin_segment(&self, segment: u64, end: u64) {
        let mut state = self.wait_while_writing(self.state(), 0);
        *state = State { segment, end, until: end, filled: end, is_given_up: false, ..*state };
    }

    /// How far behind `end` space should be reserved so that it can be filled, after a group of that many bytes.
    pub(super) fn distance_after(&self, group_bytes: u64) -> u64 {
        let appended = self.state().appended + group_bytes;
        if group_bytes > GROUP_MAX_BYTES { 0 } else { self.distance_bytes.min(appended) }
    }

    /// The journal is about to be written up to `end`; from there on up to `until` may be filled. When this returns, no
    /// zeros are being written below `end`, nor will be.
    pub(super) fn take(&self, end: u64, until: u64) {
        let mut state = self.wait_while_writing(self.state(), end);
        // A group for which there was no space has left no end.
        state.appended += end.saturating_sub(state.end);
        state.end = end;
        state.until = until;
        if state.is_idle && self.next_piece(&state).is_some() {
            state.is_idle = false;
            self.changed.notify_all();
        }
    }

    /// Lets [`run`](Self::run) return.
    pub(crate) fn stop(&self) {
        self.state().is_stopped = true;
        self.changed.notify_all();
    }

    /// Fills until it is told to stop. An error is that of a sync, after which the store must not go on.
    pub(crate) fn run(&self, files: &dyn FileLayer) -> io::Result<()> {
        while let Some(piece) = self.wait_for_piece() {
            let written = piece.write(files);
            self.piece_is_written(piece, written.is_ok());
            match written {
                Ok(file) => file.sync_data()?,
                Err(error) => tracing::warn!(%error, segment = piece.segment, "filling ahead is given up"),
            }
            self.pause(piece);
        }
        Ok(())
    }

    /// The next piece, which is being written from then on.
    fn wait_for_piece(&self) -> Option<Piece> {
        let mut state = self.state();
        loop {
            if state.is_stopped {
                return None;
            }
            if let Some(piece) = self.next_piece(&state) {
                state.writing = Some(piece.start);
                return Some(piece);
            }
            state.is_idle = true;
            state = self.changed.wait(state).expect("nothing panics with the lock held");
        }
    }

    /// The next piece, if there is room for one. It leaves some room to the journal, or it would be caught up with at once.
    fn next_piece(&self, state: &State) -> Option<Piece> {
        let len = (self.distance_bytes / PIECES).clamp(1, PIECE_MAX_BYTES);
        let start = state.filled.max(state.end + len);
        let start = if len < PAGE_BYTES { start } else { start.next_multiple_of(PAGE_BYTES) };
        let is_room = start + len <= state.until && !state.is_given_up;
        is_room.then_some(Piece { segment: state.segment, start, len })
    }

    fn piece_is_written(&self, piece: Piece, is_done: bool) {
        let mut state = self.state();
        state.writing = None;
        state.filled = piece.start + piece.len;
        state.is_given_up = !is_done;
        self.changed.notify_all();
    }

    /// Keeps to the rate.
    fn pause(&self, piece: Piece) {
        let pause = Duration::from_micros(piece.len * 1_000_000 / RATE_BYTES_PER_SECOND);
        let waited = self.changed.wait_timeout_while(self.state(), pause, |state| !state.is_stopped);
        drop(waited.expect("nothing panics with the lock held"));
    }

    /// Waits while zeros are being written below `end`, or anywhere if that is 0.
    fn wait_while_writing<'a>(&'a self, state: MutexGuard<'a, State>, end: u64) -> MutexGuard<'a, State> {
        let is_in_the_way = |state: &mut State| state.writing.is_some_and(|start| end == 0 || start < end);
        self.changed.wait_while(state, is_in_the_way).expect("nothing panics with the lock held")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the lock held")
    }
}
