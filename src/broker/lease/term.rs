//! How long a holder may take its lease for its own. Pure.
//!
//! What always holds: by its own monotonic clock a term ends a margin before anybody else can count it as over, as it is
//! counted from before the renewal was sent, and an observer counts from after it was seen.

use tokio::time::{Duration, Instant};

/// What part of a lease the margin is.
const MARGIN_PART: u32 = 5;
/// How often a lease is renewed in its own time.
const RENEWALS_PER_LEASE: u32 = 4;
/// How often a failed renewal is tried again in that time.
const RETRIES_PER_LEASE: u32 = 20;

/// The current term of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    lease: Duration,
    renewed: Instant,
}

impl Term {
    /// The term that a renewal gives which was sent at `sent` or later.
    pub(super) fn new(lease: Duration, sent: Instant) -> Self {
        Self { lease, renewed: sent }
    }

    /// A renewal that was sent at `sent` has succeeded.
    pub(super) fn renew(&mut self, sent: Instant) {
        self.renewed = self.renewed.max(sent);
    }

    /// When it ends.
    pub(super) fn ends(&self) -> Instant {
        self.renewed + (self.lease - self.lease / MARGIN_PART)
    }

    /// When it is to be renewed.
    pub(super) fn renewal(&self) -> Instant {
        self.renewed + self.lease / RENEWALS_PER_LEASE
    }

    /// How long to wait after a renewal that failed.
    pub(super) fn retry_after(&self) -> Duration {
        self.lease / RETRIES_PER_LEASE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_ends_before_an_observer_can_count_it_as_over() {
        let sent = Instant::now();
        let lease = Duration::from_secs(10);
        let mut term = Term::new(lease, sent);
        assert_eq!(term.ends(), sent + Duration::from_secs(8));
        assert!(term.renewal() + term.retry_after() * 10 < term.ends(), "there is time to try again");
        term.renew(sent + Duration::from_secs(3));
        assert_eq!(term.ends(), sent + Duration::from_secs(11));
        term.renew(sent);
        assert_eq!(
            term.ends(),
            sent + Duration::from_secs(11),
            "an answer that comes late takes nothing away"
        );
    }
}
