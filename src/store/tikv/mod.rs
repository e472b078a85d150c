//! The store on a TiKV cluster.
//!
//! What it is: a namespace of a cluster that others use, too. Transactions are TiKV's: optimistic, in one phase where all
//! keys lie together and are small, in two otherwise. A pool of clients reaches it.
//!
//! What it refuses to do: it opens no namespace that has something else in it, or a newer layout; it never waits without
//! a limit; it rolls nothing back whose fate it does not know, and runs nothing again.
//!
//! What always holds: a commit that has no clear answer is settled by writing before it is answered, or is said to be
//! unknown (`attempts`, `settle`); an order version is taken from the oracle right before the writes are sent, and what
//! does not take effect within `commit.max.ms` after that is given up; no old version goes that an open snapshot needs
//! (`garbage`), nor a range that one may read (`dropped`). Every error of the client is judged in one place (`failure`).
//!
//! Differences from the other backends: order versions are not the order of commits (see [`Store::order_lag_ms`]);
//! transactions that guard one key at the same time conflict.

mod address;
mod attempts;
mod bounds;
mod client;
mod commit;
mod copies;
mod dropped;
mod failure;
mod garbage;
mod keys;
mod locks;
mod mark;
mod metrics;
mod options;
mod oracle_clock;
mod pool;
mod probe;
mod read;
mod settle;
mod shared;
mod sweep;
mod txn;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

pub use address::{TikvAddress, TikvAddressError};
pub use garbage::Collected;
pub use metrics::TikvMetrics;
pub use options::{TRANSACTION_MAX_BYTES, TikvOpenError, TikvOptions, TikvTls, VALUE_MAX_BYTES};
pub use txn::TikvTxn;

use self::attempts::{Rows, Run};
use self::bounds::Bounds;
use self::client::ClientSettings;
use self::garbage::Holds;
use self::keys::Namespace;
use self::metrics::Counters;
use self::oracle_clock::OracleClock;
use self::pool::Pool;
use self::read::Pages;
use self::shared::{AskError, Shared};
use crate::{
    CommitError, CommitToken, Direction, Dropped, KeyRange, Outcome, ReadError, Store, Txn, Version,
};

/// How many keys [`Store::delete_range`] removes in one transaction: so many of the longest are not too many to copy.
const DELETE_RANGE_STEP_KEYS: usize = 500;
/// How often a step of it is tried when others write in the range, or an answer is lost.
const DELETE_RANGE_ATTEMPTS: usize = 100;

/// A store on TiKV. Clones are handles on the same store; it closes when the last handle and the last transaction are
/// dropped, or by [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct TikvStore {
    handle: Arc<Handle>,
}

/// What all handles hold; the tasks do not.
struct Handle {
    shared: Arc<Shared>,
    closing: watch::Sender<bool>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.closing.send_replace(true);
    }
}

impl TikvStore {
    /// Connects to the cluster and opens the namespace, which is created if it is empty.
    ///
    /// # Errors
    /// See [`TikvOpenError`]; within `connect_timeout_ms`.
    pub async fn connect(options: TikvOptions) -> Result<Self, TikvOpenError> {
        options.check()?;
        let limit = Duration::from_millis(options.connect_timeout_ms);
        let deadline = Instant::now() + limit;
        let address = options.address.clone();
        let unavailable = |reason| TikvOpenError::Unavailable { address: address.clone(), reason };
        // Half of the time is left to connect and to open.
        probe::probe(&options, limit / 2).await?;
        let settings = ClientSettings::new(options.address.pd_endpoints.clone(), options.tls.clone());
        let left = deadline.saturating_duration_since(Instant::now());
        let pool = Pool::connect(settings, options.clients, left).await.map_err(unavailable)?;
        let namespace = Namespace::new(&options.address.namespace);
        let monotonic_ms = options.clock.monotonic_ms();
        let run = Run::new(rand::random());
        let mut shared = Shared {
            namespace: namespace.clone(),
            pool,
            clock: Mutex::new(OracleClock::new(0, monotonic_ms)),
            rows: Mutex::new(Rows::new(run)),
            run,
            met_rows: Mutex::default(),
            bounds: Mutex::new(Bounds::of(&options)),
            holds: Mutex::new(Holds::new(rand::random())),
            holding: tokio::sync::Mutex::default(),
            counters: Counters::default(),
            options,
        };
        let reason = |error: AskError| unavailable(ReadError::from(error).to_string());
        let own = shared.bounds();
        let claiming = shared.ask_until(deadline, |client| mark::claim(client, namespace.clone(), own));
        let (found, _) = claiming.await.map_err(reason)?;
        shared.keep_to(found.check(&address.namespace, own)?);
        let asking = shared.ask_until(deadline, async |client| client.current_timestamp().await);
        let (timestamp, _) = asking.await.map_err(reason)?;
        shared.observe(&timestamp);
        let shared = Arc::new(shared);
        let (closing, closed) = watch::channel(false);
        tokio::spawn(sweep::run(shared.clone(), closed.clone()));
        tokio::spawn(garbage::run(shared.clone(), closed));
        Ok(Self { handle: Arc::new(Handle { shared, closing }) })
    }

    /// Has the namespace keep to what this process has, where that is higher: who opens it from now on may have as much, and
    /// who has it open hears of that with the next renewal of holds. For the one process that governs, once it knows that it
    /// is alone.
    ///
    /// # Errors
    /// While the cluster is away.
    pub async fn raise_bounds(&self) -> Result<(), ReadError> {
        bounds::raise_to_own(&self.handle.shared).await
    }

    /// For how long after it began a transaction of any process of the namespace may take effect, in milliseconds.
    #[must_use]
    pub fn transaction_lasts_ms(&self) -> u64 {
        self.handle.shared.bounds().transaction_lasts_ms()
    }

    /// Moves the cluster's safe point up to `safe_point`, so that older versions can go, but never past a snapshot that
    /// is open in any process of this namespace, nor past what may be open without being written down. One process at a
    /// time is to do this, and nothing else on this cluster.
    ///
    /// # Errors
    /// While the cluster is away: try again later.
    pub async fn collect_garbage(&self, safe_point: Version) -> Result<Collected, ReadError> {
        garbage::collect(&self.handle.shared, safe_point).await
    }

    /// Ends the transactions of this namespace that still hold locks and began before `older_than`: those of processes
    /// that have ended. It must be longer ago than a transaction that writes may live. How many locks were removed.
    ///
    /// # Errors
    /// While the cluster is away: try again later.
    pub async fn resolve_locks(&self, older_than: Version) -> Result<u64, ReadError> {
        locks::resolve(&self.handle.shared, older_than).await
    }

    /// Writes down the oldest open snapshot of this process for whoever collects old versions, if it is old enough for
    /// that. Happens by itself, too.
    ///
    /// # Errors
    /// While the cluster is away.
    pub async fn renew_hold(&self) -> Result<(), ReadError> {
        garbage::renew(&self.handle.shared).await
    }

    /// The newest version of the oracle.
    ///
    /// # Errors
    /// While the cluster is away.
    pub async fn oracle_version(&self) -> Result<Version, ReadError> {
        Ok(self.handle.shared.oracle_version().await?)
    }

    /// Removes what this process keeps in the namespace for itself, and closes the connections. Calls fail from then on.
    pub async fn shutdown(&self) {
        let shared = &self.handle.shared;
        self.handle.closing.send_replace(true);
        sweep::finish(shared).await;
        garbage::finish(shared).await;
        shared.pool.close();
    }

    /// What the store counts.
    #[must_use]
    pub fn metrics(&self) -> TikvMetrics {
        let shared = &self.handle.shared;
        TikvMetrics {
            clients_replaced: shared.pool.replaced(),
            clients_connected: shared.pool.connected() as u64,
            oldest_snapshot_ms: shared.holds().oldest_age_ms(shared.options.clock.monotonic_ms()),
            ..shared.counters.read()
        }
    }

    /// One step of [`Store::delete_range`]: what is left of the range.
    async fn delete_step(&self, range: &KeyRange) -> Result<Option<KeyRange>, CommitError> {
        let mut txn = self.begin().await.map_err(not_applied)?;
        let mut pages = Pages::new(txn.start_version(), range, Direction::Forward, DELETE_RANGE_STEP_KEYS);
        let page = pages.next_keys(&self.handle.shared, DELETE_RANGE_STEP_KEYS).await.map_err(not_applied)?;
        let Some(page) = page else { return Ok(None) };
        for key in page.entries {
            txn.delete(key);
        }
        txn.commit().await?;
        Ok(page.rest)
    }
}

impl Store for TikvStore {
    type Txn = TikvTxn;

    async fn begin(&self) -> Result<TikvTxn, ReadError> {
        TikvTxn::begin(self.handle.shared.clone()).await
    }

    /// In transactions of some keys: what is deleted goes with the safe point.
    async fn delete_range(&self, range: KeyRange) -> Result<(), CommitError> {
        let mut rest = Some(range).filter(|range| !range.is_empty());
        let mut attempts = 0;
        while let Some(range) = rest.take() {
            match self.delete_step(&range).await {
                Ok(left) => {
                    rest = left.filter(|left| !left.is_empty());
                    attempts = 0;
                }
                // To remove a key twice is the same.
                Err(CommitError::Conflict | CommitError::Unknown { .. })
                    if attempts < DELETE_RANGE_ATTEMPTS =>
                {
                    attempts += 1;
                    rest = Some(range);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn drop_range(&self, range: KeyRange, dropped_at: Version) -> Result<Dropped, CommitError> {
        dropped::drop_range(self, range, dropped_at).await
    }

    async fn outcome(&self, token: &CommitToken) -> Result<Outcome, ReadError> {
        commit::outcome(&self.handle.shared, token).await
    }

    fn now_ms(&self) -> i64 {
        self.handle.shared.now_ms()
    }

    fn oldest_open_ms(&self) -> i64 {
        // Other processes have transactions, too; and one that has just not expired may be committing.
        self.now_ms().saturating_sub_unsigned(self.transaction_lasts_ms())
    }

    fn order_lag_ms(&self) -> u64 {
        self.handle.shared.bounds().commit_max_ms
    }

    fn is_shared(&self) -> bool {
        true
    }
}

fn not_applied(error: ReadError) -> CommitError {
    match error {
        ReadError::Unavailable { reason } => CommitError::Unavailable { reason },
        ReadError::Expired { max_ms } => CommitError::Expired { max_ms },
        ReadError::Damaged { place } => {
            CommitError::Unavailable { reason: format!("damaged data at {place}") }
        }
    }
}
