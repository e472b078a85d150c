//! When a partition's relay has its next turn. Pure: times are arguments.
//!
//! It turns when it is told of entries, when the next one is due, at once while there are more, and otherwise in sweeps
//! that become rarer while nothing is found.

use std::time::Duration;

use tokio::time::Instant;

/// Turns that find nothing, at the slowest pace, between two looks behind the relay's watermark: about once an hour.
const TURNS_BETWEEN_DEEP_SWEEPS: u32 = 60;

/// When the next turn is.
#[derive(Clone, Debug)]
pub(super) struct RelayPace {
    sweep_min: Duration,
    sweep_max: Duration,
    /// There may be entries that nobody has looked at.
    wanted: bool,
    next_due_ms: Option<i64>,
    interval: Duration,
    sweep_at: Instant,
    quiet_turns: u32,
}

impl RelayPace {
    /// Of a relay that has its first turn at once.
    pub(super) fn new(sweep_min: Duration, sweep_max: Duration, now: Instant) -> Self {
        Self {
            sweep_min,
            sweep_max,
            wanted: true,
            next_due_ms: None,
            interval: sweep_min,
            sweep_at: now,
            quiet_turns: 0,
        }
    }

    /// Somebody has committed entries.
    pub(super) fn hinted(&mut self) {
        self.wanted = true;
    }

    /// Whether it is the relay's turn.
    pub(super) fn is_due(&self, now_ms: i64, now: Instant) -> bool {
        self.wanted || self.sweep_at <= now || self.next_due_ms.is_some_and(|due_ms| due_ms <= now_ms)
    }

    /// When it will be the relay's turn if nobody tells it before.
    pub(super) fn next_turn_at(&self, now_ms: i64, now: Instant) -> Instant {
        let due_at = self.next_due_ms.and_then(|due_ms| {
            let wait_ms = u64::try_from(due_ms.saturating_sub(now_ms)).unwrap_or(0);
            now.checked_add(Duration::from_millis(wait_ms))
        });
        due_at.map_or(self.sweep_at, |due_at| due_at.min(self.sweep_at))
    }

    /// A turn is about to begin; gives whether it looks behind the relay's watermark.
    pub(super) fn begin_turn(&mut self) -> bool {
        self.wanted = false;
        let deep = self.quiet_turns >= TURNS_BETWEEN_DEEP_SWEEPS;
        if deep {
            self.quiet_turns = 0;
        }
        deep
    }

    /// A turn has moved so many records and knows what comes next.
    pub(super) fn turned(&mut self, records: usize, more: bool, next_due_ms: Option<i64>, now: Instant) {
        self.wanted |= more;
        self.next_due_ms = next_due_ms;
        if records > 0 {
            self.interval = self.sweep_min;
            self.quiet_turns = 0;
        } else {
            if self.interval >= self.sweep_max {
                self.quiet_turns += 1;
            }
            self.interval = (self.interval * 2).min(self.sweep_max);
        }
        self.sweep_at = now + self.interval;
    }

    /// A turn has failed: the next one is a sweep away.
    pub(super) fn failed(&mut self, now: Instant) {
        self.next_due_ms = None;
        self.interval = self.sweep_min;
        self.sweep_at = now + self.sweep_min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(now: Instant) -> RelayPace {
        RelayPace::new(SECOND, 60 * SECOND, now)
    }

    /// Lets a turn find nothing, and tells how long it is until the next.
    fn quiet_turn(pace: &mut RelayPace, now: Instant) -> Duration {
        pace.begin_turn();
        pace.turned(0, false, None, now);
        pace.next_turn_at(0, now) - now
    }

    #[test]
    fn the_first_turn_is_at_once_and_sweeps_become_rarer_while_nothing_is_found() {
        let now = Instant::now();
        let mut pace = pace(now);
        assert!(pace.is_due(0, now));
        let waits: Vec<u64> = (0..8).map(|_| quiet_turn(&mut pace, now).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(!pace.is_due(0, now + 59 * SECOND) && pace.is_due(0, now + 60 * SECOND));
    }

    #[test]
    fn a_turn_that_moved_something_makes_sweeps_frequent_again() {
        let now = Instant::now();
        let mut pace = pace(now);
        for _ in 0..8 {
            quiet_turn(&mut pace, now);
        }
        pace.begin_turn();
        pace.turned(1, false, None, now);
        assert_eq!(pace.next_turn_at(0, now), now + SECOND);
    }

    #[test]
    fn a_hint_or_more_to_move_asks_for_a_turn_at_once() {
        let now = Instant::now();
        let mut pace = pace(now);
        quiet_turn(&mut pace, now);
        assert!(!pace.is_due(0, now));
        pace.hinted();
        assert!(pace.is_due(0, now));
        pace.begin_turn();
        pace.turned(5, true, None, now);
        assert!(pace.is_due(0, now));
    }

    #[test]
    fn a_hint_during_a_turn_is_not_lost() {
        let now = Instant::now();
        let mut pace = pace(now);
        pace.begin_turn();
        pace.hinted();
        pace.turned(0, false, None, now);
        assert!(pace.is_due(0, now));
    }

    #[test]
    fn the_next_entry_is_waited_for_to_the_millisecond_but_no_longer_than_a_sweep() {
        let now = Instant::now();
        let mut pace = pace(now);
        pace.begin_turn();
        pace.turned(1, false, Some(1_250), now);
        assert_eq!(pace.next_turn_at(1_000, now), now + Duration::from_millis(250));
        assert!(!pace.is_due(1_249, now) && pace.is_due(1_250, now));
        pace.turned(1, false, Some(i64::MAX), now);
        assert_eq!(pace.next_turn_at(1_000, now), now + SECOND);
    }

    #[test]
    fn a_failed_turn_is_tried_again_after_a_sweep() {
        let now = Instant::now();
        let mut pace = pace(now);
        pace.begin_turn();
        pace.failed(now);
        assert!(!pace.is_due(0, now));
        assert_eq!(pace.next_turn_at(0, now), now + SECOND);
    }

    #[test]
    fn a_look_behind_the_watermark_is_rare() {
        let now = Instant::now();
        let mut pace = pace(now);
        let deep = (0..200).filter(|_| {
            let deep = pace.begin_turn();
            pace.turned(0, false, None, now);
            deep
        });
        assert_eq!(deep.count(), 3);
    }
}
