//! One action on a record, in its own transactions: handle it, try it again, park it.
//!
//! The transaction claims the record first and calls the handler then, so that whatever the handler does is committed with
//! the claim or not at all. What a handler that fails has written is never committed: what becomes of the record is written by
//! a transaction of its own, which claims it again.

use std::sync::{Arc, Mutex};

use tidegate_store::Store;

use super::context::{Called, Context, Stop};
use super::event::Event;
use super::figures::count;
use super::lane::Lane;
use super::outcome::Failure;
use super::parked;
use super::progress::{Claim, Parked, Progress};
use super::retry::Verdict;
use super::settle::{Burial, Fate, is_too_large};
use crate::model::Error;
use crate::{ConsumerRecord, TopicPartition};

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
        let fate = self.decide(place, offset, failure, 0).into();
        self.settle(place, lane, record, known, fate).await
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
        let tried_from = *tried_from.lock().expect("nobody panics");
        let failures = tried_from.map_or(0, |(failures, _)| failures);
        let mut fate = Fate::from(self.decide(place, offset, failure, failures));
        loop {
            let write = &fate;
            let settled = self.db.transaction(|tx| async move {
                let found = progress.find_parked(&mut *tx.raw_store().await?, lane, offset, now_ms).await?;
                let row = match &found {
                    Parked::Due(row) if tried_from == Some((row.attempts, row.due_ms)) => row.clone(),
                    // Another worker has tried it meanwhile, and that is what counts: it is due again already.
                    Parked::Due(row) => return Ok((Parked::NotBefore(row.due_ms), None)),
                    _ => return Ok((found, None)),
                };
                progress.unpark(&mut *tx.raw_store().await?, lane, offset);
                let record = parked::record(at, offset, row);
                let settled = self.write(&tx, progress, lane, &record, write).await?;
                Ok((found, Some(settled)))
            });
            match settled.await {
                Ok((_, Some(settled))) => return self.settled(settled),
                Ok((found, None)) => return self.found(&found),
                Err(error) => match fate.instead(&error) {
                    Some(instead) => fate = instead,
                    None => return self.give_back(place, offset, &Stop::Store(error)),
                },
            }
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
            Err(error) if is_too_large(&error) => self.park_apart(place, lane, records, known, &error).await,
            Err(error) => {
                let first = records.first().map_or(known, |(offset, _)| *offset);
                self.give_back(place, first, &Stop::Store(error))
            }
        }
    }

    /// Deals with records one by one that are too large to be parked together. One that is too large alone becomes a dead
    /// letter: it cannot wait.
    async fn park_apart(
        &self,
        place: &Place,
        lane: &Lane,
        records: &[(i64, Arc<ConsumerRecord>)],
        known: i64,
        refused: &Error,
    ) -> Ended {
        if let [(_, record)] = records {
            let cause =
                format!("it waits behind an event of its key, and is too large to be kept: {refused}");
            let fate = Fate::Bury(Burial::whole(cause, 0));
            return self.settle(place, lane, record, known, fate).await;
        }
        for one in records.chunks(1) {
            let ended = Box::pin(self.park(place, lane, one, known)).await;
            if matches!(ended, Ended::GivenBack | Ended::Moved) {
                return ended;
            }
        }
        // What has become of each is in the store.
        Ended::Moved
    }

    /// What becomes of a record that failed.
    pub(crate) fn decide(&self, place: &Place, offset: i64, failure: Failure, failures: u32) -> Verdict {
        if let Failure::Failed(cause) | Failure::Rejected(cause) = &failure {
            count(&self.counters.failures, 1);
            tracing::warn!(group = self.group, partition = %place.at, offset, failures, cause, "an event was not handled");
        }
        self.policy.decide(failure, failures, self.now_ms(), Self::random())
    }

    pub(super) fn claimed(&self, claim: Claim) -> Ended {
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

    /// Nothing came of it.
    pub(crate) fn give_back(&self, place: &Place, offset: i64, stop: &Stop) -> Ended {
        count(&self.counters.given_back, 1);
        tracing::warn!(group = self.group, partition = %place.at, offset, %stop, "a record is dealt with again later");
        Ended::GivenBack
    }
}
