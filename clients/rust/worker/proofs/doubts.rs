//! Commits of which nobody was told what became of them: settled by their trace in the store.

use super::expected::{Expected, State};
use super::filed::Tried;
use super::site::{Spot, Stored};
use crate::ConsumerRecord;

/// Something that may have been committed.
#[derive(Debug)]
pub(super) enum Doubt {
    /// A clerk's transaction; `may_be` if the error said so.
    Transaction { clerk: u8, number: u64, may_be: bool },
    /// A fresh record was tried.
    Handle { spot: Spot, now_ms: i64 },
    /// A parked record was tried.
    Retry { spot: Spot, now_ms: i64 },
    /// Records were parked behind another.
    Park(Vec<Spot>),
    /// A worker was told that somebody else has dealt with a record.
    DealtWith(Spot),
    /// A step of the committed offset.
    Advance { partition: i32, to: i64 },
    /// A batch was tried.
    Batch { tried: Tried, now_ms: i64 },
    /// A dead letter was sent back.
    SendBack { letter: ConsumerRecord, partition: i32 },
    /// How far that has come was committed.
    Redriven(i64),
}

/// How often what was in doubt had been committed, and how often not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    pub(super) applied: usize,
    pub(super) not_applied: usize,
}

/// What should be there, as far as anybody was told.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) expected: Expected,
    pub(super) doubts: Vec<Doubt>,
    pub(super) settled: Settled,
    /// The number of the last transaction.
    pub(super) last_number: u64,
}

impl Book {
    pub(super) fn new(seed: u64) -> Self {
        Self { expected: Expected::new(seed), doubts: vec![], settled: Settled::default(), last_number: 0 }
    }

    /// Takes in what the store says of what is in doubt.
    pub(super) fn settle(&mut self, stored: &Stored) {
        for doubt in std::mem::take(&mut self.doubts) {
            let is_applied = self.expected.settle_one(&doubt, stored);
            let Settled { applied, not_applied } = &mut self.settled;
            *(if is_applied { applied } else { not_applied }) += 1;
        }
    }
}

impl Expected {
    fn settle_one(&mut self, doubt: &Doubt, stored: &Stored) -> bool {
        let is_marked = |spot: &Spot| {
            stored.marks.contains(spot) || stored.committed.get(&spot.0).is_some_and(|at| *at > spot.1)
        };
        match doubt {
            Doubt::Transaction { clerk, number, may_be } => {
                let is_there = stored.clerks.get(clerk) == Some(number);
                assert!(*may_be || !is_there, "transaction {number} of clerk {clerk} was refused");
                if is_there {
                    self.transacted(*clerk, *number);
                }
                is_there
            }
            Doubt::Handle { spot, now_ms } => {
                // Another that parks it behind others may have come first.
                let is_behind = stored.parked.get(spot).is_some_and(|(_, row)| row.due_ms == 0);
                let is_tried = self.is_fresh(*spot) && is_marked(spot) && !is_behind;
                if is_tried {
                    self.tried(*spot, *now_ms);
                }
                is_tried
            }
            Doubt::Retry { spot, now_ms } => {
                let Some(State::Parked { attempts, due_ms, cause }) = self.states.get(spot) else {
                    return false;
                };
                let is_as_before = stored.parked.get(spot).is_some_and(|(_, row)| {
                    (row.attempts, row.due_ms, &row.cause) == (*attempts, *due_ms, cause)
                });
                let is_tried = *due_ms <= *now_ms && !is_as_before;
                if is_tried {
                    self.tried(*spot, *now_ms);
                }
                is_tried
            }
            Doubt::Park(spots) => {
                let is_parked = spots.iter().all(|spot| {
                    let row = stored.parked.get(spot);
                    self.is_fresh(*spot) && row.is_some_and(|(_, row)| row.due_ms == 0)
                });
                if is_parked {
                    self.parked_behind(spots);
                }
                is_parked
            }
            Doubt::DealtWith(spot) => {
                assert!(!self.is_fresh(*spot), "somebody has dealt with {spot:?}");
                true
            }
            Doubt::Advance { partition, to } => {
                let is_made = self.committed[partition] < *to && stored.committed.get(partition) == Some(to);
                if is_made {
                    self.committed.insert(*partition, *to);
                }
                is_made
            }
            Doubt::Batch { tried, now_ms } => {
                let comes = self.comes_of(tried, *now_ms);
                let after = tried.front_after(&comes);
                let was_there = self.filed[&tried.partition].front == tried.front;
                let is_made = was_there && after != tried.front && stored.filed[&tried.partition] == after;
                if is_made {
                    self.batch_ended(tried, &comes, *now_ms);
                }
                is_made
            }
            Doubt::SendBack { letter, partition } => {
                let is_there = stored.sent_back().count() > self.sent_back.len();
                if is_there {
                    self.was_sent_back(letter, *partition);
                }
                is_there
            }
            Doubt::Redriven(to) => {
                let is_made = self.redriven < *to && stored.redriven == *to;
                if is_made {
                    self.redriven = *to;
                }
                is_made
            }
        }
    }
}

impl Stored {
    /// The records that were sent back.
    pub(super) fn sent_back(&self) -> impl Iterator<Item = &ConsumerRecord> {
        self.orders.values().filter(|record| super::application::sent_back(record) > 0)
    }
}
