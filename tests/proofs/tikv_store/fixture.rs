//! Stores on a cluster, and steps that the cases share.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_store::{
    CommitError, Committed, ManualClock, Outcome, ReadError, Store, TikvAddress, TikvOptions, TikvStore, Txn,
    Version,
};
use tidegate_tests::deadline::Deadline;

/// Does something again until it goes well. A macro, as what an async closure borrows cannot be sent to a task.
macro_rules! until_ok {
    ($what:expr, $step:expr) => {{
        let deadline = tidegate_tests::deadline::Deadline::start();
        loop {
            match $step.await {
                Ok(done) => break done,
                Err(error) => deadline.check(&format!("{}: {error}", $what)),
            }
            tokio::task::yield_now().await;
        }
    }};
}
pub(crate) use until_ok;

/// How long a machine that is busy with other things lets anybody wait is not promised.
const PATIENCE_MS: u64 = 60_000;

/// Options for a namespace, of one who waits for what takes long; one client is enough where nothing is to be shown of several.
pub(crate) fn options(address: &str) -> TikvOptions {
    TikvOptions {
        connect_timeout_ms: PATIENCE_MS,
        request_timeout_ms: PATIENCE_MS,
        // The suite of all backends waits for no transaction longer than twice its life.
        commit_max_ms: 40_000,
        ..default_options(address)
    }
}

/// As before, of one who waits as long as is promised to users.
pub(crate) fn default_options(address: &str) -> TikvOptions {
    let address: TikvAddress = address.parse().expect("an address");
    TikvOptions { clients: 1, ..TikvOptions::new(address) }
}

/// Options with a clock that stands still.
pub(crate) fn options_with_clock(address: &str, clock: &ManualClock) -> TikvOptions {
    TikvOptions { clock: Arc::new(clock.clone()), ..options(address) }
}

pub(crate) async fn connect(options: TikvOptions) -> TikvStore {
    TikvStore::connect(options).await.expect("the store opens")
}

pub(crate) fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Puts one entry.
pub(crate) async fn try_put(store: &TikvStore, key: &str, value: &str) -> Result<Committed, CommitError> {
    let mut txn =
        store.begin().await.map_err(|error| CommitError::Unavailable { reason: error.to_string() })?;
    txn.put(text(key), text(value));
    txn.commit().await
}

/// Puts one entry, however often that takes.
pub(crate) async fn put(store: &TikvStore, key: &str, value: &str) -> Version {
    until_ok!("a commit", async { try_put(store, key, value).await }).version
}

/// Reads a key as it is now.
pub(crate) async fn try_get(store: &TikvStore, key: &str) -> Result<Option<Bytes>, ReadError> {
    store.begin().await?.get(key.as_bytes()).await
}

/// Adds one to the entry `count`, unless that is refused.
async fn increment(store: &TikvStore) -> Result<(), CommitError> {
    let unavailable = |error: ReadError| CommitError::Unavailable { reason: error.to_string() };
    let mut txn = store.begin().await.map_err(unavailable)?;
    let count = txn.get(b"count").await.map_err(unavailable)?;
    let count: usize = count.map_or(0, |count| String::from_utf8_lossy(&count).parse().expect("a number"));
    txn.put(text("count"), text(&(count + 1).to_string()));
    let Err(error) = txn.commit().await else { return Ok(()) };
    let CommitError::Unknown { token } = &error else { return Err(error) };
    match until_ok!("it is settled", async { store.outcome(token).await }) {
        Outcome::Applied => Ok(()),
        Outcome::NotApplied => Err(error),
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Deadline::start();
    while !condition() {
        deadline.check(what);
        tokio::task::yield_now().await;
    }
}

/// Writers that add one to the entry `count` so many times each, whatever that takes.
pub(crate) struct Increments {
    store: TikvStore,
    writers: Vec<tokio::task::JoinHandle<()>>,
    each: usize,
}

impl Increments {
    pub(crate) fn begin(store: &TikvStore, writers: usize, each: usize) -> Self {
        let write = |_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..each {
                    until_ok!("an increment", async { increment(&store).await });
                }
            })
        };
        Self { store: store.clone(), writers: (0..writers).map(write).collect(), each }
    }

    pub(crate) fn are_done(&self) -> bool {
        self.writers.iter().all(tokio::task::JoinHandle::is_finished)
    }

    /// Waits until there are more, or all.
    pub(crate) async fn go_on(&self) {
        let commits = self.store.metrics().commits;
        until("it goes on", || self.store.metrics().commits > commits || self.are_done()).await;
    }

    /// Waits for the writers: each increment counts once, and some of them had to be settled.
    pub(crate) async fn all_count_once(self) {
        let count = self.writers.len() * self.each;
        for writer in self.writers {
            writer.await.expect("the writer ends");
        }
        let found = until_ok!("a read", async { try_get(&self.store, "count").await });
        assert_eq!(found, Some(text(&count.to_string())));
        let metrics = self.store.metrics();
        assert!(metrics.settled >= 1, "{metrics:?}");
    }
}
