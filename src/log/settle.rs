//! Commits whose outcome is known when they return, if the store can tell at all.

use tidegate_store::{CommitError, Outcome, Store, Txn};

/// Commits, and settles an unknown outcome at once: applied is success, not applied is a conflict, so that either
/// way the caller does what it does anyway.
///
/// # Errors
/// As [`Txn::commit`]; [`CommitError::Unknown`] only if the store stays away, and then the transaction must not be
/// run again before [`settle`] has answered.
pub async fn commit_settled<S: Store>(store: &S, txn: S::Txn) -> Result<(), CommitError> {
    match txn.commit().await {
        Ok(_) => Ok(()),
        Err(unknown @ CommitError::Unknown { .. }) => settle(store, unknown).await,
        Err(error) => Err(error),
    }
}

/// Asks once what became of a commit that returned [`CommitError::Unknown`]; any other error is given back.
///
/// # Errors
/// [`CommitError::Conflict`] if nothing was applied; the same unknown outcome if the store cannot say now.
pub async fn settle<S: Store>(store: &S, error: CommitError) -> Result<(), CommitError> {
    let CommitError::Unknown { token } = &error else { return Err(error) };
    match store.outcome(token).await {
        Ok(Outcome::Applied) => Ok(()),
        Ok(Outcome::NotApplied) => Err(CommitError::Conflict),
        Err(_) => Err(error),
    }
}
