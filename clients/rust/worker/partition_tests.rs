//! Two workers, one of which may be a zombie, over one store that is a plain map: whatever happens, each record has its
//! effect once, in the order of its key.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::lane::Lane;
use super::partition::*;

const LIMITS: Limits = Limits {
    parked_max: 6,
    ahead_max: 12,
    advance_max: 4,
    advance_linger_ms: 50,
    park_max: 3,
    park_max_bytes: 25,
};
const KEYS: i64 = 4;

fn lane(offset: i64, keyed: bool) -> Lane {
    let key = Bytes::from(vec![u8::try_from(offset % KEYS).expect("small")]);
    Lane::of(keyed.then_some(&key), offset)
}

fn work(committed: i64) -> PartitionWork<i64> {
    PartitionWork::new(LIMITS, committed, BTreeSet::new(), vec![])
}

fn handle(offset: i64) -> Option<Action<i64>> {
    Some(Action::Handle { lane: lane(offset, true), offset, record: offset, rests: 0 })
}

fn offer(work: &mut PartitionWork<i64>, offsets: std::ops::Range<i64>) {
    for offset in offsets {
        work.offer(0, offset, &lane(offset, true), offset, 10);
    }
}

#[test]
fn keys_go_side_by_side_and_records_of_one_key_one_after_the_other() {
    let mut work = work(0);
    offer(&mut work, 0..6);
    for offset in 0..4 {
        assert_eq!(work.next_action(0), handle(offset));
    }
    assert_eq!(work.next_action(0), None, "offsets 4 and 5 wait for 0 and 1");
    work.handled(0, &lane(1, true), 1);
    assert_eq!(work.next_action(0), handle(5));
    assert_eq!(work.advance(1_000, false), None, "offset 0 is not done");
    work.handled(0, &lane(0, true), 0);
    assert_eq!(work.advance(0, false), None, "it waits for more");
    assert_eq!(work.next_wake_ms(), Some(50));
    assert_eq!(work.advance(50, false), Some(Advance { from: 0, to: 2, marks: vec![0, 1] }));
    assert_eq!(work.advance(99, true), None, "one step at a time");
    work.advanced(60, 2);
    assert_eq!((work.committed(), work.waiting_bytes(), work.in_flight()), (2, 10, 3));
}

#[test]
fn a_failing_key_is_parked_and_its_later_records_wait_behind_it() {
    let mut work = work(0);
    offer(&mut work, 0..9);
    let first = lane(0, true);
    assert_eq!(work.next_action(0), handle(0));
    work.parked_until(0, &first, &[0], 100);
    for offset in 1..4 {
        assert_eq!(work.next_action(0), handle(offset), "other keys go on");
        work.handled(0, &lane(offset, true), offset);
    }
    assert_eq!(
        work.next_action(0),
        Some(Action::Park { lane: first.clone(), records: vec![(4, 4), (8, 8)] })
    );
    work.parked_until(0, &first, &[4, 8], 0);
    assert_eq!(work.parked(), 3);
    assert_eq!(work.advance(50, false).map(|step| step.to), Some(4));
    while let Some(Action::Handle { lane, offset, .. }) = work.next_action(99) {
        work.handled(99, &lane, offset);
    }
    assert_eq!(work.next_wake_ms(), Some(100), "nothing polls");
    for offset in [0, 4, 8] {
        assert_eq!(work.next_action(100), Some(Action::Retry { lane: first.clone(), offset, rests: 0 }));
        assert_eq!(work.next_action(100), None, "one at a time");
        work.retried(100, &first, offset, None);
    }
    assert_eq!((work.next_action(100), work.parked()), (None, 0));
}

#[test]
fn with_all_places_taken_only_parked_records_are_tried() {
    let mut work = work(0);
    let limit = i64::try_from(LIMITS.parked_max).expect("small");
    for offset in 0..limit + 2 {
        work.offer(0, offset, &lane(offset, false), offset, 1);
    }
    for offset in 0..limit {
        assert!(
            matches!(work.next_action(0), Some(Action::Handle { offset: started, .. }) if started == offset)
        );
    }
    assert_eq!(work.next_action(0), None, "each of those under way may fail");
    for offset in 0..limit {
        work.parked_until(0, &lane(offset, false), &[offset], 10);
    }
    assert_eq!(work.next_action(0), None);
    assert!(matches!(work.next_action(10), Some(Action::Retry { offset: 0, .. })));
    work.retried(10, &lane(0, false), 0, None);
    for offset in 1..limit {
        assert!(matches!(work.next_action(10), Some(Action::Retry { offset: tried, .. }) if tried == offset));
        work.retried(10, &lane(offset, false), offset, Some(1_000));
    }
    assert!(matches!(work.next_action(10), Some(Action::Handle { offset, .. }) if offset == limit));
    assert_eq!(work.next_action(10), None, "one place was free");
}

#[test]
fn marks_of_records_that_are_gone_do_not_hold_the_committed_offset_up() {
    let mut work: PartitionWork<i64> = PartitionWork::new(LIMITS, 3, [5, 7, 9].into(), vec![]);
    offer(&mut work, 7..9);
    assert_eq!(work.next_offset(), 9);
    assert_eq!(work.advance(0, true), Some(Advance { from: 3, to: 8, marks: vec![5, 7] }));
    assert_eq!(work.next_action(0), handle(8));
}

#[test]
fn what_is_given_back_rests_and_keeps_its_place() {
    let mut work = work(0);
    offer(&mut work, 0..5);
    assert_eq!(work.next_action(0), handle(0));
    work.given_back(0, &lane(0, true), &[0]);
    for offset in 1..4 {
        assert_eq!(work.next_action(499), handle(offset));
    }
    assert_eq!(work.next_action(499), None);
    assert_eq!(work.waiting_bytes(), 20);
    let again = |rests| Some(Action::Handle { lane: lane(0, true), offset: 0, record: 0, rests });
    assert_eq!(work.next_action(500), again(1));
    work.given_back(500, &lane(0, true), &[0]);
    assert_eq!((work.next_action(1_499), work.next_action(1_500)), (None, again(2)));
    work.handled(1_500, &lane(0, true), 0);
    assert!(matches!(work.next_action(1_500), Some(Action::Handle { offset: 4, rests: 0, .. })));
}

/// What the store has, and what the handlers did to it.
#[derive(Debug, Default)]
struct Store {
    committed: i64,
    marks: BTreeSet<i64>,
    parked: BTreeMap<(Lane, i64), i64>,
    /// Records in the order in which they had their effect.
    effects: Vec<i64>,
}

impl Store {
    fn is_done(&self, offset: i64) -> bool {
        offset < self.committed || self.marks.contains(&offset)
    }

    fn parked_of(&self, lane: &Lane) -> Vec<(i64, i64)> {
        let of_lane = self.parked.iter().filter(|((parked, _), _)| parked == lane);
        of_lane.map(|((_, offset), due_ms)| (*offset, *due_ms)).collect()
    }

    fn load(&self) -> PartitionWork<i64> {
        let marks = self.marks.iter().filter(|mark| **mark >= self.committed).copied().collect();
        let parked = self.parked.iter().map(|((lane, offset), due_ms)| (lane.clone(), *offset, *due_ms));
        PartitionWork::new(LIMITS, self.committed, marks, parked.collect())
    }
}

/// What comes of an action that reaches the store.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Succeeds,
    Fails,
    IsGivenBack,
}

#[derive(Clone, Debug)]
enum Step {
    /// So many records come.
    Fetch(u8, i64),
    Start(u8),
    /// One of the actions under way ends.
    End(u8, prop::sample::Index, Fate),
    Advance(u8),
    /// A worker loses all it had in memory; the store may have what was under way, or not.
    Crash(u8),
    Pass(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![
        6 => Just(Fate::Succeeds),
        3 => Just(Fate::Fails),
        1 => Just(Fate::IsGivenBack),
    ];
    let step = prop_oneof![
        3 => (0..2_u8, 1..6_i64).prop_map(|(who, count)| Step::Fetch(who, count)),
        6 => (0..2_u8).prop_map(Step::Start),
        6 => (0..2_u8, any::<prop::sample::Index>(), fate).prop_map(|(who, which, fate)| Step::End(who, which, fate)),
        2 => (0..2_u8).prop_map(Step::Advance),
        1 => (0..2_u8).prop_map(Step::Crash),
        2 => (1..80_i64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..200)
}

/// One worker: what it knows, what it has fetched, what is under way.
struct Worker {
    work: PartitionWork<i64>,
    under_way: Vec<Action<i64>>,
}

struct World {
    store: Store,
    workers: [Worker; 2],
    now_ms: i64,
    /// Records in the log; every fifth offset is none.
    end: i64,
    keyed: bool,
}

impl World {
    fn new(end: i64, keyed: bool) -> Self {
        let store = Store::default();
        let worker = || Worker { work: Store::default().load(), under_way: vec![] };
        Self { store, workers: [worker(), worker()], now_ms: 0, end, keyed }
    }

    fn is_record(offset: i64) -> bool {
        offset % 5 != 3
    }

    fn fetch(&mut self, who: usize, count: i64) {
        let work = &mut self.workers[who].work;
        let from = work.next_offset();
        for offset in (from..self.end.min(from + count)).filter(|offset| Self::is_record(*offset)) {
            work.offer(self.now_ms, offset, &lane(offset, self.keyed), offset, 1);
        }
    }

    fn start(&mut self, who: usize) -> bool {
        let worker = &mut self.workers[who];
        let started = worker.work.next_action(self.now_ms);
        let is_started = started.is_some();
        worker.under_way.extend(started);
        is_started
    }

    fn reload(&mut self, who: usize) {
        self.workers[who] = Worker { work: self.store.load(), under_way: vec![] };
    }

    fn end(&mut self, who: usize, which: usize, fate: Fate) {
        let (store, now_ms) = (&mut self.store, self.now_ms);
        let work = &mut self.workers[who].work;
        match self.workers[who].under_way.remove(which) {
            Action::Handle { lane, offset, .. } => match fate {
                Fate::IsGivenBack => work.given_back(now_ms, &lane, &[offset]),
                _ if store.is_done(offset) => {
                    work.found_done(now_ms, &lane, offset, &store.parked_of(&lane));
                }
                Fate::Succeeds => {
                    store.marks.insert(offset);
                    store.effects.push(offset);
                    work.handled(now_ms, &lane, offset);
                }
                Fate::Fails => {
                    store.marks.insert(offset);
                    store.parked.insert((lane.clone(), offset), now_ms + 40);
                    work.parked_until(now_ms, &lane, &[offset], now_ms + 40);
                }
            },
            Action::Retry { lane, offset, .. } => match store.parked.get(&(lane.clone(), offset)).copied() {
                _ if matches!(fate, Fate::IsGivenBack) => work.given_back(now_ms, &lane, &[]),
                None => work.retried(now_ms, &lane, offset, None),
                Some(due_ms) if due_ms > now_ms => work.retried(now_ms, &lane, offset, Some(due_ms)),
                Some(_) if matches!(fate, Fate::Succeeds) => {
                    store.parked.remove(&(lane.clone(), offset));
                    store.effects.push(offset);
                    work.retried(now_ms, &lane, offset, None);
                }
                Some(_) => {
                    store.parked.insert((lane.clone(), offset), now_ms + 30);
                    work.retried(now_ms, &lane, offset, Some(now_ms + 30));
                }
            },
            Action::Park { lane, records } => {
                let offsets: Vec<i64> = records.iter().map(|(offset, _)| *offset).collect();
                if matches!(fate, Fate::IsGivenBack) {
                    work.given_back(now_ms, &lane, &offsets);
                } else if offsets.iter().any(|offset| store.is_done(*offset)) {
                    self.reload(who);
                } else {
                    store.marks.extend(&offsets);
                    store.parked.extend(offsets.iter().map(|offset| ((lane.clone(), *offset), 0)));
                    work.parked_until(now_ms, &lane, &offsets, 0);
                }
            }
        }
    }

    fn advance(&mut self, who: usize, force: bool) {
        let work = &mut self.workers[who].work;
        let Some(Advance { from, to, marks }) = work.advance(self.now_ms, force) else { return };
        if self.store.committed == from && marks.iter().all(|mark| self.store.marks.contains(mark)) {
            self.store.committed = to;
            self.store.marks.retain(|mark| !marks.contains(mark));
            work.advanced(self.now_ms, to);
        } else {
            self.reload(who);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Fetch(who, count) => self.fetch(who.into(), count),
            Step::Start(who) => {
                self.start(who.into());
            }
            Step::End(who, which, fate) => {
                let count = self.workers[usize::from(who)].under_way.len();
                if count > 0 {
                    self.end(who.into(), which.index(count), fate);
                }
            }
            Step::Advance(who) => self.advance(who.into(), false),
            Step::Crash(who) => self.reload(who.into()),
            Step::Pass(ms) => self.now_ms += ms,
        }
    }

    /// The first worker alone deals with the rest.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            self.fetch(0, self.end);
            while self.start(0) {}
            if self.workers[0].under_way.is_empty() {
                self.advance(0, true);
                let work = &self.workers[0].work;
                let is_over = self.store.parked.is_empty() && work.next_offset() > self.last_record();
                if is_over && self.store.committed > self.last_record() {
                    return;
                }
                self.now_ms += 1;
            } else {
                self.end(0, 0, Fate::Succeeds);
            }
        }
        panic!("it gets stuck: {:?} of {}", self.store, self.end);
    }

    fn last_record(&self) -> i64 {
        (0..self.end).rfind(|offset| Self::is_record(*offset)).unwrap_or(-1)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn each_record_has_its_effect_once_and_in_the_order_of_its_key(
        steps in steps(),
        end in 1..40_i64,
        keyed in any::<bool>(),
    ) {
        let mut world = World::new(end, keyed);
        for step in &steps {
            world.step(step);
        }
        world.reload(0);
        world.finish();
        let effects = &world.store.effects;
        let all: Vec<i64> = (0..end).filter(|offset| World::is_record(*offset)).collect();
        let mut sorted = effects.clone();
        sorted.sort_unstable();
        prop_assert_eq!(&sorted, &all, "each once");
        if keyed {
            for key in 0..KEYS {
                let of_key: Vec<i64> = effects.iter().filter(|offset| *offset % KEYS == key).copied().collect();
                prop_assert!(of_key.is_sorted(), "key {}: {:?}", key, of_key);
            }
        }
        prop_assert!(world.store.marks.is_empty(), "no mark is left: {:?}", world.store.marks);
    }
}
