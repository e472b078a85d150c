//! Producer ids: unique for ever, taken from the store a block at a time.

use tidegate_format::{ProducerId, ProducerIdBlockKey, ProducerIdBlockValue};
use tidegate_store::{CommitError, Store, Txn, commit_settled};
use tokio::sync::Mutex;

use crate::WriteError;

/// How often a block is asked for while others take theirs.
const TAKE_ATTEMPTS: usize = 64;

/// Hands out producer ids. What is left of its block when it goes away is never handed out.
#[derive(Debug)]
pub struct ProducerIds<S> {
    store: S,
    block_size: i64,
    block: Mutex<std::ops::Range<i64>>,
}

/// Why there is no producer id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerIdError {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] WriteError),
    /// The row is not what this release writes.
    #[error("the row of producer ids: {reason}")]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
}

impl<S: Store> ProducerIds<S> {
    /// Takes ids from the store in blocks of `block_size`, at least 1.
    #[must_use]
    pub fn new(store: S, block_size: i64) -> Self {
        Self { store, block_size: block_size.max(1), block: Mutex::new(0..0) }
    }

    /// An id that nobody had before.
    ///
    /// # Errors
    /// If a new block is needed and the store does not give it.
    pub async fn next_id(&self) -> Result<ProducerId, ProducerIdError> {
        let mut block = self.block.lock().await;
        if let Some(id) = block.next() {
            return Ok(ProducerId(id));
        }
        *block = self.take_block().await?;
        Ok(ProducerId(block.next().expect("a block is not empty")))
    }

    async fn take_block(&self) -> Result<std::ops::Range<i64>, ProducerIdError> {
        let damaged = |reason| ProducerIdError::Damaged { reason };
        let key = ProducerIdBlockKey.encode();
        for _ in 0..TAKE_ATTEMPTS {
            let mut txn = self.store.begin().await.map_err(WriteError::from)?;
            let row = txn.get(&key).await.map_err(WriteError::from)?;
            let row = row.map(ProducerIdBlockValue::decode).transpose();
            let first = row.map_err(|error| damaged(error.to_string()))?.map_or(0, |row| row.next.0);
            let next =
                first.checked_add(self.block_size).ok_or_else(|| damaged("ids are used up".to_owned()))?;
            txn.put(key.clone(), ProducerIdBlockValue { next: ProducerId(next) }.encode());
            match commit_settled(&self.store, txn).await {
                Ok(()) => return Ok(first..next),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(WriteError::from(error).into()),
            }
        }
        Err(WriteError::from(CommitError::Conflict).into())
    }
}

#[cfg(test)]
#[path = "producer_id_tests.rs"]
mod tests;
