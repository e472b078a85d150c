//! A transaction of a store on TiKV.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use tikv_client::Transaction;

use super::client::Client;
use super::garbage::OpenSnapshot;
use super::metrics::add;
use super::read::{self, Pages};
use super::shared::{Shared, transaction_options};
use super::{attempts, commit};
use crate::write_set::WriteSet;
use crate::{
    CommitError, Committed, Direction, KeyRange, ReadError, ScanLimit, TransactionLimits, Txn, Version,
};

/// How many of the keys that were read are remembered, to choose the anchor of the attempt's row by.
const READ_KEYS_MAX: usize = 64;

/// A transaction of a [`TikvStore`](super::TikvStore).
pub struct TikvTxn {
    pub(super) shared: Arc<Shared>,
    /// The client that gave the snapshot, and its transaction, which only commits: reads go to any client.
    pub(super) client: Arc<Client>,
    pub(super) transaction: Transaction,
    pub(super) start: Version,
    began_ms: i64,
    pub(super) write_set: WriteSet,
    read_keys: HashSet<Bytes>,
    open: OpenSnapshot,
}

impl TikvTxn {
    pub(super) async fn begin(shared: Arc<Shared>) -> Result<Self, ReadError> {
        let began_ms = shared.options.clock.monotonic_ms();
        let begin = |client: tikv_client::TransactionClient| async move {
            client.begin_with_options(transaction_options()).await
        };
        add(&shared.counters.begins, 1);
        let (transaction, client) = shared.ask(begin).await?;
        let start = shared.observe(&transaction.start_timestamp());
        let open = OpenSnapshot::new(shared.clone(), start, began_ms);
        Ok(Self {
            shared,
            client,
            transaction,
            start,
            began_ms,
            write_set: WriteSet::default(),
            read_keys: HashSet::new(),
            open,
        })
    }

    fn limits(&self) -> &TransactionLimits {
        &self.shared.options.limits
    }

    /// Whether it writes or guards and has outlived its time.
    pub(super) fn has_expired(&self) -> bool {
        let age_ms = self.shared.options.clock.monotonic_ms().saturating_sub(self.began_ms);
        !self.write_set.is_empty() && u64::try_from(age_ms).is_ok_and(|age_ms| age_ms > self.limits().max_ms)
    }

    fn check_age(&self) -> Result<(), ReadError> {
        if self.has_expired() {
            return Err(ReadError::Expired { max_ms: self.limits().max_ms });
        }
        Ok(())
    }

    fn remember_read(&mut self, key: &[u8]) {
        if self.read_keys.len() < READ_KEYS_MAX {
            self.read_keys.insert(Bytes::copy_from_slice(key));
        }
    }

    /// What the row of this transaction's attempt lies beside: what is likely to be written again soon, so that the row
    /// is used again. The prefix of what it puts versioned; or a key that it has read and writes; or any that it writes.
    pub(super) fn anchor(&self) -> Bytes {
        let versioned = self.write_set.versioned().first().map(|put| &put.prefix);
        let written = self.write_set.writes();
        let read = || written.keys().find(|key| self.read_keys.contains(*key));
        let any = || written.keys().next().or(self.write_set.guards().first());
        versioned.or_else(read).or_else(any).cloned().expect("there is something to commit")
    }
}

impl Txn for TikvTxn {
    fn start_version(&self) -> Version {
        self.start
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.check_age()?;
        if let Some(own) = self.write_set.get(key) {
            return Ok(own.value());
        }
        self.remember_read(key);
        let found = read::get(&self.shared, self.start, key).await?;
        self.open.check_kept(self.began_ms)?;
        Ok(found)
    }

    async fn get_many(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        self.check_age()?;
        let unwritten = self.write_set.unwritten(keys);
        for key in &unwritten {
            self.remember_read(key);
        }
        let found = read::get_many(&self.shared, self.start, &unwritten).await?;
        self.open.check_kept(self.began_ms)?;
        self.write_set.read_many(keys, |key| Ok(found.get(key).cloned()))
    }

    async fn scan(
        &mut self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        self.check_age()?;
        let mut entries = Vec::new();
        let (mut count, mut bytes) = (limit.count, limit.value_bytes);
        let mut pages = Pages::new(self.start, range, direction, count);
        while count > 0 && (bytes > 0 || entries.is_empty()) {
            let Some(page) = pages.next(&self.shared, count, bytes).await? else { break };
            let base = page.entries.into_iter().map(Ok::<_, ReadError>);
            let left = ScanLimit { count, value_bytes: bytes };
            let some = self.write_set.scan(&page.covered, left, direction, base, Ok)?;
            count -= some.len();
            bytes = bytes.saturating_sub(some.iter().map(|(_, value)| value.len()).sum());
            entries.extend(some);
            if page.rest.is_none() {
                break;
            }
        }
        self.open.check_kept(self.began_ms)?;
        Ok(entries)
    }

    async fn scan_keys(
        &mut self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
    ) -> Result<Vec<Bytes>, ReadError> {
        self.check_age()?;
        let mut keys = Vec::new();
        let mut pages = Pages::new(self.start, range, direction, count);
        while keys.len() < count {
            let Some(page) = pages.next_keys(&self.shared, count - keys.len()).await? else { break };
            let base = page.entries.into_iter().map(|key| Ok::<_, ReadError>((key, ())));
            keys.extend(self.write_set.scan_keys(&page.covered, count - keys.len(), direction, base)?);
        }
        self.open.check_kept(self.began_ms)?;
        Ok(keys)
    }

    crate::write_methods!(assert_not_a_row);

    async fn commit(self) -> Result<Committed, CommitError> {
        commit::commit(self).await
    }
}

/// Rows of attempts have a mark in their keys that nobody uses by chance.
fn assert_not_a_row(key: &Bytes) {
    assert!(!attempts::is_row(key), "keys that end like the rows of attempts belong to the store");
}
