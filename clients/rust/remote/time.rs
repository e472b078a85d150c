//! What the broker's store takes for now: as its last answer said, plus what has passed since by a clock that nobody
//! sets. This machine's wall clock has no part in it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_protocol::extension::StoreTime;
use tokio::time::Instant;

/// For how long the answer that came fastest counts: later ones took longer to come, and say less. After that the
/// newest does, so that the two clocks do not drift apart.
const FASTEST_COUNTS: Duration = Duration::from_secs(1);

/// The broker's time.
#[derive(Debug, Default)]
pub(super) struct BrokerTime(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    time: StoreTime,
    learnt_at: Option<Instant>,
}

impl Known {
    fn now_ms(&self, at: Instant) -> i64 {
        let elapsed = self.learnt_at.map_or(Duration::ZERO, |learnt| at.saturating_duration_since(learnt));
        let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        self.time.now_ms.saturating_add(elapsed_ms)
    }
}

impl BrokerTime {
    /// Takes in what an answer said that came at this moment.
    pub(super) fn learn(&self, time: StoreTime, at: Instant) {
        let mut known = self.known();
        let is_first = known.learnt_at.is_none();
        let steps = time.steps_back.cmp(&known.time.steps_back);
        if !is_first && steps.is_lt() && time.now_ms <= known.time.now_ms {
            // An answer of before the clock went back, or of another broker.
            return;
        }
        let went_back = !steps.is_eq();
        let oldest_open_ms =
            if went_back { time.oldest_open_ms } else { time.oldest_open_ms.max(known.time.oldest_open_ms) };
        let is_recent =
            known.learnt_at.is_some_and(|learnt| at.saturating_duration_since(learnt) < FASTEST_COUNTS);
        if !went_back && is_recent && known.now_ms(at) >= time.now_ms {
            known.time.oldest_open_ms = oldest_open_ms;
            return;
        }
        *known = Known { time: StoreTime { oldest_open_ms, ..time }, learnt_at: Some(at) };
    }

    pub(super) fn now_ms(&self, at: Instant) -> i64 {
        self.known().now_ms(at)
    }

    pub(super) fn oldest_open_ms(&self) -> i64 {
        self.known().time.oldest_open_ms
    }

    pub(super) fn steps_back(&self) -> u64 {
        self.known().time.steps_back
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(now_ms: i64, steps_back: u64) -> StoreTime {
        StoreTime { now_ms, oldest_open_ms: now_ms - 10, steps_back }
    }

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn time_goes_on_between_answers() {
        let (known, start) = (BrokerTime::default(), Instant::now());
        known.learn(time(1_000, 0), start);
        assert_eq!((known.now_ms(start), known.now_ms(after(start, 250))), (1_000, 1_250));
    }

    #[test]
    fn an_answer_that_was_slow_to_come_does_not_set_the_time_back() {
        let (known, start) = (BrokerTime::default(), Instant::now());
        known.learn(time(1_000, 0), start);
        known.learn(time(1_050, 0), after(start, 100));
        assert_eq!(known.now_ms(after(start, 100)), 1_100);
        known.learn(time(1_180, 0), after(start, 150));
        assert_eq!(known.now_ms(after(start, 150)), 1_180, "one that says more is believed");
    }

    #[test]
    fn clocks_that_drift_apart_are_brought_together() {
        let (known, start) = (BrokerTime::default(), Instant::now());
        known.learn(time(1_000, 0), start);
        known.learn(time(2_900, 0), after(start, 2_000));
        assert_eq!(known.now_ms(after(start, 2_000)), 2_900);
    }

    #[test]
    fn a_clock_that_went_back_is_followed_at_once() {
        let (known, start) = (BrokerTime::default(), Instant::now());
        known.learn(time(5_000, 0), start);
        known.learn(time(1_000, 1), after(start, 1));
        assert_eq!((known.now_ms(after(start, 1)), known.steps_back()), (1_000, 1));
        assert_eq!(known.oldest_open_ms(), 990);
        known.learn(time(900, 0), after(start, 2));
        assert_eq!(known.now_ms(after(start, 2)), 1_001, "what was said before that is too late");
    }
}
