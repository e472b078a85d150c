//! One batch of records in order: the committed offset is moved in the handler's own transaction. How a record has failed
//! alone, and until when a batch was put off, is noted beside it, by a transaction of its own.

use std::sync::Arc;

use tidegate_store::Store;

use super::attempt::{Ended, Place};
use super::context::{Called, Context, Stop};
use super::event::Event;
use super::failed::FailedRecord;
use super::figures::count;
use super::ordered::Batch;
use super::outcome::Failure;
use super::retry::Verdict;
use super::settle::{Burial, is_refused};
use crate::ConsumerRecord;

/// What came of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BatchEnded {
    /// It is handled, or its one record has become a dead letter.
    Handled,
    /// It failed: half of it is tried at once.
    Failed,
    /// Its one record failed, or the handler wants it again later, which is noted.
    Noted(FailedRecord),
    /// The committed offset, or what is noted there, is not as it should be: the partition is to be loaded again.
    Moved,
    /// Nothing, as the store is away, or others came first each time.
    GivenBack,
}

/// The committed offset, or what is noted there, is not as it should be.
const MOVED: bool = false;

impl<S: Store> Context<S> {
    /// Handles a batch; one without records only renews the committed offset.
    pub(crate) async fn handle_batch(&self, place: &Place, batch: &Batch<Arc<ConsumerRecord>>) -> BatchEnded {
        let (progress, from) = (&place.progress, batch.from);
        let failures = batch.failures();
        let events: Vec<Event> =
            batch.records.iter().map(|(_, record)| Event::new(record.clone(), failures)).collect();
        let events = &events;
        let tried = self.db.try_transaction(|tx| async move {
            let now_ms = self.now_ms();
            let is_mine = progress.move_past(&mut *tx.raw_store().await?, batch, now_ms).await?;
            if is_mine && !events.is_empty() {
                self.call(Called::Batch(events.clone()), tx).await?;
            }
            Ok::<bool, Stop>(is_mine)
        });
        let failure = match tried.await.map_err(|stop| stop.after(batch.rests)) {
            Ok(MOVED) => return BatchEnded::Moved,
            Ok(_) => {
                count(&self.counters.handled, events.len());
                return BatchEnded::Handled;
            }
            Err(Stop::Failure(failure)) => failure,
            Err(stop) => return self.give_batch_back(place, from, &stop),
        };
        match (failure, batch.records.as_slice()) {
            (Failure::NotBefore(due_ms), records) => {
                let offset = records.first().map_or(from, |(offset, _)| *offset);
                self.note(place, batch, FailedRecord { offset, failures, due_ms }).await
            }
            (failure, [(_, record)]) => self.settle_batch(place, batch, record, failure).await,
            (Failure::Failed(cause) | Failure::Rejected(cause), records) => {
                count(&self.counters.failures, 1);
                let records = records.len();
                tracing::warn!(group = self.group, partition = %place.at, from, records, cause, "a batch was not handled");
                BatchEnded::Failed
            }
        }
    }

    /// Decides about a record that failed alone.
    async fn settle_batch(
        &self,
        place: &Place,
        batch: &Batch<Arc<ConsumerRecord>>,
        record: &ConsumerRecord,
        failure: Failure,
    ) -> BatchEnded {
        let (progress, offset) = (&place.progress, record.offset);
        let mut burial = match self.decide(place, offset, failure, batch.failures()) {
            Verdict::TryAgain { due_ms, failures, .. } => {
                return self.note(place, batch, FailedRecord { offset, failures, due_ms }).await;
            }
            Verdict::DeadLetter { cause, attempts } => Burial::whole(cause, attempts),
        };
        loop {
            let write = &burial;
            let buried = self.db.transaction(|tx| async move {
                let is_mine = progress.move_past(&mut *tx.raw_store().await?, batch, self.now_ms()).await?;
                if is_mine {
                    self.bury(&tx, record, write).await?;
                }
                Ok(is_mine)
            });
            let error = match buried.await {
                Ok(MOVED) => return BatchEnded::Moved,
                Ok(_) => {
                    count(&self.counters.dead_letters, 1);
                    return BatchEnded::Handled;
                }
                Err(error) => error,
            };
            match burial.instead(&error) {
                Some(instead) => burial = instead,
                None if is_refused(&error) => {
                    // It is not lost: it is tried again until somebody has seen to it.
                    tracing::error!(topic = %record.topic, offset, %error, "a dead letter cannot be written");
                    let due_ms = self.now_ms().saturating_add(self.policy.max_ms.into());
                    let failed = FailedRecord { offset, failures: burial.attempts, due_ms };
                    return self.note(place, batch, failed).await;
                }
                None => return self.give_batch_back(place, batch.from, &Stop::Store(error)),
            }
        }
    }

    /// Notes how a record has failed, or until when it was put off, before it is tried again.
    async fn note(
        &self,
        place: &Place,
        batch: &Batch<Arc<ConsumerRecord>>,
        failed: FailedRecord,
    ) -> BatchEnded {
        let noted = self.db.transaction(|tx| async move {
            place.progress.note_failed(&mut *tx.raw_store().await?, batch, failed, self.now_ms()).await
        });
        match noted.await {
            Ok(MOVED) => BatchEnded::Moved,
            Ok(_) => BatchEnded::Noted(failed),
            Err(error) => self.give_batch_back(place, batch.from, &Stop::Store(error)),
        }
    }

    fn give_batch_back(&self, place: &Place, from: i64, stop: &Stop) -> BatchEnded {
        let ended = self.give_back(place, from, stop);
        assert_eq!(ended, Ended::GivenBack);
        BatchEnded::GivenBack
    }
}
