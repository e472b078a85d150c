//! What time it is by the cluster's oracle, without asking it each time. Pure: readings in, times out.
//!
//! Each timestamp that the oracle gives says how far its clock is ahead of the monotonic clock here, less the time that
//! the answer was under way: the largest of the newest readings is the nearest. What always holds: the time does not go
//! back.

/// For how long a reading counts, at least and up to twice that, in milliseconds: long enough to have a quick answer
/// among them, and short enough that two clocks do not come apart by much.
const READING_LASTS_MS: i64 = 300_000;

/// The oracle's time.
#[derive(Debug)]
pub(super) struct OracleClock {
    /// How far the oracle is ahead of the monotonic clock: of the stretch before, and of this one.
    ahead_ms: [i64; 2],
    stretch_began_ms: i64,
    last_ms: i64,
}

impl OracleClock {
    /// A clock with its first reading.
    pub(super) fn new(oracle_ms: i64, monotonic_ms: i64) -> Self {
        let ahead_ms = oracle_ms.saturating_sub(monotonic_ms);
        Self { ahead_ms: [ahead_ms; 2], stretch_began_ms: monotonic_ms, last_ms: oracle_ms }
    }

    /// Takes note of a timestamp that has just arrived.
    pub(super) fn observe(&mut self, oracle_ms: i64, monotonic_ms: i64) {
        let ahead_ms = oracle_ms.saturating_sub(monotonic_ms);
        if monotonic_ms.saturating_sub(self.stretch_began_ms) >= READING_LASTS_MS {
            self.ahead_ms = [self.ahead_ms[1], ahead_ms];
            self.stretch_began_ms = monotonic_ms;
        } else {
            self.ahead_ms[1] = self.ahead_ms[1].max(ahead_ms);
        }
    }

    /// What time it is.
    pub(super) fn now_ms(&mut self, monotonic_ms: i64) -> i64 {
        let ahead_ms = self.ahead_ms[0].max(self.ahead_ms[1]);
        self.last_ms = self.last_ms.max(monotonic_ms.saturating_add(ahead_ms));
        self.last_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_between_two_answers() {
        let mut clock = OracleClock::new(1_000_000, 50);
        assert_eq!(clock.now_ms(50), 1_000_000);
        assert_eq!(clock.now_ms(80), 1_000_030);
    }

    #[test]
    fn an_answer_that_was_long_under_way_does_not_set_it_back() {
        let mut clock = OracleClock::new(1_000_000, 0);
        clock.observe(1_000_010, 2_010);
        assert_eq!(clock.now_ms(2_010), 1_002_010);
    }

    #[test]
    fn a_quicker_answer_sets_it_right() {
        let mut clock = OracleClock::new(1_000_000, 1_000);
        clock.observe(1_001_500, 2_000);
        assert_eq!(clock.now_ms(2_000), 1_001_500);
    }

    #[test]
    fn an_oracle_that_falls_behind_is_followed_and_time_does_not_go_back() {
        let mut clock = OracleClock::new(1_000_000, 0);
        let mut last_ms = clock.now_ms(0);
        for step in 1..=40 {
            let monotonic_ms = step * 30_000;
            // The oracle has set its clock back by a minute.
            clock.observe(940_000 + monotonic_ms, monotonic_ms);
            let now_ms = clock.now_ms(monotonic_ms);
            assert!(now_ms >= last_ms);
            last_ms = now_ms;
        }
        assert_eq!(last_ms, 940_000 + 40 * 30_000);
    }
}
