//! A worker's progress in one partition, as it lies in the store: the committed offset, marks, parked records.
//!
//! What always holds: a record is *claimed* in the transaction that handles it, by writing its mark or deleting the row that
//! it is parked in, so of two workers that handle one record one conflicts. The committed offset is moved only from where this
//! worker has seen it, and only over records whose marks are in the store or that the same transaction handles, so whoever
//! moves it is right, zombie or not. How a record in front has failed is noted only over what this worker has seen there.

use bytes::Bytes;
use tidegate_format::{DoneKey, MARKER, Offset, OffsetKey, OffsetValue, ParkedKey, ParkedValue, PartitionId};
use tidegate_store::{Direction, KeyRange, ScanLimit, Store, Txn};

use super::failed::{FailedRecord, without_note};
use super::lane::Lane;
use super::ordered::Batch;
use super::parked;
use super::partition::Advance;
use crate::ConsumerRecord;
use crate::Db;
use crate::model::Error;

/// Rows that are read at a time, and their bytes.
pub(super) const PAGE: ScanLimit = ScanLimit { count: 1_000, value_bytes: 4 << 20 };

/// Where the rows of a group in a partition are.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    group: String,
    id: PartitionId,
    offset_key: Bytes,
}

/// What the store says of a record that is to be handled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is this transaction's.
    Mine,
    /// It is done, or parked; this is what is parked of its lane.
    Done(Vec<(i64, i64)>),
    /// The committed offset was reset or deleted.
    Moved,
}

/// What the store says of a parked record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// It is there, and due.
    Due(ParkedValue),
    /// Somebody else has tried it: it is due then.
    NotBefore(i64),
    /// Somebody else has dealt with it.
    Gone,
}

impl Progress {
    pub(crate) fn new(group: String, id: PartitionId) -> Self {
        let offset_key = OffsetKey { group: group.clone(), id }.encode();
        Self { group, id, offset_key }
    }

    pub(super) fn offset_key(&self) -> &Bytes {
        &self.offset_key
    }

    pub(super) fn done_key(&self, offset: i64) -> Bytes {
        DoneKey { group: self.group.clone(), id: self.id, offset: Offset(offset) }.encode()
    }

    pub(super) fn parked_key(&self, lane: &Lane, offset: i64) -> Bytes {
        let key = lane.parked_under();
        ParkedKey { group: self.group.clone(), id: self.id, key, offset: Offset(offset) }.encode()
    }

    /// Every mark from an offset on.
    pub(super) fn done_from(&self, offset: i64) -> KeyRange {
        let (_, end) = DoneKey::range(&self.group, self.id);
        KeyRange::new(self.done_key(offset), end)
    }

    /// Every mark before an offset.
    pub(super) fn done_before(&self, offset: i64) -> KeyRange {
        let (start, _) = DoneKey::range(&self.group, self.id);
        KeyRange::new(start, self.done_key(offset))
    }

    /// Every parked record.
    pub(super) fn parked_range(&self) -> KeyRange {
        let (start, end) = ParkedKey::range(&self.group, self.id);
        KeyRange::new(start, end)
    }

    /// Claims a record that was not handled yet. `known` is the committed offset that this worker has seen.
    pub(crate) async fn claim(
        &self,
        txn: &mut impl Txn,
        lane: &Lane,
        offset: i64,
        known: i64,
    ) -> Result<Claim, Error> {
        let mark = self.done_key(offset);
        let [committed, marked] = two(txn.get_many(&[self.offset_key.clone(), mark.clone()]).await?);
        let Some(committed) = decode_offset(committed)?.filter(|row| row.offset.0 >= known) else {
            return Ok(Claim::Moved);
        };
        if committed.offset.0 > offset || marked.is_some() {
            return Ok(Claim::Done(self.parked_of(txn, lane).await?));
        }
        txn.put(mark, MARKER);
        Ok(Claim::Mine)
    }

    /// What is parked of a lane: offsets and due times.
    async fn parked_of(&self, txn: &mut impl Txn, lane: &Lane) -> Result<Vec<(i64, i64)>, Error> {
        let (start, end) = ParkedKey::range_key(&self.group, self.id, &lane.parked_under());
        let mut range = KeyRange::new(start, end);
        let mut found = Vec::new();
        loop {
            let page = txn.scan(&range, PAGE, Direction::Forward).await?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            range.start = KeyRange::successor(last);
            for (key, row) in page {
                let offset = ParkedKey::decode(&key)?.offset.0;
                let row = ParkedValue::decode(row)?;
                // Records without a key lie together and wait for nobody.
                if Lane::of(row.key.as_ref(), offset) == *lane {
                    found.push((offset, row.due_ms));
                }
            }
        }
    }

    /// Looks at a parked record that is due by what this worker knows.
    pub(crate) async fn find_parked(
        &self,
        txn: &mut impl Txn,
        lane: &Lane,
        offset: i64,
        now_ms: i64,
    ) -> Result<Parked, Error> {
        let Some(row) = txn.get(&self.parked_key(lane, offset)).await? else { return Ok(Parked::Gone) };
        let row = ParkedValue::decode(row)?;
        Ok(if row.due_ms > now_ms { Parked::NotBefore(row.due_ms) } else { Parked::Due(row) })
    }

    /// Takes a parked record out.
    pub(crate) fn unpark(&self, txn: &mut impl Txn, lane: &Lane, offset: i64) {
        txn.delete(self.parked_key(lane, offset));
    }

    /// Parks a record.
    pub(crate) fn park(&self, txn: &mut impl Txn, lane: &Lane, offset: i64, row: &ParkedValue) {
        txn.growing();
        txn.put(self.parked_key(lane, offset), row.encode());
    }

    /// Parks records behind others of their lane. False if one of them is done already, or the committed offset was moved.
    pub(crate) async fn park_behind(
        &self,
        txn: &mut impl Txn,
        lane: &Lane,
        records: &[(i64, std::sync::Arc<ConsumerRecord>)],
        known: i64,
    ) -> Result<bool, Error> {
        let mut keys = vec![self.offset_key.clone()];
        keys.extend(records.iter().map(|(offset, _)| self.done_key(*offset)));
        let mut rows = txn.get_many(&keys).await?;
        let committed = decode_offset(rows.swap_remove(0))?.map(|row| row.offset.0);
        let first = records.first().map_or(known, |(offset, _)| *offset);
        let is_as_known = committed.is_some_and(|committed| known <= committed && committed <= first);
        if !is_as_known || rows.iter().any(Option::is_some) {
            return Ok(false);
        }
        for (offset, record) in records {
            txn.put(self.done_key(*offset), MARKER);
            self.park(txn, lane, *offset, &parked::behind(record));
        }
        Ok(true)
    }

    /// Moves the committed offset in the caller's transaction. False if it is not where it should be.
    pub(crate) async fn move_offset(
        &self,
        txn: &mut impl Txn,
        from: i64,
        to: i64,
        now_ms: i64,
    ) -> Result<bool, Error> {
        let row = decode_offset(txn.get(&self.offset_key).await?)?;
        let row = row.filter(|row| row.offset.0 == from);
        Ok(self.put_moved(txn, row, to, now_ms))
    }

    /// As before, over a batch. False as well if another worker has noted something there: it has had the record in front.
    pub(crate) async fn move_past<R>(
        &self,
        txn: &mut impl Txn,
        batch: &Batch<R>,
        now_ms: i64,
    ) -> Result<bool, Error> {
        let row = self.row_before(txn, batch).await?;
        let is_moved = self.put_moved(txn, row, batch.to, now_ms);
        if is_moved {
            batch.done.iter().for_each(|offset| txn.delete(self.done_key(*offset)));
        }
        Ok(is_moved)
    }

    fn put_moved(&self, txn: &mut impl Txn, row: Option<OffsetValue>, to: i64, now_ms: i64) -> bool {
        let Some(row) = row else { return false };
        let metadata = if to == row.offset.0 { row.metadata } else { without_note(row.metadata) };
        let row = OffsetValue { offset: Offset(to), metadata, commit_time_ms: now_ms, ..row };
        txn.put(self.offset_key.clone(), row.encode());
        true
    }

    /// The committed offset before a batch, if that and what is noted there are as the worker knows them.
    async fn row_before<R>(
        &self,
        txn: &mut impl Txn,
        batch: &Batch<R>,
    ) -> Result<Option<OffsetValue>, Error> {
        let row = decode_offset(txn.get(&self.offset_key).await?)?;
        let is_as_known = |row: &OffsetValue| {
            row.offset.0 == batch.from && FailedRecord::from_metadata(&row.metadata) == batch.noted
        };
        Ok(row.filter(is_as_known))
    }

    /// Notes how the one record of a batch has failed, or until when it was put off. False as [`move_past`](Self::move_past).
    pub(crate) async fn note_failed<R>(
        &self,
        txn: &mut impl Txn,
        batch: &Batch<R>,
        failed: FailedRecord,
        now_ms: i64,
    ) -> Result<bool, Error> {
        let row = self.row_before(txn, batch).await?;
        let Some(row) = row else { return Ok(false) };
        let row = OffsetValue { metadata: failed.to_metadata(), commit_time_ms: now_ms, ..row };
        txn.put(self.offset_key.clone(), row.encode());
        Ok(true)
    }

    /// Makes a step of the committed offset. False if it is not where it should be, or a mark is missing.
    pub(crate) async fn advance<S: Store>(&self, db: &Db<S>, step: &Advance) -> Result<bool, Error> {
        let marks: &Vec<Bytes> = &step.marks.iter().map(|offset| self.done_key(*offset)).collect();
        let now_ms = db.now_ms();
        db.transaction(|tx| async move {
            let mut txn = tx.raw_store().await?;
            let found = txn.get_many(marks).await?;
            if found.iter().any(Option::is_none)
                || !self.move_offset(&mut *txn, step.from, step.to, now_ms).await?
            {
                return Ok(false);
            }
            marks.iter().for_each(|mark| txn.delete(mark.clone()));
            Ok(true)
        })
        .await
    }
}

pub(super) fn decode_offset(row: Option<Bytes>) -> Result<Option<OffsetValue>, Error> {
    Ok(row.map(OffsetValue::decode).transpose()?)
}

fn two(rows: Vec<Option<Bytes>>) -> [Option<Bytes>; 2] {
    rows.try_into().expect("as many rows as keys")
}
