use proptest::prelude::*;

use super::*;

const JUMP_MAX_MS: i64 = 60_000;
const START_MS: i64 = 1_700_000_000_000;

/// A gate and the two clocks in front of it.
struct Clocks {
    gate: ClockGate,
    wall_ms: i64,
    monotonic_ms: i64,
}

impl Clocks {
    fn new() -> Self {
        let mut clocks = Self { gate: ClockGate::new(JUMP_MAX_MS), wall_ms: START_MS, monotonic_ms: 5_000 };
        assert_eq!(clocks.read(), (START_MS, None));
        clocks
    }

    fn read(&mut self) -> (i64, Option<ClockEvent>) {
        self.gate.read(self.wall_ms, self.monotonic_ms)
    }

    fn pass(&mut self, ms: i64) -> (i64, Option<ClockEvent>) {
        self.wall_ms += ms;
        self.monotonic_ms += ms;
        self.read()
    }

    fn step(&mut self, by_ms: i64) -> (i64, Option<ClockEvent>) {
        self.wall_ms += by_ms;
        self.read()
    }
}

#[test]
fn a_jump_moves_nothing_until_it_has_lasted() {
    for by_ms in [3_600_000, -3_600_000, JUMP_MAX_MS + 1, -JUMP_MAX_MS - 1] {
        let mut clocks = Clocks::new();
        assert_eq!(clocks.step(by_ms), (START_MS, Some(ClockEvent::Jumped { by_ms })));
        assert_eq!(clocks.pass(JUMP_LASTS_MS - 1), (START_MS + JUMP_LASTS_MS - 1, None));
        assert_eq!(clocks.gate.jump_ms(), Some(by_ms));
        let taken = (START_MS + by_ms + JUMP_LASTS_MS, Some(ClockEvent::Taken { by_ms }));
        assert_eq!(clocks.pass(1), taken);
        assert_eq!(clocks.gate.jump_ms(), None);
        assert_eq!(clocks.pass(7), (START_MS + by_ms + JUMP_LASTS_MS + 7, None));
        assert_eq!(clocks.gate.steps_back(), u64::from(by_ms < 0));
    }
}

#[test]
fn a_jump_that_is_taken_back_was_never_seen() {
    let mut clocks = Clocks::new();
    clocks.step(10_000_000);
    assert_eq!(clocks.pass(1_000).0, START_MS + 1_000);
    assert_eq!(clocks.step(-10_000_000), (START_MS + 1_000, Some(ClockEvent::TakenBack)));
    assert_eq!(clocks.pass(JUMP_LASTS_MS), (START_MS + 1_000 + JUMP_LASTS_MS, None));
    assert_eq!(clocks.gate.steps_back(), 0);
}

#[test]
fn a_clock_that_jumps_on_has_not_lasted() {
    let mut clocks = Clocks::new();
    for jump in 1..20 {
        let by_ms = 1_000_000 * jump;
        assert_eq!(clocks.step(1_000_000).1, Some(ClockEvent::Jumped { by_ms }));
        assert_eq!(clocks.pass(JUMP_LASTS_MS - 1).1, None);
    }
    assert_eq!(clocks.read().0, START_MS + 19 * (JUMP_LASTS_MS - 1));
}

#[test]
fn small_corrections_are_followed_at_once_and_going_back_is_counted() {
    let mut clocks = Clocks::new();
    assert_eq!(clocks.step(JUMP_MAX_MS), (START_MS + JUMP_MAX_MS, None));
    assert_eq!(clocks.step(-JUMP_MAX_MS), (START_MS, None));
    assert_eq!(clocks.gate.steps_back(), 1);
    assert_eq!(clocks.step(0), (START_MS, None));
    assert_eq!(clocks.gate.steps_back(), 1);
}

proptest! {
    /// Whatever the wall clock does, the time goes with the monotonic clock but where a correction was small or a jump
    /// has lasted; and once the wall clock is left alone for long enough, it is believed.
    #[test]
    fn time_goes_by_the_monotonic_clock_or_by_what_is_believed(
        steps in prop::collection::vec((0..100_000_i64, prop_oneof![
            3 => Just(0_i64),
            1 => -JUMP_MAX_MS..=JUMP_MAX_MS,
            1 => -10_000_000..10_000_000_i64,
        ]), 1..60),
    ) {
        let mut clocks = Clocks::new();
        let (mut before_ms, mut steps_back) = (START_MS, 0);
        for (pass_ms, by_ms) in steps {
            let stood_apart = clocks.gate.jump_ms();
            clocks.wall_ms += by_ms;
            let (now_ms, event) = clocks.pass(pass_ms);
            let moved_ms = now_ms - before_ms - pass_ms;
            match event {
                Some(ClockEvent::Taken { by_ms }) => prop_assert!(
                    stood_apart.is_some() && moved_ms == by_ms && now_ms == clocks.wall_ms
                ),
                Some(ClockEvent::Jumped { by_ms }) => prop_assert!(moved_ms == 0 && by_ms.abs() > JUMP_MAX_MS),
                Some(ClockEvent::TakenBack) | None => prop_assert!(moved_ms.abs() <= JUMP_MAX_MS),
            }
            steps_back += u64::from(now_ms < before_ms);
            prop_assert_eq!(clocks.gate.steps_back(), steps_back);
            prop_assert_eq!(clocks.gate.jump_ms().is_none(), now_ms == clocks.wall_ms);
            before_ms = now_ms;
        }
        clocks.pass(0);
        clocks.pass(JUMP_LASTS_MS);
        prop_assert_eq!(clocks.read(), (clocks.wall_ms, None));
    }

    /// No reading is too odd.
    #[test]
    fn any_reading_gives_some_time(readings in prop::collection::vec((any::<i64>(), any::<i64>()), 1..20)) {
        let mut gate = ClockGate::new(JUMP_MAX_MS);
        for (wall_ms, monotonic_ms) in readings {
            gate.read(wall_ms, monotonic_ms);
        }
    }
}
