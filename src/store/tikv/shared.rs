//! What all clones of a store and its transactions share, and how they ask the cluster.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tikv_client::transaction::HeartbeatOption;
use tikv_client::{CheckLevel, Snapshot, Timestamp, TimestampExt, TransactionClient, TransactionOptions};
use tokio::time::Instant;

use super::attempts::{Rows, Run};
use super::bounds::{Bounds, Held};
use super::client::{Client, NoAnswer};
use super::failure::{self, ReadFailure};
use super::garbage::Holds;
use super::keys::Namespace;
use super::locks;
use super::metrics::Counters;
use super::options::TikvOptions;
use super::oracle_clock::OracleClock;
use super::pool::Pool;
use crate::{ReadError, Version};

/// How long to wait before something is tried again, at first and at most.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// With less time than that nothing is tried: who has no time to answer would be taken for one that hangs.
pub(super) const TRY_LEAST: Duration = Duration::from_millis(10);
/// How many rows of attempts of other processes are remembered.
const MET_ROWS_MAX: usize = 256;

/// What all handles on one store share.
pub(super) struct Shared {
    pub(super) options: TikvOptions,
    pub(super) namespace: Namespace,
    pub(super) pool: Arc<Pool>,
    pub(super) clock: Mutex<OracleClock>,
    pub(super) rows: Mutex<Rows>,
    pub(super) run: Run,
    /// Rows of attempts of other processes that scans came by, to see whether they are of any use.
    pub(super) met_rows: Mutex<BTreeSet<Bytes>>,
    /// What all transactions of the namespace keep to.
    pub(super) bounds: Mutex<Bounds>,
    pub(super) holds: Mutex<Holds>,
    /// Taken by who writes the hold of this process.
    pub(super) holding: tokio::sync::Mutex<()>,
    pub(super) counters: Counters,
}

/// Why something that can be repeated has failed.
pub(super) enum AskError {
    /// The answer is larger than the client takes.
    AnswerTooLarge,
    /// Anything else.
    Unavailable(String),
}

impl From<AskError> for ReadError {
    fn from(error: AskError) -> Self {
        let reason = match error {
            AskError::AnswerTooLarge => "one entry is larger than an answer may be".to_owned(),
            AskError::Unavailable(reason) => reason,
        };
        Self::Unavailable { reason }
    }
}

impl Shared {
    /// Asks the cluster something that can be repeated, until it answers or the time is up; of a client that hangs the
    /// half of it, so that there is time for another one.
    pub(super) async fn ask<T, F>(
        &self,
        what: impl Fn(TransactionClient) -> F + Send,
    ) -> Result<(T, Arc<Client>), AskError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, tikv_client::Error>> + Send + 'static,
    {
        let limit = Duration::from_millis(self.options.request_timeout_ms);
        self.ask_until(Instant::now() + limit, what).await
    }

    /// As [`ask`](Self::ask), until `deadline`.
    pub(super) async fn ask_until<T, F>(
        &self,
        deadline: Instant,
        what: impl Fn(TransactionClient) -> F + Send,
    ) -> Result<(T, Arc<Client>), AskError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, tikv_client::Error>> + Send + 'static,
    {
        let mut wait = BACKOFF_MIN;
        let one_try = left_until(deadline) / 2;
        let mut reason = "there was no time left".to_owned();
        loop {
            let client = self.pool.client(deadline).await.map_err(AskError::Unavailable)?;
            if left_until(deadline) < TRY_LEAST {
                return Err(AskError::Unavailable(reason));
            }
            let limit = one_try.min(left_until(deadline));
            reason = match client.call(limit, &what).await {
                Ok(Ok(answer)) => return Ok((answer, client)),
                Ok(Err(error)) => match failure::of_read(&error) {
                    ReadFailure::AnswerTooLarge => return Err(AskError::AnswerTooLarge),
                    ReadFailure::Final(reason) => return Err(AskError::Unavailable(reason)),
                    ReadFailure::Retry(reason) => {
                        locks::end_orphan(self, &client, &error, limit.min(left_until(deadline))).await;
                        reason
                    }
                },
                Err(no_answer) => {
                    self.note(&client, &no_answer);
                    no_answer.reason()
                }
            };
            if left_until(deadline) < wait + TRY_LEAST {
                return Err(AskError::Unavailable(reason));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    /// Gives up a client that hangs or has panicked.
    pub(super) fn note(&self, client: &Arc<Client>, no_answer: &NoAnswer) {
        match no_answer {
            NoAnswer::TimedOut | NoAnswer::Panicked(_) => self.pool.replace(client),
            NoAnswer::GivenUp => {}
        }
    }

    /// Asks the cluster something of the snapshot of a version.
    pub(super) async fn ask_snapshot<T, F>(
        &self,
        version: Version,
        what: impl Fn(Snapshot) -> F + Send + Sync,
    ) -> Result<T, AskError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, tikv_client::Error>> + Send + 'static,
    {
        let snapshot = |client: TransactionClient| {
            what(client.snapshot(Timestamp::from_version(version.0), transaction_options()))
        };
        Ok(self.ask(snapshot).await?.0)
    }

    /// The version that the oracle gives next.
    pub(super) async fn oracle_version(&self) -> Result<Version, AskError> {
        let (timestamp, _) = self.ask(async |client| client.current_timestamp().await).await?;
        Ok(self.observe(&timestamp))
    }

    /// Takes note of a timestamp that has just arrived.
    pub(super) fn observe(&self, timestamp: &Timestamp) -> Version {
        let version = Version(timestamp.version());
        self.clock().observe(version.unix_ms(), self.options.clock.monotonic_ms());
        version
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock().now_ms(self.options.clock.monotonic_ms())
    }

    pub(super) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().expect("nothing panics with the lock held")
    }

    /// Takes note of some rows that a scan came by.
    pub(super) fn note_rows<'a>(&self, rows: impl Iterator<Item = &'a Bytes>) {
        for row in rows.filter(|row| !self.run.wrote(row)) {
            let mut met = self.met_rows.lock().expect("nothing panics with the lock held");
            if met.len() < MET_ROWS_MAX {
                met.insert(row.clone());
            }
        }
    }

    /// The rows that scans came by since this was asked last.
    pub(super) fn take_met_rows(&self) -> Vec<Bytes> {
        let mut met = self.met_rows.lock().expect("nothing panics with the lock held");
        std::mem::take(&mut *met).into_iter().collect()
    }

    /// What all transactions of the namespace keep to, as far as this process knows.
    pub(super) fn bounds(&self) -> Bounds {
        *self.bounds.lock().expect("nothing panics with the lock held")
    }

    /// Keeps to what the namespace has, before anything is asked of it; a process that governs to what it has itself.
    pub(super) fn keep_to(&mut self, found: Bounds) {
        if self.options.governs {
            self.note_bounds(found);
            return;
        }
        for Held { setting, wanted, bound } in found.hold(&mut self.options) {
            tracing::warn!(
                setting,
                wanted,
                bound,
                "the namespace's transactions keep to less: this process does, too; the broker's settings can raise it"
            );
        }
        *self.bounds.get_mut().expect("nothing panics with the lock held") = found;
    }

    /// Takes note of what was found in the namespace.
    pub(super) fn note_bounds(&self, found: Bounds) {
        let mut bounds = self.bounds.lock().expect("nothing panics with the lock held");
        *bounds = bounds.with(found);
    }

    pub(super) fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().expect("nothing panics with the lock held")
    }

    fn clock(&self) -> MutexGuard<'_, OracleClock> {
        self.clock.lock().expect("nothing panics with the lock held")
    }
}

/// How much time there is until then.
pub(super) fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Optimistic, in one phase where it fits. No heartbeats: what lives longer than its locks is to fail.
pub(super) fn transaction_options() -> TransactionOptions {
    TransactionOptions::new_optimistic()
        .try_one_pc()
        .drop_check(CheckLevel::None)
        .heartbeat_option(HeartbeatOption::NoHeartbeat)
}
