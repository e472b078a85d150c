//! When a transaction that lost against another runs again: exponential back-off with full jitter.

use std::time::Duration;

/// How often, and how soon, to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a transaction runs at most (`transaction.attempts.max`).
    pub attempts_max: u32,
    /// The longest pause after the first attempt, in milliseconds; it doubles with each (`retry.backoff.ms`).
    pub backoff_ms: u32,
    /// The longest pause of all, in milliseconds (`retry.backoff.max.ms`).
    pub backoff_max_ms: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: 16, backoff_ms: 2, backoff_max_ms: 250 }
    }
}

impl RetryPolicy {
    /// The pause after `attempts` of them: a random share of a bound that doubles each time, so that those who lost
    /// together do not come back together.
    #[must_use]
    pub fn pause(&self, attempts: u32, random: u128) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let bound_ms = (u64::from(self.backoff_ms) << doublings).min(self.backoff_max_ms.into());
        let bound_us = bound_ms * 1_000;
        let share = random % (u128::from(bound_us) + 1);
        Duration::from_micros(u64::try_from(share).expect("a remainder is smaller than its divisor"))
    }
}
