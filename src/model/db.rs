//! The database of an application: transactions over a store, run again when they lose against others.

use std::sync::Arc;

use tidegate_format::PartitionId;
use tidegate_outbox::{PublishSettings, Wakeup};
use tidegate_store::{CommitError, CommitToken, Outcome, Store, Txn};

use crate::built::Definitions;
use crate::once::Expired;
use crate::{Ambient, DbSettings, Error, SystemAmbient, Tx};

/// How often a commit of unknown outcome is asked about before it is given back as [`Error::Unknown`].
const SETTLE_ATTEMPTS_MAX: u32 = 5;

/// Models, indexes and events over a store. Clones are handles on the same.
///
/// Its calls are made within a tokio runtime that has time enabled: a commit waits for the disk for a bounded time, and
/// what lost against another transaction pauses before it runs again.
pub struct Db<S: Store> {
    shared: Arc<Shared<S>>,
}

/// What the transactions of a [`Db`] have in common.
pub(crate) struct Shared<S: Store> {
    pub(crate) store: S,
    pub(crate) settings: DbSettings,
    pub(crate) publish: Arc<PublishSettings>,
    pub(crate) ambient: Arc<dyn Ambient>,
    pub(crate) expired: Expired,
    pub(crate) definitions: Definitions,
    wakeup: Arc<dyn Wakeup>,
}

impl<S: Store> Clone for Db<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S: Store> Db<S> {
    /// A database over a store. `wakeup` is told which partitions have new events after each commit.
    #[must_use]
    pub fn new(store: S, settings: DbSettings, wakeup: Arc<dyn Wakeup>) -> Self {
        Self::with_ambient(store, settings, wakeup, Arc::new(SystemAmbient))
    }

    /// As [`new`](Self::new), with its own sleep and randomness.
    #[must_use]
    pub fn with_ambient(
        store: S,
        settings: DbSettings,
        wakeup: Arc<dyn Wakeup>,
        ambient: Arc<dyn Ambient>,
    ) -> Self {
        let publish = Arc::new(settings.publish.clone());
        Self {
            shared: Arc::new(Shared {
                store,
                settings,
                publish,
                ambient,
                expired: Expired::default(),
                definitions: Definitions::default(),
                wakeup,
            }),
        }
    }

    pub(crate) fn of(shared: Arc<Shared<S>>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<S>> {
        &self.shared
    }

    pub(crate) fn store(&self) -> &S {
        &self.shared.store
    }

    /// The store under it, with keys of every kind. For Tidegate's own crates and tests. An application has
    /// [`Tx::user`].
    #[doc(hidden)]
    #[must_use]
    pub fn raw_store(&self) -> &S {
        &self.shared.store
    }

    /// What is *now* by the store's clock, in milliseconds since the Unix epoch: by it events are due. Within a
    /// transaction it is [`Tx::now_ms`].
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.shared.store.now_ms()
    }

    /// Runs `work` in a transaction and commits it. If another transaction came first, it runs again on a new snapshot:
    /// whatever it does outside of the transaction it does as often. If it fails, nothing is applied.
    ///
    /// `work` is an ordinary closure over an async block; what it uses from outside it takes by reference:
    /// `let user = &user; db.transaction(|tx| async move { tx.insert(user).await })`.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use serde::{Deserialize, Serialize};
    /// # use tidegate_model::{Db, DbSettings, Error, NoWakeup, Model};
    /// # use tidegate_store::{MemoryStore, SystemClock};
    /// #[derive(Serialize, Deserialize, Model)]
    /// # #[model(crate = tidegate_model)]
    /// #[model(table = "counters")]
    /// struct Counter {
    ///     id: String,
    ///     count: u64,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let store = MemoryStore::new(Arc::new(SystemClock));
    /// # let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
    /// let count = async |name: &str| {
    ///     db.transaction(|tx| async move {
    ///         let found = tx.find::<Counter>(name).await?;
    ///         let count = found.map_or(0, |found| found.count) + 1;
    ///         tx.save(&Counter { id: name.to_owned(), count }).await?;
    ///         Ok(count)
    ///     })
    ///     .await
    /// };
    /// assert_eq!(count("visits").await?, 1);
    /// assert_eq!(count("visits").await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `work` returns, [`Error::Conflict`] after the last attempt, [`Error::Unknown`] if the store lost the answer
    /// and does not come back, or why the commit was refused.
    pub async fn transaction<T, F, Fut>(&self, work: F) -> Result<T, Error>
    where
        F: FnMut(Tx<S>) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        self.try_transaction(work).await
    }

    /// As [`transaction`](Self::transaction), for work with an error type of its own.
    ///
    /// # Errors
    /// As [`transaction`](Self::transaction), turned into that type.
    pub async fn try_transaction<T, E, F, Fut>(&self, mut work: F) -> Result<T, E>
    where
        E: From<Error>,
        F: FnMut(Tx<S>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let policy = self.shared.settings.retry;
        let mut attempts = 0;
        loop {
            let tx = self.begin().await?;
            let result = match work(tx.share()).await {
                Ok(result) => result,
                Err(error) => {
                    // Whoever still has a handle, and may be at work with it, holds nobody up.
                    tx.abandon();
                    return Err(error);
                }
            };
            attempts += 1;
            match tx.commit().await {
                Ok(()) => return Ok(result),
                Err(Error::Conflict { .. }) if attempts < policy.attempts_max => {
                    tracing::debug!(attempts, "transaction lost against another");
                    let pause = policy.pause(attempts, self.shared.ambient.random());
                    self.shared.ambient.sleep(pause).await;
                }
                Err(Error::Conflict { .. }) => return Err(Error::Conflict { attempts }.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Begins a transaction that the caller commits. It is not run again if it loses.
    ///
    /// # Errors
    /// What the store says.
    pub async fn begin(&self) -> Result<Tx<S>, Error> {
        let txn = self.shared.store.begin().await?;
        Ok(Tx::new(self.shared.clone(), txn))
    }

    /// What became of a commit that returned [`Error::Unknown`].
    ///
    /// # Errors
    /// The store does not say: ask again later.
    pub async fn outcome(&self, token: &CommitToken) -> Result<Outcome, Error> {
        Ok(self.shared.store.outcome(token).await?)
    }
}

impl<S: Store> Tx<S> {
    /// Commits, and wakes the relays of the partitions that have something new. A lost answer is settled.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another transaction came first, [`Error::Unknown`] if the store lost the answer and does
    /// not come back, [`Error::HalfWritten`] if a write failed half way, or why the commit was refused.
    pub async fn commit(self) -> Result<(), Error> {
        let open = self.close().await?;
        if open.is_half_written {
            return Err(Error::HalfWritten);
        }
        let touched = open.touched();
        let has_unique_ids = open.has_unique_ids;
        let result = open.txn.commit().await;
        let concluded = self.shared().conclude(result.map(drop), &touched).await;
        self.store_trouble().noted(concluded)?;
        if has_unique_ids {
            self.shared().expire_unique_ids_in_time();
        }
        Ok(())
    }

    /// Ends it without effect, for all handles.
    pub async fn roll_back(self) {
        drop(self.close().await);
    }
}

impl<S: Store> Shared<S> {
    async fn conclude(&self, result: Result<(), CommitError>, touched: &[PartitionId]) -> Result<(), Error> {
        let applied = match result {
            Ok(()) => Outcome::Applied,
            Err(CommitError::Conflict) => Outcome::NotApplied,
            Err(CommitError::Unknown { token }) => match self.settle(&token).await {
                Some(outcome) => outcome,
                None => {
                    // It may have been applied, and a wake-up for nothing costs little.
                    self.wake(touched);
                    return Err(Error::Unknown { token });
                }
            },
            Err(error) => return Err(Error::Commit(error)),
        };
        match applied {
            Outcome::Applied => {
                self.wake(touched);
                Ok(())
            }
            Outcome::NotApplied => Err(Error::Conflict { attempts: 1 }),
        }
    }

    fn wake(&self, touched: &[PartitionId]) {
        if !touched.is_empty() {
            self.wakeup.committed(touched);
        }
    }

    /// What became of a commit; none if the store does not say.
    async fn settle(&self, token: &CommitToken) -> Option<Outcome> {
        for attempt in 1..=SETTLE_ATTEMPTS_MAX {
            match self.store.outcome(token).await {
                Ok(outcome) => return Some(outcome),
                Err(error) => tracing::warn!(%token, attempt, %error, "outcome of a commit not known yet"),
            }
            if attempt < SETTLE_ATTEMPTS_MAX {
                let pause = self.settings.retry.pause(attempt, self.ambient.random());
                self.ambient.sleep(pause).await;
            }
        }
        None
    }
}
