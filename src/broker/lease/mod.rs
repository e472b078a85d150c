//! One broker for each namespace of a store that several can reach: the lease that says which.
//!
//! What it is: a row `broker/{id}` that its holder renews. A starting broker [`acquire`]s: it takes the place of a holder
//! whose row has not changed for a whole lease, and refuses to start beside one that lives. A [`Keeper`] renews; a
//! [`Lease`] is what everybody else asks.
//!
//! What it refuses to do: it protects no write. Those are fenced by epochs in their own snapshots; this is for answers
//! that write nothing, which only the holder may give.
//!
//! What always holds: no clocks are compared (`observer.rs`, `term.rs`); a lease that lapsed because the store was away
//! lives again once the row shows that nobody came in between; one that another has taken is lost for good.

mod keeper;
mod observer;
mod term;
#[cfg(test)]
mod tests;

use std::fmt;

use tidegate_format::{BrokerId, BrokerKey, BrokerValue, ClusterKey, FormatError};
use tidegate_store::{CommitError, Direction, KeyRange, ReadError, ScanLimit, Store, Txn, commit_settled};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, sleep_until};
use tracing::info;

pub(crate) use keeper::Keeper;
use observer::{Observer, Verdict};
use term::Term;

/// Rows of brokers that are looked at: there is one, or the few that crashes have left.
const BROKERS_MAX: usize = 1_000;
/// How often a holder is looked at while it is not known whether it lives, in a lease.
const LOOKS_PER_LEASE: u32 = 40;
/// How often taking the lease is tried while others write the same rows.
const ATTEMPTS_MAX: usize = 16;

/// A broker that holds, or held, a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseHolder {
    /// Its id.
    pub id: BrokerId,
    /// Its row.
    pub value: BrokerValue,
}

impl fmt::Display for LeaseHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BrokerValue { host, port, incarnation, lease_ms, .. } = &self.value;
        // Enough of the incarnation to find it in a log.
        let short = incarnation >> 96;
        write!(f, "broker {} at {host}:{port} (process {short:08x}, lease of {lease_ms} ms)", self.id.0)
    }
}

/// Why a broker has no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Another broker has it, and lives.
    #[error(
        "the namespace is in use by {holder}, which goes on renewing its lease: stop that broker, or give this one another \
         namespace in the setting `store`"
    )]
    Held {
        /// Who.
        holder: LeaseHolder,
    },
    /// The rows of brokers cannot be read.
    #[error("the lease cannot be read: {0}")]
    Read(#[from] ReadError),
    /// A row is not what this release writes.
    #[error("the lease cannot be read: {0}")]
    Format(#[from] FormatError),
    /// The lease cannot be written.
    #[error("the lease cannot be taken: {0}")]
    Commit(#[from] CommitError),
}

/// How a lease stands.
#[derive(Clone, Debug)]
enum Standing {
    /// Nobody else can reach the store.
    Unshared,
    /// It lives until then, unless it is renewed.
    Until { at: Instant, trouble: Option<String> },
    /// Another broker has taken it, or this one has given it back.
    Lost { reason: String },
}

/// Whether this broker may answer. Clones are of the same lease.
#[derive(Clone, Debug)]
pub(crate) struct Lease(watch::Receiver<Standing>);

impl Lease {
    /// That of a broker whose store nobody else can reach: it never ends.
    pub(crate) fn unshared() -> Self {
        Self(watch::channel(Standing::Unshared).1)
    }

    /// Whether it lives now.
    pub(crate) fn is_live(&self) -> bool {
        match &*self.0.borrow() {
            Standing::Unshared => true,
            Standing::Until { at, .. } => Instant::now() < *at,
            Standing::Lost { .. } => false,
        }
    }

    /// Waits until it lives.
    pub(crate) async fn live(&self) {
        let mut standing = self.0.clone();
        while !self.is_live() {
            if standing.changed().await.is_err() {
                // The keeper is gone: it will not live again.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until it is lost for good, and gives the reason.
    pub(crate) async fn lost(&self) -> String {
        let mut standing = self.0.clone();
        loop {
            if let Standing::Lost { reason } = &*standing.borrow_and_update() {
                return reason.clone();
            }
            if standing.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Why it does not live, if it does not.
    pub(crate) fn trouble(&self) -> Option<String> {
        match &*self.0.borrow() {
            Standing::Until { at, trouble } if Instant::now() >= *at => {
                let why = trouble.as_deref().unwrap_or("no answer from the store yet");
                Some(format!("this broker's lease has lapsed and is being renewed: {why}"))
            }
            Standing::Lost { reason } => Some(reason.clone()),
            _ => None,
        }
    }
}

/// Takes the lease of a namespace for this broker: at once if nobody has it, after a whole lease if its holder is silent.
///
/// # Errors
/// [`LeaseError::Held`] once the holder is seen to live; the others if the store fails.
pub(crate) async fn acquire<S: Store>(store: S, me: LeaseHolder) -> Result<(Lease, Keeper<S>), LeaseError> {
    let mut observer = Observer::default();
    let lease = Duration::from_millis(me.value.lease_ms.into());
    let (mut attempts, mut is_told) = (0, false);
    loop {
        let began = Instant::now();
        let mut txn = store.begin().await?;
        let rows = load_brokers(&mut txn).await?;
        match observer.see(&rows, began, Instant::now()) {
            Verdict::Held(holder) => return Err(LeaseError::Held { holder }),
            Verdict::Waiting { holder, until } => {
                if !is_told {
                    info!(%holder, "waiting for the lease of a broker that may be gone");
                    is_told = true;
                }
                drop(txn);
                let look = Instant::now() + lease / LOOKS_PER_LEASE;
                sleep_until(look.min(until)).await;
            }
            Verdict::Vacant => {
                attempts += 1;
                match take(&store, txn, &rows, &me).await {
                    Ok(()) => {
                        let term = Term::new(lease, began);
                        return Ok(Keeper::new(store, me, term));
                    }
                    // Another broker starts, or the holder lives after all: look again.
                    Err(LeaseError::Commit(CommitError::Conflict)) if attempts < ATTEMPTS_MAX => {
                        sleep(lease / LOOKS_PER_LEASE).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Writes this broker's row in place of those that were read.
async fn take<S: Store>(
    store: &S,
    mut txn: S::Txn,
    rows: &[LeaseHolder],
    me: &LeaseHolder,
) -> Result<(), LeaseError> {
    for row in rows {
        txn.delete(BrokerKey { id: row.id }.encode());
    }
    txn.put(BrokerKey { id: me.id }.encode(), me.value.encode());
    // Of two brokers with different ids that start at the same time, one must meet a conflict.
    let cluster = ClusterKey.encode();
    if let Some(value) = txn.get(&cluster).await? {
        txn.put(cluster, value);
    }
    Ok(commit_settled(store, txn).await?)
}

/// The rows of all brokers, by id.
async fn load_brokers(txn: &mut impl Txn) -> Result<Vec<LeaseHolder>, LeaseError> {
    let (start, end) = BrokerKey::all();
    let limit = ScanLimit::count(BROKERS_MAX);
    let rows = txn.scan(&KeyRange::new(start, end), limit, Direction::Forward).await?;
    let decode = |(key, value): (bytes::Bytes, bytes::Bytes)| {
        Ok(LeaseHolder { id: BrokerKey::decode(&key)?.id, value: BrokerValue::decode(value)? })
    };
    rows.into_iter().map(decode).collect()
}
