//! One partition whose records are handled in order, several in one transaction: what is handled next, and what becomes of a
//! batch that failed.
//!
//! Pure, as [`partition`](super::partition). What always holds: one batch is under way at most, and begins at the committed
//! offset; a record is given up only after it failed alone; what a worker of single events has done ahead of the committed
//! offset is not handled again.

use std::collections::{BTreeSet, VecDeque};

use super::failed::FailedRecord;
use super::retry::rest_ms;

/// A batch to handle now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch<R> {
    /// The committed offset before, and after it was handled.
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) records: Vec<(i64, R)>,
    /// Offsets between those two that a worker of single events has done, and whose marks are of no more use then.
    pub(crate) done: Vec<i64>,
    /// What is noted at the committed offset, as far as this worker knows: if it is something else by now, another worker has
    /// had the record in front.
    pub(crate) noted: Option<FailedRecord>,
    /// How often in a row it was given back.
    pub(crate) rests: u32,
}

impl<R> Batch<R> {
    /// How often it failed already: that is known of a record that failed alone.
    pub(crate) fn failures(&self) -> u32 {
        let first = self.records.first().map(|(offset, _)| *offset);
        self.noted.filter(|noted| Some(noted.offset) == first).map_or(0, |noted| noted.failures)
    }
}

#[derive(Debug)]
pub(crate) struct OrderedWork<R> {
    batch_max: usize,
    /// How many records the next batch may have: less after a failure, until the one is found that does it.
    batch_now: usize,
    committed: i64,
    next_offset: i64,
    /// Marks that the store had already, of records that were not offered yet.
    marked: BTreeSet<i64>,
    /// What was offered: none for what is done.
    waiting: VecDeque<(i64, Option<R>, usize)>,
    waiting_bytes: usize,
    /// How many records are under way, those that are done included.
    running: Option<usize>,
    rests: u32,
    rests_until_ms: i64,
    /// How a record has failed alone, or until when it was put off: the first one, unless that is no longer in the log.
    noted: Option<FailedRecord>,
}

impl<R: Clone> OrderedWork<R> {
    /// A partition as the store has it: the committed offset, the marks from there on, and what is noted of the record there.
    pub(crate) fn new(
        batch_max: usize,
        committed: i64,
        marked: BTreeSet<i64>,
        noted: Option<FailedRecord>,
    ) -> Self {
        Self {
            batch_max,
            batch_now: batch_max,
            committed,
            next_offset: committed,
            marked,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            running: None,
            rests: 0,
            rests_until_ms: 0,
            noted,
        }
    }

    #[cfg(test)]
    pub(crate) fn committed(&self) -> i64 {
        self.committed
    }

    /// The offset after the last record that was offered.
    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    pub(crate) fn in_flight(&self) -> usize {
        usize::from(self.running.is_some())
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Takes a record in, unless it has been before.
    pub(crate) fn offer(&mut self, offset: i64, record: R, bytes: usize) {
        if offset >= self.next_offset {
            self.next_offset = offset + 1;
            let is_done = self.marked.remove(&offset);
            let bytes = if is_done { 0 } else { bytes };
            self.waiting.push_back((offset, (!is_done).then_some(record), bytes));
            self.waiting_bytes += bytes;
        }
    }

    /// The batch that can start now: it counts as under way from here on.
    pub(crate) fn next_batch(&mut self, now_ms: i64) -> Option<Batch<R>> {
        if self.running.is_some() || self.waiting.is_empty() || self.rests_until_ms() > now_ms {
            return None;
        }
        // What failed alone is tried alone, whatever has come since.
        let is_alone = self.noted_in_front().is_some_and(|noted| noted.failures > 0);
        let count_max = if is_alone { 1 } else { self.batch_now };
        let count = self.waiting.len().min(count_max);
        let taken = self.waiting.iter().take(count);
        let to = taken.clone().last().map_or(self.committed, |(offset, ..)| offset + 1);
        let (mut records, mut done) = (Vec::with_capacity(count), Vec::new());
        for (offset, record, _) in taken {
            match record {
                Some(record) => records.push((*offset, record.clone())),
                None => done.push(*offset),
            }
        }
        self.running = Some(count);
        Some(Batch { from: self.committed, to, records, done, noted: self.noted, rests: self.rests })
    }

    /// How the first record has failed alone, or until when it was put off, if it has or was.
    fn noted_in_front(&self) -> Option<FailedRecord> {
        let first = self.waiting.front().map(|(offset, ..)| *offset);
        self.noted.filter(|noted| Some(noted.offset) == first)
    }

    fn rests_until_ms(&self) -> i64 {
        self.noted_in_front().map_or(self.rests_until_ms, |noted| noted.due_ms.max(self.rests_until_ms))
    }

    /// It was handled, or its one record has become a dead letter.
    pub(crate) fn handled(&mut self, to: i64) {
        let count = self.running.take().expect("a batch is under way");
        if to > self.committed {
            self.committed = to;
            self.noted = None;
        }
        self.next_offset = self.next_offset.max(to);
        if count == 0 {
            return;
        }
        let bytes: usize = self.waiting.drain(..count).map(|(_, _, bytes)| bytes).sum();
        self.waiting_bytes -= bytes;
        self.rests = 0;
        self.batch_now = self.batch_max.min(self.batch_now.saturating_mul(2));
    }

    /// It failed, and is more than one record: half of it is tried at once.
    pub(crate) fn failed(&mut self) {
        let count = self.running.take().expect("a batch is under way");
        self.batch_now = (count / 2).max(1);
        self.rests = 0;
    }

    /// Its one record failed, or it was put off, which is noted: it is tried again when it is due.
    pub(crate) fn noted(&mut self, noted: FailedRecord) {
        self.running = None;
        self.rests = 0;
        if noted.failures > 0 {
            self.batch_now = 1;
        }
        self.noted = Some(noted);
    }

    /// Nothing came of it; it is tried again a little later. It does not count as a failure.
    pub(crate) fn given_back(&mut self, now_ms: i64) {
        if self.running.take() == Some(0) {
            return;
        }
        self.rests_until_ms = now_ms + rest_ms(self.rests);
        self.rests = self.rests.saturating_add(1);
    }

    /// A batch of nothing, so that the committed offset does not grow old. None while there is another to handle.
    pub(crate) fn refresh(&mut self, now_ms: i64) -> Option<Batch<R>> {
        let rests = self.waiting.is_empty() || self.rests_until_ms() > now_ms;
        let is_idle = self.running.is_none() && rests;
        is_idle.then(|| {
            self.running = Some(0);
            let (from, to) = (self.committed, self.committed);
            Batch { from, to, records: vec![], done: vec![], noted: self.noted, rests: 0 }
        })
    }

    /// Begins to move the committed offset past what cannot be read; says from where, and what is noted there. None while there
    /// is anything else.
    pub(crate) fn skip(&mut self) -> Option<(i64, Option<FailedRecord>)> {
        let is_idle = self.running.is_none() && self.waiting.is_empty();
        is_idle.then(|| {
            self.running = Some(0);
            (self.committed, self.noted)
        })
    }

    /// When there may be something to do that there is not now.
    pub(crate) fn next_wake_ms(&self, now_ms: i64) -> Option<i64> {
        let until_ms = self.rests_until_ms();
        (self.running.is_none() && !self.waiting.is_empty() && until_ms > now_ms).then_some(until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(count: i64) -> OrderedWork<i64> {
        let mut work = OrderedWork::new(8, 0, BTreeSet::new(), None);
        (0..count).for_each(|offset| work.offer(offset, offset, 10));
        work
    }

    fn offsets(batch: Option<Batch<i64>>) -> Vec<i64> {
        batch.map(|batch| batch.records.into_iter().map(|(offset, _)| offset).collect()).unwrap_or_default()
    }

    #[test]
    fn one_batch_is_under_way_and_the_next_begins_where_it_ended() {
        let mut work = work(10);
        work.offer(3, 3, 10);
        assert_eq!(work.waiting_bytes(), 100, "what was offered before counts once");
        let first = work.next_batch(0).expect("a batch");
        assert_eq!((first.from, first.to, first.records.len(), first.failures()), (0, 8, 8, 0));
        assert_eq!(work.next_batch(0), None);
        work.handled(8);
        assert_eq!(offsets(work.next_batch(0)), [8, 9]);
        work.handled(10);
        assert_eq!((work.committed(), work.waiting_bytes(), work.in_flight()), (10, 0, 0));
    }

    #[test]
    fn a_failing_record_is_found_by_halves_and_tried_alone() {
        let mut work = work(8);
        // The record at offset 2 fails whatever it comes with.
        let mut handled: Vec<i64> = Vec::new();
        loop {
            let batch = offsets(work.next_batch(0));
            if batch == [2] {
                break;
            }
            if batch.contains(&2) {
                work.failed();
            } else {
                handled.extend(&batch);
                work.handled(batch.last().expect("not empty") + 1);
            }
        }
        assert_eq!(handled, [0, 1]);
        work.noted(FailedRecord { offset: 2, failures: 1, due_ms: 100 });
        assert_eq!((offsets(work.next_batch(99)), work.next_wake_ms(99)), (vec![], Some(100)));
        let again = work.next_batch(100).expect("it is time");
        assert_eq!((again.failures(), again.records.len()), (1, 1));
        work.handled(3);
        assert_eq!(offsets(work.next_batch(100)), [3, 4], "and batches grow again");
    }

    #[test]
    fn a_record_that_had_failed_before_is_tried_alone_when_it_is_due_and_its_failures_count() {
        let failed = Some(FailedRecord { offset: 5, failures: 2, due_ms: 100 });
        let mut work = OrderedWork::new(8, 5, BTreeSet::new(), failed);
        (5..9).for_each(|offset| work.offer(offset, offset, 10));
        assert_eq!((offsets(work.next_batch(99)), work.next_wake_ms(99)), (vec![], Some(100)));
        let again = work.next_batch(100).expect("it is time");
        assert_eq!((again.from, again.to, again.failures(), again.noted), (5, 6, 2, failed));
        work.noted(FailedRecord { offset: 5, failures: 3, due_ms: 200 });
        assert_eq!(work.next_batch(200).map(|batch| batch.failures()), Some(3));
        work.handled(6);
        assert_eq!(work.next_batch(200).map(|batch| (batch.failures(), batch.noted)), Some((0, None)));

        let mut work = OrderedWork::new(8, 5, BTreeSet::new(), failed);
        (6..9).for_each(|offset| work.offer(offset, offset, 10));
        let first = work.next_batch(0).expect("the one that failed is gone");
        assert_eq!(
            (first.to, first.failures(), first.noted),
            (9, 0, failed),
            "and what is noted is still there"
        );
    }

    #[test]
    fn a_record_that_failed_alone_is_tried_alone_whatever_has_come_since() {
        let mut work = work(1);
        assert_eq!(offsets(work.next_batch(0)), [0]);
        work.noted(FailedRecord { offset: 0, failures: 1, due_ms: 100 });
        (1..8).for_each(|offset| work.offer(offset, offset, 10));
        let again = work.next_batch(100).expect("it is time");
        assert_eq!((again.to, again.failures()), (1, 1));
        work.handled(1);
        assert_eq!(offsets(work.next_batch(100)), [1, 2]);
    }

    #[test]
    fn a_renewed_offset_forgets_nothing_that_is_noted() {
        let failed = Some(FailedRecord { offset: 5, failures: 2, due_ms: 100 });
        let mut work = OrderedWork::new(8, 5, BTreeSet::new(), failed);
        let refresh = work.refresh(0).expect("nothing is under way");
        assert_eq!((refresh.from, refresh.to, refresh.noted), (5, 5, failed));
        work.handled(5);
        work.offer(5, 5, 10);
        assert_eq!(work.next_batch(100).map(|batch| batch.failures()), Some(2));
    }

    #[test]
    fn what_was_put_off_before_comes_at_its_time_and_whole_and_its_offset_is_renewed_meanwhile() {
        let put_off = Some(FailedRecord { offset: 5, failures: 0, due_ms: 100 });
        let mut work = OrderedWork::new(8, 5, BTreeSet::new(), put_off);
        (5..9).for_each(|offset| work.offer(offset, offset, 10));
        let renewed = work.refresh(99).expect("nothing else is to be done");
        assert_eq!((renewed.from, renewed.to, renewed.records.len()), (5, 5, 0));
        work.given_back(99);
        assert!(work.refresh(99).is_some());
        work.handled(5);
        assert_eq!((work.refresh(100), work.next_wake_ms(99)), (None, Some(100)));
        assert_eq!((offsets(work.next_batch(99)), offsets(work.next_batch(100))), (vec![], vec![5, 6, 7, 8]));
    }

    #[test]
    fn what_is_skipped_takes_along_what_was_noted_there() {
        let noted = Some(FailedRecord { offset: 5, failures: 2, due_ms: 100 });
        let mut work = OrderedWork::new(8, 5, BTreeSet::new(), noted);
        assert_eq!((work.skip(), work.skip()), (Some((5, noted)), None));
        work.given_back(0);
        assert_eq!(work.skip(), Some((5, noted)), "it takes no rest of its own");
        work.handled(9);
        (7..11).for_each(|offset| work.offer(offset, offset, 10));
        let next = work.next_batch(0).expect("what comes behind it");
        assert_eq!((next.from, next.to, next.records.len(), next.noted), (9, 11, 2, None));
    }

    #[test]
    fn what_was_done_ahead_by_a_worker_of_single_events_is_passed_and_not_handled_again() {
        let mut work = OrderedWork::new(4, 5, [6, 8, 9, 10, 11, 12].into(), None);
        (5..13).for_each(|offset| work.offer(offset, offset, 10));
        assert_eq!(work.waiting_bytes(), 20);
        let first = work.next_batch(0).expect("a batch");
        assert_eq!((first.from, first.to, first.done.as_slice()), (5, 9, [6, 8].as_slice()));
        assert_eq!(offsets(Some(first)), [5, 7]);
        work.handled(9);
        let rest = work.next_batch(0).expect("nothing to handle, and the committed offset moves");
        assert_eq!((rest.from, rest.to, rest.records.len()), (9, 13, 0));
        work.handled(13);
        assert_eq!((work.committed(), work.waiting_bytes(), work.next_batch(0)), (13, 0, None));
    }

    #[test]
    fn what_is_given_back_is_no_failure() {
        let mut work = work(1);
        assert_eq!(offsets(work.next_batch(0)), [0]);
        work.given_back(0);
        assert_eq!(work.next_batch(499), None);
        assert_eq!(work.next_batch(500).map(|batch| (batch.failures(), batch.rests)), Some((0, 1)));
        work.given_back(500);
        assert_eq!((work.next_batch(1_499), work.next_wake_ms(1_499)), (None, Some(1_500)));
        assert_eq!(work.next_batch(1_500).map(|batch| batch.rests), Some(2));
        work.noted(FailedRecord { offset: 0, failures: 0, due_ms: 2_000 });
        assert_eq!(
            (work.next_batch(1_999), work.next_batch(2_000).map(|batch| batch.rests)),
            (None, Some(0))
        );
    }
}
