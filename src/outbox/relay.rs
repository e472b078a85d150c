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

use tidegate_format::{OrderVersion, PartitionId};
use tidegate_log::{AppendError, Appender, Appends, BatchRejection, LogError, Ownership, settle};
use tidegate_store::{CommitError, ReadError, Store, Txn};

use crate::{LoadError, schedule};

use due::Due;
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
    /// Entries found behind the watermark by a sweep from the start, and moved: there should be none.
    pub late: usize,
    /// How often another transaction came first.
    pub conflicts: usize,
    /// What was appended, for readers at the tail; none if nothing was due.
    pub appends: Option<Appends>,
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
    /// Every outbox entry below it was moved; none before the first pass.
    watermark: Option<OrderVersion>,
    /// Whether the next turn looks behind the watermark.
    sweeping: bool,
    /// How many entries a turn takes at most: halved by conflicts, doubled by commits.
    allowance: usize,
    /// A commit whose outcome is not known, and what it did if it was applied.
    unsettled: Option<(CommitError, Box<Attempt>)>,
}

/// A turn that waits for the outcome of its commit.
#[derive(Debug)]
struct Attempt {
    turn: Turn,
    /// The watermark from then on.
    watermark: Option<OrderVersion>,
    swept: bool,
}

impl Relay {
    /// The relay of a partition. Its first turn reads the outbox from the start.
    #[must_use]
    pub fn new(id: PartitionId) -> Self {
        Self { id, watermark: None, sweeping: false, allowance: usize::MAX, unsettled: None }
    }

    /// Makes the next turns read the outbox from the start, until it is empty, and count what lies behind the
    /// watermark. To be called rarely: that scan may walk over what was deleted long ago.
    pub fn sweep(&mut self) {
        self.sweeping = true;
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
            return Ok(turn);
        }
        let mut conflicts = 0;
        while conflicts < settings.limits.attempts_max.max(1) {
            let mut txn = store.begin().await?;
            let mut attempt = self.attempt(&mut txn, ownership, now_ms, settings).await?;
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
        now_ms: i64,
        settings: &RelaySettings,
    ) -> Result<Attempt, RelayError> {
        let mut appender = Appender::begin(txn, ownership).await?;
        let limits = settings.limits;
        let records_max = limits.records_max.min(self.allowance).max(1);
        let from = self.scan_from(settings.overlap_ms);
        let due = Due::load(txn, self.id, from, now_ms, records_max, limits.bytes_max)
            .await
            .map_err(|error| self.failed(error))?;
        let mut turn = Turn {
            records: due.entries.len(),
            bytes: due.bytes,
            due_ms: due.entries.iter().filter_map(|entry| entry.due_ms).collect(),
            late: self.count_late(&due, settings.overlap_ms),
            ..Turn::default()
        };
        for batch in
            batches::build(&due.entries, now_ms, settings).map_err(|error| self.unbuildable(error))?
        {
            appender.append(txn, &batch).await.map_err(without_sequence)?;
        }
        for entry in &due.entries {
            entry.remove(txn, self.id.topic);
        }
        turn.next_due_ms = schedule::next_due(txn, self.id).await.map_err(|error| self.failed(error))?;
        turn.more = due.outbox_has_more || turn.next_due_ms.is_some_and(|next_ms| next_ms <= now_ms);
        if turn.records > 0 {
            turn.appends = Some(appender.finish(txn));
        }
        let watermark = if due.outbox_has_more {
            due.last_outbox_version.max(self.watermark)
        } else {
            Some(OrderVersion(txn.start_version().next().0)).max(self.watermark)
        };
        Ok(Attempt { turn, watermark, swept: !due.outbox_has_more })
    }

    /// From which version on the outbox is read; none: from its start.
    fn scan_from(&self, overlap_ms: i64) -> Option<OrderVersion> {
        if self.sweeping { None } else { self.watermark.map(|watermark| earlier(watermark, overlap_ms)) }
    }

    /// How many of the entries should have been found by an earlier pass.
    fn count_late(&self, due: &Due, overlap_ms: i64) -> usize {
        let Some(watermark) = self.watermark else { return 0 };
        let expected_from = earlier(watermark, overlap_ms);
        due.entries
            .iter()
            .filter(|entry| entry.version.is_some_and(|version| version < expected_from))
            .count()
    }

    /// Takes over what an attempt did.
    fn accept(&mut self, attempt: Attempt) -> Turn {
        self.watermark = attempt.watermark;
        self.sweeping &= !attempt.swept;
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

    fn failed(&self, error: LoadError) -> RelayError {
        RelayError::Log(error.into_log_error(self.id))
    }

    fn unbuildable(&self, error: BatchRejection) -> RelayError {
        RelayError::Log(LogError::Damaged { id: self.id, reason: error.to_string() })
    }
}

/// The first version that is `ms` milliseconds earlier.
fn earlier(version: OrderVersion, ms: i64) -> OrderVersion {
    if ms == 0 {
        return version;
    }
    let unix_ms = version.unix_ms().saturating_sub(ms);
    OrderVersion(tidegate_store::Version::first_of_ms(unix_ms).0)
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
