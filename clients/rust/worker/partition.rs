//! One partition whose records are handled concurrently across keys: what may start now, what waits, what is parked, and
//! how far the committed offset may go.
//!
//! Pure: it knows no clock, no store and no handler; time is an argument, what is to be done is returned, and what came of
//! it is told.
//!
//! What always holds: of each lane at most one action is under way, and its records are dealt with in the order of their
//! offsets; what failed and what waits behind it is in the store before the committed offset goes past it; no more records
//! are parked than allowed, as nothing starts that could be one too many.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::lane::Lane;
use super::retry::rest_ms;

/// What is bounded in a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Records that are parked; at that, only parked ones are tried.
    pub(crate) parked_max: usize,
    /// Offsets that may be dealt with ahead of the committed one.
    pub(crate) ahead_max: i64,
    /// Marks that one step of the committed offset removes.
    pub(crate) advance_max: usize,
    /// How long a step may wait for more.
    pub(crate) advance_linger_ms: i64,
    /// Records that are parked in one transaction, and their bytes; one is always taken.
    pub(crate) park_max: usize,
    pub(crate) park_max_bytes: usize,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<R> {
    /// Handle a record for the first time; it was given back so often in a row.
    Handle { lane: Lane, offset: i64, record: R, rests: u32 },
    /// Try a parked record again; it was given back so often in a row.
    Retry { lane: Lane, offset: i64, rests: u32 },
    /// Park records behind others of their lane.
    Park { lane: Lane, records: Vec<(i64, R)> },
}

/// A step of the committed offset: `marks` are all between `from` and `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advance {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) marks: Vec<i64>,
}

/// What is parked of a partition, as it is loaded: lane, offset, due time.
pub(crate) type ParkedRow = (Lane, i64, i64);

#[derive(Debug)]
pub(crate) struct PartitionWork<R> {
    limits: Limits,
    /// As the store has it.
    committed: i64,
    /// The next offset that is new.
    next_offset: i64,
    /// What was offered, from the first record on that is not marked in the store.
    window: BTreeMap<i64, Slot<R>>,
    /// What is marked in the store before that.
    done_prefix: VecDeque<i64>,
    /// Since when the committed offset could go on.
    done_since_ms: Option<i64>,
    is_advancing: bool,
    /// Marks that the store had already, of records that were not offered yet.
    marked: BTreeSet<i64>,
    lanes: BTreeMap<Lane, LaneState>,
    /// Lanes whose first parked record is due, by that.
    retries: BTreeSet<(i64, Lane)>,
    /// Lanes whose first new record can be dealt with, by that.
    fresh: BTreeSet<(i64, Lane)>,
    /// When lanes are to be looked at again.
    timers: BTreeSet<(i64, Lane)>,
    parked: usize,
    /// What is under way and may be parked.
    reserved: usize,
    in_flight: usize,
    waiting_bytes: usize,
}

#[derive(Debug)]
enum Slot<R> {
    Open { record: R, bytes: usize },
    Done,
}

#[derive(Debug, Default)]
struct LaneState {
    /// What is parked, with when it may be tried.
    parked: BTreeMap<i64, i64>,
    /// What was offered and is not dealt with.
    fresh: VecDeque<i64>,
    is_running: bool,
    /// How often in a row what is first was given back.
    rests: u32,
    /// Nothing of it before then.
    rests_until_ms: i64,
    queued: Option<Queued>,
    timer: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
enum Queued {
    Retry(i64),
    Fresh(i64),
}

impl<R: Clone> PartitionWork<R> {
    /// A partition as the store has it: the committed offset, the marks from there on, what is parked.
    pub(crate) fn new(limits: Limits, committed: i64, marked: BTreeSet<i64>, parked: Vec<ParkedRow>) -> Self {
        let mut work = Self {
            limits,
            committed,
            next_offset: committed,
            window: BTreeMap::new(),
            done_prefix: VecDeque::new(),
            done_since_ms: None,
            is_advancing: false,
            marked,
            lanes: BTreeMap::new(),
            retries: BTreeSet::new(),
            fresh: BTreeSet::new(),
            timers: BTreeSet::new(),
            parked: parked.len(),
            reserved: 0,
            in_flight: 0,
            waiting_bytes: 0,
        };
        for (lane, offset, due_ms) in parked {
            work.lanes.entry(lane.clone()).or_default().parked.insert(offset, due_ms);
            // Every time is later than this: the first look decides what is due.
            work.enqueue(&lane, i64::MIN);
        }
        work
    }

    /// The committed offset.
    pub(crate) fn committed(&self) -> i64 {
        self.committed
    }

    /// The offset after the last record that was offered.
    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// How many records are parked.
    #[cfg(test)]
    pub(crate) fn parked(&self) -> usize {
        self.parked
    }

    /// How many actions are under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many bytes the records have that wait to be started.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Takes a record in, unless it has been before. Records come in the order of their offsets.
    pub(crate) fn offer(&mut self, now_ms: i64, offset: i64, lane: &Lane, record: R, bytes: usize) {
        if offset < self.next_offset {
            return;
        }
        self.next_offset = offset + 1;
        let later = self.marked.split_off(&offset);
        // Marks of records that are no longer in the log: the committed offset goes past them.
        let gone = std::mem::replace(&mut self.marked, later);
        self.window.extend(gone.into_iter().map(|gone| (gone, Slot::Done)));
        if self.marked.remove(&offset) {
            self.window.insert(offset, Slot::Done);
        } else {
            self.window.insert(offset, Slot::Open { record, bytes });
            self.waiting_bytes += bytes;
            self.lanes.entry(lane.clone()).or_default().fresh.push_back(offset);
            self.enqueue(lane, now_ms);
        }
        self.sweep(now_ms);
    }

    /// The highest offset up to `last` that is new and not marked; none if there is none.
    pub(crate) fn open_up_to(&self, last: i64) -> Option<i64> {
        (self.next_offset..=last).rev().find(|offset| !self.marked.contains(offset))
    }

    /// What was not offered up to that offset is done: it cannot be read, and the offset has its mark in the store.
    pub(crate) fn skipped(&mut self, now_ms: i64, offset: i64) {
        let later = self.marked.split_off(&offset);
        let before = std::mem::replace(&mut self.marked, later);
        self.marked.remove(&offset);
        self.window.extend(before.into_iter().chain([offset]).map(|done| (done, Slot::Done)));
        self.next_offset = offset + 1;
        self.sweep(now_ms);
    }

    /// What can start now: it counts as under way from here on. None if nothing can.
    pub(crate) fn next_action(&mut self, now_ms: i64) -> Option<Action<R>> {
        while self.timers.first().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
            let (_, lane) = self.timers.pop_first().expect("it was just seen");
            self.lanes.get_mut(&lane).expect("a lane with a timer").timer = None;
            self.enqueue(&lane, now_ms);
        }
        if let Some((offset, lane)) = self.retries.first().cloned() {
            let rests = self.begin(&lane, now_ms);
            return Some(Action::Retry { lane, offset, rests });
        }
        let room = self.limits.parked_max.saturating_sub(self.parked + self.reserved);
        let (offset, lane) = self.fresh.first().cloned()?;
        if room == 0 || offset - self.committed >= self.limits.ahead_max {
            return None;
        }
        let is_parked = self.lanes.get(&lane).is_some_and(|state| !state.parked.is_empty());
        let count = if is_parked { self.limits.park_max.min(room) } else { 1 };
        let rests = self.begin(&lane, now_ms);
        let mut records = self.take(&lane, count);
        self.reserved += records.len();
        if is_parked {
            return Some(Action::Park { lane, records });
        }
        let (offset, record) = records.pop().expect("a lane that is queued has a record");
        Some(Action::Handle { lane, offset, record, rests })
    }

    /// A record was handled, or has become a dead letter: its mark is in the store.
    pub(crate) fn handled(&mut self, now_ms: i64, lane: &Lane, offset: i64) {
        self.reserved -= 1;
        self.finish_fresh(now_ms, lane, &[offset]);
    }

    /// Somebody else has handled or parked a record: this is what is parked of its lane.
    pub(crate) fn found_done(&mut self, now_ms: i64, lane: &Lane, offset: i64, parked: &[(i64, i64)]) {
        self.reserved -= 1;
        let state = self.lanes.get_mut(lane).expect("a lane under way is there");
        self.parked = self.parked - state.parked.len() + parked.len();
        state.parked = parked.iter().copied().collect();
        self.finish_fresh(now_ms, lane, &[offset]);
    }

    /// Records are parked until `due_ms`.
    pub(crate) fn parked_until(&mut self, now_ms: i64, lane: &Lane, offsets: &[i64], due_ms: i64) {
        self.reserved -= offsets.len();
        self.parked += offsets.len();
        let state = self.lanes.get_mut(lane).expect("a lane under way is there");
        state.parked.extend(offsets.iter().map(|offset| (*offset, due_ms)));
        self.finish_fresh(now_ms, lane, offsets);
    }

    /// A parked record was tried: it is gone, or parked again until then.
    pub(crate) fn retried(&mut self, now_ms: i64, lane: &Lane, offset: i64, due_ms: Option<i64>) {
        let state = self.lanes.get_mut(lane).expect("a lane under way is there");
        match due_ms {
            Some(due_ms) => drop(state.parked.insert(offset, due_ms)),
            None => {
                state.parked.remove(&offset);
                self.parked -= 1;
            }
        }
        self.end(now_ms, lane, 0);
    }

    /// Nothing came of an action; these records (none if it was a retry) are to be dealt with again a little later.
    pub(crate) fn given_back(&mut self, now_ms: i64, lane: &Lane, offsets: &[i64]) {
        self.reserved -= offsets.len();
        for offset in offsets {
            if let Some(Slot::Open { bytes, .. }) = self.window.get(offset) {
                self.waiting_bytes += bytes;
            }
        }
        let state = self.lanes.get_mut(lane).expect("a lane under way is there");
        state.rests_until_ms = now_ms + rest_ms(state.rests);
        let rests = state.rests.saturating_add(1);
        self.end(now_ms, lane, rests);
    }

    /// A step of the committed offset, once it is large enough or has waited long enough, or at once with `force`. One at a
    /// time.
    pub(crate) fn advance(&mut self, now_ms: i64, force: bool) -> Option<Advance> {
        let count = self.done_prefix.len();
        let is_due = self.done_since_ms.is_some_and(|since_ms| {
            force || count >= self.limits.advance_max || now_ms >= since_ms + self.limits.advance_linger_ms
        });
        if self.is_advancing || !is_due {
            return None;
        }
        let marks: Vec<i64> = self.done_prefix.iter().take(self.limits.advance_max).copied().collect();
        let to = self.done_prefix.get(marks.len()).copied().unwrap_or_else(|| self.prefix_end());
        self.is_advancing = true;
        Some(Advance { from: self.committed, to, marks })
    }

    /// The step was made.
    pub(crate) fn advanced(&mut self, now_ms: i64, to: i64) {
        self.is_advancing = false;
        self.committed = to;
        while self.done_prefix.front().is_some_and(|offset| *offset < to) {
            self.done_prefix.pop_front();
        }
        self.done_since_ms = (!self.done_prefix.is_empty()).then_some(now_ms);
    }

    /// The step was not made: it is tried again a little later.
    pub(crate) fn advance_failed(&mut self, now_ms: i64) {
        self.is_advancing = false;
        self.done_since_ms = self.done_since_ms.map(|_| now_ms);
    }

    /// A step that goes nowhere, so that the committed offset does not grow old. None while a step is under way.
    pub(crate) fn refresh(&mut self) -> Option<Advance> {
        let at = self.committed;
        let is_free = !std::mem::replace(&mut self.is_advancing, true);
        is_free.then_some(Advance { from: at, to: at, marks: vec![] })
    }

    /// When there may be something to do that there is not now.
    pub(crate) fn next_wake_ms(&self) -> Option<i64> {
        let advance = self.done_since_ms.filter(|_| !self.is_advancing);
        let advance = advance.map(|since_ms| since_ms + self.limits.advance_linger_ms);
        let timer = self.timers.first().map(|(at_ms, _)| *at_ms);
        advance.into_iter().chain(timer).min()
    }

    /// Takes the first records of a lane out to deal with them.
    fn take(&mut self, lane: &Lane, count: usize) -> Vec<(i64, R)> {
        let state = self.lanes.get(lane).expect("a lane that is queued is there");
        let mut records = Vec::with_capacity(count.min(state.fresh.len()));
        let mut taken_bytes = 0;
        for offset in state.fresh.iter().take(count) {
            let Some(Slot::Open { record, bytes }) = self.window.get(offset) else {
                unreachable!("a record that waits is open")
            };
            taken_bytes += bytes;
            if taken_bytes > self.limits.park_max_bytes && !records.is_empty() {
                break;
            }
            self.waiting_bytes -= bytes;
            records.push((*offset, record.clone()));
        }
        records
    }

    /// Begins with what is first of a lane; says how often in a row that was given back.
    fn begin(&mut self, lane: &Lane, now_ms: i64) -> u32 {
        self.in_flight += 1;
        let state = self.lanes.get_mut(lane).expect("a lane that is queued is there");
        state.is_running = true;
        let rests = state.rests;
        self.enqueue(lane, now_ms);
        rests
    }

    fn end(&mut self, now_ms: i64, lane: &Lane, rests: u32) {
        self.in_flight -= 1;
        let state = self.lanes.get_mut(lane).expect("a lane under way is there");
        assert!(std::mem::take(&mut state.is_running), "an action ends once");
        state.rests = rests;
        self.enqueue(lane, now_ms);
    }

    fn finish_fresh(&mut self, now_ms: i64, lane: &Lane, offsets: &[i64]) {
        let state = self.lanes.get_mut(lane).expect("a lane under way is there");
        for offset in offsets {
            assert_eq!(state.fresh.pop_front(), Some(*offset), "a lane is dealt with in order");
            self.window.insert(*offset, Slot::Done);
        }
        self.end(now_ms, lane, 0);
        self.sweep(now_ms);
    }

    /// Moves what is done at the window's beginning to what the committed offset may go past.
    fn sweep(&mut self, now_ms: i64) {
        while let Some(first) = self.window.first_entry()
            && matches!(first.get(), Slot::Done)
        {
            self.done_prefix.push_back(first.remove_entry().0);
            self.done_since_ms.get_or_insert(now_ms);
        }
    }

    fn prefix_end(&self) -> i64 {
        self.window.first_key_value().map_or(self.next_offset, |(offset, _)| *offset)
    }

    /// Puts a lane where it belongs: among what can start, what is to be looked at later, or nowhere.
    fn enqueue(&mut self, lane: &Lane, now_ms: i64) {
        let Some(state) = self.lanes.get_mut(lane) else { return };
        match state.queued.take() {
            Some(Queued::Retry(offset)) => drop(self.retries.remove(&(offset, lane.clone()))),
            Some(Queued::Fresh(offset)) => drop(self.fresh.remove(&(offset, lane.clone()))),
            None => {}
        }
        if let Some(at_ms) = state.timer.take() {
            self.timers.remove(&(at_ms, lane.clone()));
        }
        if state.is_running {
            return;
        }
        if state.parked.is_empty() && state.fresh.is_empty() {
            self.lanes.remove(lane);
            return;
        }
        if state.rests_until_ms > now_ms {
            state.timer = Some(state.rests_until_ms);
        } else if let Some((offset, due_ms)) = state.parked.first_key_value() {
            if *due_ms <= now_ms {
                state.queued = Some(Queued::Retry(*offset));
            } else {
                state.timer = Some(*due_ms);
                state.queued = state.fresh.front().map(|offset| Queued::Fresh(*offset));
            }
        } else {
            state.queued = state.fresh.front().map(|offset| Queued::Fresh(*offset));
        }
        match state.queued {
            Some(Queued::Retry(offset)) => drop(self.retries.insert((offset, lane.clone()))),
            Some(Queued::Fresh(offset)) => drop(self.fresh.insert((offset, lane.clone()))),
            None => {}
        }
        if let Some(at_ms) = state.timer {
            self.timers.insert((at_ms, lane.clone()));
        }
    }
}
