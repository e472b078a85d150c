//! How a worker's task goes past a batch that cannot be read: the partition is paused, the batch skipped once what came before it
//! allows that, and what comes behind it is handed out then.

use tidegate_store::Store;
use tokio::time::Instant;

use super::attempt::Ended;
use super::error::WorkerError;
use super::held::{Done, State};
use super::run::{DAMAGED, Run};
use super::unreadable::{Met, Skip};
use crate::consumer::Unreadable;
use crate::{Error, Start, TopicPartition};

impl<S: Store> Run<S> {
    /// Takes in that a batch cannot be read.
    pub(super) fn unreadable(&mut self, error: &Error) -> Result<(), WorkerError> {
        let unreadable = self.consumer.take_unreadable();
        let Some(unreadable) = unreadable.filter(Unreadable::is_as_sent) else {
            tracing::error!(%error, "records are damaged, and are fetched again");
            self.no_records_before = Instant::now() + DAMAGED;
            return Ok(());
        };
        let Unreadable { partition: at, first, last, .. } = &unreadable;
        // If it was sought meanwhile, it will come to this again.
        let is_there = self.consumer.position(at) == Some(unreadable.position);
        let Some(held) = self.held.get_mut(at).filter(|_| is_there) else { return Ok(()) };
        if held.work().is_some_and(|(_, work)| *first < work.next_offset()) {
            let now_ms = self.context.now_ms();
            self.begins_anew(at, now_ms);
            return Ok(());
        }
        if self.consumer.pause(at).is_err() {
            return Ok(());
        }
        // What is being loaded is sought and resumed once it is.
        if let State::Working(..) = held.state {
            tracing::error!(
                group = self.context.group, partition = %at, first, last, %error,
                "a batch of records cannot be read: it becomes one dead letter, and the partition goes on behind it"
            );
            held.unreadable = Some(Met::new(unreadable));
        }
        Ok(())
    }

    /// Begins to skip the batch that a partition has come to and that cannot be read, if there is one and it is time.
    pub(super) fn begin_to_skip(&mut self, at: &TopicPartition, now_ms: i64) {
        let Some(held) = self.held.get_mut(at).filter(|held| !held.is_draining) else { return };
        let Some(met) = held.unreadable.as_mut().filter(|met| met.is_due(now_ms)) else { return };
        let State::Working(place, work) = &mut held.state else { return };
        let Some(skip) = work.skip(met.unreadable.last) else { return };
        met.is_running = true;
        let (context, place, unreadable) = (self.context.clone(), place.clone(), met.unreadable.clone());
        let epoch = held.epoch;
        let handle = self.tasks.spawn(async move {
            let ended = match skip {
                Some(skip) => context.skip(&place, &unreadable, skip).await,
                None => Ended::Handled,
            };
            (place.at, epoch, Done::Skip { skip, ended })
        });
        held.tasks.insert(handle.id(), handle);
    }

    /// Takes in what came of that.
    pub(super) fn skipped(&mut self, at: &TopicPartition, skip: Option<Skip>, ended: &Ended) {
        let now_ms = self.context.now_ms();
        if *ended == Ended::Moved {
            return self.reload(at);
        }
        let Some(held) = self.held.get_mut(at) else { return };
        let is_done = *ended == Ended::Handled;
        if let State::Working(_, work) = &mut held.state {
            work.skipped(now_ms, skip, is_done);
        }
        if !is_done {
            held.unreadable.iter_mut().for_each(|met| met.given_back(now_ms));
            return;
        }
        if let Some(met) = held.unreadable.take()
            && self.consumer.seek(at, Start::Offset(met.unreadable.last + 1)).is_ok()
        {
            held.is_paused = self.consumer.resume(at).is_err();
        }
    }
}
