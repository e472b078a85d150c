//! A transaction of a [`RemoteStore`](super::RemoteStore): reads go to the broker's snapshot, writes stay here until the
//! commit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_protocol::extension::commit::{Commit, VersionedPut};
use tidegate_protocol::extension::read::{By, Get};
use tidegate_protocol::extension::{ExtensionRequest, Failure, REQUEST_ELEMENTS_MAX};
use tidegate_store::write_set::{Write, WriteSet};
use tidegate_store::{CommitError, Committed, Direction, KeyRange, ReadError, ScanLimit, Txn, Version};
use tokio::time::Instant;

use super::lanes::{Lane, token_of};
use super::session::SessionHandle;
use super::{OpenedSession, Shared, commit_error, read_error, unavailable};
use crate::Error;

/// Keys that are asked for at a time.
const GET_ROUND_KEYS: usize = 4_096;

/// A transaction. Dropping it rolls back.
#[derive(Debug)]
pub struct RemoteTxn {
    shared: Arc<Shared>,
    pub(super) write_set: WriteSet,
    is_growing: bool,
    is_reading: bool,
    start_version: Version,
    /// By the store's clock, a little after it began.
    began_ms: i64,
    /// None once the lane is given back or given up.
    lane: Option<Lane>,
    session: SessionHandle,
}

impl RemoteTxn {
    pub(super) fn new(shared: Arc<Shared>, opened: OpenedSession, lane: Lane) -> Self {
        let OpenedSession { session, start_version, began_ms, is_reading } = opened;
        Self {
            shared,
            write_set: WriteSet::default(),
            is_growing: false,
            is_reading,
            start_version: Version(start_version),
            began_ms,
            lane: Some(lane),
            session,
        }
    }

    /// Who reads.
    pub(super) fn by(&self) -> By {
        By { session: self.session.number, writes: !self.write_set.is_empty() }
    }

    /// Asks the broker for something of the snapshot.
    pub(super) async fn ask<R: ExtensionRequest>(&self, request: &R) -> Result<R::Answer, ReadError> {
        let SessionHandle { connection, version, .. } = &self.session;
        let failed = |error: Error| unavailable(format!("the transaction's connection was lost: {error}"));
        let after = connection.request_timeout();
        let mut reply = connection.start_extension(*version, request, after).await.map_err(failed)?;
        let response = reply.wait().await.map_err(failed)?;
        self.shared.time.learn(response.time, Instant::now());
        response.outcome.map_err(read_error)
    }

    /// What is read from its own writes alone hears of its age as well.
    pub(super) fn check_age(&self) -> Result<(), ReadError> {
        let max_ms = self.shared.limits.max_ms;
        let age_ms = self.shared.time.now_ms(Instant::now()).saturating_sub(self.began_ms);
        let is_old = u64::try_from(age_ms).is_ok_and(|age_ms| age_ms > max_ms);
        if is_old && !self.write_set.is_empty() { Err(ReadError::Expired { max_ms }) } else { Ok(()) }
    }

    /// The values of keys in the snapshot.
    async fn fetch(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        let mut values = Vec::with_capacity(keys.len());
        while values.len() < keys.len() {
            let rest = &keys[values.len()..];
            let keys = rest[..rest.len().min(GET_ROUND_KEYS)].to_vec();
            let asked = keys.len();
            let found = self.ask(&Get { by: self.by(), keys }).await?.values;
            if found.is_empty() || found.len() > asked {
                return Err(unavailable("the broker has not answered what it was asked".to_owned()));
            }
            values.extend(found);
        }
        Ok(values)
    }

    fn request(&self, attempt: tidegate_protocol::extension::commit::Attempt) -> Commit {
        let mut request = Commit {
            session: self.session.number,
            attempt,
            growing: self.is_growing,
            puts: vec![],
            deletes: vec![],
            guards: self.write_set.guards().iter().cloned().collect(),
            versioned: vec![],
        };
        for (key, write) in self.write_set.writes() {
            match write {
                Write::Put(value) => request.puts.push((key.clone(), value.clone())),
                Write::Delete => request.deletes.push(key.clone()),
            }
        }
        let versioned = self.write_set.versioned().iter().cloned();
        let versioned =
            versioned.map(|put| VersionedPut { prefix: put.prefix, suffix: put.suffix, value: put.value });
        request.versioned = versioned.collect();
        request
    }

    fn check_size(&self) -> Result<(), CommitError> {
        self.write_set.check_size(&self.shared.limits)?;
        let set = &self.write_set;
        let actual = set.writes().len() + set.versioned().len() + set.guards().len();
        if actual > REQUEST_ELEMENTS_MAX {
            let limit = REQUEST_ELEMENTS_MAX;
            return Err(CommitError::TooLarge { what: "transaction keys", actual, limit });
        }
        Ok(())
    }
}

impl Drop for RemoteTxn {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            self.shared.lanes.give_back(lane);
        }
    }
}

impl Txn for RemoteTxn {
    fn start_version(&self) -> Version {
        self.start_version
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.check_age()?;
        if let Some(own) = self.write_set.get(key) {
            return Ok(own.value());
        }
        let mut found = self.fetch(&[Bytes::copy_from_slice(key)]).await?;
        Ok(found.pop().flatten())
    }

    async fn get_many(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        self.check_age()?;
        let mut found = self.fetch(&self.write_set.unwritten(keys)).await?.into_iter();
        let next = |_: &Bytes| Ok(found.next().expect("each that was asked for was found or not"));
        self.write_set.read_many(keys, next)
    }

    async fn scan(
        &mut self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        self.check_age()?;
        self.scan_entries(range, limit, direction).await
    }

    async fn scan_keys(
        &mut self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
    ) -> Result<Vec<Bytes>, ReadError> {
        self.check_age()?;
        self.scan_only_keys(range, count, direction).await
    }

    tidegate_store::write_methods!();

    fn growing(&mut self) {
        self.is_growing = true;
    }

    async fn commit(mut self) -> Result<Committed, CommitError> {
        if self.write_set.is_empty() {
            return Ok(Committed { version: self.start_version.next() });
        }
        assert!(!self.is_reading, "a transaction that was begun to read has written");
        self.check_size()?;
        let mut lane = self.lane.take().expect("it has its lane until it is committed");
        let attempt = self.shared.lanes.next_attempt(&mut lane);
        let request = self.request(attempt);
        let after = Duration::from_millis(self.shared.options.commit_timeout_ms);
        let SessionHandle { connection, version, .. } = &self.session;
        let mut reply = match connection.start_extension(*version, &request, after).await {
            Ok(reply) => reply,
            Err(error) => {
                self.shared.lanes.give_back(lane);
                return Err(CommitError::Unavailable {
                    reason: format!("the transaction's connection was lost: {error}"),
                });
            }
        };
        // From here on only an answer gives the lane back: what became of an attempt that has none can be asked for.
        self.session.is_over = true;
        let unknown = CommitError::Unknown { token: token_of(&attempt, self.began_ms) };
        let response = match reply.wait().await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(%error, "the answer to a commit was lost");
                return Err(unknown);
            }
        };
        self.shared.time.learn(response.time, Instant::now());
        match response.outcome {
            Err(Failure::Unknown { .. }) => Err(unknown),
            outcome => {
                self.shared.lanes.give_back(lane);
                let committed = outcome.map_err(commit_error)?;
                Ok(Committed { version: Version(committed.version) })
            }
        }
    }
}
