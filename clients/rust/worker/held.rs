//! A partition that a worker has: being loaded, worked on, or given up.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::{AbortHandle, Id};

use super::attempt::{Ended, Place};
use super::batch::BatchEnded;
use super::error::WorkerError;
use super::lane::Lane;
use super::load::Loaded;
use super::ordered::{Batch, OrderedWork};
use super::partition::{Action, Advance, Limits, PartitionWork};
use super::unreadable::{Met, Skip};
use crate::{ConsumerRecord, TopicPartition};

pub(super) type Record = Arc<ConsumerRecord>;

/// A partition.
#[derive(Debug)]
pub(super) struct Held {
    /// What is under way for an earlier one is nobody's.
    pub(super) epoch: u64,
    pub(super) state: State,
    pub(super) tasks: HashMap<Id, AbortHandle>,
    /// Whether the consumer hands out none of its records, as enough of them wait.
    pub(super) is_paused: bool,
    /// The batch that it has come to and that cannot be read: until that is skipped, nothing more is handed out.
    pub(super) unreadable: Option<Met>,
    /// Whether nothing of it is started any more.
    pub(super) is_draining: bool,
    /// When its committed offset is to be renewed, if nothing happens.
    pub(super) refresh_at_ms: i64,
}

#[derive(Debug)]
pub(super) enum State {
    /// It is being loaded, or is to be loaded then.
    Loading { failures: u32, retry_at_ms: Option<i64> },
    /// Its records are handled.
    Working(Place, Box<Work>),
}

/// What is known of its records.
#[derive(Debug)]
pub(super) enum Work {
    Keyed(PartitionWork<Record>),
    Ordered(OrderedWork<Record>),
}

/// What is to be done in a task.
#[derive(Debug)]
pub(super) enum Task {
    Action(Action<Record>, i64),
    Batch(Batch<Record>),
    Advance(Advance),
}

/// What came of a task.
#[derive(Debug)]
pub(super) enum Done {
    Loaded(Result<Box<Loaded>, WorkerError>),
    Action {
        lane: Lane,
        offsets: Vec<i64>,
        is_retry: bool,
        ended: Ended,
    },
    Batch {
        to: i64,
        ended: BatchEnded,
    },
    /// What came of skipping a batch that cannot be read.
    Skip {
        skip: Option<Skip>,
        ended: Ended,
    },
    /// Whether the step was made; none if the store is away.
    Advance {
        to: i64,
        is_made: Option<bool>,
    },
}

impl Held {
    /// One that is to be loaded: at once, or then.
    pub(super) fn new(epoch: u64, load_at_ms: Option<i64>) -> Self {
        Self {
            epoch,
            state: State::Loading { failures: 0, retry_at_ms: load_at_ms },
            tasks: HashMap::new(),
            is_paused: false,
            unreadable: None,
            is_draining: false,
            refresh_at_ms: i64::MAX,
        }
    }

    pub(super) fn work(&mut self) -> Option<(&Place, &mut Work)> {
        match &mut self.state {
            State::Working(place, work) => Some((place, work)),
            State::Loading { .. } => None,
        }
    }

    /// Actions that are under way.
    pub(super) fn in_flight(&self) -> usize {
        match &self.state {
            State::Working(_, work) => work.in_flight(),
            State::Loading { .. } => 0,
        }
    }

    /// Bytes of records that wait to be started.
    pub(super) fn waiting_bytes(&self) -> usize {
        match &self.state {
            State::Working(_, work) => work.waiting_bytes(),
            State::Loading { .. } => 0,
        }
    }

    /// Ends what is under way; what was not committed by then is not done.
    pub(super) fn abort(&mut self) {
        self.tasks.drain().for_each(|(_, task)| task.abort());
    }
}

impl Work {
    pub(super) fn keyed(limits: Limits, loaded: Loaded) -> Self {
        Self::Keyed(PartitionWork::new(limits, loaded.committed, loaded.marked, loaded.parked))
    }

    /// Batches in order.
    ///
    /// # Errors
    /// `Invalid` if events are parked there: those are tried one by one.
    pub(super) fn ordered(
        batch_max: usize,
        at: &TopicPartition,
        loaded: Loaded,
    ) -> Result<Self, WorkerError> {
        let Loaded { committed, marked, parked, failed, .. } = loaded;
        if !parked.is_empty() {
            return Err(WorkerError::Invalid(format!(
                "{} events of {at} are parked by a worker of single events: run one (WorkerBuilder::start) until none is, or reset \
                 the group's offsets, before the group handles batches",
                parked.len()
            )));
        }
        Ok(Self::Ordered(OrderedWork::new(batch_max, committed, marked, failed)))
    }

    /// The offset after the last record that was offered.
    pub(super) fn next_offset(&self) -> i64 {
        match self {
            Self::Keyed(work) => work.next_offset(),
            Self::Ordered(work) => work.next_offset(),
        }
    }

    pub(super) fn offer(&mut self, now_ms: i64, record: Record) {
        let (offset, bytes) = (record.offset, record.bytes());
        match self {
            Self::Keyed(work) => {
                work.offer(now_ms, offset, &Lane::of(record.key.as_ref(), offset), record, bytes);
            }
            Self::Ordered(work) => work.offer(offset, record, bytes),
        }
    }

    pub(super) fn next_task(&mut self, now_ms: i64) -> Option<Task> {
        match self {
            Self::Keyed(work) => {
                let known = work.committed();
                work.next_action(now_ms).map(|action| Task::Action(action, known))
            }
            Self::Ordered(work) => work.next_batch(now_ms).map(Task::Batch),
        }
    }

    pub(super) fn next_step(&mut self, now_ms: i64, force: bool) -> Option<Task> {
        match self {
            Self::Keyed(work) => work.advance(now_ms, force).map(Task::Advance),
            Self::Ordered(_) => None,
        }
    }

    /// Writes the committed offset again as it is, unless it is about to move anyway.
    pub(super) fn refresh(&mut self, now_ms: i64) -> Option<Task> {
        match self {
            Self::Keyed(work) => work.refresh().map(Task::Advance),
            Self::Ordered(work) => work.refresh(now_ms).map(Task::Batch),
        }
    }

    /// How to skip what cannot be read, up to this offset. None if that is not possible yet; and nothing within if it is done.
    pub(super) fn skip(&mut self, last: i64) -> Option<Option<Skip>> {
        match self {
            Self::Keyed(work) => {
                let known = work.committed();
                Some(work.open_up_to(last).map(|offset| Skip::Mark { offset, known }))
            }
            Self::Ordered(work) => {
                work.skip().map(|(from, noted)| Some(Skip::Move { from, to: last + 1, noted }))
            }
        }
    }

    /// A batch was skipped, or that was not possible now.
    pub(super) fn skipped(&mut self, now_ms: i64, skip: Option<Skip>, is_done: bool) {
        match (self, skip) {
            (Self::Keyed(work), Some(Skip::Mark { offset, .. })) if is_done => work.skipped(now_ms, offset),
            (Self::Ordered(work), Some(Skip::Move { to, .. })) if is_done => work.handled(to),
            (Self::Ordered(work), _) => work.given_back(now_ms),
            (Self::Keyed(_), _) => {}
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        match self {
            Self::Keyed(work) => work.in_flight(),
            Self::Ordered(work) => work.in_flight(),
        }
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        match self {
            Self::Keyed(work) => work.waiting_bytes(),
            Self::Ordered(work) => work.waiting_bytes(),
        }
    }

    pub(super) fn next_wake_ms(&self, now_ms: i64) -> Option<i64> {
        match self {
            Self::Keyed(work) => work.next_wake_ms(),
            Self::Ordered(work) => work.next_wake_ms(now_ms),
        }
    }

    /// Takes in what came of a task. False: the partition is to be loaded again.
    pub(super) fn take_in(&mut self, now_ms: i64, done: Done) -> bool {
        match (self, done) {
            (Self::Keyed(work), Done::Action { lane, offsets, is_retry, ended }) => {
                take_in_action(work, now_ms, &lane, &offsets, is_retry, ended)
            }
            (Self::Keyed(work), Done::Advance { to, is_made }) => match is_made {
                Some(is_made) => {
                    if is_made {
                        work.advanced(now_ms, to);
                    }
                    is_made
                }
                None => {
                    work.advance_failed(now_ms);
                    true
                }
            },
            (Self::Ordered(work), Done::Batch { to, ended }) => {
                match ended {
                    BatchEnded::Handled => work.handled(to),
                    BatchEnded::Failed => work.failed(),
                    BatchEnded::Noted(noted) => work.noted(noted),
                    BatchEnded::GivenBack => work.given_back(now_ms),
                    BatchEnded::Moved => return false,
                }
                true
            }
            (_, done) => unreachable!("{done:?} is of another kind of work"),
        }
    }
}

fn take_in_action(
    work: &mut PartitionWork<Record>,
    now_ms: i64,
    lane: &Lane,
    offsets: &[i64],
    is_retry: bool,
    ended: Ended,
) -> bool {
    let first = offsets.first().copied().unwrap_or_default();
    match ended {
        Ended::Moved => return false,
        Ended::GivenBack => {
            work.given_back(now_ms, lane, if is_retry { &[] } else { offsets });
        }
        Ended::Handled if is_retry => work.retried(now_ms, lane, first, None),
        Ended::ParkedUntil(due_ms) if is_retry => work.retried(now_ms, lane, first, Some(due_ms)),
        Ended::Handled => work.handled(now_ms, lane, first),
        Ended::ParkedUntil(due_ms) => work.parked_until(now_ms, lane, offsets, due_ms),
        Ended::FoundDone(parked) => work.found_done(now_ms, lane, first, &parked),
    }
    true
}

#[cfg(test)]
mod tests {
    use tidegate_format::{PartitionId, PartitionIndex, TopicId};

    use super::super::progress::Progress;
    use super::*;

    #[test]
    fn batches_do_not_begin_where_single_events_are_parked() {
        let at = TopicPartition::new("orders", 3);
        let loaded = |parked| {
            let id = PartitionId { topic: TopicId(uuid::Uuid::nil()), partition: PartitionIndex(3) };
            let progress = Progress::new("billing".into(), id);
            Loaded { progress, committed: 7, marked: [8].into(), parked, failed: None }
        };
        assert!(Work::ordered(10, &at, loaded(vec![])).is_ok());
        let refused = Work::ordered(10, &at, loaded(vec![(Lane::Alone(6), 6, 0)]));
        let told = refused.expect_err("it would never be tried again").to_string();
        assert!(told.starts_with("1 events of orders-3 are parked"), "{told}");
    }
}
