//! Nested stretches of the log, by which a batch is found by its timestamp wherever the log begins by now.
//!
//! Each offset lies in a stretch of 4 offsets that begins at a multiple of 4, that one in a stretch of 16 that begins at a
//! multiple of 16, and so on; a batch belongs to the stretches of its last offset. A batch's row has the highest
//! timestamp since the beginning of each stretch, so the last row of a stretch has the stretch's, and inside it a binary
//! search finds where that was reached. What is below the log's start counts for nothing: a search takes the widest
//! stretch that begins at or after where it stands, and three of each width at most bring it into a wider one.
//!
//! What always holds: the number of rows that are read grows with the number of digits of the offsets, not with the
//! number of batches, however timestamps rise and fall. They are those of the batches' headers: what records a batch has
//! is not looked at here.

use tidegate_format::{Offset, PartitionId, STRETCHES_MAX, TimestampMaxima};
use tidegate_store::Txn;

use crate::LogError;
use crate::search::{self, StoredBatch};

/// A stretch of one width has 4 of the next smaller one.
const WIDTH_BITS: usize = 2;

/// How wide a stretch is: 0 is a batch by itself, each further one is four times as wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Width(usize);

impl Width {
    const WIDEST: Self = Self(STRETCHES_MAX);

    /// Where the stretch of this width begins in which an offset lies.
    fn start(self, offset: Offset) -> Offset {
        Offset(offset.0 >> (WIDTH_BITS * self.0) << (WIDTH_BITS * self.0))
    }

    /// Where the stretch ends that begins at `start`.
    fn end(self, start: Offset) -> Offset {
        Offset(start.0.saturating_add(1 << (WIDTH_BITS * self.0)))
    }

    /// The widest for which a batch's stretch begins at or after `from`; by itself a batch always does.
    fn widest_from(from: Offset, last_offset: Offset) -> Self {
        let widths = (0..=Self::WIDEST.0).rev().map(Self);
        widths
            .take_while(|width| width.0 > 0)
            .find(|width| width.start(last_offset) >= from)
            .unwrap_or(Self(0))
    }

    /// The highest timestamp from the beginning of the batch's stretch up to the batch.
    fn claimed_ms(self, batch: &StoredBatch) -> i64 {
        match self.0.checked_sub(1) {
            None => batch.header.latest_timestamp(),
            Some(stretch) => batch.value.maxima.stretch_ms(stretch),
        }
    }
}

/// The highest timestamps once a batch that ends at `last_offset` has come after what ends before `next_offset`.
pub(crate) fn extend(
    before: &TimestampMaxima,
    next_offset: Offset,
    last_offset: Offset,
    latest_ms: i64,
) -> TimestampMaxima {
    let previous = next_offset.0.checked_sub(1).filter(|previous| *previous >= 0).map(Offset);
    let stretches = (1..=Width::WIDEST.0).map(Width).map(|width| {
        let goes_on = previous.is_some_and(|previous| width.start(previous) == width.start(last_offset));
        if goes_on { before.stretch_ms(width.0 - 1).max(latest_ms) } else { latest_ms }
    });
    TimestampMaxima::new(before.overall_ms().max(latest_ms), stretches)
}

/// A stretch that has batches, up to the last one of them that is looked for.
struct Stretch {
    start: Offset,
    width: Width,
    last: StoredBatch,
}

/// The widest stretch that begins at or after `from` and has the first batch of `from..to`; none if there is no batch.
async fn next_stretch(
    txn: &mut impl Txn,
    id: PartitionId,
    from: Offset,
    to: Offset,
) -> Result<Option<Stretch>, LogError> {
    let first = search::batch_at(txn, id, from).await?.filter(|first| first.last_offset < to);
    let Some(first) = first else { return Ok(None) };
    let width = Width::widest_from(from, first.last_offset);
    let start = width.start(first.last_offset);
    let end = width.end(start).min(to);
    let has_more = first.last_offset.plus(1) < end;
    let last = if has_more { search::batch_before(txn, id, end).await? } else { None };
    // Rows below the log's start may go while the snapshot is open, the first before the others.
    let last = last.filter(|last| last.last_offset > first.last_offset).unwrap_or(first);
    Ok(Some(Stretch { start, width, last }))
}

/// The first of the batches that end in `from..to` whose header claims a record at or after `target_ms`.
pub(crate) async fn first_claiming(
    txn: &mut impl Txn,
    id: PartitionId,
    mut from: Offset,
    to: Offset,
    target_ms: i64,
) -> Result<Option<StoredBatch>, LogError> {
    // Where nothing higher was removed, which is nearly always, one search is all.
    let reaches = |batch: &StoredBatch| batch.value.maxima.overall_ms() >= target_ms;
    let Some(first) = search::first_where(txn, id, from, to, reaches).await? else { return Ok(None) };
    if first.header.latest_timestamp() >= target_ms {
        return Ok(Some(first));
    }
    from = first.last_offset.plus(1);
    while let Some(Stretch { start, width, last }) = next_stretch(txn, id, from, to).await? {
        from = last.last_offset.plus(1);
        if width.claimed_ms(&last) >= target_ms {
            let reaches = |batch: &StoredBatch| width.claimed_ms(batch) >= target_ms;
            return search::first_where(txn, id, start, from, reaches).await;
        }
    }
    Ok(None)
}

/// The highest timestamp that the headers of the batches that end in `from..to` claim; none if there are no batches.
pub(crate) async fn highest_claim_ms(
    txn: &mut impl Txn,
    id: PartitionId,
    mut from: Offset,
    to: Offset,
) -> Result<Option<i64>, LogError> {
    let mut highest_ms = None;
    while let Some(Stretch { width, last, .. }) = next_stretch(txn, id, from, to).await? {
        from = last.last_offset.plus(1);
        highest_ms = highest_ms.max(Some(width.claimed_ms(&last)));
    }
    Ok(highest_ms)
}

#[cfg(test)]
#[path = "stretch_tests.rs"]
mod tests;
