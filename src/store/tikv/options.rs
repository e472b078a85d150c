//! Settings of a store on TiKV, and why it did not open.

use std::path::PathBuf;
use std::sync::Arc;

use super::address::TikvAddress;
use crate::{Clock, SystemClock, TransactionLimits};

/// The largest `transaction.max.value.bytes`: a raft entry has at most 8 MiB (TiKV's default), and holds more than the
/// value.
pub const VALUE_MAX_BYTES: usize = 7 << 20;

/// The largest `transaction.max.bytes`: what the client copies for one commit grows with the square.
pub const TRANSACTION_MAX_BYTES: usize = 32 << 20;

/// The certificates for TLS to the Placement Drivers and to TiKV. All three are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TikvTls {
    /// The authority that signed the certificates of the cluster (PEM).
    pub ca: PathBuf,
    /// This client's certificate (PEM).
    pub cert: PathBuf,
    /// This client's private key (PEM).
    pub key: PathBuf,
}

/// How a store on TiKV is opened.
#[derive(Clone)]
pub struct TikvOptions {
    /// Where it is.
    pub address: TikvAddress,
    /// TLS, if the cluster has it.
    pub tls: Option<TikvTls>,
    /// How many clients there are, each with its own connections and its own thread.
    pub clients: usize,
    /// After so many milliseconds the opening is given up.
    pub connect_timeout_ms: u64,
    /// After so many milliseconds a begin, a read, or the question what became of a commit is given up.
    pub request_timeout_ms: u64,
    /// How far behind its order version a commit may take effect at most, in milliseconds (`commit.max.ms`): what takes
    /// longer than three fifths of it is given up, and what is not settled in the rest is said to be unknown.
    pub commit_max_ms: u64,
    /// The limits of one transaction; at most [`VALUE_MAX_BYTES`] and [`TRANSACTION_MAX_BYTES`].
    pub limits: TransactionLimits,
    /// Whether the others of the namespace are to keep to this `commit_max_ms` and these `limits` where they are higher than
    /// the namespace has them: for the broker that has its lease, which says when by
    /// [`TikvStore::raise_bounds`](super::TikvStore::raise_bounds). Where it is false, this process keeps to what the
    /// namespace has.
    pub governs: bool,
    /// A snapshot that has been open for so many milliseconds is written down for the collector of old versions.
    pub hold_after_ms: u64,
    /// How often that is renewed, in milliseconds. A hold that has not been renewed for six times as long is of a
    /// process that has ended.
    pub hold_renew_ms: u64,
    /// After so many milliseconds a pass over all locks of the namespace, or of the cluster, is given up.
    pub pass_max_ms: u64,
    /// Only its monotonic side is used, for ages and for the time that goes by between two answers of the oracle.
    pub clock: Arc<dyn Clock>,
}

impl TikvOptions {
    /// The defaults.
    #[must_use]
    pub fn new(address: TikvAddress) -> Self {
        Self {
            address,
            tls: None,
            clients: 4,
            connect_timeout_ms: 10_000,
            request_timeout_ms: 5_000,
            commit_max_ms: 5_000,
            limits: TransactionLimits {
                max_bytes: TRANSACTION_MAX_BYTES,
                max_value_bytes: VALUE_MAX_BYTES,
                ..TransactionLimits::default()
            },
            governs: false,
            hold_after_ms: 30_000,
            hold_renew_ms: 10_000,
            pass_max_ms: 60_000,
            clock: Arc::new(SystemClock),
        }
    }

    /// Refuses settings with which the store could not keep what it promises.
    pub(super) fn check(&self) -> Result<(), TikvOpenError> {
        let within = |setting, actual: u64, least: u64, most: u64| {
            if (least..=most).contains(&actual) {
                return Ok(());
            }
            Err(TikvOpenError::Setting { setting, actual, least, most })
        };
        within("tikv.clients", self.clients as u64, 1, 64)?;
        within("tikv.connect.timeout.ms", self.connect_timeout_ms, 100, 600_000)?;
        within("tikv.request.timeout.ms", self.request_timeout_ms, 100, 600_000)?;
        within("commit.max.ms", self.commit_max_ms, 100, 60_000)?;
        within("transaction.max.bytes", self.limits.max_bytes as u64, 1, TRANSACTION_MAX_BYTES as u64)?;
        within("transaction.max.value.bytes", self.limits.max_value_bytes as u64, 1, VALUE_MAX_BYTES as u64)
    }
}

/// Why a store on TiKV did not open.
#[derive(Debug, thiserror::Error)]
pub enum TikvOpenError {
    /// A setting is out of its bounds.
    #[error("{setting} is {actual}: it must be {least} to {most}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What it is.
        actual: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// A file of the certificates cannot be read or used.
    #[error("{setting} = {}: {reason}", path.display())]
    Tls {
        /// Which of the settings.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No Placement Driver answers as one, or the TLS with it fails.
    #[error(
        "no Placement Driver of {address} can be used: {reason}. Check the HOST:PORT of --store and the tikv.tls settings"
    )]
    PlacementDriver {
        /// The address.
        address: TikvAddress,
        /// What each of them did.
        reason: String,
    },
    /// The Placement Driver has no TiKV.
    #[error(
        "the Placement Driver of {address} knows no TiKV store that is up ({reason}): start one, or check the HOST:PORT of --store"
    )]
    NoStores {
        /// The address.
        address: TikvAddress,
        /// What it says.
        reason: String,
    },
    /// The namespace holds keys and not our mark.
    #[error(
        "the namespace '{namespace}' holds something that is not Tidegate's ({found}): choose another one in --store"
    )]
    NotOurs {
        /// The namespace.
        namespace: String,
        /// What lies there.
        found: String,
    },
    /// The namespace was written by a newer release.
    #[error(
        "the namespace '{namespace}' has layout {found}, and this release reads up to {known}: use a newer one"
    )]
    NewerLayout {
        /// The namespace.
        namespace: String,
        /// What it has.
        found: u32,
        /// What is known.
        known: u32,
    },
    /// The cluster answers, and does not do what was asked in time.
    #[error(
        "the TiKV of {address} is not available: {reason}. Check that its stores run and can be reached from here, or the \
         HOST:PORT of --store"
    )]
    Unavailable {
        /// The address.
        address: TikvAddress,
        /// What was seen.
        reason: String,
    },
}
