//! Handing out records, one by one, from the batches that were fetched.
//!
//! What always holds: a record is handed out once, unless it is sought again; what was handed out counts as dealt with when
//! the application comes back for more, not before; after a rebalance or a seek nothing of before is handed out.

use std::sync::Arc;

use tidegate_protocol::batch::{self, BatchHeader, Records};

use super::partitions::{Chunk, Progress};
use super::unreadable::Unreadable;
use super::{Consumer, ConsumerRecord};
use crate::{Error, TopicPartition};

/// The batch that is being handed out.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) chunk: Chunk,
    records: Records,
}

impl Consumer {
    /// The next record of those that are there.
    pub(super) fn next_there(&mut self) -> Result<Option<ConsumerRecord>, Error> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(chunk) = self.shared.partitions().next_chunk() else { return Ok(None) };
                self.shared.fetch_wake.notify_one();
                self.current = self.open(chunk)?;
                continue;
            };
            // After a rebalance or a seek, nothing of before is handed out.
            let record = if current.chunk.progress.is_live() { current.records.next() } else { None };
            let base_offset = current.records.header().base_offset;
            match record {
                Some(Ok(record)) => {
                    let offset = base_offset + i64::from(record.offset_delta);
                    if offset < current.chunk.from {
                        continue;
                    }
                    let chunk = &current.chunk;
                    let record = ConsumerRecord {
                        topic: chunk.topic.clone(),
                        partition: chunk.partition.partition,
                        offset,
                        timestamp_ms: record.timestamp_ms,
                        key: record.key,
                        value: record.value,
                        headers: record.headers,
                    };
                    hand_out(&mut self.handed_out, &chunk.progress, offset + 1);
                    return Ok(Some(record));
                }
                Some(Err(error)) => {
                    let current = self.current.take().expect("it is there");
                    return Err(self.damaged(&current.chunk, error));
                }
                None => {
                    let current = self.current.take().expect("it is there");
                    // What compaction has removed at the end is dealt with too.
                    let next = current.records.header().last_offset() + 1;
                    hand_out(&mut self.handed_out, &current.chunk.progress, next);
                }
            }
        }
    }

    /// Begins with a batch; none if it holds a coordinator's markers, which are nobody's records.
    fn open(&mut self, chunk: Chunk) -> Result<Option<Current>, Error> {
        match batch::records(&chunk.batch, self.shared.options.max_decompressed_bytes) {
            Ok(records) if records.header().is_control() => {
                hand_out(&mut self.handed_out, &chunk.progress, records.header().last_offset() + 1);
                Ok(None)
            }
            Ok(records) => Ok(Some(Current { chunk, records })),
            Err(error) => Err(self.damaged(&chunk, error)),
        }
    }

    /// What is damaged is fetched again, from where the last good record ends: perhaps it was the way here that did it.
    fn damaged(&mut self, chunk: &Chunk, error: batch::BatchError) -> Error {
        if chunk.progress.is_live() {
            self.fetch_again(&chunk.partition);
            let from = self.position(&chunk.partition).unwrap_or(chunk.from);
            self.unreadable = BatchHeader::decode(&chunk.batch).ok().map(|header| Unreadable {
                partition: chunk.partition.clone(),
                position: from,
                first: from.max(header.base_offset),
                last: header.last_offset(),
                timestamp_ms: header.base_timestamp,
                bytes: chunk.batch.len(),
                error,
            });
        }
        error.into()
    }

    /// Has what is left of a partition's batch fetched again. What the application has in hand is not dealt with by that.
    pub(super) fn fetch_again(&mut self, partition: &TopicPartition) {
        let Some((before, after)) = self.shared.partitions().fetch_again(partition) else { return };
        for (progress, _) in self.handed_out.iter_mut().filter(|(progress, _)| Arc::ptr_eq(progress, &before))
        {
            *progress = after.clone();
        }
        self.shared.fetch_wake.notify_one();
    }

    /// The application is back for more, so it has dealt with what it got.
    pub(super) fn deal_with_handed_out(&mut self) {
        for (progress, next) in self.handed_out.drain(..) {
            progress.deal_with(next);
        }
    }

    pub(super) fn deal_with_all(&mut self) {
        self.deal_with_handed_out();
        self.shared.partitions().deal_with_all();
    }
}

fn hand_out(handed_out: &mut Vec<(Arc<Progress>, i64)>, progress: &Arc<Progress>, next: i64) {
    progress.hand_out(next);
    match handed_out.last_mut() {
        Some((last, offset)) if Arc::ptr_eq(last, progress) => *offset = next,
        _ => handed_out.push((progress.clone(), next)),
    }
}
