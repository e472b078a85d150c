//! Whether the holder of a lease lives, as another broker sees it. Pure: rows and times in, a verdict out.
//!
//! What always holds: a holder counts as gone only after its row has been the same for its whole lease, from the end of
//! the first look that showed it to the beginning of the last, all by the observer's own monotonic clock. So an outage of
//! the store, in which nobody can look, expires nobody.

use std::collections::BTreeMap;

use tidegate_format::{BrokerId, BrokerValue};
use tokio::time::{Duration, Instant};

use super::LeaseHolder;

/// What a look has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody holds the lease any more.
    Vacant,
    /// Somebody does: its row has changed while it was observed.
    Held(LeaseHolder),
    /// It is not known yet.
    Waiting {
        /// Who has not changed its row for a part of its lease.
        holder: LeaseHolder,
        /// When its whole lease is over.
        until: Instant,
    },
}

/// Remembers since when each row has been as it is.
#[derive(Debug, Default)]
pub(super) struct Observer {
    seen: BTreeMap<BrokerId, (BrokerValue, Instant)>,
}

impl Observer {
    /// What the rows of all brokers say that were read between `began` and `ended`.
    pub(super) fn see(&mut self, rows: &[LeaseHolder], began: Instant, ended: Instant) -> Verdict {
        let before = std::mem::take(&mut self.seen);
        let mut verdict = Verdict::Vacant;
        for row in rows {
            let since = match before.get(&row.id) {
                Some((value, _)) if *value != row.value => return Verdict::Held(row.clone()),
                Some((_, since)) => *since,
                None => ended,
            };
            self.seen.insert(row.id, (row.value.clone(), since));
            let until = since + Duration::from_millis(row.value.lease_ms.into());
            if began < until && verdict == Verdict::Vacant {
                verdict = Verdict::Waiting { holder: row.clone(), until };
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);
    const MS: Duration = Duration::from_millis(1);

    fn row(id: i32, renewals: u64) -> LeaseHolder {
        let value = BrokerValue {
            host: "here".to_owned(),
            port: 9092,
            rack: None,
            incarnation: 7,
            renewals,
            lease_ms: 10_000,
        };
        LeaseHolder { id: BrokerId(id), value }
    }

    #[test]
    fn nobody_holds_what_has_no_row() {
        let now = Instant::now();
        assert_eq!(Observer::default().see(&[], now, now), Verdict::Vacant);
    }

    #[test]
    fn a_row_that_stays_the_same_for_a_whole_lease_counts_as_left_behind() {
        let start = Instant::now();
        let mut observer = Observer::default();
        let waiting = Verdict::Waiting { holder: row(1, 5), until: start + LEASE };
        assert_eq!(observer.see(&[row(1, 5)], start - MS, start), waiting);
        let last = start + LEASE - MS;
        assert_eq!(
            observer.see(&[row(1, 5)], last, last + LEASE),
            waiting,
            "a slow look counts from its beginning"
        );
        assert_eq!(observer.see(&[row(1, 5)], start + LEASE, start + LEASE), Verdict::Vacant);
    }

    #[test]
    fn a_row_that_changes_is_a_broker_that_lives() {
        let start = Instant::now();
        let mut observer = Observer::default();
        observer.see(&[row(1, 5)], start, start);
        let late = start + LEASE * 3;
        assert_eq!(observer.see(&[row(1, 6)], late, late), Verdict::Held(row(1, 6)));
    }

    #[test]
    fn each_of_several_rows_has_its_own_time() {
        let start = Instant::now();
        let mut observer = Observer::default();
        observer.see(&[row(1, 5)], start, start);
        let second = start + LEASE / 2;
        observer.see(&[row(1, 5), row(2, 1)], second, second);
        let waiting = Verdict::Waiting { holder: row(2, 1), until: second + LEASE };
        assert_eq!(observer.see(&[row(1, 5), row(2, 1)], start + LEASE, start + LEASE), waiting);
        assert_eq!(observer.see(&[row(1, 5), row(2, 1)], second + LEASE, second + LEASE), Verdict::Vacant);
    }

    #[test]
    fn a_row_that_went_away_and_came_back_is_looked_at_anew() {
        let start = Instant::now();
        let mut observer = Observer::default();
        observer.see(&[row(1, 5)], start, start);
        observer.see(&[], start + LEASE, start + LEASE);
        let back = start + LEASE * 2;
        let waiting = Verdict::Waiting { holder: row(1, 5), until: back + LEASE };
        assert_eq!(observer.see(&[row(1, 5)], back, back), waiting);
    }
}
