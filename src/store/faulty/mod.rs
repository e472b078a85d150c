//! A store that fails when a test says so.
//!
//! What it is: a wrapper over any [`Store`] with a handle, [`Faults`], by which a test refuses begins, reads and
//! commits, loses the answer to a commit (which was applied, or was not, or arrives after later ones), sends the store
//! away and back, and holds a transaction at a [`Point`] until it is let go. Two wrappers over clones of one store are
//! two processes that fail apart.
//!
//! What it refuses to do: nothing happens by chance or by time. Without rules it changes nothing about the store under
//! it, but that the keys from [`RESERVED_KEYS_START`] on are its own.
//!
//! What always holds: a commit whose answer is lost can be settled by [`Store::outcome`], whatever others wrote since,
//! and after that never changes from one to the other.

mod gate;
mod rules;
mod token;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

pub use gate::{Gate, Point};
pub use rules::{CommitFault, Faults, On};
pub use token::RESERVED_KEYS_START;

use crate::{
    CommitError, CommitToken, Committed, Direction, Dropped, KeyRange, Outcome, ReadError, ScanLimit, Store,
    Txn, Version,
};
use rules::Touched;
use token::TokenRows;

/// A store that fails when a test says so. Clones share their faults.
pub struct FaultyStore<S: Store> {
    inner: S,
    shared: Arc<Shared<S::Txn>>,
}

struct Shared<T> {
    faults: Faults,
    token_rows: Mutex<TokenRows>,
    late: Mutex<VecDeque<T>>,
}

impl<T> Shared<T> {
    fn token_rows(&self) -> MutexGuard<'_, TokenRows> {
        self.token_rows.lock().expect("nothing panics with the lock held")
    }

    fn late(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.late.lock().expect("nothing panics with the lock held")
    }
}

impl<S: Store> Clone for FaultyStore<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: self.shared.clone() }
    }
}

impl<S: Store> FaultyStore<S> {
    /// Wraps a store. Each commit takes one of `nonces`, which must not repeat, also not in other wrappers over the
    /// same store.
    #[must_use]
    pub fn new(inner: S, nonces: impl FnMut() -> u128 + Send + 'static) -> Self {
        let shared = Shared {
            faults: Faults::default(),
            token_rows: Mutex::new(TokenRows::new(Box::new(nonces))),
            late: Mutex::default(),
        };
        Self { inner, shared: Arc::new(shared) }
    }

    /// The handle by which a test makes it fail.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The store under the wrapper.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Lets the oldest attempt of [`CommitFault::LostLate`] arrive now, and tells what became of it; `None` if none is
    /// under way.
    pub async fn deliver_late(&self) -> Option<Result<Committed, CommitError>> {
        let late = self.shared.late().pop_front();
        match late {
            Some(txn) => Some(txn.commit().await),
            None => None,
        }
    }
}

impl<S: Store> FaultyStore<S> {
    async fn open(
        &self,
        begin: impl Future<Output = Result<S::Txn, ReadError>> + Send,
    ) -> Result<FaultyTxn<S::Txn>, ReadError> {
        let faults = &self.shared.faults;
        faults.pass(Point::BeforeBegin, &Touched::default()).await;
        faults.check_begin()?;
        let rows_in_snapshot = self.shared.token_rows().answered();
        let inner = begin.await?;
        faults.pass(Point::AfterBegin, &Touched::default()).await;
        Ok(FaultyTxn { inner, shared: self.shared.clone(), touched: Touched::default(), rows_in_snapshot })
    }
}

impl<S: Store> Store for FaultyStore<S> {
    type Txn = FaultyTxn<S::Txn>;

    async fn begin(&self) -> Result<Self::Txn, ReadError> {
        self.open(self.inner.begin()).await
    }

    async fn begin_reading(&self) -> Result<Self::Txn, ReadError> {
        self.open(self.inner.begin_reading()).await
    }

    async fn delete_range(&self, range: KeyRange) -> Result<(), CommitError> {
        self.shared.faults.pass(Point::BeforeDeleteRange, &Touched::range(&range)).await;
        self.shared.faults.check_away().map_err(|reason| CommitError::Unavailable { reason })?;
        self.inner.delete_range(token::without_reserved(&range)).await
    }

    async fn drop_range(&self, range: KeyRange, dropped_at: Version) -> Result<Dropped, CommitError> {
        let faults = &self.shared.faults;
        faults.check_away().map_err(|reason| CommitError::Unavailable { reason })?;
        if faults.keeps(&range, dropped_at) {
            return Ok(Dropped::Later);
        }
        self.inner.drop_range(token::without_reserved(&range), dropped_at).await
    }

    async fn outcome(&self, token: &CommitToken) -> Result<Outcome, ReadError> {
        self.shared.faults.check_away().map_err(|reason| ReadError::Unavailable { reason })?;
        if token::is_reserved(&token.key) {
            token::settle(&self.inner, &token.key).await
        } else {
            self.inner.outcome(token).await
        }
    }

    fn now_ms(&self) -> i64 {
        self.inner.now_ms()
    }

    fn oldest_open_ms(&self) -> i64 {
        self.inner.oldest_open_ms()
    }

    fn clock_steps_back(&self) -> u64 {
        self.inner.clock_steps_back()
    }

    fn order_lag_ms(&self) -> u64 {
        self.shared.faults.order_lag_ms().unwrap_or_else(|| self.inner.order_lag_ms())
    }

    fn is_shared(&self) -> bool {
        self.shared.faults.is_shared() || self.inner.is_shared()
    }
}

/// A transaction of a [`FaultyStore`].
pub struct FaultyTxn<T: Txn> {
    inner: T,
    shared: Arc<Shared<T>>,
    touched: Touched,
    /// Up to which of the answered commits' token rows are in this snapshot, so that it can remove them.
    rows_in_snapshot: u64,
}

impl<T: Txn> FaultyTxn<T> {
    fn check_read(&self, touched: &Touched) -> Result<(), ReadError> {
        self.shared.faults.check_read(touched)
    }

    fn check_scan(&self, range: &KeyRange) -> Result<KeyRange, ReadError> {
        self.check_read(&Touched::range(range))?;
        Ok(token::without_reserved(range))
    }

    /// Commits with a token row, and loses the answer if told to.
    async fn attempt(mut self, fault: Option<CommitFault>) -> Result<Committed, CommitError> {
        let token = self.shared.token_rows().next_token();
        self.inner.put(token.key.clone(), token::applied());
        match fault {
            Some(CommitFault::Refused(error)) => Err(error),
            Some(CommitFault::LostNotApplied) => Err(CommitError::Unknown { token }),
            Some(CommitFault::LostApplied) => {
                // The answer is lost, whatever it is.
                let _lost = self.inner.commit().await;
                Err(CommitError::Unknown { token })
            }
            Some(CommitFault::LostLate) => {
                self.shared.late().push_back(self.inner);
                Err(CommitError::Unknown { token })
            }
            None => self.attempt_answered(token).await,
        }
    }

    /// Commits without a fault of ours, and takes the rows of earlier answered commits away with it.
    async fn attempt_answered(mut self, token: CommitToken) -> Result<Committed, CommitError> {
        let rows = self.shared.token_rows().take_answered(self.rows_in_snapshot);
        for (_, row) in &rows {
            self.inner.delete(row.clone());
        }
        match self.inner.commit().await {
            Ok(committed) => {
                self.shared.token_rows().answer(token.key);
                Ok(committed)
            }
            Err(CommitError::Unknown { .. }) => Err(CommitError::Unknown { token }),
            Err(error) => {
                self.shared.token_rows().put_back(rows);
                Err(error)
            }
        }
    }
}

impl<T: Txn> Txn for FaultyTxn<T> {
    fn start_version(&self) -> Version {
        self.inner.start_version()
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.check_read(&Touched::key(key))?;
        self.inner.get(key).await
    }

    async fn get_many(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        self.check_read(&Touched::keys(keys))?;
        self.inner.get_many(keys).await
    }

    async fn scan(
        &mut self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let range = self.check_scan(range)?;
        self.inner.scan(&range, limit, direction).await
    }

    async fn scan_keys(
        &mut self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
    ) -> Result<Vec<Bytes>, ReadError> {
        let range = self.check_scan(range)?;
        self.inner.scan_keys(&range, count, direction).await
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.touched.write(key.clone());
        self.inner.put(key, value);
    }

    fn put_versioned(&mut self, prefix: Bytes, suffix: Bytes, value: Bytes) {
        self.touched.write(prefix.clone());
        self.inner.put_versioned(prefix, suffix, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.touched.write(key.clone());
        self.inner.delete(key);
    }

    fn guard(&mut self, key: Bytes) {
        self.touched.write(key.clone());
        self.inner.guard(key);
    }

    fn growing(&mut self) {
        self.inner.growing();
    }

    async fn commit(self) -> Result<Committed, CommitError> {
        let shared = self.shared.clone();
        if self.touched.is_empty() {
            return self.inner.commit().await;
        }
        let touched = self.touched.clone();
        shared.faults.pass(Point::BeforeCommit, &touched).await;
        shared.faults.check_away().map_err(|reason| CommitError::Unavailable { reason })?;
        let fault = shared.faults.take_commit_fault(&touched);
        let answer = self.attempt(fault).await;
        shared.faults.pass(Point::AfterCommit, &touched).await;
        answer
    }
}

#[cfg(test)]
#[path = "faulty_tests.rs"]
mod tests;
