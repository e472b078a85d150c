//! A batch of records that cannot be read: its place becomes one dead letter, and the partition goes on behind it.
//!
//! What is meant is a batch that came as its producer has sent it, by its checksum: its records do not parse, or take more than
//! [`ConsumerOptions::max_decompressed_bytes`](crate::ConsumerOptions). Nobody has seen them, so nothing can be said of each, and
//! it will be no better the next time. A batch that was damaged on its way is fetched again and is no matter of this.
//!
//! What always holds: the dead letter and that the batch is done are one transaction, claimed as for a record.

use tidegate_store::Store;

use super::attempt::{Ended, Place};
use super::context::{Context, Stop};
use super::dead_letter;
use super::failed::FailedRecord;
use super::figures::count;
use super::lane::Lane;
use super::ordered::Batch;
use super::progress::Claim;
use super::retry::rest_ms;
use crate::consumer::Unreadable;
use crate::model::Error;

/// How the partition goes on behind such a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skip {
    /// This offset, of the batch, is marked as done; `known` is the committed offset that this worker has seen.
    Mark { offset: i64, known: i64 },
    /// The committed offset is moved, from where and with what this worker has seen there.
    Move { from: i64, to: i64, noted: Option<FailedRecord> },
}

/// One that a partition has come to, and waits with.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) unreadable: Unreadable,
    pub(super) is_running: bool,
    not_before_ms: i64,
    rests: u32,
}

impl Met {
    pub(super) fn new(unreadable: Unreadable) -> Self {
        Self { unreadable, is_running: false, not_before_ms: 0, rests: 0 }
    }

    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        !self.is_running && self.not_before_ms <= now_ms
    }

    /// Nothing came of it, and it is tried again a little later.
    pub(super) fn given_back(&mut self, now_ms: i64) {
        self.is_running = false;
        self.not_before_ms = now_ms + rest_ms(self.rests);
        self.rests = self.rests.saturating_add(1);
    }

    /// When it may be tried again, if that is later.
    pub(super) fn next_wake_ms(&self, now_ms: i64) -> Option<i64> {
        (!self.is_running && self.not_before_ms > now_ms).then_some(self.not_before_ms)
    }
}

impl<S: Store> Context<S> {
    /// Writes the dead letter of a batch, and that it is done.
    pub(super) async fn skip(&self, place: &Place, unreadable: &Unreadable, skip: Skip) -> Ended {
        let progress = &place.progress;
        let written = self.db.transaction(|tx| async move {
            let now_ms = self.now_ms();
            let claim = match skip {
                Skip::Mark { offset, known } => {
                    progress.claim(&mut *tx.raw_store().await?, &Lane::Alone(offset), offset, known).await?
                }
                Skip::Move { from, to, noted } => {
                    let batch = Batch::<()> { from, to, records: vec![], done: vec![], noted, rests: 0 };
                    let is_mine = progress.move_past(&mut *tx.raw_store().await?, &batch, now_ms).await?;
                    if is_mine { Claim::Mine } else { Claim::Moved }
                }
            };
            if claim == Claim::Mine {
                let letter = dead_letter::encode_batch(unreadable, &self.group, now_ms);
                self.send_letter(&tx, &unreadable.partition.topic, &letter).await?;
            }
            Ok::<_, Error>(claim)
        });
        match written.await {
            Ok(Claim::Mine) => {
                count(&self.counters.unreadable, 1);
                count(&self.counters.dead_letters, 1);
                Ended::Handled
            }
            Ok(Claim::Done(_)) => Ended::Handled,
            Ok(Claim::Moved) => Ended::Moved,
            Err(error) => {
                let first = unreadable.first;
                tracing::error!(partition = %place.at, first, %error, "the dead letter of a batch cannot be written");
                self.give_back(place, first, &Stop::Store(error))
            }
        }
    }
}
