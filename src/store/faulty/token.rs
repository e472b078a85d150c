//! Settling a commit whose answer was lost, by writing.
//!
//! Every commit writes one row more, whose key is its nonce. Whoever wants to know what became of an attempt reads that
//! row: if it is there, the attempt was applied; if not, a row is written in its place, and the attempt can from then
//! on only conflict. To look would not be enough, since the attempt may still arrive; and to put the nonce into the
//! value of a key that the transaction writes anyway would not be enough either, since the next writer of that key
//! takes the answer away with it.
//!
//! The row of a commit whose answer was seen is of no use any more, and is removed with a later commit of the same
//! wrapper. The rows of lost answers stay.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{CommitError, CommitToken, KeyRange, Outcome, ReadError, Store, Txn};

/// Keys from here on belong to the wrapper: they cannot be used, and no scan shows them.
pub const RESERVED_KEYS_START: &[u8] = &[0xFF; 16];

/// How often settling an attempt is tried while others write its row.
const SETTLE_MAX_ATTEMPTS: usize = 16;

/// How many rows of answered commits one commit takes away.
const REMOVE_MAX_ROWS: usize = 16;

/// What the attempt writes into its row.
pub(super) fn applied() -> Bytes {
    Bytes::from_static(b"applied")
}

/// What the one who asks writes into the row of an attempt that has not arrived.
fn never() -> Bytes {
    Bytes::from_static(b"never")
}

/// The rows of the commits of one wrapper.
pub(super) struct TokenRows {
    nonces: Box<dyn FnMut() -> u128 + Send>,
    /// The rows of commits whose answer was seen, numbered in the order of the answers.
    answered: VecDeque<(u64, Bytes)>,
    next_answer: u64,
}

impl TokenRows {
    pub(super) fn new(nonces: Box<dyn FnMut() -> u128 + Send>) -> Self {
        Self { nonces, answered: VecDeque::new(), next_answer: 0 }
    }

    pub(super) fn next_token(&mut self) -> CommitToken {
        let nonce = (self.nonces)();
        let mut key = BytesMut::with_capacity(RESERVED_KEYS_START.len() + size_of::<u128>());
        key.put_slice(RESERVED_KEYS_START);
        key.put_u128(nonce);
        CommitToken { key: key.freeze(), nonce }
    }

    /// The number of the next answer: a transaction that begins now has the rows of all earlier ones in its snapshot.
    pub(super) fn answered(&self) -> u64 {
        self.next_answer
    }

    pub(super) fn answer(&mut self, row: Bytes) {
        self.answered.push_back((self.next_answer, row));
        self.next_answer += 1;
    }

    /// Some rows from before `number`, to be removed by a transaction that has them in its snapshot.
    pub(super) fn take_answered(&mut self, number: u64) -> Vec<(u64, Bytes)> {
        let old =
            self.answered.iter().take(REMOVE_MAX_ROWS).take_while(|(answer, _)| *answer < number).count();
        self.answered.drain(..old).collect()
    }

    /// Puts rows back that were not removed after all.
    pub(super) fn put_back(&mut self, rows: Vec<(u64, Bytes)>) {
        for row in rows.into_iter().rev() {
            self.answered.push_front(row);
        }
    }
}

pub(super) fn is_reserved(key: &[u8]) -> bool {
    key >= RESERVED_KEYS_START
}

pub(super) fn assert_not_reserved(key: &Bytes) {
    assert!(!is_reserved(key), "keys of 16 times 0xFF belong to the fault wrapper");
}

/// The part of a range that the wrapper's user sees.
pub(super) fn without_reserved(range: &KeyRange) -> KeyRange {
    let end =
        if is_reserved(&range.end) { Bytes::from_static(RESERVED_KEYS_START) } else { range.end.clone() };
    KeyRange { start: range.start.clone(), end }
}

/// Finds out what became of the attempt that writes `row`, and makes that final.
pub(super) async fn settle<S: Store>(store: &S, row: &Bytes) -> Result<Outcome, ReadError> {
    for _ in 0..SETTLE_MAX_ATTEMPTS {
        let mut txn = store.begin().await?;
        if let Some(found) = txn.get(row).await? {
            return Ok(if found == never() { Outcome::NotApplied } else { Outcome::Applied });
        }
        txn.put(row.clone(), never());
        match txn.commit().await {
            Ok(_) => return Ok(Outcome::NotApplied),
            // The attempt or somebody else who asks came first, or our own write needs looking at: read again.
            Err(CommitError::Conflict | CommitError::Unknown { .. } | CommitError::Expired { .. }) => {}
            Err(error) => return Err(ReadError::Unavailable { reason: error.to_string() }),
        }
    }
    Err(ReadError::Unavailable { reason: format!("not settled in {SETTLE_MAX_ATTEMPTS} attempts") })
}
