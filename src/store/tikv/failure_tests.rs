use std::collections::BTreeSet;
use std::io;

use tikv_client::Error;
use tonic::{Code, Status};

use super::*;

fn key_error(change: impl FnOnce(&mut ProtoKeyError)) -> Error {
    let mut error = ProtoKeyError::default();
    change(&mut error);
    Error::KeyError(Box::new(error))
}

fn region_error(change: impl FnOnce(&mut ProtoRegionError)) -> Error {
    let mut error = ProtoRegionError { message: "said so".to_owned(), ..ProtoRegionError::default() };
    change(&mut error);
    Error::RegionError(Box::new(error))
}

fn conflict() -> Error {
    key_error(|error| error.conflict = Some(Default::default()))
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn cancelled_join() -> Error {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let task = runtime.spawn(std::future::pending::<()>());
    task.abort();
    Error::JoinError(runtime.block_on(task).expect_err("it was ended"))
}

fn closed_channel() -> Error {
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    drop(sender);
    Error::Channel(receiver.blocking_recv().expect_err("the sender is gone"))
}

fn no_endpoint() -> tonic::transport::Error {
    tonic::transport::Endpoint::from_shared("http://a")
        .expect("a URL")
        .tls_config(no_tls())
        .expect_err("no certificate")
}

fn no_tls() -> tonic::transport::ClientTlsConfig {
    let broken =
        tonic::transport::Certificate::from_pem("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----");
    tonic::transport::ClientTlsConfig::new().ca_certificate(broken)
}

/// What the store says of a key: of a version that stays, and of what passes.
fn key_errors() -> Vec<Error> {
    let mut errors = passing();
    errors.push(conflict());
    errors
}

/// What the store says of a key and may not say the next time.
fn passing() -> Vec<Error> {
    vec![
        key_error(|error| error.locked = Some(Default::default())),
        key_error(|error| error.retryable = text("retry")),
        key_error(|error| error.abort = text("aborted")),
        key_error(|error| error.already_exist = Some(Default::default())),
        key_error(|error| error.deadlock = Some(Default::default())),
        key_error(|error| error.commit_ts_expired = Some(Default::default())),
        key_error(|error| error.txn_not_found = Some(Default::default())),
        key_error(|error| error.commit_ts_too_large = Some(Default::default())),
        key_error(|error| error.assertion_failed = Some(Default::default())),
        key_error(|error| error.primary_mismatch = Some(Default::default())),
        Error::ResolveLockError(Vec::new()),
        Error::TxnNotFound(Default::default()),
    ]
}

/// What may come of anything.
fn unclear() -> Vec<Error> {
    vec![
        Error::GrpcAPI(Status::new(Code::Cancelled, "Timeout expired")),
        Error::GrpcAPI(Status::new(Code::Unavailable, "broken pipe")),
        Error::Grpc(no_endpoint()),
        Error::Io(io::Error::other("io")),
        closed_channel(),
        cancelled_join(),
        Error::Canceled(futures_canceled()),
        Error::NoCurrentRegions,
        Error::EntryNotFoundInRegionCache,
        Error::RegionForKeyNotFound { key: Vec::new() },
        Error::RegionForRangeNotFound { range: (Vec::<u8>::new()..Vec::new()).into() },
        Error::RegionNotFoundInResponse { region_id: 1 },
        Error::LeaderNotFound { region: Default::default() },
        Error::KvError { message: text("kv") },
        Error::InternalError { message: text("internal") },
        Error::StringError(text("text")),
        region_error(|error| error.server_is_busy = Some(Default::default())),
        region_error(|error| error.not_leader = Some(Default::default())),
        region_error(|error| error.region_not_found = Some(Default::default())),
        region_error(|error| error.epoch_not_match = Some(Default::default())),
        region_error(|error| error.stale_command = Some(Default::default())),
        region_error(|error| error.store_not_match = Some(Default::default())),
        region_error(|error| error.max_timestamp_not_synced = Some(Default::default())),
    ]
}

/// What it says of an address.
fn no_address() -> Error {
    Error::Url(tonic::codegen::http::Uri::try_from("a b").expect_err("no URL"))
}

/// What the client says before it sends anything.
fn not_sent() -> Vec<Error> {
    vec![
        Error::Unimplemented,
        Error::DuplicateKeyInsertion,
        Error::InvalidTransactionType,
        Error::NoPrimaryKey,
        Error::UnsupportedMode,
        Error::ColumnFamilyError(text("cf")),
        Error::MaxScanLimitExceeded { limit: 2, max_limit: 1 },
        Error::InvalidSemver(semver::Version::parse("1").expect_err("no version")),
        Error::KeyspaceNotFound(text("keyspace")),
    ]
}

fn futures_canceled() -> futures::channel::oneshot::Canceled {
    futures::channel::oneshot::Canceled
}

macro_rules! variants {
    ($($name:ident)*) => {
        const VARIANTS: &[&str] = &[$(stringify!($name)),*];

        /// The name of an error's variant. It compiles only if it knows each.
        fn variant(error: &Error) -> &'static str {
            match error {
                $(Error::$name { .. } => stringify!($name),)*
            }
        }
    };
}

variants! {
    Unimplemented
    DuplicateKeyInsertion
    ResolveLockError
    InvalidTransactionType
    OperationAfterCommitError
    OnePcFailure
    NoPrimaryKey
    UnsupportedMode
    NoCurrentRegions
    EntryNotFoundInRegionCache
    Io
    Channel
    Grpc
    GrpcAPI
    Url
    Canceled
    RegionError
    UndeterminedError
    KeyError
    ExtractedErrors
    MultipleKeyErrors
    ColumnFamilyError
    JoinError
    RegionForKeyNotFound
    RegionForRangeNotFound
    RegionNotFoundInResponse
    LeaderNotFound
    MaxScanLimitExceeded
    InvalidSemver
    KvError
    InternalError
    StringError
    PessimisticLockError
    KeyspaceNotFound
    TxnNotFound
}

fn commit_class(error: &Error) -> &'static str {
    match of_commit(error) {
        CommitFailure::Refused => "refused",
        CommitFailure::TooLarge { .. } => "too large",
        CommitFailure::NotSent(_) => "not sent",
        CommitFailure::Ambiguous(_) => "ambiguous",
    }
}

fn read_class(error: &Error) -> &'static str {
    match of_read(error) {
        ReadFailure::Retry(_) => "retry",
        ReadFailure::AnswerTooLarge => "too large",
        ReadFailure::Final(_) => "final",
    }
}

#[test]
fn every_error_of_the_client_has_its_class_as_one_of_a_commit_and_as_one_of_a_read() {
    let boxed = || Box::new(conflict());
    let table = [
        ("refused", "retry", vec![conflict()]),
        ("refused", "retry", vec![Error::MultipleKeyErrors(vec![conflict(), conflict()])]),
        ("refused", "retry", vec![Error::ExtractedErrors(vec![conflict()])]),
        ("ambiguous", "retry", passing()),
        ("ambiguous", "retry", vec![Error::MultipleKeyErrors(key_errors())]),
        ("refused", "retry", vec![Error::PessimisticLockError { inner: boxed(), success_keys: Vec::new() }]),
        ("refused", "final", vec![Error::OnePcFailure]),
        ("ambiguous", "retry", unclear()),
        ("ambiguous", "retry", vec![Error::UndeterminedError(boxed())]),
        ("ambiguous", "final", vec![Error::OperationAfterCommitError, no_address()]),
        ("not sent", "final", not_sent()),
    ];
    let mut met = BTreeSet::new();
    for (commit, read, errors) in table {
        for error in errors {
            assert_eq!((commit_class(&error), read_class(&error)), (commit, read), "{error:?}");
            met.insert(variant(&error));
        }
    }
    assert_eq!(met, VARIANTS.iter().copied().collect());
}

#[test]
fn a_commit_is_refused_by_a_version_that_stays() {
    assert_eq!(of_commit(&conflict()), CommitFailure::Refused);
    assert_eq!(of_commit(&Error::OnePcFailure), CommitFailure::Refused);
    for wrap in [Error::MultipleKeyErrors, Error::ExtractedErrors] {
        assert_eq!(of_commit(&wrap(vec![conflict()])), CommitFailure::Refused);
        let nested = wrap(vec![Error::MultipleKeyErrors(vec![conflict()]), conflict()]);
        assert_eq!(of_commit(&nested), CommitFailure::Refused);
    }
    let pessimistic = Error::PessimisticLockError { inner: Box::new(conflict()), success_keys: Vec::new() };
    assert_eq!(of_commit(&pessimistic), CommitFailure::Refused);
}

/// The client tries again what it has no answer to. If the later try meets a lock and the earlier one arrives when that is
/// gone, it is applied.
#[test]
fn a_commit_that_met_a_lock_may_still_be_applied_by_an_earlier_try() {
    for error in passing() {
        assert!(matches!(of_commit(&error), CommitFailure::Ambiguous(_)), "{error:?}");
        let mixed = Error::MultipleKeyErrors(vec![conflict(), error]);
        assert!(matches!(of_commit(&mixed), CommitFailure::Ambiguous(_)), "{mixed:?}");
    }
}

#[test]
fn a_commit_whose_answer_was_lost_may_have_been_applied() {
    for error in unclear() {
        assert!(matches!(of_commit(&error), CommitFailure::Ambiguous(_)), "{error:?}");
    }
    assert!(matches!(of_commit(&Error::OperationAfterCommitError), CommitFailure::Ambiguous(_)));
    let undetermined = Error::UndeterminedError(Box::new(conflict()));
    assert!(matches!(of_commit(&undetermined), CommitFailure::Ambiguous(_)));
}

#[test]
fn one_unclear_error_among_several_makes_all_unclear() {
    for wrap in [Error::MultipleKeyErrors, Error::ExtractedErrors] {
        for error in unclear().into_iter().chain(not_sent()) {
            let mixed = wrap(vec![conflict(), error, conflict()]);
            assert!(matches!(of_commit(&mixed), CommitFailure::Ambiguous(_)), "{mixed:?}");
        }
        assert!(matches!(of_commit(&wrap(Vec::new())), CommitFailure::Ambiguous(_)));
    }
}

#[test]
fn what_was_not_sent_is_not_applied() {
    for error in not_sent() {
        assert!(matches!(of_commit(&error), CommitFailure::NotSent(_)), "{error:?}");
        assert!(matches!(of_read(&error), ReadFailure::Final(_)), "{error:?}");
    }
}

#[test]
fn an_entry_that_is_too_large_says_how_large() {
    let error = region_error(|error| {
        error.raft_entry_too_large = Some(Default::default());
        error.raft_entry_too_large.as_mut().expect("just set").entry_size = 9_000_000;
    });
    assert_eq!(of_commit(&error), CommitFailure::TooLarge { actual: 9_000_000 });
}

#[test]
fn a_read_is_tried_again_after_what_passes() {
    for error in unclear().into_iter().chain(key_errors()) {
        assert!(matches!(of_read(&error), ReadFailure::Retry(_)), "{error:?}");
    }
    for wrap in [Error::MultipleKeyErrors, Error::ExtractedErrors] {
        assert!(matches!(of_read(&wrap(unclear())), ReadFailure::Retry(_)));
    }
    for inner in [conflict(), Error::StringError(text("text"))] {
        assert!(matches!(of_read(&Error::UndeterminedError(Box::new(inner))), ReadFailure::Retry(_)));
    }
}

#[test]
fn an_answer_that_is_too_large_is_asked_for_in_parts() {
    let error = || Error::GrpcAPI(Status::new(Code::OutOfRange, "message length too large"));
    assert_eq!(of_read(&error()), ReadFailure::AnswerTooLarge);
    let among_others = Error::MultipleKeyErrors(vec![conflict(), error()]);
    assert_eq!(of_read(&among_others), ReadFailure::AnswerTooLarge);
}

#[test]
fn a_snapshot_whose_versions_were_collected_is_not_asked_again() {
    let message = "start timestamp 1 fall behind safe point 2";
    let errors = [
        Error::GrpcAPI(Status::new(Code::Unknown, message)),
        Error::KvError { message: text(message) },
        Error::InternalError { message: text(message) },
        Error::StringError(text(message)),
        key_error(|error| error.abort = text(message)),
    ];
    for error in errors {
        let ReadFailure::Final(reason) = of_read(&error) else { panic!("{error:?}") };
        assert!(reason.contains(message));
    }
    assert!(matches!(of_read(&Error::OperationAfterCommitError), ReadFailure::Final(_)));
    assert!(matches!(of_read(&Error::OnePcFailure), ReadFailure::Final(_)));
}

/// Once this was looked for in one form of the error alone, and the client gives another: a lock whose transaction was killed
/// between its parts stayed for ever.
#[test]
fn an_orphan_is_told_by_the_start_of_its_transaction_in_whatever_form_it_comes() {
    let not_found = || {
        key_error(|error| {
            error.txn_not_found = Some(Default::default());
            let not_found = error.txn_not_found.as_mut().expect("it was set");
            not_found.start_ts = 7;
        })
    };
    assert_eq!(orphan(&not_found()), Some(7));
    assert_eq!(orphan(&Error::MultipleKeyErrors(vec![conflict(), not_found()])), Some(7));
    assert_eq!(orphan(&Error::ExtractedErrors(vec![not_found()])), Some(7));
    assert_eq!(orphan(&Error::UndeterminedError(Box::new(not_found()))), Some(7));
    assert_eq!(orphan(&Error::TxnNotFound(Default::default())), Some(0));
    let others = key_errors().into_iter().chain(unclear());
    let orphans = others.filter(|error| orphan(error).is_some()).count();
    assert_eq!(orphans, 2, "both forms that are among the errors of keys, and no other error");
}
