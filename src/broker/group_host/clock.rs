//! The time that groups live by: it starts at the store's time and runs on with the machine's monotonic clock, so that no
//! jump of the wall clock throws a member out.

use tokio::time::{Duration, Instant};

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

    /// When it will show `at_ms`: a millisecond more rather than less, so that what is due then is due.
    pub(super) fn instant_of(&self, at_ms: i64) -> Instant {
        let after = u64::try_from(at_ms.saturating_sub(self.started_ms)).unwrap_or(0);
        self.started + Duration::from_millis(after.min(u64::from(u32::MAX)))
    }
}
