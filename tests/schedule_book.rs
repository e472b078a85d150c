//! The book that a test keeps of scheduled records: each comes once, none before its time, those that were held come in
//! the order of their times, and what was cancelled or replaced never comes.
//!
//! Pure: times are arguments. As the [`Ledger`](crate::ledger::Ledger), it notes a broken rule for good.

use std::collections::BTreeMap;

#[derive(Clone, Debug)]
struct Expected {
    due_ms: i64,
    /// It was acknowledged before it was due, so it was held: only then its place in the log is known.
    held: bool,
    came: bool,
}

/// The book. Records are told apart by their values.
#[derive(Clone, Debug, Default)]
pub struct ScheduleBook {
    expected: BTreeMap<String, Expected>,
    outstanding: usize,
    last_held_due_ms: BTreeMap<i32, i64>,
    violations: Vec<String>,
}

impl ScheduleBook {
    /// Nothing is expected yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The record must come, with this timestamp.
    ///
    /// # Panics
    /// When it is expected already: a mistake of the test.
    pub fn expect(&mut self, value: &str, due_ms: i64) {
        let new = Expected { due_ms, held: false, came: false };
        assert!(self.expected.insert(value.to_owned(), new).is_none(), "{value} is expected already");
        self.outstanding += 1;
    }

    /// The record must not come any more.
    ///
    /// # Panics
    /// When it was not expected: a mistake of the test.
    pub fn expect_no_more(&mut self, value: &str) {
        let entry = self.expected.remove(value).expect("it was expected");
        if entry.came {
            self.violate(format!("{value} came although it was not due before it was cancelled"));
        } else {
            self.outstanding -= 1;
        }
    }

    /// The broker has acknowledged the record.
    pub fn acknowledged(&mut self, value: &str, now_ms: i64) {
        if let Some(entry) = self.expected.get_mut(value) {
            entry.held = now_ms < entry.due_ms;
        }
    }

    /// A consumer was given a record.
    pub fn came(&mut self, partition: i32, value: Option<&str>, timestamp_ms: i64, now_ms: i64) {
        let Some(entry) = value.and_then(|value| self.expected.get_mut(value)) else {
            self.violate(format!("{value:?} must never come"));
            return;
        };
        let mut faults = Vec::new();
        if entry.came {
            faults.push(format!("{value:?} came twice"));
        } else {
            entry.came = true;
            self.outstanding -= 1;
        }
        if timestamp_ms != entry.due_ms {
            faults.push(format!("{value:?} has the timestamp {timestamp_ms} in place of {}", entry.due_ms));
        }
        if now_ms < entry.due_ms {
            faults.push(format!("{value:?} came {} ms early", entry.due_ms - now_ms));
        }
        if entry.held {
            let last = self.last_held_due_ms.entry(partition).or_insert(i64::MIN);
            if entry.due_ms < *last {
                faults
                    .push(format!("{value:?} came after one that was due {} ms later", *last - entry.due_ms));
            }
            *last = entry.due_ms;
        }
        self.violations.extend(faults);
    }

    /// A reader begins again at the start of the log.
    pub fn read_again(&mut self) {
        self.last_held_due_ms.clear();
        self.outstanding = self.expected.len();
        self.expected.values_mut().for_each(|entry| entry.came = false);
    }

    /// Something happened that must never happen.
    pub fn violate(&mut self, what: String) {
        self.violations.push(what);
    }

    /// How many records have not come yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// How many records are to come or have come.
    #[must_use]
    pub fn expected(&self) -> usize {
        self.expected.len()
    }

    /// How many records were acknowledged before they were due.
    #[must_use]
    pub fn held(&self) -> usize {
        self.expected.values().filter(|entry| entry.held).count()
    }

    /// What went wrong so far.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> ScheduleBook {
        let mut book = ScheduleBook::new();
        for (value, due) in [("a", 100), ("b", 200)] {
            book.expect(value, due);
            book.acknowledged(value, 50);
        }
        book
    }

    fn fault(book: &ScheduleBook, expected: &str) {
        assert_eq!(book.violations().len(), 1, "{:?}", book.violations());
        assert!(book.violations()[0].contains(expected), "{:?}", book.violations());
    }

    #[test]
    fn what_comes_when_it_is_due_is_well() {
        let mut book = book();
        book.came(0, Some("a"), 100, 100);
        book.came(0, Some("b"), 200, 1_000);
        assert_eq!((book.violations().len(), book.outstanding(), book.held()), (0, 0, 2));
        book.read_again();
        assert_eq!(book.outstanding(), 2);
    }

    #[test]
    fn early_twice_changed_disordered_and_cancelled_are_noticed() {
        let mut early = book();
        early.came(0, Some("a"), 100, 99);
        fault(&early, "1 ms early");
        let mut twice = book();
        twice.came(0, Some("a"), 100, 100);
        twice.came(0, Some("a"), 100, 100);
        fault(&twice, "twice");
        let mut changed = book();
        changed.came(0, Some("a"), 101, 200);
        fault(&changed, "timestamp");
        let mut disordered = book();
        disordered.came(0, Some("b"), 200, 300);
        disordered.came(0, Some("a"), 100, 300);
        fault(&disordered, "due 100 ms later");
        let mut cancelled = book();
        cancelled.expect_no_more("a");
        cancelled.came(0, Some("a"), 100, 100);
        fault(&cancelled, "never");
        let mut unknown = book();
        unknown.came(0, None, 100, 100);
        fault(&unknown, "never");
    }

    #[test]
    fn partitions_and_records_that_were_late_already_have_no_order_between_them() {
        let mut book = book();
        book.came(0, Some("b"), 200, 300);
        book.came(1, Some("a"), 100, 300);
        book.expect("late", 10);
        book.acknowledged("late", 50);
        book.came(0, Some("late"), 10, 300);
        assert_eq!(book.violations(), Vec::<String>::new());
    }
}
