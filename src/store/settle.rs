//! Commits whose outcome is known when they return, if the store can tell at all.

use crate::{CommitError, Outcome, Store, Txn};

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::faulty::{CommitFault, On};
    use crate::{FaultyStore, ManualClock, MemoryStore};

    #[tokio::test]
    async fn a_lost_answer_is_success_or_a_conflict_and_stays_unknown_while_the_store_is_away() {
        let mut nonces = 0;
        let nonce = move || {
            nonces += 1;
            nonces
        };
        let store = FaultyStore::new(MemoryStore::new(Arc::new(ManualClock::at(1_000))), nonce);
        let putting = async || {
            let mut txn = store.begin().await.expect("the store is there");
            txn.put("k".into(), "1".into());
            txn
        };
        let settled = [
            (CommitFault::LostApplied, Ok(())),
            (CommitFault::LostNotApplied, Err(CommitError::Conflict)),
            (CommitFault::LostLate, Err(CommitError::Conflict)),
            (CommitFault::Refused(CommitError::Conflict), Err(CommitError::Conflict)),
        ];
        for (fault, result) in settled {
            store.faults().fail_commit(On::next(), fault.clone());
            assert_eq!(commit_settled(&store, putting().await).await, result, "{fault:?}");
        }
        assert_eq!(
            store.deliver_late().await,
            Some(Err(CommitError::Conflict)),
            "it was settled as not applied"
        );
        store.faults().fail_commit(On::next(), CommitFault::LostApplied);
        let unknown = putting().await.commit().await.expect_err("its answer is lost");
        store.faults().go_away();
        assert_eq!(settle(&store, unknown.clone()).await, Err(unknown.clone()));
        store.faults().come_back();
        assert_eq!(settle(&store, unknown).await, Ok(()));
    }
}
