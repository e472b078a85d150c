//! The rows that tell what became of an attempt to commit. Pure: which row an attempt writes, and which can go.
//!
//! Every commit writes one row more, and the value has the attempt's nonce. Whoever wants to know what became of an
//! attempt reads its row: with that nonce it was applied; otherwise a row is written in its place, and the attempt can
//! only conflict from then on.
//!
//! A commit in one phase needs all its keys in one region, so the row lies beside a key of the transaction, its anchor.
//! A row is used by one attempt at a time and again by the next one, once the answer to the first is known: so what is
//! written all the time (the state of a partition, its outbox) leaves neither rows behind nor removals to walk over.
//! Rows of anchors that are not written any more are removed.
//!
//! What always holds: no two attempts that are under way have one row; an attempt's row is not used again until what
//! became of it is known, and then only by transactions that began later.

use std::collections::{HashMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use crate::Version;

/// What follows the anchor in a row's key. It begins with a zero byte, so that a row sorts before what is put versioned
/// under the anchor. Keys of the user do not have it.
const MARK: [u8; 16] = *b"\0\x9etidegate-try\xb1\x07";
const RUN_BYTES: usize = 12;
const SUFFIX_BYTES: usize = MARK.len() + RUN_BYTES + size_of::<u64>();

/// How many anchors keep their rows.
const ANCHORS_MAX: usize = 1_024;
/// How many rows one anchor keeps.
const ROWS_PER_ANCHOR_MAX: usize = 64;

const APPLIED: u8 = 1;
const NEVER: u8 = 2;
const NONCE_TIME_SHIFT: u32 = 80;

/// The nonce of an attempt: milliseconds since the Unix epoch in the upper 48 bits, random below.
pub(super) fn nonce(now_ms: i64, random: u128) -> u128 {
    let ms = u128::try_from(now_ms).unwrap_or(0);
    (ms << NONCE_TIME_SHIFT) | (random & ((1 << NONCE_TIME_SHIFT) - 1))
}

/// When an attempt was made, by its nonce.
pub(super) fn made_at_ms(nonce: u128) -> i64 {
    i64::try_from(nonce >> NONCE_TIME_SHIFT).expect("48 bits fit")
}

/// What an attempt writes into its row.
pub(super) fn applied(nonce: u128) -> Vec<u8> {
    row_value(APPLIED, nonce)
}

/// What is written into the row of an attempt that has not arrived.
pub(super) fn never(nonce: u128) -> Vec<u8> {
    row_value(NEVER, nonce)
}

fn row_value(kind: u8, nonce: u128) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + size_of::<u128>());
    value.push(kind);
    value.extend_from_slice(&nonce.to_be_bytes());
    value
}

/// The nonce that a row has.
pub(super) fn nonce_in(value: &[u8]) -> Option<u128> {
    let nonce = value.get(1..)?.try_into().ok()?;
    Some(u128::from_be_bytes(nonce))
}

/// Whether a key is a row's.
pub(super) fn is_row(key: &[u8]) -> bool {
    key.len() > SUFFIX_BYTES && key[key.len() - SUFFIX_BYTES..].starts_with(&MARK)
}

/// The name of one opening of a store: rows of two of them differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run([u8; RUN_BYTES]);

impl Run {
    pub(super) fn new(random: [u8; RUN_BYTES]) -> Self {
        Self(random)
    }

    /// Whether `key` is a row of this run.
    pub(super) fn wrote(self, key: &[u8]) -> bool {
        is_row(key) && key[key.len() - SUFFIX_BYTES + MARK.len()..].starts_with(&self.0)
    }
}

/// A row that one attempt may write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    anchor: Bytes,
    slot: u64,
    key: Bytes,
}

impl Row {
    /// The row's key, as a key of the user.
    pub(super) fn key(&self) -> &Bytes {
        &self.key
    }
}

#[derive(Debug)]
struct Free {
    /// Slots and the versions from which they can be used.
    slots: Vec<(u64, Version)>,
    /// The newest entry for this anchor in the order of use.
    use_number: u64,
}

/// The rows of one run.
#[derive(Debug)]
pub(super) struct Rows {
    run: Run,
    next_slot: u64,
    free: HashMap<Bytes, Free>,
    uses: VecDeque<(u64, Bytes)>,
    next_use: u64,
    doomed: VecDeque<Bytes>,
}

impl Rows {
    pub(super) fn new(run: Run) -> Self {
        Self {
            run,
            next_slot: 0,
            free: HashMap::new(),
            uses: VecDeque::new(),
            next_use: 0,
            doomed: VecDeque::new(),
        }
    }

    /// A row beside `anchor` for a transaction that began at `start`.
    pub(super) fn take(&mut self, anchor: &Bytes, start: Version) -> Row {
        let found = self.free.get_mut(anchor).and_then(|free| {
            let position = free.slots.iter().position(|(_, usable_from)| *usable_from <= start)?;
            Some(free.slots.swap_remove(position).0)
        });
        let slot = found.unwrap_or_else(|| {
            self.next_slot += 1;
            self.next_slot
        });
        Row { anchor: anchor.clone(), slot, key: self.row_key(anchor, slot) }
    }

    /// Takes a row back whose attempt is answered, to be used by transactions that begin at `usable_from` or later.
    pub(super) fn give_back(&mut self, row: Row, usable_from: Version) {
        let use_number = self.next_use;
        self.next_use += 1;
        let free =
            self.free.entry(row.anchor.clone()).or_insert_with(|| Free { slots: Vec::new(), use_number });
        free.use_number = use_number;
        free.slots.push((row.slot, usable_from));
        let too_many = (free.slots.len() > ROWS_PER_ANCHOR_MAX).then(|| free.slots.remove(0).0);
        if let Some(slot) = too_many {
            self.doomed.push_back(self.row_key(&row.anchor, slot));
        }
        self.uses.push_back((use_number, row.anchor));
        self.forget_the_oldest();
    }

    /// Takes a row out of use that can be removed.
    pub(super) fn doom(&mut self, key: Bytes) {
        self.doomed.push_back(key);
    }

    /// At most `most` rows that are to be removed.
    pub(super) fn take_doomed(&mut self, most: usize) -> Vec<Bytes> {
        let count = self.doomed.len().min(most);
        self.doomed.drain(..count).collect()
    }

    /// How many rows are to be removed.
    pub(super) fn doomed(&self) -> usize {
        self.doomed.len()
    }

    /// Takes every row out of use, to be removed: nothing is committed any more.
    pub(super) fn doom_all(&mut self) {
        let free: Vec<_> = self.free.drain().collect();
        for (anchor, Free { slots, .. }) in free {
            let keys: Vec<_> = slots.into_iter().map(|(slot, _)| self.row_key(&anchor, slot)).collect();
            self.doomed.extend(keys);
        }
        self.uses.clear();
    }

    fn forget_the_oldest(&mut self) {
        // Entries of the order that a later use of the same anchor has overtaken are dropped on the way.
        while self.free.len() > ANCHORS_MAX || self.uses.len() > 4 * ANCHORS_MAX {
            let Some((use_number, anchor)) = self.uses.pop_front() else { return };
            if self.free.get(&anchor).is_none_or(|free| free.use_number != use_number) {
                continue;
            }
            if self.free.len() <= ANCHORS_MAX {
                self.uses.push_back((use_number, anchor));
                continue;
            }
            let Some(Free { slots, .. }) = self.free.remove(&anchor) else { continue };
            let keys: Vec<_> = slots.into_iter().map(|(slot, _)| self.row_key(&anchor, slot)).collect();
            self.doomed.extend(keys);
        }
    }

    fn row_key(&self, anchor: &Bytes, slot: u64) -> Bytes {
        let mut key = BytesMut::with_capacity(anchor.len() + SUFFIX_BYTES);
        key.put_slice(anchor);
        key.put_slice(&MARK);
        key.put_slice(&self.run.0);
        key.put_u64(slot);
        key.freeze()
    }
}

#[cfg(test)]
#[path = "attempts_tests.rs"]
mod tests;
