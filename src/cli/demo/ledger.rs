//! What was written and what arrived, and whether the two agree.

use std::collections::BTreeMap;

/// One of the two events of a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Scheduled,
    Departed,
}

/// What is known of one flight.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// When its departure is due; None until it was written.
    due_ms: Option<i64>,
    /// What arrived, in order, with the time.
    arrived: Vec<(Kind, i64)>,
}

/// Flights by id.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    flights: BTreeMap<u32, Entry>,
    written: usize,
    arrived: usize,
    lateness_ms: Vec<i64>,
}

/// What the demo found, at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) flights: usize,
    /// Events that did not arrive.
    pub(super) missing: usize,
    /// Events that arrived more than once.
    pub(super) repeated: usize,
    /// Flights whose departure arrived before their schedule.
    pub(super) out_of_order: usize,
    /// Departures that arrived before they were due.
    pub(super) early: usize,
    /// Events of flights that nobody wrote.
    pub(super) unknown: usize,
}

impl Verdict {
    pub(super) fn is_good(&self) -> bool {
        self.missing + self.repeated + self.out_of_order + self.early + self.unknown == 0
    }
}

impl Ledger {
    /// A flight was written. Its events may have arrived already: a commit wakes the relay before its writer.
    pub(super) fn wrote(&mut self, flight: u32, due_ms: i64) {
        self.flights.entry(flight).or_default().due_ms = Some(due_ms);
        self.written += 1;
    }

    /// An event arrived at a member of the group.
    pub(super) fn arrived(&mut self, flight: u32, kind: Kind, due_ms: Option<i64>, now_ms: i64) {
        self.flights.entry(flight).or_default().arrived.push((kind, now_ms));
        self.arrived += 1;
        if let (Kind::Departed, Some(due_ms)) = (kind, due_ms) {
            self.lateness_ms.push(now_ms - due_ms);
        }
    }

    /// Flights that were written.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Events that arrived.
    pub(super) fn delivered(&self) -> usize {
        self.arrived
    }

    /// Departures that have not arrived although their flight was written.
    pub(super) fn pending(&self) -> usize {
        self.written.saturating_sub(self.lateness_ms.len())
    }

    /// Lateness of the departures so far: median, 99th percentile and largest, in milliseconds.
    pub(super) fn lateness_ms(&self) -> Option<(i64, i64, i64)> {
        let mut sorted = self.lateness_ms.clone();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get((sorted.len() - 1) * percent / 100).copied();
        let last = sorted.last().copied()?;
        Some((at(50)?, at(99)?, last))
    }

    /// Compares what arrived with what was written.
    pub(super) fn verdict(&self) -> Verdict {
        let mut verdict =
            Verdict { flights: self.written, missing: 0, repeated: 0, out_of_order: 0, early: 0, unknown: 0 };
        for entry in self.flights.values() {
            let Some(due_ms) = entry.due_ms else {
                verdict.unknown += entry.arrived.len();
                continue;
            };
            for kind in [Kind::Scheduled, Kind::Departed] {
                match entry.arrived.iter().filter(|(arrived, _)| *arrived == kind).count() {
                    0 => verdict.missing += 1,
                    count => verdict.repeated += count - 1,
                }
            }
            verdict.out_of_order += usize::from(!entry.arrived.is_sorted_by_key(|(kind, _)| *kind));
            let early = |(kind, at_ms): &&(Kind, i64)| *kind == Kind::Departed && *at_ms < due_ms;
            verdict.early += entry.arrived.iter().filter(early).count();
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.wrote(1, 100);
        ledger.arrived(1, Kind::Scheduled, None, 50);
        ledger.arrived(1, Kind::Departed, Some(100), 103);
        ledger
    }

    #[test]
    fn each_event_once_in_order_and_not_early_is_good() {
        let ledger = good();
        assert!(ledger.verdict().is_good());
        assert_eq!(ledger.lateness_ms(), Some((3, 3, 3)));
    }

    #[test]
    fn every_kind_of_fault_is_found() {
        let mut ledger = good();
        ledger.arrived(1, Kind::Departed, Some(100), 104);
        ledger.wrote(2, 100);
        ledger.arrived(2, Kind::Departed, Some(100), 99);
        ledger.arrived(2, Kind::Scheduled, None, 101);
        ledger.wrote(3, 100);
        ledger.arrived(4, Kind::Scheduled, None, 1);
        let expected = Verdict { flights: 3, missing: 2, repeated: 1, out_of_order: 1, early: 1, unknown: 1 };
        assert_eq!(ledger.verdict(), expected);
    }
}
