//! What a process has done that told nobody of it: found by having the plain model do what it has to, up to what is stored.
//!
//! What cannot be come to is a failure: a record that was tried before it was due, in another order, once more or less than it
//! had to be, or with another end.

use std::collections::BTreeMap;

use super::application::{FILING, GROUP, Says, put_off_ms, says};
use super::check::{Letter, letter_spots};
use super::doubts::Book;
use super::expected::{Expected, State, WAITS_MS};
use super::filed::{Front, Tried};
use super::site::{Spot, Stored};
use crate::ConsumerRecord;
use crate::worker::failed::FailedRecord;
use crate::worker::ordered::Batch;

/// More than a record is tried.
const STEPS_MAX: usize = 10;

impl Book {
    /// Takes in what is stored. Of the transactions of a clerk, the last one that it was told of, and at most the next one, is
    /// there.
    pub(super) fn follow(&mut self, stored: &Stored, acknowledged: &BTreeMap<u8, u64>) {
        for (clerk, last) in &stored.clerks {
            let before = self.expected.clerks.get(clerk).copied().unwrap_or(0);
            let told = acknowledged.get(clerk).copied().unwrap_or(0).max(before);
            assert!(
                (told..=told + 1).contains(last),
                "clerk {clerk} was told of {told}, and {last} is there"
            );
            *(if *last > told { &mut self.settled.applied } else { &mut self.settled.not_applied }) += 1;
            (before + 1..=*last).for_each(|number| self.expected.transacted(*clerk, number));
        }
        stored.orders.values().for_each(|record| self.expected.read(record));
        let letters = letter_spots(&stored.letters);
        for spot in stored.orders.keys() {
            self.expected.follow_record(*spot, state(*spot, stored, &letters).as_ref());
        }
        for (partition, offset) in &stored.committed {
            let before = self.expected.committed.insert(*partition, *offset);
            assert!(before <= Some(*offset), "the committed offset goes forward");
        }
        for (partition, front) in &stored.filed {
            self.expected.follow_batches(*partition, *front);
        }
    }
}

/// What has become of a record, by what is stored; none if nobody has looked at it.
fn state(spot: Spot, stored: &Stored, letters: &BTreeMap<Spot, Letter>) -> Option<State> {
    let is_passed = stored.committed.get(&spot.0).is_some_and(|committed| spot.1 < *committed);
    if let Some((_, attempts, cause, ..)) = letters.get(&spot) {
        let attempts = attempts.parse().expect("a number");
        Some(State::Buried { attempts, cause: cause.clone() })
    } else if let Some((_, row)) = stored.parked.get(&spot) {
        let (attempts, due_ms, cause) = (row.attempts, row.due_ms, row.cause.clone());
        Some(State::Parked { attempts, due_ms, cause })
    } else {
        (is_passed || stored.marks.contains(&spot)).then_some(State::Handled)
    }
}

impl Expected {
    fn follow_record(&mut self, spot: Spot, target: Option<&State>) {
        for _ in 0..STEPS_MAX {
            match (self.states.get(&spot), target) {
                (state, target) if state == target => return,
                (None, Some(State::Parked { due_ms: 0, .. })) => self.parked_behind(&[spot]),
                (Some(state @ (State::Handled | State::Buried { .. })), target) => {
                    panic!("{spot:?} is to be {state:?}, and is {target:?}")
                }
                (state, Some(target)) => {
                    let now_ms = self.time_of_try(spot, state, target);
                    self.tried(spot, now_ms);
                }
                (state, None) => panic!("{spot:?} was {state:?}, and is as if nobody had looked at it"),
            }
        }
        panic!("{spot:?} is {:?} at last, and never {target:?}", self.states.get(&spot));
    }

    /// When a record was tried, in this state, on its way to another: at that time, if the other says so, or as soon as it
    /// could be.
    fn time_of_try(&self, spot: Spot, state: Option<&State>, target: &State) -> i64 {
        let record = &self.records[&spot];
        let (failures, due_ms) = match state {
            Some(State::Parked { attempts, due_ms, .. }) => (*attempts, *due_ms),
            _ => (0, 0),
        };
        match target {
            State::Parked { attempts, due_ms, cause: Some(_) } if *attempts == failures + 1 => {
                due_ms - WAITS_MS[failures as usize]
            }
            State::Parked { cause: None, .. } => earliest_ms(record, due_ms),
            _ => self.when_not_put_off(GROUP, record, failures, due_ms),
        }
    }

    /// Takes in batches until a partition is where it should be.
    fn follow_batches(&mut self, partition: i32, target: Front) {
        let before = self.filed[&partition].front;
        let ahead = usize::try_from(target.committed - before.committed).expect("it goes forward");
        for _ in 0..STEPS_MAX * (ahead + 1) {
            let front = self.filed[&partition].front;
            if front == target {
                return;
            }
            let next = self.records.range((partition, front.committed)..(partition, i64::MAX)).next();
            let (_, record) = next.expect("there is a record in front of what it has come past");
            let put_off = target.noted.filter(|noted| (noted.offset, noted.failures) == (record.offset, 0));
            let last = put_off.map_or(record.offset, |noted| self.puts_off(partition, noted));
            let records = self.records.range((partition, record.offset)..=(partition, last));
            let records = records.map(|(spot, _)| (spot.1, ())).collect();
            let (from, to, noted) = (front.committed, last + 1, front.noted);
            let batch = Batch { from, to, records, done: vec![], noted, rests: 0 };
            let tried = Tried::of(partition, &batch);
            let due_ms = front.noted.map_or(0, |noted| noted.due_ms);
            let failed = target
                .noted
                .filter(|noted| (noted.offset, noted.failures) == (record.offset, tried.failures + 1));
            let now_ms = match (put_off, failed) {
                // At the last moment at which it could be.
                (Some(noted), _) => noted.due_ms - 1,
                (None, Some(noted)) => noted.due_ms - WAITS_MS[tried.failures as usize],
                (None, None) => self.when_not_put_off(FILING, record, tried.failures, due_ms),
            };
            let comes = self.comes_of(&tried, now_ms);
            self.batch_ended(&tried, &comes, now_ms);
        }
        panic!(
            "partition {partition} is at {:?} at last, and never at {target:?}",
            self.filed[&partition].front
        );
    }

    /// Which event of a batch had it put off, as is noted: the last that its handler came to.
    fn puts_off(&self, partition: i32, noted: FailedRecord) -> i64 {
        let wanted = Says::RetryAt(noted.due_ms);
        let mut records = self.records.range((partition, noted.offset)..(partition, i64::MAX));
        let puts_off =
            records.find(|(_, record)| says(self.seed, FILING, record, 0, noted.due_ms - 1) == wanted);
        puts_off.expect("somebody wanted that").0.1
    }

    /// The first time from when on a record is not put off.
    fn when_not_put_off(&self, group: &str, record: &ConsumerRecord, failures: u32, due_ms: i64) -> i64 {
        let now_ms = earliest_ms(record, due_ms);
        match says(self.seed, group, record, failures, now_ms) {
            Says::RetryAt(_) => put_off_ms(record),
            _ => now_ms,
        }
    }
}

/// The first time that a record can be tried which is due then.
fn earliest_ms(record: &ConsumerRecord, due_ms: i64) -> i64 {
    record.timestamp_ms.max(due_ms)
}
