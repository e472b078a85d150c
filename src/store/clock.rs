//! The clocks as arguments, so that a test of a five-minute time-out takes no time.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::clock_gate::{ClockEvent, ClockGate, JUMP_LASTS_MS};

/// Tells what is *now* for deciding what is due.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// Milliseconds since some moment, by a clock that nobody sets.
    ///
    /// A clock without such a side never jumps: this is its time then.
    fn monotonic_ms(&self) -> i64 {
        self.now_ms()
    }
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic_ms(&self) -> i64 {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let since = FIRST.get_or_init(Instant::now).elapsed();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands still until a test moves it. Clones share their time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<Mutex<Manual>>);

#[derive(Debug, Default)]
struct Manual {
    wall_ms: i64,
    monotonic_ms: i64,
}

impl ManualClock {
    /// A clock that shows `unix_ms`.
    #[must_use]
    pub fn at(unix_ms: i64) -> Self {
        Self(Arc::new(Mutex::new(Manual { wall_ms: unix_ms, monotonic_ms: 0 })))
    }

    /// Lets `ms` milliseconds pass; if they are fewer than none, sets the clock back.
    pub fn advance(&self, ms: i64) {
        let mut manual = self.manual();
        manual.wall_ms += ms;
        manual.monotonic_ms += ms.max(0);
    }

    /// Lets time pass until the clock shows `unix_ms`, or sets it back to that.
    pub fn set(&self, unix_ms: i64) {
        let now_ms = self.manual().wall_ms;
        self.advance(unix_ms - now_ms);
    }

    /// Sets the clock forward or back by `ms` while no time passes.
    pub fn jump(&self, ms: i64) {
        self.manual().wall_ms += ms;
    }

    fn manual(&self) -> MutexGuard<'_, Manual> {
        self.0.lock().expect("nothing panics with the lock held")
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.manual().wall_ms
    }

    fn monotonic_ms(&self) -> i64 {
        self.manual().monotonic_ms
    }
}

/// A clock behind a [`ClockGate`]: what a store decides by.
pub(crate) struct GatedClock {
    clock: Arc<dyn Clock>,
    gate: Mutex<ClockGate>,
}

impl GatedClock {
    /// A gate in front of `clock`, for jumps of more than `jump_max_ms` milliseconds.
    pub(crate) fn new(clock: Arc<dyn Clock>, jump_max_ms: i64) -> Self {
        Self { clock, gate: Mutex::new(ClockGate::new(jump_max_ms)) }
    }

    /// How far the wall clock is from the time that is gone by, in milliseconds, while it is not believed.
    pub(crate) fn jump_ms(&self) -> Option<i64> {
        self.read().1.jump_ms()
    }

    /// How often the time has gone back so far.
    pub(crate) fn steps_back(&self) -> u64 {
        self.read().1.steps_back()
    }

    fn read(&self) -> (i64, MutexGuard<'_, ClockGate>) {
        // Read with the lock held: the gate sees the clock's times in their order.
        let mut gate = self.gate.lock().expect("nothing panics with the lock held");
        let (now_ms, event) = gate.read(self.clock.now_ms(), self.clock.monotonic_ms());
        match event {
            None => {}
            Some(ClockEvent::Jumped { by_ms }) => tracing::warn!(
                by_ms,
                lasts_ms = JUMP_LASTS_MS,
                "the machine's clock has jumped: time goes on as before until that has lasted"
            ),
            Some(ClockEvent::Taken { by_ms }) => {
                tracing::warn!(by_ms, "the machine's clock has stayed where it jumped to: it is followed");
            }
            Some(ClockEvent::TakenBack) => tracing::info!("the machine's clock is back"),
        }
        (now_ms, gate)
    }
}

impl Clock for GatedClock {
    fn now_ms(&self) -> i64 {
        self.read().0
    }

    fn monotonic_ms(&self) -> i64 {
        self.clock.monotonic_ms()
    }
}
