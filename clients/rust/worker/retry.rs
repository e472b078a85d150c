//! When an event whose handling failed is tried again, and when no more.
//!
//! Pure: time and randomness are arguments.

use super::outcome::Failure;

/// How often, and how soon, an event is tried again: exponential back-off with jitter.
///
/// A failure that says nothing of the event is none of these: that the store was away while its handler ran, or other
/// transactions came first each time, or that the handler says so ([`HandlerError::transient`](crate::HandlerError::transient)).
/// The event is handled again after half a second, then one, two and four, and then every five; only after ten minutes of this
/// in a row, and if the store takes the note of it, that counts as one failure.
///
/// ```
/// let policy = tidegate::RetryPolicy { retries_max: 3, ..tidegate::RetryPolicy::default() };
/// assert_eq!(policy.first_ms, 2_000, "then 4 s, 8 s and so on");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often it is tried again after the first failure; then it becomes a dead letter.
    pub retries_max: u32,
    /// The wait after the first failure, in milliseconds; it doubles with each.
    pub first_ms: u32,
    /// The longest wait, in milliseconds.
    pub max_ms: u32,
    /// By how many per cent at most a wait is shortened at random, so that those who failed together do not come back
    /// together. At most 100.
    pub jitter_percent: u8,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries_max: 5, first_ms: 2_000, max_ms: 3_600_000, jitter_percent: 20 }
    }
}

/// How long what was given back rests, in milliseconds: the first time, and at most. It doubles with each in a row.
const REST_MS: i64 = 500;
const REST_MAX_MS: i64 = 5_000;

/// How long what was given back rests after so many rests in a row, in milliseconds.
pub(crate) fn rest_ms(rests: u32) -> i64 {
    REST_MAX_MS.min(REST_MS << rests.min(8))
}

/// When what a handler that was called at `called_ms` has put off until `due_ms` is tried again. If that was over already then, as
/// of a time in seconds, not at once: it would be handled over and over without a pause.
pub(crate) fn put_off_until(due_ms: i64, called_ms: i64) -> i64 {
    if due_ms > called_ms { due_ms } else { called_ms.saturating_add(REST_MS) }
}

/// What becomes of an event whose handling failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is tried again at that time, having failed so often.
    TryAgain { due_ms: i64, failures: u32, cause: Option<String> },
    /// It becomes a dead letter, having been tried so often.
    DeadLetter { cause: String, attempts: u32 },
}

impl RetryPolicy {
    /// The wait after so many failures, in milliseconds.
    pub(crate) fn wait_ms(&self, failures: u32, random: u128) -> i64 {
        let doublings = failures.saturating_sub(1).min(31);
        let wait_ms = (u64::from(self.first_ms) << doublings).min(self.max_ms.into());
        let most = u128::from(wait_ms) * u128::from(self.jitter_percent.min(100)) / 100;
        let shortened = u64::try_from(random % (most + 1)).expect("at most a wait");
        i64::try_from(wait_ms - shortened).expect("a wait has 32 bits")
    }

    /// Decides about an event that has now failed, and had failed so often before.
    pub(crate) fn decide(&self, failure: Failure, failures: u32, now_ms: i64, random: u128) -> Verdict {
        match failure {
            Failure::NotBefore(due_ms) => Verdict::TryAgain { due_ms, failures, cause: None },
            Failure::Rejected(cause) => Verdict::DeadLetter { cause, attempts: failures + 1 },
            Failure::Failed(cause) if failures >= self.retries_max => {
                Verdict::DeadLetter { cause, attempts: failures + 1 }
            }
            Failure::Failed(cause) => {
                let failures = failures + 1;
                let due_ms = now_ms.saturating_add(self.wait_ms(failures, random));
                Verdict::TryAgain { due_ms, failures, cause: Some(cause) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: [u128; 3] = [0, u128::MAX, 123_456_789];

    #[test]
    fn waits_double_up_to_the_longest_and_are_shortened_by_a_fifth_at_most() {
        let policy = RetryPolicy::default();
        for (failures, full_ms) in [(1, 2_000), (2, 4_000), (5, 32_000), (12, 3_600_000), (40, 3_600_000)] {
            assert_eq!(policy.wait_ms(failures, 0), full_ms);
            for random in RANDOM {
                let wait_ms = policy.wait_ms(failures, random);
                assert!((full_ms * 4 / 5..=full_ms).contains(&wait_ms), "{failures}: {wait_ms}");
            }
        }
    }

    #[test]
    fn what_is_given_back_rests_longer_each_time_up_to_five_seconds() {
        assert_eq!([0, 1, 2, 3, 4, 1_000].map(rest_ms), [500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    }

    #[test]
    fn after_the_last_retry_it_becomes_a_dead_letter() {
        let policy = RetryPolicy { jitter_percent: 0, ..RetryPolicy::default() };
        let failed = || Failure::Failed("no".into());
        let mut failures = 0;
        for wait_ms in [2_000, 4_000, 8_000, 16_000, 32_000] {
            let verdict = policy.decide(failed(), failures, 100, 0);
            failures += 1;
            let expected = Verdict::TryAgain { due_ms: 100 + wait_ms, failures, cause: Some("no".into()) };
            assert_eq!(verdict, expected);
        }
        let last = policy.decide(failed(), failures, 100, 0);
        assert_eq!(last, Verdict::DeadLetter { cause: "no".into(), attempts: 6 });
    }

    #[test]
    fn a_rejected_event_is_not_tried_again_and_a_put_off_one_has_not_failed() {
        let policy = RetryPolicy::default();
        let rejected = policy.decide(Failure::Rejected("never".into()), 0, 0, 0);
        assert_eq!(rejected, Verdict::DeadLetter { cause: "never".into(), attempts: 1 });
        let later = policy.decide(Failure::NotBefore(99), 5, 0, 0);
        assert_eq!(later, Verdict::TryAgain { due_ms: 99, failures: 5, cause: None });
    }

    #[test]
    fn what_is_put_off_until_a_time_that_is_over_rests_and_what_comes_due_meanwhile_does_not() {
        let called_ms = 1_790_000_000_000;
        for over_ms in [i64::MIN, 1_790_000_000, called_ms] {
            assert_eq!(put_off_until(over_ms, called_ms), 1_790_000_000_500, "not over and over");
        }
        assert_eq!(put_off_until(called_ms + 1, called_ms), called_ms + 1);
    }
}
