//! Appends groups to the journal.
//!
//! What always holds: one group is one write, at a place that nothing was acknowledged at before; a new segment is
//! durable, with its name, before the first group goes into it.

use std::io;
use std::sync::Arc;

use super::super::files::{FileLayer, StoreFile};
use super::super::slot::Position;
use super::ahead::Ahead;
use super::group::{GROUP_HEADER_BYTES, GroupBuilder, GroupHeader, StoreId};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::Version;

/// How much space is reserved at a time within a segment.
const ALLOCATE_BYTES: u64 = 8 << 20;

/// Why a group was not appended.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// There is no space left; nothing was written that matters.
    Full,
    /// Whether it was written is not known, nothing more can be.
    Failed(io::Error),
}

/// Appends groups, alone.
pub(crate) struct JournalWriter {
    files: Arc<dyn FileLayer>,
    store: StoreId,
    segment_bytes: u64,
    file: Arc<dyn StoreFile>,
    position: Position,
    allocated: u64,
    /// The number of the next group.
    sequence: u64,
    /// All groups below this number are durable.
    durable_sequence: u64,
    /// What is told where the journal ends, and writes zeros behind it.
    ahead: Arc<Ahead>,
}

impl JournalWriter {
    /// Goes on in a segment that ends at `position` and has nothing behind it.
    pub(crate) fn new(
        files: Arc<dyn FileLayer>,
        store: StoreId,
        segment_bytes: u64,
        file: Arc<dyn StoreFile>,
        position: Position,
        sequence: u64,
        ahead: Arc<Ahead>,
    ) -> Self {
        let allocated = position.offset;
        ahead.begin_segment(position.segment, position.offset);
        let durable_sequence = sequence;
        Self { files, store, segment_bytes, file, position, allocated, sequence, durable_sequence, ahead }
    }

    /// Where the next group goes.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The number of the next group.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether a group waits for [`sync`](Self::sync).
    pub(crate) fn is_dirty(&self) -> bool {
        self.durable_sequence < self.sequence
    }

    /// Begins a new segment if a group of that many bytes does not fit into this one; whether it did.
    pub(crate) fn make_room(&mut self, group_bytes: usize) -> Result<bool, AppendError> {
        let is_empty = self.position.offset == SEGMENT_HEADER_BYTES;
        if is_empty || self.position.offset + group_bytes as u64 <= self.segment_bytes {
            return Ok(false);
        }
        self.sync().map_err(AppendError::Failed)?;
        let number = self.position.segment + 1;
        let previous_end = self.position.offset;
        let header = SegmentHeader { number, first_sequence: self.sequence, previous_end };
        let file = create_segment(&*self.files, self.store, header).map_err(|error| {
            // Whatever is there of it is no segment yet; a later attempt takes its place.
            if error.kind() == io::ErrorKind::StorageFull {
                AppendError::Full
            } else {
                AppendError::Failed(error)
            }
        })?;
        self.ahead.begin_segment(number, SEGMENT_HEADER_BYTES);
        // Only gives space back: what lies behind the end is never read.
        if let Err(error) = self.file.set_len(previous_end) {
            tracing::warn!(%error, segment = self.position.segment, "the unused end of a segment could not be cut");
        }
        self.file = file;
        self.position = Position { segment: number, offset: SEGMENT_HEADER_BYTES };
        self.allocated = SEGMENT_HEADER_BYTES;
        Ok(true)
    }

    /// Appends a group, which is durable after [`sync`](Self::sync); gives its header and where its body begins.
    pub(crate) fn append(
        &mut self,
        group: &mut GroupBuilder,
        first_version: Version,
    ) -> Result<(GroupHeader, Position), AppendError> {
        let position = self.position;
        let (header, bytes) = group.finish(self.sequence, self.durable_sequence, first_version, self.store);
        let end = position.offset + header.group_bytes();
        let until = self.allocate(end, self.ahead.distance_after(header.group_bytes()))?;
        self.ahead.take(end, until);
        self.file.write_all_at(position.offset, bytes).map_err(refused)?;
        self.position.offset = end;
        self.sequence += 1;
        Ok((header, Position { offset: position.offset + GROUP_HEADER_BYTES as u64, ..position }))
    }

    /// Makes all appended groups durable. After an error nothing more may be appended: what the failed sync lost is not
    /// known, and asking again would not say.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.is_dirty() {
            self.file.sync_data()?;
            self.durable_sequence = self.sequence;
        }
        Ok(())
    }

    /// Reserves space up to `end`, and `ahead` behind it if there is enough; gives up to where of that it is reserved.
    fn allocate(&mut self, end: u64, ahead: u64) -> Result<u64, AppendError> {
        let wanted = (end + ahead).min(self.segment_bytes).max(end);
        if wanted > self.allocated {
            let step = (self.allocated + ALLOCATE_BYTES).min(self.segment_bytes).max(wanted);
            // At the brim of the disk: at least what this group needs.
            self.allocated = match self.file.allocate(step) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull && end <= self.allocated => {
                    self.allocated
                }
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    self.file.allocate(end).map(|()| end).map_err(refused)?
                }
                result => result.map(|()| step).map_err(refused)?,
            };
        }
        Ok(wanted.min(self.allocated))
    }
}

fn refused(error: io::Error) -> AppendError {
    if error.kind() == io::ErrorKind::StorageFull { AppendError::Full } else { AppendError::Failed(error) }
}

/// Creates a segment without groups, durably.
pub(crate) fn create_segment(
    files: &dyn FileLayer,
    store: StoreId,
    header: SegmentHeader,
) -> io::Result<Arc<dyn StoreFile>> {
    let file = files.create(&segment_name(header.number))?;
    file.write_all_at(0, &header.encode(store))?;
    // From here on it may be there, whatever these fail of: also for want of space, nothing goes on as if it was not.
    file.sync_data().and_then(|()| files.sync_names()).map_err(io::Error::other)?;
    Ok(file)
}
