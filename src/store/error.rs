//! Errors, named by what the caller must do.

use std::fmt;

/// Why a read failed. Nothing that the transaction did so far has any effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store cannot be reached or has closed; trying again at once is of no use.
    #[error("store unavailable: {reason}")]
    Unavailable {
        /// What the backend saw.
        reason: String,
    },
    /// The transaction outlived `transaction.max.ms`: begin another one.
    #[error("transaction is older than {max_ms} ms")]
    Expired {
        /// The limit, in milliseconds.
        max_ms: u64,
    },
    /// What is stored fails its checksum. Retrying gives the same answer: restore from a backup.
    #[error("damaged data at {place}")]
    Damaged {
        /// File, offset and length, or what else names the place.
        place: String,
    },
}

/// Why a commit did not return [`Committed`](crate::Committed).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Nothing was applied because another transaction came first: run again from the start.
    #[error("another transaction came first")]
    Conflict,
    /// It may or may not have been applied: ask [`Store::outcome`](crate::Store::outcome) before any replay.
    #[error("outcome unknown ({token})")]
    Unknown {
        /// What to ask by.
        token: CommitToken,
    },
    /// Nothing was applied, and trying again at once is of no use.
    #[error("store unavailable, nothing applied: {reason}")]
    Unavailable {
        /// What the backend saw.
        reason: String,
    },
    /// Nothing was applied: the transaction outlived `transaction.max.ms`.
    #[error("transaction is older than {max_ms} ms, nothing applied")]
    Expired {
        /// The limit, in milliseconds.
        max_ms: u64,
    },
    /// Nothing was applied: the transaction is over a limit of the store, split it.
    #[error("{what} of {actual} is over the limit of {limit}, nothing applied")]
    TooLarge {
        /// Which size.
        what: &'static str,
        /// What it was.
        actual: usize,
        /// What it may be.
        limit: usize,
    },
    /// Nothing was applied: the disk is down to its reserve. Deletes still go through.
    #[error("disk is down to its reserve of {reserve_bytes} bytes, nothing applied")]
    DiskFull {
        /// The setting `store.reserve.bytes`.
        reserve_bytes: u64,
    },
}

/// Names one commit attempt whose outcome was not seen: a key that it wrote and the random token in its value.
#[derive(Clone, PartialEq, Eq)]
pub struct CommitToken {
    /// A key that the attempt wrote.
    pub key: bytes::Bytes,
    /// The random token that it put into that key's value.
    pub nonce: u128,
}

impl fmt::Display for CommitToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {:032x}", self.nonce)
    }
}

impl fmt::Debug for CommitToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
