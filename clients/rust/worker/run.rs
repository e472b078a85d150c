//! The task of a worker: records in, actions out, one after the other in one place.
//!
//! It waits for whatever comes first (records, the end of an action, a rebalance, the next time that something is due, the
//! end) and then starts all that can start. What it refuses to do: it decides nothing that the partitions' state machines
//! decide, and polls nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidegate_store::Store;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::Place;
use super::context::{Context, Handler};
use super::error::WorkerError;
use super::held::{Done, Held, State, Task, Work};
use super::load::load;
use super::options::Options;
use super::partition::Action;
use super::rebalance::Rebalanced;
use crate::{Consumer, Error, Start, TopicPartition};

/// Records that are taken from the consumer at a time, and their bytes.
const TAKE_RECORDS: usize = 1_000;
const TAKE_BYTES: usize = 1 << 20;
/// The least that a partition may have waiting, however many share the worker's memory.
const SHARE_MIN_BYTES: usize = 64 << 10;
/// How often a committed offset is renewed that does not move, so that its retention does not end.
const REFRESH_MS: i64 = 3_600_000;
/// The longest sleep.
const IDLE: Duration = Duration::from_secs(60);
/// The waits before a partition is loaded again: the first, and the longest.
const RELOAD_MS: i64 = 100;
const RELOAD_MAX_MS: i64 = 5_000;
/// The wait before a partition is loaded whose records begin anew.
const ANEW_MS: i64 = 1_000;
/// How long damaged records rest before they are fetched again.
pub(super) const DAMAGED: Duration = Duration::from_secs(1);

pub(super) struct Run<S: Store> {
    pub(super) context: Arc<Context<S>>,
    pub(super) options: Options,
    pub(super) consumer: Consumer,
    pub(super) rebalances: mpsc::Receiver<Rebalanced>,
    pub(super) held: BTreeMap<TopicPartition, Held>,
    /// Partitions that are being given up.
    given_up: Vec<GivenUp>,
    pub(super) tasks: JoinSet<(TopicPartition, u64, Done)>,
    next_epoch: u64,
    /// Which partition goes first, so that none is always last.
    turn: usize,
    pub(super) no_records_before: Instant,
    is_stopping: bool,
}

/// Partitions that are given up together.
struct GivenUp {
    partitions: BTreeSet<TopicPartition>,
    /// When what is under way is ended.
    deadline: Instant,
    /// Who waits for it.
    done: Option<oneshot::Sender<()>>,
}

impl<S: Store> Run<S> {
    pub(super) fn new(
        context: Arc<Context<S>>,
        options: Options,
        consumer: Consumer,
        rebalances: mpsc::Receiver<Rebalanced>,
    ) -> Self {
        Self {
            context,
            options,
            consumer,
            rebalances,
            held: BTreeMap::new(),
            given_up: Vec::new(),
            tasks: JoinSet::new(),
            next_epoch: 0,
            turn: 0,
            no_records_before: Instant::now(),
            is_stopping: false,
        }
    }

    /// Works until it is stopped, or something is wrong that no retry helps. It leaves the group whichever it was, so that others
    /// have its partitions at once.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), WorkerError> {
        let ended = self.work(stop).await;
        self.tasks.shutdown().await;
        // What could not be committed is done again by others: there is nothing of its own that it could commit.
        let left = self.consumer.close().await;
        ended?;
        Ok(left?)
    }

    async fn work(&mut self, stop: CancellationToken) -> Result<(), WorkerError> {
        let fixed = self.options.partitions.clone();
        let places = fixed.iter().map(|at| (at.clone(), Start::Latest));
        if !fixed.is_empty() {
            // Where each begins is sought once it is loaded.
            self.consumer.assign(places)?;
            self.assigned(fixed);
        }
        loop {
            self.give_up();
            if self.is_stopping && self.held.is_empty() {
                return Ok(());
            }
            self.start();
            self.pace();
            let wake = self.next_wake();
            let may_take = !self.is_stopping && self.no_records_before <= Instant::now();
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.is_stopping => {
                    self.is_stopping = true;
                    let all = self.held.keys().cloned().collect();
                    self.begin_to_give_up(all, self.options.stop_grace, None);
                }
                Some(rebalanced) = self.rebalances.recv() => self.rebalanced(rebalanced),
                Some(done) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.ended(done)?;
                    while let Some(done) = self.tasks.try_join_next_with_id() {
                        self.ended(done)?;
                    }
                }
                taken = self.consumer.recv_some(TAKE_RECORDS, TAKE_BYTES), if may_take => self.take(taken)?,
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    fn take(&mut self, taken: Result<Vec<crate::ConsumerRecord>, Error>) -> Result<(), WorkerError> {
        let records = match taken {
            Ok(records) => records,
            Err(error @ Error::Batch(_)) => return self.unreadable(&error),
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "records are fetched again");
                self.no_records_before = Instant::now() + DAMAGED;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        // What was assigned in the call that brought these is taken in first.
        while let Ok(rebalanced) = self.rebalances.try_recv() {
            self.rebalanced(rebalanced);
        }
        let now_ms = self.context.now_ms();
        let mut begun_anew = BTreeSet::new();
        for record in records {
            let at = record.topic_partition();
            // Of a partition that is being loaded they come again.
            let Some((_, work)) = self.held.get_mut(&at).and_then(Held::work) else { continue };
            if record.offset < work.next_offset() {
                begun_anew.insert(at);
            } else {
                work.offer(now_ms, Arc::new(record));
            }
        }
        begun_anew.iter().for_each(|at| self.begins_anew(at, now_ms));
        Ok(())
    }

    /// The consumer was sent back to the log's beginning: what is known of a partition is of another one.
    pub(super) fn begins_anew(&mut self, at: &TopicPartition, now_ms: i64) {
        if self.held.get(at).is_some_and(|held| held.is_draining) {
            return;
        }
        tracing::warn!(
            group = self.context.group, partition = %at,
            "records begin anew, as of a topic that was deleted and created again: loading again"
        );
        self.drop_partition(at);
        self.next_epoch += 1;
        // Not at once: if the committed offset lies past the end, this is how it goes on until somebody sets it.
        self.held.insert(at.clone(), Held::new(self.next_epoch, Some(now_ms + ANEW_MS)));
    }

    fn rebalanced(&mut self, rebalanced: Rebalanced) {
        match rebalanced {
            // The group hears of the end soon, and deals them out again.
            Rebalanced::Assigned(_) if self.is_stopping => {}
            Rebalanced::Assigned(partitions) => self.assigned(partitions),
            Rebalanced::Revoked(partitions, done) => {
                let partitions = partitions.into_iter().collect();
                self.begin_to_give_up(partitions, self.options.revoke_grace, Some(done));
            }
            Rebalanced::Lost(partitions) => partitions.iter().for_each(|at| self.drop_partition(at)),
        }
    }

    fn assigned(&mut self, partitions: Vec<TopicPartition>) {
        for at in partitions {
            self.drop_partition(&at);
            self.next_epoch += 1;
            self.held.insert(at.clone(), Held::new(self.next_epoch, None));
            self.begin_to_load(&at);
        }
    }

    /// Forgets a partition at once.
    fn drop_partition(&mut self, at: &TopicPartition) {
        if let Some(mut held) = self.held.remove(at) {
            held.abort();
        }
    }

    fn begin_to_load(&mut self, at: &TopicPartition) {
        let Some(held) = self.held.get_mut(at) else { return };
        let State::Loading { retry_at_ms, .. } = &mut held.state else { return };
        *retry_at_ms = None;
        let (context, client) = (self.context.clone(), self.consumer.client().clone());
        let (at, epoch, begin) = (at.clone(), held.epoch, self.options.begin);
        let task = self.tasks.spawn(async move {
            let loaded = load(&context.db, &client, &context.group, &at, begin).await;
            (at, epoch, Done::Loaded(loaded.map(Box::new)))
        });
        held.tasks.insert(task.id(), task);
    }

    /// Drops what is known of a partition, and loads it again.
    pub(super) fn reload(&mut self, at: &TopicPartition) {
        tracing::info!(group = self.context.group, partition = %at, "the committed offset was moved by others: loading again");
        let is_draining = self.held.get(at).is_some_and(|held| held.is_draining);
        self.drop_partition(at);
        if !is_draining {
            self.assigned(vec![at.clone()]);
        }
    }

    fn loaded(
        &mut self,
        at: &TopicPartition,
        loaded: Result<Box<super::load::Loaded>, WorkerError>,
    ) -> Result<(), WorkerError> {
        let now_ms = self.context.now_ms();
        let is_fixed = self.options.partitions.contains(at);
        let Some(held) = self.held.get_mut(at) else { return Ok(()) };
        let loaded = match loaded {
            Ok(loaded) => *loaded,
            Err(error @ WorkerError::UnknownPartition { .. }) if is_fixed => return Err(error),
            Err(error) => {
                let State::Loading { failures, retry_at_ms } = &mut held.state else { return Ok(()) };
                tracing::warn!(group = self.context.group, partition = %at, %error, "a partition is loaded again");
                *retry_at_ms = Some(now_ms + RELOAD_MAX_MS.min(RELOAD_MS << (*failures).min(8)));
                *failures += 1;
                return Ok(());
            }
        };
        let committed = loaded.committed;
        tracing::debug!(
            group = self.context.group, partition = %at, committed,
            marks = loaded.marked.len(), parked = loaded.parked.len(), "a partition is loaded"
        );
        let place = Place { at: at.clone(), progress: loaded.progress.clone() };
        let work = match &self.context.handler {
            Handler::Each(_) => Work::keyed(self.options.limits, loaded),
            Handler::Batch(_) => Work::ordered(self.options.batch_max, at, loaded)?,
        };
        held.state = State::Working(place, Box::new(work));
        held.is_paused = false;
        held.refresh_at_ms = now_ms + REFRESH_MS;
        // It may have been taken away meanwhile, also between the two: then nothing of it is handed out.
        if self.consumer.seek(at, Start::Offset(committed)).is_ok() {
            let _gone = self.consumer.resume(at);
        }
        Ok(())
    }

    /// Takes in what came of a task.
    fn ended(
        &mut self,
        done: Result<(Id, (TopicPartition, u64, Done)), JoinError>,
    ) -> Result<(), WorkerError> {
        let (id, (at, epoch, done)) = match done {
            Ok(done) => done,
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => return Err(WorkerError::Ended(error.to_string())),
        };
        let Some(held) = self.held.get_mut(&at).filter(|held| held.epoch == epoch) else { return Ok(()) };
        held.tasks.remove(&id);
        if let Done::Loaded(loaded) = done {
            return self.loaded(&at, loaded);
        }
        if let Done::Skip { skip, ended } = done {
            self.skipped(&at, skip, &ended);
            return Ok(());
        }
        if held.is_draining && matches!(done, Done::Advance { is_made: None, .. }) {
            // Whoever has the partition next moves its committed offset.
            self.drop_partition(&at);
            return Ok(());
        }
        let now_ms = self.context.now_ms();
        let Some((_, work)) = held.work() else { return Ok(()) };
        if !work.take_in(now_ms, done) {
            self.reload(&at);
        }
        Ok(())
    }

    /// Starts all that can start, in turn.
    fn start(&mut self) {
        let now_ms = self.context.now_ms();
        let partitions: Vec<TopicPartition> = self.held.keys().cloned().collect();
        for at in &partitions {
            let held = self.held.get_mut(at).expect("it was just seen");
            match &mut held.state {
                State::Loading { retry_at_ms: Some(at_ms), .. } if *at_ms <= now_ms => self.begin_to_load(at),
                State::Loading { .. } => {}
                State::Working(_, work) => {
                    let step = work.next_step(now_ms, held.is_draining && work.in_flight() == 0);
                    let step = step.or_else(|| {
                        let is_old = held.refresh_at_ms <= now_ms && !held.is_draining;
                        is_old.then(|| work.refresh(now_ms)).flatten()
                    });
                    if let Some(step) = step {
                        self.spawn(at, step, now_ms);
                    }
                    self.begin_to_skip(at, now_ms);
                }
            }
        }
        let (mut in_flight, mut idle) = (self.in_flight(), 0);
        while in_flight < self.options.concurrency && idle < partitions.len() {
            self.turn = (self.turn + 1) % partitions.len();
            let at = &partitions[self.turn];
            let held = self.held.get_mut(at).filter(|held| !held.is_draining);
            let task = held.and_then(Held::work).and_then(|(_, work)| work.next_task(now_ms));
            match task {
                Some(task) => {
                    in_flight += 1;
                    self.spawn(at, task, now_ms);
                    idle = 0;
                }
                None => idle += 1,
            }
        }
    }

    /// Actions that are under way.
    fn in_flight(&self) -> usize {
        self.held.values().map(Held::in_flight).sum()
    }

    fn spawn(&mut self, at: &TopicPartition, task: Task, now_ms: i64) {
        let held = self.held.get_mut(at).expect("something of it is started");
        held.refresh_at_ms = now_ms + REFRESH_MS;
        let epoch = held.epoch;
        let (place, _) = held.work().expect("something of it is started");
        let (context, place) = (self.context.clone(), place.clone());
        let handle = self.tasks.spawn(async move {
            let done = carry_out(&context, &place, task).await;
            (place.at, epoch, done)
        });
        held.tasks.insert(handle.id(), handle);
    }

    /// Has the consumer hand out no more of partitions of which enough waits.
    fn pace(&mut self) {
        let share = (self.options.buffer_bytes / self.held.len().max(1)).max(SHARE_MIN_BYTES);
        if !self.held.values().any(|held| held.is_paused || held.waiting_bytes() >= share) {
            return;
        }
        for (at, held) in self.held.iter_mut().filter(|(_, held)| held.unreadable.is_none()) {
            let waiting = held.waiting_bytes();
            // One that is not assigned any more is given up soon: a rebalance goes on beside this.
            if !held.is_paused && waiting >= share {
                held.is_paused = self.consumer.pause(at).is_ok();
            } else if held.is_paused && waiting <= share / 2 {
                held.is_paused = self.consumer.resume(at).is_err();
            }
        }
    }

    fn begin_to_give_up(
        &mut self,
        partitions: BTreeSet<TopicPartition>,
        grace: Duration,
        done: Option<oneshot::Sender<()>>,
    ) {
        for at in &partitions {
            if let Some(held) = self.held.get_mut(at) {
                held.is_draining = true;
            }
        }
        self.given_up.push(GivenUp { partitions, deadline: Instant::now() + grace, done });
    }

    /// Lets go of what is being given up and has nothing under way any more, or no more time.
    fn give_up(&mut self) {
        let now_ms = self.context.now_ms();
        for mut given_up in std::mem::take(&mut self.given_up) {
            let is_late = given_up.deadline <= Instant::now();
            let mut left = BTreeSet::new();
            for at in std::mem::take(&mut given_up.partitions) {
                let Some(held) = self.held.get_mut(&at).filter(|held| held.is_draining) else { continue };
                let has_more = match &mut held.state {
                    State::Loading { .. } => false,
                    State::Working(..) if !held.tasks.is_empty() => true,
                    State::Working(_, work) => match work.next_step(now_ms, true) {
                        Some(step) => {
                            self.spawn(&at, step, now_ms);
                            true
                        }
                        None => false,
                    },
                };
                if has_more && !is_late {
                    left.insert(at);
                } else {
                    self.drop_partition(&at);
                }
            }
            given_up.partitions = left;
            if given_up.partitions.is_empty() {
                // The rebalance that waits for it may be over.
                given_up.done.map(|done| done.send(()));
            } else {
                self.given_up.push(given_up);
            }
        }
    }

    /// When something is due that nothing else wakes.
    fn next_wake(&self) -> Instant {
        let now_ms = self.context.now_ms();
        let has_room = self.in_flight() < self.options.concurrency;
        let due = self.held.values().filter(|held| !held.is_draining).filter_map(|held| match &held.state {
            State::Loading { retry_at_ms, .. } => *retry_at_ms,
            State::Working(_, work) => {
                // With all places taken, the end of an action wakes.
                let due = work.next_wake_ms(now_ms).filter(|at_ms| *at_ms > now_ms || has_room);
                let skip = held.unreadable.as_ref().and_then(|met| met.next_wake_ms(now_ms));
                due.into_iter().chain(skip).chain([held.refresh_at_ms]).min()
            }
        });
        let due = due.min().map(|at_ms| {
            let wait_ms = u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0);
            Instant::now() + Duration::from_millis(wait_ms.max(1))
        });
        let deadlines = self.given_up.iter().map(|given_up| given_up.deadline);
        let records = Some(self.no_records_before).filter(|at| *at > Instant::now());
        let latest = Instant::now() + IDLE;
        due.into_iter().chain(deadlines).chain(records).chain([latest]).min().unwrap_or(latest)
    }
}

/// Does what is to be done, and says what came of it.
pub(super) async fn carry_out<S: Store>(context: &Context<S>, place: &Place, task: Task) -> Done {
    match task {
        Task::Action(Action::Handle { lane, offset, record, rests }, known) => {
            let ended = context.handle(place, &lane, &record, known, rests).await;
            Done::Action { lane, offsets: vec![offset], is_retry: false, ended }
        }
        Task::Action(Action::Retry { lane, offset, rests }, _) => {
            let ended = context.retry(place, &lane, offset, rests).await;
            Done::Action { lane, offsets: vec![offset], is_retry: true, ended }
        }
        Task::Action(Action::Park { lane, records }, known) => {
            let ended = context.park(place, &lane, &records, known).await;
            let offsets = records.iter().map(|(offset, _)| *offset).collect();
            Done::Action { lane, offsets, is_retry: false, ended }
        }
        Task::Batch(batch) => {
            let ended = context.handle_batch(place, &batch).await;
            Done::Batch { to: batch.to, ended }
        }
        Task::Advance(step) => match place.progress.advance(&context.db, &step).await {
            Ok(is_made) => Done::Advance { to: step.to, is_made: Some(is_made) },
            Err(error) => {
                tracing::warn!(group = context.group, partition = %place.at, %error, "the committed offset is moved later");
                Done::Advance { to: step.to, is_made: None }
            }
        },
    }
}
