//! One action on a record, in its own transactions: handle it, try it again, park it.
//!
//! The transaction claims the record first and calls the handler then, so that whatever the handler does is committed with
//! the claim or not at all. What a handler that fails has written is never committed: what becomes of the record is written by
//! a transaction of its own, which claims it again.

use std::sync::{Arc, Mutex};

use tidegate_outbox::EventLimits;
use tidegate_store::Store;

use super::context::{Called, Context, Stop};
use super::dead_letter::{self, dead_letter_topic};
use super::event::Event;
use super::figures::count;
use super::lane::Lane;
use super::outcome::Failure;
use super::parked;
use super::progress::{Claim, Parked, Progress};
use super::retry::Verdict;
use crate::model::Error;
use crate::{ConsumerRecord, TopicPartition, Tx};

/// What came of an action.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The record is handled, or has become a dead letter.
    Handled,
    /// Somebody else has dealt with it; this is what is parked of its lane.
    FoundDone(Vec<(i64, i64)>),
    /// It is parked until then.
    ParkedUntil(i64),
    /// The committed offset is not where it should be: the partition is to be loaded again.
    Moved,
    /// Nothing, as the store is away, or others came first each time.
    GivenBack,
}

/// A partition, for the actions on its records.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) at: TopicPartition,
    pub(crate) progress: Progress,
}

impl<S: Store> Context<S> {
    /// Handles a record for the first time. `known` is the committed offset that this worker has seen; `rests` how often in a
    /// row the record was given back.
    pub(crate) async fn handle(
        &self,
        place: &Place,
        lane: &Lane,
        record: &Arc<ConsumerRecord>,
        known: i64,
        rests: u32,
    ) -> Ended {
        let (progress, offset) = (&place.progress, record.offset);
        let event = &Event::new(record.clone(), 0);
        let tried = self.db.try_transaction(|tx| async move {
            let claim = progress.claim(&mut *tx.raw_store().await?, lane, offset, known).await?;
            if claim == Claim::Mine {
                self.call(Called::Event(event.clone()), tx).await?;
            }
            Ok::<Claim, Stop>(claim)
        });
        let failure = match tried.await.map_err(|stop| stop.after(rests)) {
            Ok(claim) => return self.claimed(claim),
            Err(Stop::Failure(failure)) => failure,
            Err(stop) => return self.give_back(place, offset, &stop),
        };
        let verdict = &self.decide(place, offset, failure, 0);
        let settled = self.db.try_transaction(|tx| async move {
            let claim = progress.claim(&mut *tx.raw_store().await?, lane, offset, known).await?;
            if claim != Claim::Mine {
                return Ok((claim, None));
            }
            let settled = self.settle(&tx, progress, lane, record, verdict).await?;
            Ok::<_, Stop>((claim, Some(settled)))
        });
        match settled.await {
            Ok((_, Some(settled))) => self.settled(&settled),
            Ok((claim, None)) => self.claimed(claim),
            Err(stop) => self.give_back(place, offset, &stop),
        }
    }

    /// Tries a parked record again, which was given back `rests` times in a row.
    pub(crate) async fn retry(&self, place: &Place, lane: &Lane, offset: i64, rests: u32) -> Ended {
        let (progress, at) = (&place.progress, &place.at);
        let now_ms = self.now_ms();
        let tried_from = &Mutex::new(None);
        let tried = self.db.try_transaction(|tx| async move {
            let found = progress.find_parked(&mut *tx.raw_store().await?, lane, offset, now_ms).await?;
            if let Parked::Due(row) = &found {
                progress.unpark(&mut *tx.raw_store().await?, lane, offset);
                let failures = row.attempts;
                *tried_from.lock().expect("nobody panics") = Some((failures, row.due_ms));
                let record = Arc::new(parked::record(at, offset, row.clone()));
                self.call(Called::Event(Event::new(record, failures)), tx).await?;
            }
            Ok::<Parked, Stop>(found)
        });
        let failure = match tried.await.map_err(|stop| stop.after(rests)) {
            Ok(found) => return self.found(&found),
            Err(Stop::Failure(failure)) => failure,
            Err(stop) => return self.give_back(place, offset, &stop),
        };
        let failure = &failure;
        let settled = self.db.try_transaction(|tx| async move {
            let found = progress.find_parked(&mut *tx.raw_store().await?, lane, offset, now_ms).await?;
            let Parked::Due(row) = &found else { return Ok((found, None)) };
            if *tried_from.lock().expect("nobody panics") != Some((row.attempts, row.due_ms)) {
                // Another worker has tried it meanwhile, and that is what counts: it is due again already.
                return Ok((Parked::NotBefore(row.due_ms), None));
            }
            let verdict = self.decide(place, offset, failure.clone(), row.attempts);
            progress.unpark(&mut *tx.raw_store().await?, lane, offset);
            let record = parked::record(at, offset, row.clone());
            let settled = self.settle(&tx, progress, lane, &record, &verdict).await?;
            Ok::<_, Stop>((found, Some(settled)))
        });
        match settled.await {
            Ok((_, Some(settled))) => self.settled(&settled),
            Ok((found, None)) => self.found(&found),
            Err(stop) => self.give_back(place, offset, &stop),
        }
    }

    /// Parks records behind others of their lane.
    pub(crate) async fn park(
        &self,
        place: &Place,
        lane: &Lane,
        records: &[(i64, Arc<ConsumerRecord>)],
        known: i64,
    ) -> Ended {
        let progress = &place.progress;
        let parked = self.db.transaction(|tx| async move {
            progress.park_behind(&mut *tx.raw_store().await?, lane, records, known).await
        });
        match parked.await {
            Ok(true) => {
                count(&self.counters.parked, records.len());
                Ended::ParkedUntil(0)
            }
            Ok(false) => Ended::Moved,
            Err(error) => {
                let first = records.first().map_or(known, |(offset, _)| *offset);
                self.give_back(place, first, &Stop::Store(error))
            }
        }
    }

    /// What becomes of a record that failed.
    pub(crate) fn decide(&self, place: &Place, offset: i64, failure: Failure, failures: u32) -> Verdict {
        if let Failure::Failed(cause) | Failure::Rejected(cause) = &failure {
            count(&self.counters.failures, 1);
            tracing::warn!(group = self.group, partition = %place.at, offset, failures, cause, "an event was not handled");
        }
        self.policy.decide(failure, failures, self.now_ms(), Self::random())
    }

    /// Writes what becomes of a record that this transaction has claimed.
    async fn settle(
        &self,
        tx: &Tx<S>,
        progress: &Progress,
        lane: &Lane,
        record: &ConsumerRecord,
        verdict: &Verdict,
    ) -> Result<Settled, Error> {
        let row = match verdict {
            Verdict::TryAgain { due_ms, failures, cause } => {
                parked::failed(record, *failures, *due_ms, cause.clone())
            }
            Verdict::DeadLetter { cause, attempts } => match self.bury(tx, record, cause, *attempts).await {
                Ok(()) => return Ok(Settled::Buried),
                Err(Error::Publish(error)) => {
                    // It is not lost: it stays parked until somebody has seen to it.
                    let topic = &record.topic;
                    tracing::error!(%topic, offset = record.offset, %error, "a dead letter cannot be written");
                    let due_ms = self.now_ms().saturating_add(self.policy.max_ms.into());
                    let cause = format!("{cause}; the dead letter was refused: {error}");
                    parked::failed(record, *attempts, due_ms, Some(cause))
                }
                Err(error) => return Err(error),
            },
        };
        progress.park(&mut *tx.raw_store().await?, lane, record.offset, &row);
        Ok(Settled::Parked(row.due_ms))
    }

    /// Writes a dead letter.
    pub(crate) async fn bury(
        &self,
        tx: &Tx<S>,
        record: &ConsumerRecord,
        cause: &str,
        attempts: u32,
    ) -> Result<(), Error> {
        let topic = dead_letter_topic(&record.topic, &self.group).expect("it was checked at the start");
        let letter = dead_letter::encode(record, &self.group, cause.to_owned(), attempts, self.now_ms());
        let defaults = dead_letter::topic_defaults(1, EventLimits::default().event_max_bytes);
        tx.publish_record(&topic, Some(&defaults), &letter).await.map(drop)
    }

    fn claimed(&self, claim: Claim) -> Ended {
        match claim {
            Claim::Mine => {
                count(&self.counters.handled, 1);
                Ended::Handled
            }
            Claim::Done(parked) => {
                count(&self.counters.found_done, 1);
                Ended::FoundDone(parked)
            }
            Claim::Moved => Ended::Moved,
        }
    }

    fn found(&self, found: &Parked) -> Ended {
        match found {
            Parked::Due(_) => {
                count(&self.counters.handled, 1);
                Ended::Handled
            }
            Parked::NotBefore(due_ms) => Ended::ParkedUntil(*due_ms),
            Parked::Gone => {
                count(&self.counters.found_done, 1);
                Ended::Handled
            }
        }
    }

    fn settled(&self, settled: &Settled) -> Ended {
        match settled {
            Settled::Parked(due_ms) => {
                count(&self.counters.parked, 1);
                Ended::ParkedUntil(*due_ms)
            }
            Settled::Buried => {
                count(&self.counters.dead_letters, 1);
                Ended::Handled
            }
        }
    }

    /// Nothing came of it.
    pub(crate) fn give_back(&self, place: &Place, offset: i64, stop: &Stop) -> Ended {
        count(&self.counters.given_back, 1);
        tracing::warn!(group = self.group, partition = %place.at, offset, %stop, "a record is dealt with again later");
        Ended::GivenBack
    }
}

/// What was written of a record that failed.
enum Settled {
    Parked(i64),
    Buried,
}
