//! Reads back what the tree does not cover.
//!
//! What always holds: every group that was durable is given, in order; the torn tail that a crash leaves is cut, so
//! that the journal ends where it says; anything else that cannot be read is damage and refuses the opening, with its
//! place.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::super::files::{FileLayer, StoreFile};
use super::super::slot::Position;
use super::group::{GROUP_HEADER_BYTES, StoreId};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentReader, segment_name};
use super::segments::Segments;
use super::transaction::KeyChange;
use super::writer::create_segment;
use crate::Version;

/// How much of the end of the journal is written again at a time.
const SETTLE_STEP_BYTES: usize = 1 << 20;

/// Up to where the tree has everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Covered {
    /// Where the first group that it does not have begins.
    pub(crate) position: Position,
    /// The number of that group.
    pub(crate) sequence: u64,
    /// The newest version that it has.
    pub(crate) version: Version,
}

impl Covered {
    /// What a new tree covers.
    pub(crate) fn nothing() -> Self {
        let position = Position { segment: 1, offset: SEGMENT_HEADER_BYTES };
        Self { position, sequence: 0, version: Version::default() }
    }
}

/// Why the journal cannot be read back.
#[derive(Debug)]
pub(crate) enum ReplayError {
    /// A file could not be read or written.
    Io(io::Error),
    /// Something durable is not as it was written.
    Damaged {
        /// What it is, and where.
        place: String,
    },
}

impl From<io::Error> for ReplayError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where the journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Where the next group goes: its segment exists and has nothing behind.
    pub(crate) end: Position,
    /// The number of the next group.
    pub(crate) sequence: u64,
    /// The newest version there is.
    pub(crate) version: Version,
    /// How many bytes of groups were read.
    pub(crate) bytes: u64,
}

/// Calls `each` with every change that is not covered, and makes the journal ready to be appended to.
pub(crate) fn replay(
    files: &Arc<dyn FileLayer>,
    store: StoreId,
    segments: &mut Segments,
    covered: Covered,
    mut each: impl FnMut(Version, KeyChange<'_>),
) -> Result<Replayed, ReplayError> {
    drop_unfinished_segment(&**files, store, segments, covered)?;
    let Covered { position: mut end, mut sequence, mut version } = covered;
    let mut bytes = 0;
    if segments.len() == 0 && covered == Covered::nothing() {
        let header = SegmentHeader { number: end.segment, first_sequence: 0, previous_end: 0 };
        create_segment(&**files, store, header)?;
        segments.insert(end.segment);
    }
    // Groups that no later one calls durable, and where they begin in the segment.
    let mut unconfirmed = VecDeque::new();
    let last =
        segments.iter().next_back().map_or(0, |segment| segment.number()).max(covered.position.segment);
    for number in covered.position.segment..=last {
        let file =
            segments.get(number).ok_or_else(|| damaged(number, 0, "the segment is missing"))?.file()?;
        let header = SegmentHeader::read(&*file, store)?.ok_or_else(|| damaged(number, 0, "its head"))?;
        if number > covered.position.segment {
            if (header.number, header.first_sequence, header.previous_end) != (number, sequence, end.offset) {
                return Err(damaged(end.segment, end.offset, &format!("group {sequence}")));
            }
            end = Position { segment: number, offset: SEGMENT_HEADER_BYTES };
            // The next segment is begun when all of this one is durable.
            unconfirmed.clear();
        }
        if file.len()? < end.offset {
            return Err(damaged(number, end.offset, "the segment ends before what the tree covers"));
        }
        let mut reader = SegmentReader::new(file.clone(), store, end)?;
        while let Some((header, position, body)) = reader.next(sequence)? {
            let what = format!("group {sequence}");
            header
                .for_each_change(body, position, &mut each)
                .map_err(|_| damaged(number, position.offset, &what))?;
            unconfirmed.push_back((sequence, position.offset - GROUP_HEADER_BYTES as u64));
            while unconfirmed.front().is_some_and(|(sequence, _)| *sequence < header.durable_sequence) {
                unconfirmed.pop_front();
            }
            sequence += 1;
            bytes += header.group_bytes();
            version =
                version.max(Version(header.first_version.0 + u64::from(header.transactions.max(1)) - 1));
        }
        end = reader.position();
        if number == last {
            // What was written when this group was durable says that it was.
            if reader.finds_ahead(|later| later.sequence > sequence && later.durable_sequence > sequence)? {
                return Err(damaged(number, end.offset, &format!("group {sequence}")));
            }
            settle(&*file, unconfirmed.front().map_or(end.offset, |(_, offset)| *offset), end.offset)?;
            files.sync_names()?;
        }
    }
    Ok(Replayed { end, sequence, version, bytes })
}

/// A crash while a segment was created leaves one without a head, and nothing can be in it. It is the last one.
fn drop_unfinished_segment(
    files: &dyn FileLayer,
    store: StoreId,
    segments: &mut Segments,
    covered: Covered,
) -> Result<(), ReplayError> {
    let Some(segment) = segments.iter().next_back() else { return Ok(()) };
    let (number, file) = (segment.number(), segment.file()?);
    let may_be_unfinished = number > covered.position.segment || covered == Covered::nothing();
    if !may_be_unfinished || SegmentHeader::read(&*file, store)?.is_some() {
        return Ok(());
    }
    let start = Position { segment: number, offset: 0 };
    if SegmentReader::new(file, store, start)?.finds_ahead(|_| true)? {
        return Err(damaged(number, 0, "its head"));
    }
    files.remove(&segment_name(number))?;
    segments.forget(number);
    Ok(())
}

/// Makes a segment end where its groups end, durably.
///
/// What was read may come from the machine's cache alone: the process before may have died before its sync, or the
/// sync may have failed, after which the cache no longer knows what is not on disk. So the head, and everything from
/// `unconfirmed` on, is written once more before it is synced.
fn settle(file: &dyn StoreFile, unconfirmed: u64, end: u64) -> io::Result<()> {
    let len = file.len()?;
    let mut bytes = Vec::new();
    for (start, end) in [(0, SEGMENT_HEADER_BYTES), (unconfirmed, end.min(len))] {
        let mut offset = start;
        while offset < end {
            let count = usize::try_from(end - offset).unwrap_or(usize::MAX).min(SETTLE_STEP_BYTES);
            bytes.resize(count, 0);
            file.read_exact_at(offset, &mut bytes)?;
            file.write_all_at(offset, &bytes)?;
            offset += count as u64;
        }
    }
    if len > end {
        file.set_len(end)?;
    }
    file.sync_data()
}

fn damaged(segment: u64, offset: u64, what: &str) -> ReplayError {
    ReplayError::Damaged { place: format!("{}, offset {offset}: {what}", segment_name(segment)) }
}
