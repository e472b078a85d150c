//! What each error of the client means: the one place where they are told apart.
//!
//! A commit whose error is the store's word on a key was refused: nothing is applied, or an earlier try of the client
//! itself was applied and this one met it. Every other error may hide an applied commit. A read may be tried again after
//! anything but a few errors.

use tikv_client::{Error, ProtoKeyError, ProtoRegionError};

/// What an error of a commit means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CommitFailure {
    /// The store refused it for what another transaction did.
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

/// Tells the errors of a commit apart.
pub(super) fn of_commit(error: &Error) -> CommitFailure {
    match error {
        Error::KeyError(_)
        | Error::TxnNotFound(_)
        | Error::ResolveLockError(_)
        // All parts were prepared in one piece and the store did not commit them: it goes by two phases then, which the
        // client does not.
        | Error::OnePcFailure => CommitFailure::Refused,
        Error::MultipleKeyErrors(errors) | Error::ExtractedErrors(errors) => of_commits(errors),
        Error::PessimisticLockError { inner, .. } => of_commit(inner),
        Error::RegionError(region) => of_commit_region(region),
        Error::Unimplemented
        | Error::DuplicateKeyInsertion
        | Error::InvalidTransactionType
        | Error::NoPrimaryKey
        | Error::UnsupportedMode
        | Error::Url(_)
        | Error::ColumnFamilyError(_)
        | Error::MaxScanLimitExceeded { .. }
        | Error::InvalidSemver(_)
        | Error::KeyspaceNotFound(_) => CommitFailure::NotSent(error.to_string()),
        Error::UndeterminedError(_)
        | Error::OperationAfterCommitError
        | Error::NoCurrentRegions
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
        | Error::StringError(_) => CommitFailure::Ambiguous(error.to_string()),
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

/// Tells the errors of what can be repeated apart.
pub(super) fn of_read(error: &Error) -> ReadFailure {
    match error {
        Error::KeyError(key) => of_read_key(key),
        Error::MultipleKeyErrors(errors) | Error::ExtractedErrors(errors) => {
            let failures = errors.iter().map(of_read);
            let last = failures.into_iter().find(|failure| !matches!(failure, ReadFailure::Retry(_)));
            last.unwrap_or_else(|| ReadFailure::Retry(error.to_string()))
        }
        Error::GrpcAPI(status) if status.code() == tonic::Code::OutOfRange => ReadFailure::AnswerTooLarge,
        Error::GrpcAPI(status) if status.message().contains(BELOW_SAFE_POINT) => {
            ReadFailure::Final(too_old(status.message()))
        }
        Error::RegionError(region) => ReadFailure::Retry(describe_region(region)),
        Error::PessimisticLockError { inner, .. } | Error::UndeterminedError(inner) => of_read(inner),
        Error::KvError { message } | Error::InternalError { message } | Error::StringError(message)
            if message.contains(BELOW_SAFE_POINT) =>
        {
            ReadFailure::Final(too_old(message))
        }
        Error::ResolveLockError(_)
        | Error::TxnNotFound(_)
        | Error::NoCurrentRegions
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
        | Error::StringError(_) => ReadFailure::Retry(error.to_string()),
        Error::Unimplemented
        | Error::DuplicateKeyInsertion
        | Error::InvalidTransactionType
        | Error::OperationAfterCommitError
        | Error::OnePcFailure
        | Error::NoPrimaryKey
        | Error::UnsupportedMode
        | Error::Url(_)
        | Error::ColumnFamilyError(_)
        | Error::MaxScanLimitExceeded { .. }
        | Error::InvalidSemver(_)
        | Error::KeyspaceNotFound(_) => ReadFailure::Final(error.to_string()),
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
