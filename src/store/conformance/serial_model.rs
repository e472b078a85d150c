//! Random transactions, taken step by step in a random order, against a model of snapshot isolation.
//!
//! The model keeps every state that the map ever had. A transaction reads the state it began in under its own writes; a
//! commit conflicts if and only if a commit since wrote what it writes or guards, or guarded what it writes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use crate::conformance::Backend;
use crate::conformance::steps::{begin, entries_now, text, value_of};
use crate::conformance::versions::versioned_key;
use crate::{CommitError, Direction, KeyRange, ScanLimit, Store, Txn};

const CASES: u32 = 400;
const SLOTS: usize = 4;
const KEYS: [&str; 6] = ["a", "a\0", "ab", "b", "c", "c\u{7F}"];

/// One step of the transaction in a slot; what is not open is begun first.
#[derive(Clone, Debug)]
enum Step {
    Begin,
    Get(usize),
    GetAll,
    Scan { from: usize, to: usize, count: usize, value_bytes: usize, backward: bool },
    Put { key: usize, len: usize },
    PutVersioned { suffix_len: usize },
    Delete(usize),
    Guard(usize),
    Commit,
    Abandon,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS.len();
    let len = prop_oneof![4 => 1_usize..20, 1 => Just(4_096_usize), 1 => Just(5_000_usize)];
    let scan = (key(), key(), 0_usize..6, prop_oneof![Just(30_usize), Just(1 << 20)], any::<bool>());
    prop_oneof![
        2 => Just(Step::Begin),
        3 => key().prop_map(Step::Get),
        1 => Just(Step::GetAll),
        3 => scan.prop_map(|(from, to, count, value_bytes, backward)| Step::Scan {
            from,
            to,
            count,
            value_bytes,
            backward
        }),
        4 => (key(), len).prop_map(|(key, len)| Step::Put { key, len }),
        1 => (0_usize..3).prop_map(|suffix_len| Step::PutVersioned { suffix_len }),
        2 => key().prop_map(Step::Delete),
        1 => key().prop_map(Step::Guard),
        4 => Just(Step::Commit),
        1 => Just(Step::Abandon),
    ]
}

/// Every read and every commit does what the model does.
pub async fn transactions_step_by_step_do_what_the_model_does<B: Backend>(backend: B) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut case = 0;
    let script = proptest::collection::vec((0..SLOTS, step()), 1..60);
    let run = |script: Vec<(usize, Step)>| {
        case += 1;
        // Cases share the store, each with a prefix of its own.
        let prefix = format!("case {case:06}/");
        tokio::task::block_in_place(|| Handle::current().block_on(play(backend.store(), &prefix, script)));
        Ok(())
    };
    if let Err(failure) = run_cases(config, &script, run) {
        panic!("{failure}");
    }
}

fn run_cases(
    config: Config,
    script: &impl Strategy<Value = Vec<(usize, Step)>>,
    run: impl FnMut(Vec<(usize, Step)>) -> Result<(), TestCaseError>,
) -> Result<(), String> {
    let run = std::cell::RefCell::new(run);
    TestRunner::new(config).run(script, |steps| (run.borrow_mut())(steps)).map_err(|error| error.to_string())
}

#[derive(Default)]
struct Model {
    /// The map after each commit; the first state is the empty map.
    states: Vec<BTreeMap<Bytes, Bytes>>,
    /// What each commit wrote and guarded.
    commits: Vec<Footprint>,
}

#[derive(Clone, Default)]
struct Footprint {
    written: BTreeSet<Bytes>,
    guarded: BTreeSet<Bytes>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Commits,
    Conflicts,
    /// Both guard one key: a backend may go either way.
    Either,
}

/// The model's side of an open transaction.
struct ModelTxn {
    began_at: usize,
    view: BTreeMap<Bytes, Bytes>,
    footprint: Footprint,
    own: BTreeMap<Bytes, Option<Bytes>>,
    versioned: Vec<(Bytes, Bytes)>,
}

impl Model {
    fn begin(&self) -> ModelTxn {
        ModelTxn {
            began_at: self.commits.len(),
            view: self.states.last().expect("the first state is there").clone(),
            footprint: Footprint::default(),
            own: BTreeMap::new(),
            versioned: Vec::new(),
        }
    }

    fn verdict(&self, txn: &ModelTxn) -> Verdict {
        let Footprint { written, guarded } = &txn.footprint;
        let since = &self.commits[txn.began_at..];
        let conflicts = |other: &Footprint| {
            !other.written.is_disjoint(written)
                || !other.written.is_disjoint(guarded)
                || !other.guarded.is_disjoint(written)
        };
        if since.iter().any(conflicts) {
            Verdict::Conflicts
        } else if since.iter().any(|other| !other.guarded.is_disjoint(guarded)) {
            Verdict::Either
        } else {
            Verdict::Commits
        }
    }

    fn apply(&mut self, txn: ModelTxn, prefix: &str, version: crate::Version) {
        let mut state = self.states.last().expect("the first state is there").clone();
        for (key, value) in txn.own {
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
        for (suffix, value) in txn.versioned {
            state.insert(versioned_key(format!("{prefix}versioned/").as_bytes(), version, &suffix), value);
        }
        self.states.push(state);
        self.commits.push(txn.footprint);
    }
}

impl ModelTxn {
    fn write(&mut self, key: Bytes, value: Option<Bytes>) {
        match &value {
            Some(value) => self.view.insert(key.clone(), value.clone()),
            None => self.view.remove(&key),
        };
        self.footprint.written.insert(key.clone());
        self.own.insert(key, value);
    }

    fn scan(&self, range: &KeyRange, limit: ScanLimit, direction: Direction) -> Vec<(Bytes, Bytes)> {
        let mut entries: Vec<_> = self.view.iter().filter(|(key, _)| range.contains(key)).collect();
        if direction == Direction::Backward {
            entries.reverse();
        }
        let mut value_bytes = 0;
        let within = entries.into_iter().take(limit.count).take_while(|(_, value)| {
            let full = value_bytes > 0 && value_bytes >= limit.value_bytes;
            value_bytes += value.len();
            !full
        });
        within.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

async fn play<S: Store>(store: &S, prefix: &str, script: Vec<(usize, Step)>) {
    let mut model = Model { states: vec![BTreeMap::new()], commits: Vec::new() };
    let mut open: [Option<(S::Txn, ModelTxn)>; SLOTS] = [const { None }; SLOTS];
    for (seed, (slot, step)) in script.into_iter().enumerate() {
        if open[slot].is_none() {
            open[slot] = Some((begin(store).await, model.begin()));
        }
        match step {
            Step::Commit => {
                let (txn, model_txn) = open[slot].take().expect("begun above");
                commit(&mut model, prefix, txn, model_txn).await;
            }
            Step::Abandon => open[slot] = None,
            step => {
                let (txn, model_txn) = open[slot].as_mut().expect("begun above");
                take(txn, model_txn, prefix, &step, seed).await;
            }
        }
    }
    for (txn, model_txn) in open.into_iter().flatten() {
        commit(&mut model, prefix, txn, model_txn).await;
    }
    let last = model.states.pop().expect("the first state is there");
    let left = entries_now(store, &KeyRange::prefix(prefix.as_bytes())).await;
    assert_eq!(left, last.into_iter().collect::<Vec<_>>());
}

async fn commit(model: &mut Model, prefix: &str, txn: impl Txn, model_txn: ModelTxn) {
    let verdict = model.verdict(&model_txn);
    let start_version = txn.start_version();
    match txn.commit().await {
        Ok(committed) => {
            assert_ne!(verdict, Verdict::Conflicts, "committed over another transaction's writes");
            assert!(committed.version > start_version || model_txn.footprint.written.is_empty());
            model.apply(model_txn, prefix, committed.version);
        }
        Err(CommitError::Conflict) => assert_ne!(verdict, Verdict::Commits, "a conflict with nobody"),
        Err(error) => panic!("{error}"),
    }
}

async fn take(txn: &mut impl Txn, model_txn: &mut ModelTxn, prefix: &str, step: &Step, seed: usize) {
    let key = |number: usize| text(format!("{prefix}{}", KEYS[number]));
    let value = |len: usize| value_of(len, u8::try_from(seed).expect("short scripts"));
    match step {
        Step::Begin | Step::Commit | Step::Abandon => {}
        Step::Get(number) => {
            let found = txn.get(&key(*number)).await.expect("a get");
            assert_eq!(found.as_ref(), model_txn.view.get(&key(*number)));
        }
        Step::GetAll => {
            let keys: Vec<_> = (0..KEYS.len()).rev().map(key).collect();
            let expected: Vec<_> = keys.iter().map(|key| model_txn.view.get(key).cloned()).collect();
            assert_eq!(txn.get_many(&keys).await.expect("a get"), expected);
        }
        Step::Scan { from, to, count, value_bytes, backward } => {
            let end = if from == to { KeyRange::prefix(prefix.as_bytes()).end } else { key(*to) };
            let range = KeyRange::new(key(*from), end);
            let direction = if *backward { Direction::Backward } else { Direction::Forward };
            let limit = ScanLimit { count: *count, value_bytes: *value_bytes };
            let found = txn.scan(&range, limit, direction).await.expect("a scan");
            assert_eq!(found, model_txn.scan(&range, limit, direction));
            let limit = ScanLimit::count(*count);
            let keys = txn.scan_keys(&range, *count, direction).await.expect("a scan for keys");
            let expected = model_txn.scan(&range, limit, direction).into_iter().map(|(key, _)| key);
            assert_eq!(keys, expected.collect::<Vec<_>>());
        }
        Step::Put { key: number, len } => {
            txn.put(key(*number), value(*len));
            model_txn.write(key(*number), Some(value(*len)));
        }
        Step::PutVersioned { suffix_len } => {
            // The steps of one script have different numbers, so no two suffixes are the same.
            let suffix: Bytes =
                [vec![u8::try_from(seed).expect("short scripts")], vec![b's'; *suffix_len]].concat().into();
            txn.put_versioned(text(format!("{prefix}versioned/")), suffix.clone(), value(8));
            model_txn.versioned.push((suffix, value(8)));
        }
        Step::Delete(number) => {
            txn.delete(key(*number));
            model_txn.write(key(*number), None);
        }
        Step::Guard(number) => {
            txn.guard(key(*number));
            model_txn.footprint.guarded.insert(key(*number));
        }
    }
}
