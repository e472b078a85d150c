//! Versions for a store that has nobody to ask for them.
//!
//! What always holds: each version is higher than all before it, also when the clock stands still or goes back.

use crate::Version;

/// Gives out versions in strictly increasing order.
#[derive(Debug, Default)]
pub(crate) struct VersionOracle {
    last: Version,
}

impl VersionOracle {
    /// An oracle that goes on after a version that was given out before.
    pub(crate) fn after(last: Version) -> Self {
        Self { last }
    }

    /// The newest version that was given out.
    pub(crate) fn last(&self) -> Version {
        self.last
    }

    /// The next version: of the millisecond `now_ms` if that is ahead of the last one, the one after the last otherwise.
    pub(crate) fn next(&mut self, now_ms: i64) -> Version {
        self.last = self.peek(now_ms);
        self.last
    }

    /// What [`next`](Self::next) would give, which nobody has yet.
    pub(crate) fn peek(&self, now_ms: i64) -> Version {
        self.last.next().max(Version::first_of_ms(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_carries_the_millisecond_it_was_given_in() {
        let mut oracle = VersionOracle::default();
        assert_eq!(oracle.next(1_000), Version(1_000 << Version::COUNTER_BITS));
        assert_eq!(oracle.next(1_000), Version((1_000 << Version::COUNTER_BITS) + 1));
        assert_eq!(oracle.next(1_001), Version(1_001 << Version::COUNTER_BITS));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_take_the_versions_with_it() {
        let mut oracle = VersionOracle::default();
        let before = oracle.next(5_000);
        assert_eq!(oracle.next(1), before.next());
        assert_eq!(oracle.next(-7), before.next().next());
    }
}
