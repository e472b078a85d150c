//! What each error of the client means: the one place where they are told apart.
//!
//! A commit that met a newer version of a key was refused: nothing is applied, or an earlier try of the client itself was
//! applied and this one met it. A version stays, so a try that is still on its way meets it as well. Whatever passes, a lock
//! above all, may be gone when such a try arrives: it and every other error may hide an applied commit, now or later. A
//! read may be tried again after anything but a few errors.

use tikv_client::{Error, ProtoKeyError, ProtoRegionError};

/// What an error of a commit means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CommitFailure {
    /// The store refused it for what another transaction did, and will whenever it is asked.
    Refused,
    /// A value is larger than the store takes; other parts of the transaction may have been prepared.
    TooLarge {
        /// The bytes of the entry.
        actual: usize,
    },
    /// Nothing was sent.
    NotSent(String),
    /// It may have been applied.
    Ambiguous(String),
}

/// What an error of a read, a begin or another call that can be repeated means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadFailure {
    /// Trying again may help.
    Retry(String),
    /// The answer is larger than the client takes: ask for less at a time.
    AnswerTooLarge,
    /// Trying again gives the same.
    Final(String),
}

/// What an error is of, commit or read. Every error of the client is named once, below: one that a newer client adds must be
/// given its place before this compiles.
enum Nature<'a> {
    /// The store's word on a key.
    Key(&'a ProtoKeyError),
    /// The store's word on locks that are in the way, or on their transaction.
    Lock,
    /// The store's word on a region.
    Region(&'a ProtoRegionError),
    /// All parts were prepared in one piece and the store did not commit them: it goes by two phases then, which the
    /// client does not.
    OnePhase,
    /// Several parts, each with an error.
    Several(&'a [Error]),
    /// Another error, of a lock that was asked for.
    Locking(&'a Error),
    /// Another error, of a commit that may have been applied.
    Undetermined(&'a Error),
    /// The transaction was committed or rolled back before.
    Ended,
    /// The client refuses what it is asked for, before it sends anything.
    NotSent,
    /// An address that no connection can be made to: the one that was given, or one that a store has taken since, and then
    /// what was sent to it before may have arrived.
    Address,
    /// The way there or back, or what nobody expects: it may come of anything at any time.
    Unclear,
}

impl<'a> Nature<'a> {
    fn of(error: &'a Error) -> Self {
        match error {
            Error::KeyError(key) => Self::Key(key),
            Error::ResolveLockError(_) | Error::TxnNotFound(_) => Self::Lock,
            Error::RegionError(region) => Self::Region(region),
            Error::OnePcFailure => Self::OnePhase,
            Error::MultipleKeyErrors(errors) | Error::ExtractedErrors(errors) => Self::Several(errors),
            Error::PessimisticLockError { inner, .. } => Self::Locking(inner),
            Error::UndeterminedError(inner) => Self::Undetermined(inner),
            Error::OperationAfterCommitError => Self::Ended,
            Error::Url(_) => Self::Address,
            Error::Unimplemented
            | Error::DuplicateKeyInsertion
            | Error::InvalidTransactionType
            | Error::NoPrimaryKey
            | Error::UnsupportedMode
            | Error::ColumnFamilyError(_)
            | Error::MaxScanLimitExceeded { .. }
            | Error::InvalidSemver(_)
            | Error::KeyspaceNotFound(_) => Self::NotSent,
            Error::NoCurrentRegions
            | Error::EntryNotFoundInRegionCache
            | Error::Io(_)
            | Error::Channel(_)
            | Error::Grpc(_)
            | Error::GrpcAPI(_)
            | Error::Canceled(_)
            | Error::JoinError(_)
            | Error::RegionForKeyNotFound { .. }
            | Error::RegionForRangeNotFound { .. }
            | Error::RegionNotFoundInResponse { .. }
            | Error::LeaderNotFound { .. }
            | Error::KvError { .. }
            | Error::InternalError { .. }
            | Error::StringError(_) => Self::Unclear,
        }
    }
}

/// Tells the errors of a commit apart.
pub(super) fn of_commit(error: &Error) -> CommitFailure {
    match Nature::of(error) {
        Nature::Key(key) if key.conflict.is_none() => CommitFailure::Ambiguous(describe_key(key)),
        Nature::Key(_) | Nature::OnePhase => CommitFailure::Refused,
        Nature::Several(errors) => of_commits(errors),
        Nature::Locking(inner) => of_commit(inner),
        Nature::Region(region) => of_commit_region(region),
        Nature::NotSent => CommitFailure::NotSent(error.to_string()),
        Nature::Lock | Nature::Undetermined(_) | Nature::Ended | Nature::Address | Nature::Unclear => {
            CommitFailure::Ambiguous(error.to_string())
        }
    }
}

/// Several errors are a refusal only if each is.
fn of_commits(errors: &[Error]) -> CommitFailure {
    let failures: Vec<CommitFailure> = errors.iter().map(of_commit).collect();
    if failures.is_empty() {
        return CommitFailure::Ambiguous("the client gave no reason".to_owned());
    }
    let worst = failures.iter().position(|failure| *failure != CommitFailure::Refused);
    match worst.map(|position| &failures[position]) {
        None => CommitFailure::Refused,
        // What was not sent in one part may have been in another.
        Some(CommitFailure::NotSent(reason)) if failures.len() > 1 => {
            CommitFailure::Ambiguous(reason.clone())
        }
        Some(other) => other.clone(),
    }
}

fn of_commit_region(region: &ProtoRegionError) -> CommitFailure {
    match &region.raft_entry_too_large {
        Some(entry) => {
            CommitFailure::TooLarge { actual: usize::try_from(entry.entry_size).unwrap_or(usize::MAX) }
        }
        None => CommitFailure::Ambiguous(describe_region(region)),
    }
}

/// The start of the transaction that left the lock which an error tells of, if its primary key is not locked and it is not
/// known how it ended: it was never prepared in full. The client takes such a lock for one that will go, and does not end it
/// however old it is, as it looks for another error than it gets.
pub(super) fn orphan(error: &Error) -> Option<u64> {
    match error {
        Error::TxnNotFound(not_found) => Some(not_found.start_ts),
        _ => match Nature::of(error) {
            Nature::Key(key) => key.txn_not_found.as_ref().map(|not_found| not_found.start_ts),
            Nature::Several(errors) => errors.iter().find_map(orphan),
            Nature::Locking(inner) | Nature::Undetermined(inner) => orphan(inner),
            _ => None,
        },
    }
}

/// Tells the errors of what can be repeated apart.
pub(super) fn of_read(error: &Error) -> ReadFailure {
    match error {
        Error::GrpcAPI(status) if status.code() == tonic::Code::OutOfRange => ReadFailure::AnswerTooLarge,
        Error::GrpcAPI(status) if status.message().contains(BELOW_SAFE_POINT) => {
            ReadFailure::Final(too_old(status.message()))
        }
        Error::KvError { message } | Error::InternalError { message } | Error::StringError(message)
            if message.contains(BELOW_SAFE_POINT) =>
        {
            ReadFailure::Final(too_old(message))
        }
        _ => of_read_nature(error),
    }
}

fn of_read_nature(error: &Error) -> ReadFailure {
    match Nature::of(error) {
        Nature::Key(key) => of_read_key(key),
        Nature::Several(errors) => {
            let failures = errors.iter().map(of_read);
            let last = failures.into_iter().find(|failure| !matches!(failure, ReadFailure::Retry(_)));
            last.unwrap_or_else(|| ReadFailure::Retry(error.to_string()))
        }
        Nature::Region(region) => ReadFailure::Retry(describe_region(region)),
        Nature::Locking(inner) | Nature::Undetermined(inner) => of_read(inner),
        Nature::Lock | Nature::Unclear => ReadFailure::Retry(error.to_string()),
        Nature::OnePhase | Nature::Ended | Nature::NotSent | Nature::Address => {
            ReadFailure::Final(error.to_string())
        }
    }
}

/// A part of what TiKV and the Placement Driver say of a snapshot whose versions may have been collected.
const BELOW_SAFE_POINT: &str = "safe point";

fn of_read_key(key: &ProtoKeyError) -> ReadFailure {
    if key.abort.contains(BELOW_SAFE_POINT) {
        return ReadFailure::Final(too_old(&key.abort));
    }
    // A lock that outlasted the client's patience, or something that passes.
    ReadFailure::Retry(describe_key(key))
}

fn too_old(message: &str) -> String {
    format!("the snapshot is older than what is kept: {message}")
}

fn describe_key(key: &ProtoKeyError) -> String {
    match &key.locked {
        Some(lock) => format!("locked by the transaction of {}", lock.lock_version),
        None => format!("{key:?}"),
    }
}

fn describe_region(region: &ProtoRegionError) -> String {
    match &region.server_is_busy {
        Some(busy) => format!("TiKV is busy: {}", busy.reason),
        None => format!("region error: {}", region.message),
    }
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
