//! Committing: hand everything to the client, and say what became of it.
//!
//! What always holds: the attempt's row is the transaction's primary key, so the attempt is applied if and only if that
//! row is. After an answer that leaves it open, nothing is rolled back before the row has been settled. What is not
//! settled by the commit's deadline is said to be unknown. All of that is so, too, where the caller waits no longer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tikv_client::{TimestampExt, Transaction};
use tokio::time::Instant;

use super::attempts::{self, Row};
use super::client::{Client, NoAnswer};
use super::copies::{self, Copies};
use super::failure::{self, CommitFailure};
use super::locks;
use super::metrics::add;
use super::settle::{self, Settled};
use super::shared::{Shared, TRY_LEAST, left_until};
use super::txn::TikvTxn;
use crate::write_set::{Write, WriteSet};
use crate::{CommitError, CommitToken, Committed, Outcome, ReadError, Version};

/// How long a transaction that was refused may take to remove what it had prepared, before it is left to others.
const ROLLBACK_LIMIT: Duration = Duration::from_secs(1);

/// How many bytes of a transaction get a second more to be committed: nothing waits for it there as for an order version.
const BYTES_PER_SECOND: usize = 4 << 20;

/// How much longer than others a commit of so many bytes may take.
fn patience(bytes: usize) -> Duration {
    Duration::from_secs(u64::try_from(bytes / BYTES_PER_SECOND).unwrap_or(u64::MAX))
}

/// How much longer than `commit.max.ms` a commit may take at most, where a transaction has at most `max_bytes`.
pub(super) fn patience_max(max_bytes: usize) -> Duration {
    patience(max_bytes) + copies::PATIENCE_MAX
}

/// Commits a transaction.
pub(super) async fn commit(txn: TikvTxn) -> Result<Committed, CommitError> {
    let limits = txn.shared.options.limits;
    if txn.has_expired() {
        return Err(CommitError::Expired { max_ms: limits.max_ms });
    }
    txn.write_set.check_size(&limits)?;
    let copies = Copies::of(&txn.write_set, txn.shared.namespace.prefix_bytes());
    copies.check(!txn.write_set.versioned().is_empty())?;
    if txn.write_set.is_empty() {
        return Ok(Committed { version: txn.start.next() });
    }
    let anchor = txn.anchor();
    let TikvTxn { shared, client, transaction, start, write_set, .. } = txn;
    let row = shared.rows().take(&anchor, start);
    let nonce = attempts::nonce(shared.now_ms(), rand::random());
    let times = Times::from_now(&shared, &write_set, &copies);
    let attempt = Attempt { shared, client, start, row, nonce, times };
    let token = attempt.token();
    // On a task of its own: who waits no longer would leave the client's tasks behind, which try again for as long as they
    // like.
    match tokio::spawn(attempt.run(transaction, write_set)).await {
        Ok(answer) => answer,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process ends.
            Err(_) => Err(CommitError::Unknown { token }),
        },
    }
}

/// Until when what of an attempt is to be done.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// The client's part: what it has not sent by then never leaves.
    written: Instant,
    /// Finding out what became of it.
    settled: Instant,
}

impl Times {
    /// Three fifths of `commit.max.ms` for the client, the rest to settle. They begin before the oracle is asked for the
    /// order version, which is not older than that. The client has longer for much that publishes nothing.
    fn from_now(shared: &Shared, write_set: &WriteSet, copies: &Copies) -> Self {
        let commit_max = Duration::from_millis(shared.options.commit_max_ms);
        let to_write = commit_max * 3 / 5;
        let mut written = Instant::now() + to_write;
        if write_set.versioned().is_empty() {
            written += patience(write_set.bytes()) + copies.patience();
        }
        Self { written, settled: written + (commit_max - to_write) }
    }
}

/// One attempt to commit.
struct Attempt {
    shared: Arc<Shared>,
    client: Arc<Client>,
    start: Version,
    row: Row,
    nonce: u128,
    times: Times,
}

/// What came back from the client: the transaction, and what it says.
type Answer = (Transaction, Result<Option<tikv_client::Timestamp>, tikv_client::Error>);

impl Attempt {
    async fn run(self, transaction: Transaction, write_set: WriteSet) -> Result<Committed, CommitError> {
        let mut order_version = None;
        if !write_set.versioned().is_empty() {
            match self.order_version().await {
                Ok(version) => order_version = Some(version),
                Err(reason) => {
                    self.give_back_unused();
                    return Err(CommitError::Unavailable { reason });
                }
            }
        }
        let writing = self.write(transaction, write_set, order_version);
        let answer: Result<Answer, NoAnswer> =
            self.client.call(left_until(self.times.written), |_| writing).await;
        match answer {
            Ok((_, Ok(timestamp))) => {
                let committed = timestamp.map_or(self.start.next(), |timestamp| Version(timestamp.version()));
                let version = order_version.unwrap_or(committed);
                add(&self.shared.counters.commits, 1);
                self.give_back(committed.max(version));
                Ok(Committed { version })
            }
            Ok((transaction, Err(error))) => {
                let limit = left_until(self.times.written);
                locks::end_orphan(&self.shared, &self.client, &error, limit).await;
                self.failed(transaction, order_version, failure::of_commit(&error)).await
            }
            Err(no_answer) => {
                tracing::debug!(reason = no_answer.reason(), "a commit is settled");
                self.shared.note(&self.client, &no_answer);
                self.settle(None, order_version, CommitError::Conflict).await
            }
        }
    }

    async fn failed(
        self,
        transaction: Transaction,
        order_version: Option<Version>,
        failure: CommitFailure,
    ) -> Result<Committed, CommitError> {
        match failure {
            CommitFailure::Refused => self.refused(transaction, order_version).await,
            CommitFailure::NotSent(reason) => {
                self.give_back_unused();
                Err(CommitError::Unavailable { reason })
            }
            CommitFailure::TooLarge { actual } => {
                let error = CommitError::TooLarge {
                    what: "raft entry bytes",
                    actual,
                    limit: self.shared.options.limits.max_value_bytes,
                };
                self.settle(Some(transaction), order_version, error).await
            }
            CommitFailure::Ambiguous(reason) => {
                tracing::debug!(reason, "a commit is settled");
                self.settle(Some(transaction), order_version, CommitError::Conflict).await
            }
        }
    }

    async fn order_version(&self) -> Result<Version, String> {
        let limit = left_until(self.times.written);
        match self.client.call(limit, async |client| client.current_timestamp().await).await {
            Ok(Ok(timestamp)) => Ok(self.shared.observe(&timestamp)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(no_answer) => {
                self.shared.note(&self.client, &no_answer);
                Err(no_answer.reason())
            }
        }
    }

    /// What hands the writes to the client, the attempt's row first, so that it is the primary key, and commits them.
    fn write(
        &self,
        mut transaction: Transaction,
        write_set: WriteSet,
        order_version: Option<Version>,
    ) -> impl Future<Output = Answer> + Send + 'static {
        let shared = self.shared.clone();
        let (row, nonce) = (self.row.key().clone(), self.nonce);
        async move {
            let namespace = &shared.namespace;
            let prepared = async {
                transaction.put(namespace.key(&row), attempts::applied(nonce)).await?;
                for (key, write) in write_set.writes() {
                    match write {
                        Write::Put(value) => transaction.put(namespace.key(key), value.to_vec()).await?,
                        Write::Delete => transaction.delete(namespace.key(key)).await?,
                    }
                }
                for put in write_set.versioned() {
                    let version = order_version.expect("it was asked for, as there are versioned puts");
                    transaction.put(namespace.key(&put.key(version)), put.value.to_vec()).await?;
                }
                for key in write_set.guards() {
                    if write_set.get(key).is_none() {
                        transaction.lock_keys([namespace.key(key)]).await?;
                    }
                }
                Ok(())
            };
            let prepared = prepared.await;
            drop(write_set);
            let result = match prepared {
                Ok(()) => transaction.commit().await,
                Err(error) => Err(error),
            };
            (transaction, result)
        }
    }

    /// The store has refused the attempt; or it was applied, its answer was lost, and the client tried again.
    async fn refused(
        self,
        transaction: Transaction,
        order_version: Option<Version>,
    ) -> Result<Committed, CommitError> {
        let rolling_back = self.roll_back(transaction);
        let looking = settle::look(&self.shared, self.row.key(), self.nonce, self.times.settled);
        let ((), found) = tokio::join!(rolling_back, looking);
        match found {
            Ok(None) => {
                add(&self.shared.counters.conflicts, 1);
                self.give_back_unused();
                Err(CommitError::Conflict)
            }
            Ok(Some(version)) => Ok(self.was_applied(order_version, version)),
            Err(_) => self.settle(None, order_version, CommitError::Conflict).await,
        }
    }

    /// Finds out what became of the attempt, by writing; `error` says what it means that it was not applied.
    async fn settle(
        self,
        transaction: Option<Transaction>,
        order_version: Option<Version>,
        error: CommitError,
    ) -> Result<Committed, CommitError> {
        add(&self.shared.counters.settled, 1);
        let settling = settle::settle(&self.shared, self.row.key(), self.nonce, self.times.settled);
        match settling.await {
            Ok(Settled { outcome: Outcome::Applied, version }) => {
                Ok(self.was_applied(order_version, version))
            }
            Ok(Settled { outcome: Outcome::NotApplied, .. }) => {
                if let Some(transaction) = transaction {
                    self.roll_back(transaction).await;
                }
                let Self { shared, row, .. } = self;
                shared.rows().doom(row.key().clone());
                Err(error)
            }
            Err(reason) => {
                tracing::warn!(reason = reason.to_string(), "it is not known whether a commit was applied");
                add(&self.shared.counters.unknown, 1);
                Err(CommitError::Unknown { token: self.token() })
            }
        }
    }

    fn was_applied(self, order_version: Option<Version>, seen_by: Version) -> Committed {
        add(&self.shared.counters.commits, 1);
        add(&self.shared.counters.settled_applied, 1);
        let Self { shared, row, .. } = self;
        shared.rows().doom(row.key().clone());
        Committed { version: order_version.unwrap_or(seen_by) }
    }

    /// Removes what was prepared, if there is time: otherwise whoever meets its locks does.
    async fn roll_back(&self, mut transaction: Transaction) {
        let limit = ROLLBACK_LIMIT.min(left_until(self.times.settled));
        if limit < TRY_LEAST {
            return;
        }
        let rolling_back = async move { transaction.rollback().await };
        match self.client.call(limit, |_| rolling_back).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = error.to_string(), "a transaction is not rolled back"),
            Err(no_answer) => {
                tracing::debug!(reason = no_answer.reason(), "a transaction is not rolled back");
                self.shared.note(&self.client, &no_answer);
            }
        }
    }

    /// Gives the row back of an attempt that has written nothing. If it was rolled back there, that is of its start.
    fn give_back_unused(self) {
        let start = self.start;
        self.give_back(start);
    }

    fn give_back(self, usable_from: Version) {
        let Self { shared, row, .. } = self;
        shared.rows().give_back(row, usable_from);
    }

    fn token(&self) -> CommitToken {
        CommitToken { key: self.row.key().clone(), nonce: self.nonce }
    }
}

/// Answers [`Store::outcome`](crate::Store::outcome).
pub(super) async fn outcome(shared: &Shared, token: &CommitToken) -> Result<Outcome, ReadError> {
    let key: &Bytes = &token.key;
    let age_ms = shared.now_ms().saturating_sub(attempts::made_at_ms(token.nonce));
    if !attempts::is_row(key) || age_ms > super::sweep::ROW_KEPT_MS {
        let reason = "the token is of no attempt that is still known".to_owned();
        return Err(ReadError::Unavailable { reason });
    }
    let deadline = Instant::now() + Duration::from_millis(shared.options.request_timeout_ms);
    Ok(settle::settle(shared, key, token.nonce, deadline).await?.outcome)
}
