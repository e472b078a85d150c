//! The relay: moves what is due from a partition's outbox and timer into its log.
//!
//! What it is: a [`Relay`] belongs to the task that owns the partition. Each [`turn`](Relay::turn) is one transaction
//! that reads the owner's state, takes due entries up to a limit, appends them as record batches and removes them where
//! they waited.
//!
//! What it refuses to do: it waits for nothing and has no clock; whoever owns it turns it when it is woken, when
//! [`Turn::next_due_ms`] has come, and again at once while there is [`more`](Turn::more).
//!
//! What always holds: an entry is appended once, in the transaction that removes it, whatever becomes of the answer to
//! its commit; no entry is appended before it is due; outbox entries are appended in commit order, timer entries in
//! due order, and both by the time at which they became due; a cancel that races a turn makes it take fewer entries,
//! never none for good; memory is bounded by the limits of one turn.

mod batches;
mod due;
mod limits;
mod progress;

use tidegate_format::{PartitionId, PartitionState};
use tidegate_log::{AppendError, Appender, Appends, LogError, Ownership};
use tidegate_store::{CommitError, ReadError, ScanLimit, Store, Txn, settle};

use due::Due;
use progress::{Moment, Progress};

pub use limits::{RelayLimits, RelaySettings};

/// What one turn did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// How many records entered the log.
    pub records: usize,
    /// The bytes of the entries that they were, about those of the records.
    pub bytes: usize,
    /// When each record that had waited for a due time was due, in milliseconds since the Unix epoch, in log order:
    /// what lateness is measured by.
    pub due_ms: Vec<i64>,
    /// Entries that an earlier turn should have found, and a pass from the start has: there should be none.
    pub late: usize,
    /// How often another transaction came first.
    pub conflicts: usize,
    /// What was appended; none if nothing was due.
    pub appends: Option<Appends>,
    /// Where the partition stands now; none if this turn has only learnt what an earlier one has appended, behind which
    /// there may be more by now, or has met nothing but conflicts.
    pub state: Option<PartitionState>,
    /// When the first of the entries that still wait is due, in milliseconds since the Unix epoch.
    pub next_due_ms: Option<i64>,
    /// Whether entries are due that this turn did not take: turn again.
    pub more: bool,
}

/// Why a turn failed. What it moved, if anything, it moved once; a later turn of the same relay goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The partition has another owner, or it cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The commit failed, or what became of it cannot be learnt now: the next turn begins with that.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<ReadError> for RelayError {
    fn from(error: ReadError) -> Self {
        Self::Log(error.into())
    }
}

/// Moves the due entries of one partition. Made when the partition is taken over, and dropped with the ownership.
#[derive(Debug)]
pub struct Relay {
    id: PartitionId,
    progress: Progress,
    /// How many entries a turn takes at most: halved by conflicts, doubled by commits.
    allowance: usize,
    /// A commit whose outcome is not known, and what it did if it was applied.
    unsettled: Option<(CommitError, Box<Attempt>)>,
}

/// A turn that waits for the outcome of its commit.
#[derive(Debug)]
struct Attempt {
    turn: Turn,
    /// How far it comes.
    progress: Progress,
}

impl Relay {
    /// The relay of a partition. Its first turn reads from the start.
    #[must_use]
    pub fn new(id: PartitionId) -> Self {
        Self { id, progress: Progress::default(), allowance: usize::MAX, unsettled: None }
    }

    /// Makes the next turns read from the start, until nothing is due any more, and count what earlier ones should have
    /// found. To be called rarely: that may walk over what was removed long ago.
    pub fn sweep(&mut self) {
        self.progress.sweep();
    }

    /// Moves entries that are due at `now_ms` ([`Store::now_ms`]) into the log, in one transaction.
    ///
    /// # Errors
    /// [`RelayError`]: nothing was moved, or it is not known yet.
    ///
    /// # Panics
    /// If `ownership` is of another partition.
    pub async fn turn<S: Store>(
        &mut self,
        store: &S,
        ownership: &Ownership,
        now_ms: i64,
        settings: &RelaySettings,
    ) -> Result<Turn, RelayError> {
        assert_eq!(ownership.id, self.id, "a relay serves one partition");
        if let Some((error, attempt)) = self.unsettled.take()
            && let Some(turn) = self.settle(store, error, attempt).await?
        {
            return Ok(Turn { state: None, ..turn });
        }
        let mut conflicts = 0;
        while conflicts < settings.limits.attempts_max.max(1) {
            // Before the snapshot is taken: what it does not show began later than this.
            let oldest_open_ms = store.oldest_open_ms();
            let moment = Moment { now_ms, oldest_open_ms, steps_back: store.clock_steps_back() };
            let mut txn = store.begin().await?;
            let mut attempt = self.attempt(&mut txn, ownership, moment, settings).await?;
            attempt.turn.conflicts = conflicts;
            if attempt.turn.records == 0 {
                return Ok(self.accept(attempt));
            }
            match txn.commit().await {
                Ok(_) => return Ok(self.accept(attempt)),
                Err(CommitError::Conflict) => self.halve(attempt.turn.records),
                Err(CommitError::TooLarge { .. }) if attempt.turn.records > 1 => {
                    self.halve(attempt.turn.records);
                }
                Err(error @ CommitError::Unknown { .. }) => {
                    let records = attempt.turn.records;
                    if let Some(turn) = self.settle(store, error, Box::new(attempt)).await? {
                        return Ok(turn);
                    }
                    self.halve(records);
                }
                Err(error) => return Err(error.into()),
            }
            conflicts += 1;
        }
        Ok(Turn { conflicts, more: true, ..Turn::default() })
    }

    /// Does everything of a turn but the commit.
    async fn attempt(
        &self,
        txn: &mut impl Txn,
        ownership: &Ownership,
        moment: Moment,
        settings: &RelaySettings,
    ) -> Result<Attempt, RelayError> {
        let now_ms = moment.now_ms;
        let mut appender = Appender::begin(txn, ownership).await?;
        let limits = settings.limits;
        let from = self.progress.from(moment, settings.overlap_ms);
        let limit =
            ScanLimit { count: limits.records_max.min(self.allowance).max(1), value_bytes: limits.bytes_max };
        let due = Due::load(txn, self.id, from, now_ms, limit)
            .await
            .map_err(|error| error.into_log_error(self.id))?;
        let batches = batches::build(&due.entries, now_ms, settings)
            .map_err(|error| LogError::Damaged { id: self.id, reason: error.to_string() })?;
        for batch in batches {
            appender.append(txn, &batch).await.map_err(without_sequence)?;
        }
        for entry in &due.entries {
            entry.remove(txn, self.id.topic);
        }
        let appends = appender.finish(txn);
        let turn = Turn {
            records: due.entries.len(),
            bytes: due.bytes,
            due_ms: due.entries.iter().filter_map(|entry| entry.due_ms).collect(),
            late: self.progress.count_late(&due, moment, settings.overlap_ms),
            conflicts: 0,
            state: Some(appends.state.clone()),
            appends: Some(appends).filter(|_| !due.entries.is_empty()),
            next_due_ms: due.next_due_ms,
            more: due.outbox_has_more || due.next_due_ms.is_some_and(|next_ms| next_ms <= now_ms),
        };
        let progress = self.progress.after(&due, from, txn.start_version(), moment);
        Ok(Attempt { turn, progress })
    }

    /// Takes over what an attempt did.
    fn accept(&mut self, attempt: Attempt) -> Turn {
        self.progress = attempt.progress;
        self.allowance = self.allowance.saturating_mul(2);
        attempt.turn
    }

    /// Takes fewer entries from now on: half of what met a conflict.
    fn halve(&mut self, records: usize) {
        self.allowance = (records / 2).max(1);
    }

    /// Learns what became of an attempt: what it did, or none if it did nothing.
    async fn settle<S: Store>(
        &mut self,
        store: &S,
        error: CommitError,
        attempt: Box<Attempt>,
    ) -> Result<Option<Turn>, RelayError> {
        match settle(store, error).await {
            Ok(()) => Ok(Some(self.accept(*attempt))),
            Err(CommitError::Conflict) => Ok(None),
            Err(error) => {
                self.unsettled = Some((error.clone(), attempt));
                Err(error.into())
            }
        }
    }
}

/// The error of an append without a producer, which no sequence can refuse.
fn without_sequence(error: AppendError) -> RelayError {
    match error {
        AppendError::Log(error) => RelayError::Log(error),
        AppendError::Sequence(_) => unreachable!("a batch without a producer has no sequence"),
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;

#[cfg(test)]
mod failure_tests;
