//! What the log says of each failing request or connection: one in a while, so that a client that tries again and again
//! does not fill it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After a complaint, how long further ones are only counted.
const QUIET: Duration = Duration::from_secs(10);

/// Which complaints are said.
#[derive(Default)]
pub(crate) struct Complaints {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    said: Option<Instant>,
    left_out: u64,
}

impl Complaints {
    /// Whether this one is to be said, with how many were left out since the last; none if it is too soon.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said.is_some_and(|said| now.saturating_duration_since(said) < QUIET) {
            state.left_out += 1;
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_complaint_too_soon_is_counted() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let said = [0, 1, 9, 10, 11, 20, 50].map(|s| complaints.admit(start + Duration::from_secs(s)));
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
