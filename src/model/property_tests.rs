//! Random operations of overlapping transactions, compared with a plain map: rows, answers of every index, conflicts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate_store::MemoryStore;

use crate::fixture::{Flight, NOW_MS, fixture, rows};
use crate::{Db, Error, Model, Tx, Write};

const TRANSACTIONS: usize = 3;

/// One step of one of the transactions.
#[derive(Clone, Debug)]
enum Step {
    Insert(Flight),
    Update(Flight),
    Save(Flight),
    Delete(u8),
    Find(u8),
    ByGate { gate: Option<u8>, from: i64, to: i64, reverse: bool, limit: usize },
    ByOrigin { reverse: bool, limit: usize },
    OpenByDeparture { from: i64, to: i64 },
    Commit,
    RollBack,
}

fn number(n: u8) -> String {
    format!("KL{n}")
}

fn gate(n: u8) -> String {
    ["A", "B\0", "B\u{1}C"][usize::from(n)].to_owned()
}

fn flight() -> impl Strategy<Value = Flight> {
    (0..6_u8, 0..3_u8, 0..4_i64, proptest::option::of("[a-b]{0,2}"), any::<bool>(), -2..3_i8).prop_map(
        |(n, at, minute, origin, is_open, weight)| Flight {
            number: number(n),
            gate: gate(at),
            departs_ms: NOW_MS + minute,
            origin,
            is_open,
            weight: f64::from(weight),
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let minute = || (0..5_i64).prop_map(|minute| NOW_MS + minute);
    prop_oneof![
        4 => flight().prop_map(Step::Insert),
        3 => flight().prop_map(Step::Update),
        4 => flight().prop_map(Step::Save),
        2 => (0..6_u8).prop_map(Step::Delete),
        2 => (0..6_u8).prop_map(Step::Find),
        3 => (proptest::option::of(0..3_u8), minute(), minute(), any::<bool>(), 1..5_usize)
            .prop_map(|(gate, from, to, reverse, limit)| Step::ByGate { gate, from, to, reverse, limit }),
        2 => (any::<bool>(), 1..5_usize).prop_map(|(reverse, limit)| Step::ByOrigin { reverse, limit }),
        2 => (minute(), minute()).prop_map(|(from, to)| Step::OpenByDeparture { from, to }),
        4 => Just(Step::Commit),
        1 => Just(Step::RollBack),
    ]
}

/// What one transaction should see, and has written.
struct Expected {
    rows: BTreeMap<String, Flight>,
    written: BTreeSet<String>,
    began: usize,
}

/// What should be committed: rows, and when each was last written.
#[derive(Default)]
struct Committed {
    rows: BTreeMap<String, Flight>,
    written_at: BTreeMap<String, usize>,
    commits: usize,
}

impl Committed {
    fn begin(&self) -> Expected {
        Expected { rows: self.rows.clone(), written: BTreeSet::new(), began: self.commits }
    }

    /// Whether the transaction comes first; its writes are taken over then.
    fn commit(&mut self, expected: &Expected) -> bool {
        let since = |number: &String| self.written_at.get(number).is_some_and(|at| *at > expected.began);
        if expected.written.iter().any(since) {
            return false;
        }
        self.commits += 1;
        for number in &expected.written {
            self.written_at.insert(number.clone(), self.commits);
            match expected.rows.get(number) {
                Some(flight) => self.rows.insert(number.clone(), flight.clone()),
                None => self.rows.remove(number),
            };
        }
        true
    }
}

impl Expected {
    fn write(&mut self, flight: &Flight) {
        self.written.insert(flight.number.clone());
        self.rows.insert(flight.number.clone(), flight.clone());
    }

    /// The rows that hold to `filter`, in the order of `by` and then of their ids.
    fn sorted<K: Ord>(
        &self,
        filter: impl Fn(&Flight) -> bool,
        by: impl Fn(&Flight) -> K,
        reverse: bool,
    ) -> Vec<Flight> {
        let mut found: Vec<Flight> = self.rows.values().filter(|flight| filter(flight)).cloned().collect();
        found.sort_by_key(|flight| (by(flight), flight.number.clone()));
        if reverse {
            found.reverse();
        }
        found
    }
}

/// Does a step in the transaction and in the map, and compares what they say.
async fn apply(step: &Step, tx: &Tx<MemoryStore>, expected: &mut Expected) {
    match step {
        Step::Insert(flight) => {
            let exists = expected.rows.contains_key(&flight.number);
            let refused = Err(Error::Exists { table: Flight::TABLE, id: flight.id() });
            assert_eq!(tx.insert(flight).await, if exists { refused } else { Ok(()) });
            if !exists {
                expected.write(flight);
            }
        }
        Step::Update(flight) => {
            let exists = expected.rows.contains_key(&flight.number);
            let refused = Err(Error::Missing { table: Flight::TABLE, id: flight.id() });
            assert_eq!(tx.update(flight).await, if exists { Ok(()) } else { refused });
            if exists {
                expected.write(flight);
            }
        }
        Step::Save(flight) => {
            let exists = expected.rows.contains_key(&flight.number);
            assert_eq!(tx.save(flight).await, Ok(if exists { Write::Update } else { Write::Insert }));
            expected.write(flight);
        }
        Step::Delete(n) => {
            let removed = expected.rows.remove(&number(*n));
            assert_eq!(tx.delete::<Flight>(number(*n)).await, Ok(removed.clone()));
            expected.written.extend(removed.map(|flight| flight.number));
        }
        Step::Find(n) => {
            assert_eq!(tx.find::<Flight>(number(*n)).await, Ok(expected.rows.get(&number(*n)).cloned()));
        }
        Step::ByGate { .. } | Step::ByOrigin { .. } | Step::OpenByDeparture { .. } => {
            compare_query(step, tx, expected).await;
        }
        Step::Commit | Step::RollBack => unreachable!("handled by the caller"),
    }
}

async fn compare_query(step: &Step, tx: &Tx<MemoryStore>, expected: &Expected) {
    let (mut query, want, limit, reverse) = match step {
        Step::ByGate { gate: Some(at), from, to, reverse, limit } => {
            let at = gate(*at);
            let inside = |flight: &Flight| flight.gate == at && (*from..*to).contains(&flight.departs_ms);
            let want = expected.sorted(inside, |flight| flight.departs_ms, *reverse);
            (tx.query::<Flight>("by_gate").value(&at).range(*from..*to), want, *limit, *reverse)
        }
        Step::ByGate { gate: None, reverse, limit, .. } => {
            let want = expected.sorted(|_| true, |flight| (flight.gate.clone(), flight.departs_ms), *reverse);
            (tx.query::<Flight>("by_gate"), want, *limit, *reverse)
        }
        Step::ByOrigin { reverse, limit } => {
            let want =
                expected.sorted(|flight| flight.origin.is_some(), |flight| flight.origin.clone(), *reverse);
            (tx.query::<Flight>("by_origin"), want, *limit, *reverse)
        }
        Step::OpenByDeparture { from, to } => {
            let inside = |flight: &Flight| flight.is_open && (*from..=*to).contains(&flight.departs_ms);
            let want = expected.sorted(inside, |flight| flight.departs_ms, false);
            (tx.query::<Flight>("open_by_departure").range(*from..=*to), want, 100, false)
        }
        other => unreachable!("{other:?} is no query"),
    };
    if reverse {
        query = query.reverse();
    }
    let page = query.limit(limit).fetch().await.expect("answered");
    assert_eq!(page.next.is_some(), want.len() > limit);
    assert_eq!(page.rows, want.into_iter().take(limit).collect::<Vec<_>>());
}

async fn begin(db: &Db<MemoryStore>) -> Tx<MemoryStore> {
    db.begin().await.expect("begun")
}

async fn run(steps: Vec<(usize, Step)>) {
    let db = fixture().db;
    // The catalogue and the topic are there, so that only rows can conflict.
    let (first, number) = (&Flight::new("KL0", "A", NOW_MS), "KL0");
    db.transaction(|tx| async move {
        tx.insert(first).await?;
        tx.update(first).await?;
        tx.delete::<Flight>(number).await.map(drop)
    })
    .await
    .expect("committed");

    let mut committed = Committed::default();
    let mut open = vec![];
    for _ in 0..TRANSACTIONS {
        open.push((begin(&db).await, committed.begin()));
    }
    for (at, step) in steps {
        match step {
            Step::Commit => {
                let next = begin(&db).await;
                let (tx, expected) = std::mem::replace(&mut open[at], (next, committed.begin()));
                let comes_first = committed.commit(&expected);
                let conflict = Err(Error::Conflict { attempts: 1 });
                assert_eq!(tx.commit().await, if comes_first { Ok(()) } else { conflict });
                open[at] = (begin(&db).await, committed.begin());
            }
            Step::RollBack => open[at] = (begin(&db).await, committed.begin()),
            step => {
                let (tx, expected) = &mut open[at];
                apply(&step, tx, expected).await;
            }
        }
    }
    check_entries(&db, &committed).await;
}

/// The table's index has the entries of its rows and no others.
async fn check_entries(db: &Db<MemoryStore>, committed: &Committed) {
    let entries = rows(db.store(), tidegate_format::IndexKey::range_table(Flight::TABLE)).await;
    let per_row = |flight: &Flight| 2 + usize::from(flight.origin.is_some()) + usize::from(flight.is_open);
    assert_eq!(entries.len(), committed.rows.values().map(per_row).sum::<usize>());
    let manifests = rows(db.store(), tidegate_format::ManifestKey::range(Flight::TABLE)).await;
    assert_eq!(manifests.len(), committed.rows.len());
}

proptest! {
    #[test]
    fn transactions_agree_with_a_plain_map(
        steps in proptest::collection::vec((0..TRANSACTIONS, step()), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(run(steps));
    }
}
