//! A flight: the model that the demo writes, and where the flights come from.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidegate_model::{Field, Index, Model, ModelId, NewEvent, Write};

/// See `data/README.md` for where these come from.
const FLIGHTS: &str = include_str!("data/flights.csv");

/// The topic, and the table, of flights.
pub(super) const TOPIC: &str = "flights";
/// Announced when a flight is written.
pub(super) const SCHEDULED: &str = "flight.scheduled";
/// Announced at the same time, and due at the departure.
pub(super) const DEPARTED: &str = "flight.departed";

/// One flight of the timetable, before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimetableRow {
    /// Minutes since the first of January 2001 at which it was to depart.
    pub(super) scheduled_minute: i64,
    /// How many minutes later (or earlier) it did.
    pub(super) delay_minutes: i64,
    pub(super) date: String,
    pub(super) origin: String,
    pub(super) destination: String,
    pub(super) distance_miles: i64,
}

impl TimetableRow {
    /// The minute at which it departed.
    pub(super) fn departure_minute(&self) -> i64 {
        self.scheduled_minute + self.delay_minutes
    }
}

/// The first `count` flights, in the order of their scheduled departure.
pub(super) fn timetable(count: usize) -> anyhow::Result<Vec<TimetableRow>> {
    let rows = FLIGHTS.lines().skip(1).take(count);
    rows.enumerate()
        .map(|(line, row)| parse(row).with_context(|| format!("flights.csv, flight {line}")))
        .collect()
}

fn parse(row: &str) -> anyhow::Result<TimetableRow> {
    let columns: Vec<&str> = row.split(',').collect();
    let [date, delay, distance, origin, destination] = columns[..] else {
        anyhow::bail!("{} columns instead of 5", columns.len());
    };
    Ok(TimetableRow {
        scheduled_minute: minute_of_2001(date)?,
        delay_minutes: delay.parse()?,
        date: date.to_owned(),
        origin: origin.to_owned(),
        destination: destination.to_owned(),
        distance_miles: distance.parse()?,
    })
}

/// Minutes from the beginning of 2001, of which the flights are, to `2001/MM/DD HH:MM`.
fn minute_of_2001(date: &str) -> anyhow::Result<i64> {
    const DAYS_BEFORE_MONTH: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let numbers: Vec<i64> = date.split(['/', ' ', ':']).map(str::parse).collect::<Result<_, _>>()?;
    let [2001, month @ 1..=12, day @ 1..=31, hour @ 0..=23, minute @ 0..=59] = numbers[..] else {
        anyhow::bail!("`{date}` is not a minute of 2001");
    };
    let days = DAYS_BEFORE_MONTH[usize::try_from(month - 1)?] + day - 1;
    Ok((days * 24 + hour) * 60 + minute)
}

/// A flight as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flight {
    pub(super) id: u32,
    pub(super) date: String,
    pub(super) origin: String,
    pub(super) destination: String,
    pub(super) distance_miles: i64,
    pub(super) delay_minutes: i64,
    /// When it departs in the demo's own time, in milliseconds since the Unix epoch.
    pub(super) departs_ms: i64,
}

impl Model for Flight {
    const TABLE: &'static str = TOPIC;

    fn id(&self) -> ModelId {
        flight_name(self.id).into()
    }

    fn indexes() -> &'static [Index<Self>] {
        const INDEXES: &[Index<Flight>] = &[
            Index::new(
                "by_origin",
                &[
                    Field::str("origin", |flight| Some(&flight.origin)),
                    Field::i64("departs_ms", |flight| Some(flight.departs_ms)),
                ],
            ),
            // Only those that were late.
            Index::new(
                "late_by_destination",
                &[
                    Field::str("destination", |flight| {
                        (flight.delay_minutes > 0).then_some(flight.destination.as_str())
                    }),
                    Field::i64("delay_minutes", |flight| Some(flight.delay_minutes)),
                ],
            ),
        ];
        INDEXES
    }

    fn events(&self, write: Write) -> Vec<NewEvent> {
        match write {
            Write::Insert => vec![
                NewEvent::new(SCHEDULED),
                NewEvent::new(DEPARTED).due_at(self.departs_ms).schedule(flight_name(self.id)),
            ],
            Write::Update | Write::Delete => vec![],
        }
    }
}

/// The name of a flight: its id as text, of one length so that it sorts as the number does.
pub(super) fn flight_name(id: u32) -> String {
    format!("flight-{id:05}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timetable_is_whole_and_in_order() {
        let rows = timetable(usize::MAX).expect("every row parses");
        assert_eq!(rows.len(), 20_000);
        assert!(rows.is_sorted_by_key(|row| row.scheduled_minute));
        assert_eq!((rows[0].scheduled_minute, rows[0].delay_minutes), (47, 66));
    }
}
