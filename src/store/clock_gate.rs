//! What to believe of a wall clock. Pure: readings in, times out.
//!
//! What it is: a wall clock and a monotonic one that is read with it run alike, but for small corrections, which are
//! followed at once. When they come apart by more than the limit, the wall clock has jumped (somebody set it, or the
//! machine slept): the gate goes on from where it was, by the monotonic clock, until the jump has lasted.
//!
//! What always holds: a jump that is taken back before it has lasted was never seen; one that lasts is taken; the gate
//! counts each time that its own time goes back.

/// How long the wall clock must stay where it jumped to before it is believed, in milliseconds.
pub(crate) const JUMP_LASTS_MS: i64 = 60_000;

/// What happened at a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockEvent {
    /// The wall clock has come away by so many milliseconds, and is not believed.
    Jumped {
        /// Positive if it went forward.
        by_ms: i64,
    },
    /// It has stayed there for long enough, and is believed from now on.
    Taken {
        /// Positive if it went forward.
        by_ms: i64,
    },
    /// It is back where it was before it jumped.
    TakenBack,
}

/// A place to which the wall clock has jumped.
#[derive(Clone, Copy, Debug)]
struct Jump {
    /// The wall clock minus the monotonic one.
    offset_ms: i64,
    /// When it was first seen there, by the monotonic clock.
    since_ms: i64,
}

/// The gate.
#[derive(Clone, Debug)]
pub(crate) struct ClockGate {
    jump_max_ms: i64,
    /// The wall clock minus the monotonic one, as it is believed; none before the first reading, which is believed.
    offset_ms: Option<i64>,
    jump: Option<Jump>,
    last_ms: i64,
    steps_back: u64,
}

impl ClockGate {
    /// A gate for jumps of more than `jump_max_ms` milliseconds.
    pub(crate) fn new(jump_max_ms: i64) -> Self {
        Self { jump_max_ms, offset_ms: None, jump: None, last_ms: i64::MIN, steps_back: 0 }
    }

    /// What time it is when the wall clock shows `wall_ms` and the monotonic one `monotonic_ms`.
    pub(crate) fn read(&mut self, wall_ms: i64, monotonic_ms: i64) -> (i64, Option<ClockEvent>) {
        let event = self.judge(wall_ms.saturating_sub(monotonic_ms), monotonic_ms);
        let now_ms = monotonic_ms.saturating_add(self.offset_ms.unwrap_or(0));
        if now_ms < self.last_ms {
            self.steps_back += 1;
        }
        self.last_ms = now_ms;
        (now_ms, event)
    }

    /// How far the wall clock is from what is believed, in milliseconds, while it is not believed.
    pub(crate) fn jump_ms(&self) -> Option<i64> {
        Some(self.jump?.offset_ms.saturating_sub(self.offset_ms?))
    }

    /// How often the time that [`read`](Self::read) gave was earlier than the one before.
    pub(crate) fn steps_back(&self) -> u64 {
        self.steps_back
    }

    fn judge(&mut self, offset_ms: i64, monotonic_ms: i64) -> Option<ClockEvent> {
        let believed_ms = *self.offset_ms.get_or_insert(offset_ms);
        let is_near = |other_ms: i64| offset_ms.saturating_sub(other_ms).saturating_abs() <= self.jump_max_ms;
        if is_near(believed_ms) {
            self.offset_ms = Some(offset_ms);
            return self.jump.take().map(|_| ClockEvent::TakenBack);
        }
        let by_ms = offset_ms.saturating_sub(believed_ms);
        match self.jump {
            Some(jump) if is_near(jump.offset_ms) => {
                if monotonic_ms.saturating_sub(jump.since_ms) < JUMP_LASTS_MS {
                    self.jump = Some(Jump { offset_ms, ..jump });
                    return None;
                }
                self.offset_ms = Some(offset_ms);
                self.jump = None;
                Some(ClockEvent::Taken { by_ms })
            }
            _ => {
                self.jump = Some(Jump { offset_ms, since_ms: monotonic_ms });
                Some(ClockEvent::Jumped { by_ms })
            }
        }
    }
}

#[cfg(test)]
#[path = "clock_gate_tests.rs"]
mod tests;
