//! A transaction of an embedded store.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Handle;
use super::attempt::{Attempt, GivenUp};
use super::committer::{Message, Submission};
use super::journal::TransactionEncoder;
use super::metrics::add;
use super::shared::Shared;
use super::view::{Purpose, Snapshot};
use crate::write_set::{Write, WriteSet};
use crate::{Clock, CommitError, Committed, Direction, KeyRange, ReadError, ScanLimit, Txn, Version};

/// A transaction of an [`EmbeddedStore`](super::EmbeddedStore).
///
/// Reads run where they are awaited: they find what they want in memory or in the page cache of the machine, and block
/// the task for as long as the disk takes if they do not.
pub struct EmbeddedTxn {
    handle: Arc<Handle>,
    snapshot: Snapshot,
    write_set: WriteSet,
    is_growing: bool,
}

impl EmbeddedTxn {
    pub(super) fn begin(handle: Arc<Handle>, purpose: Purpose) -> Result<Self, ReadError> {
        handle.shared.check_open()?;
        let snapshot = handle.shared.views.open(&handle.shared.clock, purpose);
        Ok(Self { handle, snapshot, write_set: WriteSet::default(), is_growing: false })
    }

    /// Whether it writes or guards and has outlived its time.
    fn has_expired(&self) -> bool {
        let age_ms = self.shared().clock.now_ms().saturating_sub(self.snapshot.began_ms);
        !self.write_set.is_empty()
            && u64::try_from(age_ms).is_ok_and(|age_ms| age_ms > self.shared().limits.max_ms)
    }

    fn check_read(&self) -> Result<(), ReadError> {
        self.shared().check_open()?;
        if self.has_expired() {
            return Err(ReadError::Expired { max_ms: self.shared().limits.max_ms });
        }
        Ok(())
    }

    fn read_snapshot(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let view = &self.snapshot.view;
        view.find(key, self.snapshot.version)?.map(|slot| view.load(slot)).transpose()
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }
}

impl Txn for EmbeddedTxn {
    fn start_version(&self) -> Version {
        self.snapshot.version
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.check_read()?;
        if let Some(own) = self.write_set.get(key) {
            return Ok(own.value());
        }
        self.read_snapshot(key)
    }

    async fn get_many(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        self.check_read()?;
        self.write_set.read_many(keys, |key| self.read_snapshot(key))
    }

    async fn scan(
        &mut self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        self.check_read()?;
        let Snapshot { view, version, .. } = &self.snapshot;
        let base = view.scan(range, *version, direction)?;
        self.write_set.scan(range, limit, direction, base, |slot| view.load(slot))
    }

    async fn scan_keys(
        &mut self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
    ) -> Result<Vec<Bytes>, ReadError> {
        self.check_read()?;
        let base = self.snapshot.view.scan(range, self.snapshot.version, direction)?;
        self.write_set.scan_keys(range, count, direction, base)
    }

    crate::write_methods!();

    fn growing(&mut self) {
        self.is_growing = true;
    }

    async fn commit(mut self) -> Result<Committed, CommitError> {
        if let Some(reason) = self.shared().closed_reason() {
            return Err(CommitError::Unavailable { reason });
        }
        if self.write_set.is_empty() {
            return Ok(Committed { version: self.snapshot.version.next() });
        }
        let limits = self.shared().limits;
        if self.snapshot.is_too_old_to_commit(&self.handle.shared.clock, limits.max_ms) {
            return Err(CommitError::Expired { max_ms: limits.max_ms });
        }
        self.write_set.check_size(&limits)?;
        assert!(
            self.snapshot.purpose == Purpose::Writing,
            "a transaction that was begun to read has written"
        );
        let token_key = token_key(&self.write_set);
        let shared = self.handle.shared.clone();
        let attempt = Arc::<Attempt>::default();
        let committing = self.submit(token_key.clone(), attempt.clone());
        if let Ok(answer) = tokio::time::timeout(shared.commit_max, committing).await {
            return answer;
        }
        shared.set_stalled(true);
        add(&shared.counters.commits_given_up, 1);
        Err(given_up(&shared, &attempt, token_key))
    }
}

impl EmbeddedTxn {
    /// Hands the transaction to the committer, and waits for the answer.
    async fn submit(self, token_key: Bytes, attempt: Arc<Attempt>) -> Result<Committed, CommitError> {
        let Self { handle, snapshot, write_set, is_growing } = self;
        let transaction = TransactionEncoder::encode(&write_set);
        let permits = Shared::queue_permits(transaction.len());
        let permit = handle.shared.queue.clone().acquire_many_owned(permits).await;
        let hash = |key: &Bytes| handle.shared.hasher.hash(key);
        let (reply, answer) = oneshot::channel();
        let submission = Submission {
            snapshot,
            transaction,
            writes: write_set.writes().keys().map(hash).collect(),
            guards: write_set.guards().iter().map(hash).collect(),
            token_key: token_key.clone(),
            put_bytes: put_bytes(&write_set),
            is_growing,
            is_relocation: false,
            _permit: permit.ok(),
            attempt: attempt.clone(),
            reply,
        };
        drop(write_set);
        if handle.shared.committer.send(Message::Commit(Box::new(submission))).is_err() {
            let reason = handle.shared.closed_reason().unwrap_or_else(|| "the store is closing".to_owned());
            return Err(CommitError::Unavailable { reason });
        }
        // No answer: the committer ended at this very moment.
        answer.await.unwrap_or_else(|_| Err(given_up(&handle.shared, &attempt, token_key)))
    }
}

/// What to say of an attempt that nobody waits for any more.
fn given_up(shared: &Shared, attempt: &Attempt, token_key: Bytes) -> CommitError {
    match attempt.give_up() {
        GivenUp::Withdrawn => {
            let reason = shared.closed_reason();
            CommitError::Unavailable {
                reason: reason.unwrap_or_else(|| "the disk did not answer in time".to_owned()),
            }
        }
        GivenUp::Unknown(version) => CommitError::Unknown { token: shared.runs.token(token_key, version) },
        GivenUp::Refused => CommitError::Unavailable { reason: "the disk is full".to_owned() },
    }
}

fn token_key(write_set: &WriteSet) -> Bytes {
    let written = write_set.writes().keys().next();
    let versioned = write_set.versioned().first().map(|put| &put.prefix);
    written.or(versioned).or(write_set.guards().first()).cloned().unwrap_or_default()
}

fn put_bytes(write_set: &WriteSet) -> usize {
    let puts = write_set.writes().values().map(|write| match write {
        Write::Put(value) => value.len(),
        Write::Delete => 0,
    });
    puts.chain(write_set.versioned().iter().map(|put| put.value.len())).sum()
}
