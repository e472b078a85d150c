//! The ids of timer entries: unique, and in the order in which dependent transactions wrote them.

use tidegate_store::{Txn, Version};
use uuid::Uuid;

/// Makes the ids of one transaction's timer entries.
///
/// An id is the transaction's start version, a count within the transaction and a random tail, so entries that are due
/// in the same millisecond move in the order of the transactions where one depended on the other, and in call order
/// within one. Two transactions that start from one version overlap: should their tails be equal too, the second
/// commit is a conflict, never an overwritten entry.
#[derive(Debug)]
pub struct EntryIds {
    start: Version,
    count: u32,
    nonce: u32,
}

impl EntryIds {
    /// The ids of `txn`, which must not have another generator. `nonce` is random.
    #[must_use]
    pub fn new(txn: &impl Txn, nonce: u32) -> Self {
        Self { start: txn.start_version(), count: 0, nonce }
    }

    /// The next id.
    ///
    /// # Panics
    /// After 2^32 ids, which no transaction is large enough for.
    pub fn next_id(&mut self) -> Uuid {
        let id = (u128::from(self.start.0) << 64) | (u128::from(self.count) << 32) | u128::from(self.nonce);
        self.count = self.count.checked_add(1).expect("a transaction holds fewer than 2^32 entries");
        Uuid::from_u128(id)
    }
}
