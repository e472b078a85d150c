//! The journal: append-only segment files that make commits durable and keep large values for good.
//!
//! What it is: groups of transactions, one frame each, in numbered segments. The committer appends; opening replays
//! what the tree does not cover; readers follow pointers into the segments.
//!
//! What it refuses to do: nothing in it is ever changed, and a damaged group is never skipped.
//!
//! What always holds: groups have contiguous numbers across segments; a segment is created, filled, and left only when
//! all of it is durable; the end of each but the last is written down in the head of the next.

mod ahead;
mod group;
mod replay;
mod segment;
mod segments;
mod transaction;
mod writer;

pub(crate) use ahead::Ahead;
pub(crate) use group::{GroupBuilder, StoreId};
pub(crate) use replay::{Covered, ReplayError, Replayed, replay};
pub(crate) use segment::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentReader, segment_name};
pub(crate) use segments::{Segment, Segments};
pub(crate) use transaction::{Change, TransactionEncoder};
pub(crate) use writer::{AppendError, JournalWriter};
