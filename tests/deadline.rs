//! The one deadline of all proofs. It only turns a test that hangs into a test that fails: nothing is measured by it, and
//! a machine that is ten times slower still passes.

use std::time::{Duration, Instant};

/// How long any single wait may take before the test counts as hung.
pub const HANG_AFTER: Duration = Duration::from_secs(180);

/// A point in time after which a wait is given up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// [`HANG_AFTER`] from now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now() + HANG_AFTER)
    }

    /// The time that is left, at least zero.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether the time is up.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// Fails the test if the time is up.
    ///
    /// # Panics
    /// When the deadline has passed; `what` says what was waited for.
    pub fn check(&self, what: &str) {
        assert!(!self.has_passed(), "hung for {HANG_AFTER:?}: {what}");
    }
}
