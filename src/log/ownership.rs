//! Who owns a partition, and the fence that keeps earlier owners out.
//!
//! What always holds: an owner's transaction reads the state row in its own snapshot and goes no further on another
//! epoch; whatever it appends, moves or removes, it writes that row too. So of two owners, the earlier one either
//! committed before the later one took over, or never commits.

use tidegate_format::{
    BrokerId, Offset, OwnerEpoch, PartitionId, PartitionState, PartitionStateKey, TimestampMaxima,
};
use tidegate_protocol::batch::NO_TIMESTAMP;
use tidegate_store::{CommitError, Store, Txn, commit_settled};

use crate::{LogError, WriteError};

/// How often taking a partition over is tried while others write its state row.
const TAKE_ATTEMPTS: usize = 16;

/// The right to write one partition, for as long as nobody takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The partition.
    pub id: PartitionId,
    /// Who owns it.
    pub broker: BrokerId,
    /// Which ownership this is: later ones are higher.
    pub epoch: OwnerEpoch,
}

/// Takes a partition over: from when this returns, nothing that an earlier owner has not yet committed will be. A
/// partition without a state row begins to exist here.
///
/// # Errors
/// If the store fails; the partition then belongs to whom it belonged to, or to nobody.
pub async fn take_ownership<S: Store>(
    store: &S,
    id: PartitionId,
    broker: BrokerId,
) -> Result<(Ownership, PartitionState), WriteError> {
    for _ in 0..TAKE_ATTEMPTS {
        let mut txn = store.begin().await?;
        let state = match load_state(&mut txn, id).await? {
            Some(before) => PartitionState { owner: broker, epoch: OwnerEpoch(before.epoch.0 + 1), ..before },
            None => empty_state(broker),
        };
        let state = PartitionState { commit_token: rand::random(), ..state };
        txn.put(PartitionStateKey { id }.encode(), state.encode());
        match commit_settled(store, txn).await {
            Ok(()) => return Ok((Ownership { id, broker, epoch: state.epoch }, state)),
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CommitError::Conflict.into())
}

/// What the state row of a partition would hold that nobody ever owned.
#[must_use]
pub fn empty_state(broker: BrokerId) -> PartitionState {
    PartitionState {
        log_start: Offset(0),
        next_offset: Offset(0),
        owner: broker,
        epoch: OwnerEpoch(0),
        log_bytes: 0,
        appended_bytes: 0,
        maxima: TimestampMaxima::new(NO_TIMESTAMP, []),
        commit_token: 0,
    }
}

/// A partition's state in the transaction's snapshot; none if nobody ever owned it, or it was dropped.
///
/// # Errors
/// If the store fails or the row does not decode.
pub async fn load_state(txn: &mut impl Txn, id: PartitionId) -> Result<Option<PartitionState>, LogError> {
    let row = txn.get(&PartitionStateKey { id }.encode()).await?;
    row.map(PartitionState::decode).transpose().map_err(LogError::row(id))
}

impl Ownership {
    /// The partition's state in the transaction's snapshot, if it is still owned in this epoch. Every transaction of
    /// an owner begins with this.
    ///
    /// # Errors
    /// [`LogError::Fenced`] if it is not.
    pub async fn load_state(&self, txn: &mut impl Txn) -> Result<PartitionState, LogError> {
        let state = load_state(txn, self.id).await?;
        match state {
            Some(state) if state.epoch == self.epoch && state.owner == self.broker => Ok(state),
            other => {
                let found = other.map(|state| state.epoch);
                Err(LogError::Fenced { id: self.id, held: self.epoch, found })
            }
        }
    }

    /// Writes the state row, with a new commit token.
    pub(crate) fn put_state(&self, txn: &mut impl Txn, mut state: PartitionState) {
        state.commit_token = rand::random();
        txn.put(PartitionStateKey { id: self.id }.encode(), state.encode());
    }
}

/// Ends a partition for good: after this returns no owner commits anything to it any more. The caller has seen to it that
/// nobody takes it over again, and removes what it held.
///
/// # Errors
/// If the store fails; to be run again then.
pub async fn end_partition<S: Store>(store: &S, id: PartitionId) -> Result<(), WriteError> {
    for _ in 0..TAKE_ATTEMPTS {
        let mut txn = store.begin().await?;
        txn.delete(PartitionStateKey { id }.encode());
        match commit_settled(store, txn).await {
            Ok(()) => return Ok(()),
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CommitError::Conflict.into())
}
