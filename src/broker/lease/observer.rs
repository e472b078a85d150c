//! Whether the holder of a lease lives, as another broker sees it. Pure: rows and times in, a verdict out.
//!
//! What always holds: a holder counts as gone only after its row has been the same for its whole lease, from the end of
//! the first look that showed it to the beginning of the last, all by the observer's own monotonic clock. So an outage of
//! the store, in which nobody can look, expires nobody. It counts as alive only after two renewals: one may have been
//! under way to the store when its sender died.

use std::collections::BTreeMap;

use tidegate_format::{BrokerId, BrokerValue};
use tokio::time::{Duration, Instant};

use super::LeaseHolder;

/// How many renewals show that their sender lives: it sends the next one when the one before is answered, so at most one
/// is under way.
const RENEWALS_OF_THE_LIVING: u64 = 2;

/// What a look has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody holds the lease any more.
    Vacant,
    /// Somebody does: its row was renewed by one who lived while it was observed.
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
    seen: BTreeMap<BrokerId, Seen>,
}

#[derive(Debug)]
struct Seen {
    value: BrokerValue,
    since: Instant,
    /// How often it had been renewed when this process of the broker was first seen.
    first_renewals: u64,
}

impl Observer {
    /// What the rows of all brokers say that were read between `began` and `ended`.
    pub(super) fn see(&mut self, rows: &[LeaseHolder], began: Instant, ended: Instant) -> Verdict {
        let mut before = std::mem::take(&mut self.seen);
        let mut verdict = Verdict::Vacant;
        for row in rows {
            let value = row.value.clone();
            let seen = match before.remove(&row.id) {
                Some(seen) if seen.value == value => seen,
                Some(seen) if seen.value.incarnation == value.incarnation => {
                    if value.renewals >= seen.first_renewals.saturating_add(RENEWALS_OF_THE_LIVING) {
                        return Verdict::Held(row.clone());
                    }
                    Seen { value, since: ended, ..seen }
                }
                _ => Seen { first_renewals: value.renewals, value, since: ended },
            };
            let until = seen.since + Duration::from_millis(row.value.lease_ms.into());
            self.seen.insert(row.id, seen);
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
    fn a_row_that_is_renewed_twice_is_a_broker_that_lives() {
        let start = Instant::now();
        let late = start + LEASE * 3;
        for looks in [&[6, 7][..], &[7]] {
            let mut observer = Observer::default();
            observer.see(&[row(1, 5)], start, start);
            let last = looks.iter().map(|renewals| observer.see(&[row(1, *renewals)], late, late)).last();
            assert_eq!(last, Some(Verdict::Held(row(1, 7))));
        }
    }

    #[test]
    fn a_renewal_that_was_under_way_when_its_sender_died_is_waited_for_and_no_sign_of_life() {
        let start = Instant::now();
        let mut observer = Observer::default();
        observer.see(&[row(1, 5)], start, start);
        let late = start + LEASE / 2;
        let waiting = Verdict::Waiting { holder: row(1, 6), until: late + LEASE };
        assert_eq!(observer.see(&[row(1, 6)], late, late), waiting);
        assert_eq!(observer.see(&[row(1, 6)], late + LEASE, late + LEASE), Verdict::Vacant);
    }

    #[test]
    fn another_process_of_the_same_broker_has_all_its_renewals_to_show() {
        let start = Instant::now();
        let mut observer = Observer::default();
        observer.see(&[row(1, 5)], start, start);
        let mut other = row(1, 7);
        other.value.incarnation = 8;
        let waiting = Verdict::Waiting { holder: other.clone(), until: start + LEASE };
        assert_eq!(observer.see(&[other], start, start), waiting);
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
