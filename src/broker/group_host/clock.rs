//! The time that groups live by: it starts at the store's time and runs on with the machine's monotonic clock, so that no
//! jump of the wall clock throws a member out.

use tokio::time::{Duration, Instant};

/// How far ahead a deadline is waited for at once.
const WAIT_MAX: Duration = Duration::from_secs(86_400);

/// A clock that never jumps.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupClock {
    started_ms: i64,
    started: Instant,
}

impl GroupClock {
    /// A clock that shows `now_ms` and runs.
    pub(super) fn new(now_ms: i64) -> Self {
        Self { started_ms: now_ms, started: Instant::now() }
    }

    /// Milliseconds since the Unix epoch, as of the start.
    pub(super) fn now_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.started_ms.saturating_add(elapsed)
    }

    /// When it will show `at_ms`: a millisecond more rather than less, so that what is due then is due. What is further away
    /// than [`WAIT_MAX`] is looked at again then.
    pub(super) fn instant_of(&self, at_ms: i64) -> Instant {
        let ahead_ms = u64::try_from(at_ms.saturating_sub(self.now_ms())).unwrap_or(0);
        Instant::now() + Duration::from_millis(ahead_ms).min(WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Once it counted what it may wait from its start, and after 49 days every deadline had passed: each group with
    /// members turned round and round.
    #[tokio::test(start_paused = true)]
    async fn a_deadline_lies_ahead_however_long_the_clock_has_run() {
        let clock = GroupClock::new(1_700_000_000_000);
        for _ in 0..400 {
            tokio::time::advance(Duration::from_secs(86_400)).await;
            let wake = clock.instant_of(clock.now_ms() + 45_000);
            assert_eq!(wake - Instant::now(), Duration::from_secs(45));
            assert_eq!(clock.instant_of(clock.now_ms() - 1), Instant::now(), "what has passed is due now");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_never_is_waited_for_a_day_at_a_time() {
        let clock = GroupClock::new(0);
        assert_eq!(clock.instant_of(i64::MAX) - Instant::now(), WAIT_MAX);
    }
}
