//! Lanes: which attempt a commit is, so that its outcome can be asked for.
//!
//! What always holds: a lane has one transaction at a time, from before its begin until its commit was answered; each
//! attempt has a higher number than those before it in its lane; a lane whose answer was lost is never used again, so
//! the broker keeps what became of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_format::AttemptKey;
use tidegate_protocol::extension::commit::Attempt;
use tidegate_store::CommitToken;
use uuid::Uuid;

/// The lanes of one client.
#[derive(Debug)]
pub(super) struct Lanes {
    client: u128,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<Lane>,
    made: u32,
}

/// A lane that has a transaction. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Lane {
    index: u32,
    last_number: u64,
}

impl Lanes {
    /// Those of a client with this random id.
    pub(super) fn new(client: u128) -> Self {
        Self { client, state: Mutex::default() }
    }

    /// A lane that no transaction has.
    pub(super) fn take(&self) -> Lane {
        let mut state = self.state();
        state.free.pop().unwrap_or_else(|| {
            let index = state.made;
            state.made += 1;
            Lane { index, last_number: 0 }
        })
    }

    /// Takes a lane back whose transaction is over and answered.
    pub(super) fn give_back(&self, lane: Lane) {
        self.state().free.push(lane);
    }

    /// The next attempt of a lane.
    pub(super) fn next_attempt(&self, lane: &mut Lane) -> Attempt {
        lane.last_number += 1;
        Attempt { client: self.client, lane: lane.index, number: lane.last_number }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to ask by for an attempt of a transaction that was not begun before `began_ms`.
pub(super) fn token_of(attempt: &Attempt, began_ms: i64) -> CommitToken {
    let key = AttemptKey { client: Uuid::from_u128(attempt.client), lane: attempt.lane };
    let nonce = u128::from(began_ms.cast_unsigned()) << 64 | u128::from(attempt.number);
    CommitToken { key: key.encode(), nonce }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_has_one_transaction_at_a_time_and_numbers_that_rise() {
        let lanes = Lanes::new(7);
        let (mut first, mut second) = (lanes.take(), lanes.take());
        let attempt = |lane: &mut Lane| lanes.next_attempt(lane);
        assert_eq!((attempt(&mut first).lane, attempt(&mut second).lane), (0, 1));
        lanes.give_back(first);
        let mut again = lanes.take();
        let attempt = attempt(&mut again);
        assert_eq!((attempt.client, attempt.lane, attempt.number), (7, 0, 2));
    }

    #[test]
    fn a_lane_that_was_given_up_is_never_used_again() {
        let lanes = Lanes::new(7);
        let mut lost = lanes.take();
        let lost_attempt = lanes.next_attempt(&mut lost);
        for _ in 0..3 {
            let mut lane = lanes.take();
            assert_ne!(lanes.next_attempt(&mut lane).lane, lost_attempt.lane);
            lanes.give_back(lane);
        }
    }

    #[test]
    fn a_token_names_the_attempt_and_when_it_cannot_have_been() {
        let attempt = Attempt { client: 7, lane: 3, number: 9 };
        let token = token_of(&attempt, 1_700_000_000_000);
        assert_eq!(AttemptKey::decode(&token.key), Ok(AttemptKey { client: Uuid::from_u128(7), lane: 3 }));
        assert_eq!(token.nonce, (1_700_000_000_000 << 64) + 9);
    }
}
