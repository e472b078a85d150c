//! Batches that wait together are committed together.
//!
//! What always holds: a batch that is refused refuses no other, but what its producer sent behind it; answers leave after
//! readers can see what they say.

use std::collections::VecDeque;

use metrics::counter;
use tidegate_format::{Offset, PartitionId};
use tidegate_log::{AppendError, Appended, Appender, Appends, LogError, SequenceError};
use tidegate_outbox::{EntryIds, hold};
use tidegate_store::{CommitError, ReadError, Store};

use super::host::{Fenced, Host, Produce, Work};
use super::{PartitionError, ProduceError};
use crate::metrics::names;

/// How many batches are committed together at most.
const GROUP_MAX: usize = 1024;
/// How often a group is tried again while others write the schedules that it writes.
const CONFLICTS_MAX: usize = 16;

/// What a producer is told of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Produced {
    /// The offset of its first record; -1 if any of its records is held until it is due.
    pub(crate) base_offset: Offset,
    /// The broker's time that its records were given, if the topic says so.
    pub(crate) log_append_time_ms: Option<i64>,
    /// The first offset that can be read.
    pub(crate) log_start: Offset,
}

/// What one transaction did, if it is committed.
struct Attempt {
    answers: Vec<Result<Appended, ProduceError>>,
    appends: Appends,
    /// Whether anything but repeats was in it.
    changed: bool,
    /// The partitions that got something to wait for.
    touched: Vec<PartitionId>,
}

/// Why a group was not committed.
enum GroupError {
    /// Fewer batches together may go.
    TooMuch,
    Failed(PartitionError),
}

impl From<LogError> for GroupError {
    fn from(error: LogError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ReadError> for GroupError {
    fn from(error: ReadError) -> Self {
        Self::Failed(error.into())
    }
}

impl<S: Store> Host<S> {
    /// Commits a batch with those that wait behind it, and answers them.
    pub(super) async fn produce(&mut self, first: Box<Produce>) -> Result<(), Fenced> {
        let mut groups = VecDeque::from([self.collect(first)]);
        while let Some(mut group) = groups.pop_front() {
            let error = match self.commit_group(&group).await {
                Ok(answers) => {
                    for (produce, answer) in group.into_iter().zip(answers) {
                        self.answer_one(produce, answer);
                    }
                    continue;
                }
                Err(GroupError::TooMuch) if group.len() > 1 => {
                    let second = group.split_off(group.len() / 2);
                    groups.push_front(second);
                    groups.push_front(group);
                    continue;
                }
                Err(GroupError::TooMuch) => ProduceError::TooLarge,
                Err(GroupError::Failed(error)) => error.into(),
            };
            let fenced = error == ProduceError::Partition(PartitionError::NotOwner);
            if fenced {
                group.extend(groups.drain(..).flatten());
            }
            for produce in group {
                produce.refuse(&self.partition, &error);
            }
            if fenced {
                return Err(Fenced);
            }
            self.partition.forget();
        }
        Ok(())
    }

    fn answer_one(&self, produce: Produce, answer: Result<Produced, ProduceError>) {
        let mut awaited = self.partition.awaited();
        if !awaited.is_empty()
            && answer.is_ok()
            && let Some(range) = produce.range()
        {
            awaited.taken(&range);
        }
        drop(awaited);
        produce.answer(answer);
    }

    /// The batches that wait, up to the limits; what comes after them is next.
    fn collect(&mut self, first: Box<Produce>) -> Vec<Produce> {
        let mut bytes = first.bytes;
        let mut group = vec![*first];
        while group.len() < GROUP_MAX {
            match self.inbox.try_recv() {
                Ok(Work::Produce(produce))
                    if bytes + produce.bytes <= self.shared.limits.commit_max_bytes =>
                {
                    bytes += produce.bytes;
                    group.push(*produce);
                }
                Ok(other) => {
                    self.next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        group
    }

    async fn commit_group(
        &self,
        group: &[Produce],
    ) -> Result<Vec<Result<Produced, ProduceError>>, GroupError> {
        for _ in 0..CONFLICTS_MAX {
            let mut txn = self.shared.store.begin().await?;
            let attempt = self.attempt(&mut txn, group).await?;
            if !attempt.changed {
                return Ok(self.answer(attempt));
            }
            match self.commit(txn, "produce").await {
                Ok(()) => {
                    count(group, &attempt.answers);
                    return Ok(self.answer(attempt));
                }
                // Another owner, which the next attempt finds, or a schedule that another partition's batch has.
                Err(CommitError::Conflict) => {
                    counter!(names::COMMIT_CONFLICTS, names::KIND => "produce").increment(1);
                }
                Err(CommitError::TooLarge { .. }) => return Err(GroupError::TooMuch),
                Err(error) => return Err(GroupError::Failed(error.into())),
            }
        }
        Err(GroupError::Failed(CommitError::Conflict.into()))
    }

    /// Does everything of a group but the commit.
    async fn attempt(&self, txn: &mut S::Txn, group: &[Produce]) -> Result<Attempt, GroupError> {
        let appender = Appender::begin(txn, &self.ownership).await?;
        let mut appender =
            appender.with_producer_id_expiration_ms(self.shared.limits.producer_id_expiration_ms);
        let mut entry_ids = EntryIds::new(txn, rand::random());
        let now_ms = self.shared.store.now_ms();
        let (mut answers, mut touched, mut changed) = (Vec::with_capacity(group.len()), Vec::new(), false);
        for produce in group {
            if let Some(error) = self.out_of_turn(txn, &mut appender, produce).await? {
                answers.push(Err(error.into()));
                continue;
            }
            answers.push(
                match hold::apply(txn, &mut appender, &mut entry_ids, &produce.plan, now_ms).await {
                    Ok(applied) => {
                        changed |= !applied.appended.repeated;
                        touched.extend(applied.touched);
                        Ok(applied.appended)
                    }
                    Err(AppendError::Sequence(error)) => Err(error.into()),
                    Err(AppendError::Log(error)) => return Err(error.into()),
                },
            );
        }
        let appends = appender.finish(txn);
        Ok(Attempt { answers, appends, changed, touched })
    }

    /// Why a batch cannot be its producer's first one here: another one is to come before it.
    async fn out_of_turn(
        &self,
        txn: &mut S::Txn,
        appender: &mut Appender,
        produce: &Produce,
    ) -> Result<Option<SequenceError>, GroupError> {
        let Some(range) = produce.range() else { return Ok(None) };
        let Some(awaited) = self.partition.awaited().before(&range) else { return Ok(None) };
        if appender.knows(txn, &range, self.shared.store.now_ms()).await? {
            return Ok(None);
        }
        let (producer, found, last) = (range.producer, range.first, awaited.first - 1);
        Ok(Some(SequenceError::OutOfOrder { producer, found, last }))
    }

    /// Tells readers and relays what is committed, and gives the answers.
    fn answer(&self, attempt: Attempt) -> Vec<Result<Produced, ProduceError>> {
        let Attempt { answers, appends, changed, touched } = attempt;
        let log_start = appends.state.log_start;
        if changed {
            self.publish(appends);
            self.shared.hint(&touched);
        } else {
            // Of what is repeated the first commit may have been given up as unknown.
            self.partition.publish(&appends.state);
        }
        let produced = |appended: Appended| Produced {
            base_offset: appended.base_offset,
            log_append_time_ms: appended.log_append_time_ms,
            log_start,
        };
        answers.into_iter().map(|answer| answer.map(produced)).collect()
    }

    /// Tells readers what is committed: first the batches, then that they are there.
    pub(super) fn publish(&self, appends: Appends) {
        let records = appends
            .entries
            .iter()
            .map(|entry| (entry.last_offset.0 - entry.base_offset.0 + 1).unsigned_abs());
        counter!(names::APPENDED_RECORDS).increment(records.sum());
        self.shared.cache.push(appends.id, appends.entries);
        self.partition.publish(&appends.state);
    }
}

/// Counts the batches of a group that were taken.
fn count(group: &[Produce], answers: &[Result<Appended, ProduceError>]) {
    let taken =
        |answer: &Result<Appended, ProduceError>| answer.as_ref().is_ok_and(|appended| !appended.repeated);
    let (mut batches, mut bytes, mut records) = (0, 0, 0);
    for (produce, _) in group.iter().zip(answers).filter(|(_, answer)| taken(answer)) {
        batches += 1;
        bytes += produce.bytes as u64;
        records += produce.records;
    }
    counter!(names::PRODUCE_BATCHES).increment(batches);
    counter!(names::PRODUCE_BYTES).increment(bytes);
    counter!(names::PRODUCE_RECORDS).increment(records);
}
