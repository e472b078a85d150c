//! One attempt to commit, between the task that waits for it and the committer.
//!
//! What always holds: whoever gives up waiting knows whether the attempt can still be applied. Either it was withdrawn
//! before the committer took it, and never will be; or it has a version, by which its outcome is found later.

use std::sync::{Mutex, MutexGuard};

use crate::Version;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Withdrawn,
    Taken(Version),
    GivenUp,
    Refused,
}

/// What had become of an attempt when its task gave up waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// Nothing of it, and nothing will.
    Withdrawn,
    /// It is being written, with this version.
    Unknown(Version),
    /// There was no space for it.
    Refused,
}

/// The attempt.
#[derive(Debug)]
pub(super) struct Attempt(Mutex<State>);

impl Default for Attempt {
    fn default() -> Self {
        Self(Mutex::new(State::Waiting))
    }
}

impl Attempt {
    /// The committer takes it into a group; false if nobody waits for it any more.
    pub(super) fn take(&self, version: Version) -> bool {
        let mut state = self.state();
        let is_wanted = *state == State::Waiting;
        if is_wanted {
            *state = State::Taken(version);
        }
        is_wanted
    }

    /// The committer refuses what it had taken; false if it is too late for that, since its task was told that the
    /// outcome is unknown.
    pub(super) fn refuse(&self) -> bool {
        let mut state = self.state();
        let is_in_time = *state != State::GivenUp;
        if is_in_time {
            *state = State::Refused;
        }
        is_in_time
    }

    /// The task waits no longer.
    pub(super) fn give_up(&self) -> GivenUp {
        let mut state = self.state();
        match *state {
            State::Taken(version) => {
                *state = State::GivenUp;
                GivenUp::Unknown(version)
            }
            State::Refused => GivenUp::Refused,
            State::Waiting | State::Withdrawn | State::GivenUp => {
                *state = State::Withdrawn;
                GivenUp::Withdrawn
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics with the lock held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_withdrawn_is_not_taken() {
        let attempt = Attempt::default();
        assert_eq!(attempt.give_up(), GivenUp::Withdrawn);
        assert!(!attempt.take(Version(7)));
    }

    #[test]
    fn what_was_taken_is_unknown_and_not_refused_any_more() {
        let attempt = Attempt::default();
        assert!(attempt.take(Version(7)));
        assert_eq!(attempt.give_up(), GivenUp::Unknown(Version(7)));
        assert!(!attempt.refuse());
    }

    #[test]
    fn what_was_refused_is_not_unknown() {
        let attempt = Attempt::default();
        assert!(attempt.take(Version(7)) && attempt.refuse());
        assert_eq!(attempt.give_up(), GivenUp::Refused);
    }
}
