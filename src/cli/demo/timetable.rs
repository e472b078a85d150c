//! Compressed time: when each flight is written and when it departs.

use std::time::Duration;

use super::flight::TimetableRow;

/// Flights are written in this part of the demo, and depart in all of it but the first second.
const WRITING_PERCENT: i64 = 60;
/// The first departure, after the start.
const FIRST_DEPARTURE_MS: i64 = 1_000;

/// How the minutes of 2001 become milliseconds of now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    start_ms: i64,
    length_ms: i64,
    first_minute: i64,
    minutes: i64,
    flights: i64,
}

impl Pace {
    /// Plays `rows` in so many seconds from `start_ms` on.
    pub(super) fn new(start_ms: i64, seconds: u32, rows: &[TimetableRow]) -> Self {
        let departures = || rows.iter().map(TimetableRow::departure_minute);
        let first_minute = departures().min().unwrap_or(0);
        let last_minute = departures().max().unwrap_or(0);
        Self {
            start_ms,
            length_ms: i64::from(seconds) * 1_000,
            first_minute,
            minutes: (last_minute - first_minute).max(1),
            flights: i64::try_from(rows.len()).unwrap_or(i64::MAX).max(1),
        }
    }

    /// When a flight departs, in milliseconds since the Unix epoch.
    pub(super) fn departs_ms(&self, row: &TimetableRow) -> i64 {
        let playing_ms = (self.length_ms - FIRST_DEPARTURE_MS).max(1);
        let minute = row.departure_minute() - self.first_minute;
        self.start_ms + FIRST_DEPARTURE_MS + minute * playing_ms / self.minutes
    }

    /// When the flight of this number is written: never after its departure would make sense, as flights are written in
    /// the order of their timetable and faster than they depart.
    pub(super) fn written_ms(&self, number: usize) -> i64 {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.start_ms + number * (self.length_ms * WRITING_PERCENT / 100) / self.flights
    }

    /// How long until the last departure.
    pub(super) fn time_until_last(&self, now_ms: i64) -> Duration {
        let left_ms = (self.start_ms + self.length_ms - now_ms).max(0);
        Duration::from_millis(left_ms.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::flight::timetable;

    #[test]
    fn flights_depart_within_the_demo_and_mostly_after_they_are_written() {
        let rows = timetable(1_000).expect("every row parses");
        let pace = Pace::new(1_000_000, 10, &rows);
        assert!(rows.iter().all(|row| (1_001_000..=1_010_000).contains(&pace.departs_ms(row))));
        assert_eq!(pace.written_ms(0), 1_000_000);
        assert!(pace.written_ms(999) < 1_006_000);
        assert_eq!(pace.time_until_last(1_004_000), Duration::from_secs(6));
    }
}
