//! How long to wait before the next attempt: exponential, with jitter (KIP-580).

use std::time::Duration;

/// The part of a wait that chance may add or take.
const JITTER: f64 = 0.2;
/// Doublings after which the maximum is reached whatever the first wait was.
const MAX_DOUBLINGS: u32 = 30;

/// The waits of one series of attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first_ms: u64,
    max_ms: u64,
}

impl Backoff {
    pub(crate) fn new(first_ms: u64, max_ms: u64) -> Self {
        Self { first_ms, max_ms }
    }

    /// The wait after `failures` attempts have failed, where `chance` lies in 0..1. None after no failure.
    pub(crate) fn delay(&self, failures: u32, chance: f64) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let doubled = self.first_ms.saturating_mul(1 << (failures - 1).min(MAX_DOUBLINGS));
        let base = Duration::from_millis(doubled.min(self.max_ms));
        base.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0))
    }

    /// [`Backoff::delay`], by chance.
    pub(crate) fn random_delay(&self, failures: u32) -> Duration {
        self.delay(failures, rand::random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let backoff = Backoff::new(50, 1000);
        let waits: Vec<u128> = (0..8).map(|failures| backoff.delay(failures, 0.5).as_millis()).collect();
        assert_eq!(waits, [0, 50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.delay(u32::MAX, 0.5).as_millis(), 1000);
    }

    #[test]
    fn chance_moves_a_wait_by_a_fifth() {
        let backoff = Backoff::new(100, 1000);
        assert_eq!(backoff.delay(1, 0.0).as_millis(), 80);
        assert_eq!(backoff.delay(1, 1.0).as_millis(), 120);
        for _ in 0..100 {
            assert!((80..=120).contains(&backoff.random_delay(1).as_millis()));
        }
    }
}
