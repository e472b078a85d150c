//! What should be there: plain maps, and what each transaction and each try does to them.

use std::collections::BTreeMap;

use super::application::{
    GROUP, Ledger, ORDERS_PARTITIONS, Order, Says, Step, entry, file_id, ledger_id, plan, says, sent_back,
};
use super::filed::Filed;
use super::site::Spot;
use crate::ConsumerRecord;

/// How long after each failure a record is tried again, in milliseconds; after one more it is given up.
pub(super) const WAITS_MS: [i64; 2] = [20, 40];

/// What has become of a record that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Handled,
    Parked { attempts: u32, due_ms: i64, cause: Option<String> },
    Buried { attempts: u32, cause: String },
}

/// A record that was sent back: where it went, and how often that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SentBack {
    pub(super) partition: i32,
    pub(super) times: u64,
    pub(super) key: Option<bytes::Bytes>,
    pub(super) value: Option<bytes::Bytes>,
}

/// An event as it should be in a log: its type and value.
pub(super) type Logged = (String, Option<String>);

#[derive(Debug)]
pub(super) struct Expected {
    pub(super) seed: u64,
    pub(super) orders: BTreeMap<String, Order>,
    /// The events of clerks, by key, in their order.
    pub(super) events: BTreeMap<Option<String>, Vec<Logged>>,
    /// The number of each clerk's last transaction.
    pub(super) clerks: BTreeMap<u8, u64>,
    /// What was read of the log so far.
    pub(super) records: BTreeMap<Spot, ConsumerRecord>,
    /// What has become of them; those that are not here are as they came.
    pub(super) states: BTreeMap<Spot, State>,
    pub(super) committed: BTreeMap<i32, i64>,
    /// What was filed of each partition.
    pub(super) filed: BTreeMap<i32, Filed>,
    pub(super) sent_back: Vec<SentBack>,
    pub(super) redriven: i64,
}

impl Expected {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            orders: BTreeMap::new(),
            events: BTreeMap::new(),
            clerks: BTreeMap::new(),
            records: BTreeMap::new(),
            states: BTreeMap::new(),
            committed: (0..ORDERS_PARTITIONS).map(|partition| (partition, 0)).collect(),
            filed: (0..ORDERS_PARTITIONS).map(|partition| (partition, Filed::default())).collect(),
            sent_back: vec![],
            redriven: 0,
        }
    }

    /// A clerk's transaction was committed.
    pub(super) fn transacted(&mut self, clerk: u8, number: u64) {
        let before = self.clerks.insert(clerk, number);
        assert!(before < Some(number), "transaction {number} of clerk {clerk} comes after {before:?}");
        for step in plan(self.seed, clerk, number) {
            match step {
                Step::Save(order) => self.save(order),
                Step::Delete(id) => {
                    if self.orders.remove(&id).is_some() {
                        self.log(Some(id), "order.removed", None);
                    }
                }
                Step::Note { key, value } => self.log(key, "note.taken", Some(value)),
            }
        }
    }

    fn save(&mut self, order: Order) {
        let holds = |other: &Order| other.id != order.id && other.coupon == order.coupon;
        if order.coupon.is_some() && self.orders.values().any(holds) {
            return;
        }
        let value = serde_json::to_string(&order).expect("JSON");
        let is_new = self.orders.insert(order.id.clone(), order.clone()).is_none();
        self.log(Some(order.id), if is_new { "order.placed" } else { "order.changed" }, Some(value));
    }

    fn log(&mut self, key: Option<String>, event_type: &str, value: Option<String>) {
        self.events.entry(key).or_default().push((event_type.to_owned(), value));
    }

    /// A record was read from the log.
    pub(super) fn read(&mut self, record: &ConsumerRecord) {
        let spot = (record.partition, record.offset);
        let before = self.records.insert(spot, record.clone());
        assert!(before.is_none_or(|before| before == *record), "what was read once stays as it is");
    }

    pub(super) fn is_fresh(&self, spot: Spot) -> bool {
        !self.states.contains_key(&spot)
    }

    /// Whether a record may be tried again.
    pub(super) fn is_due(&self, spot: Spot, now_ms: i64) -> bool {
        matches!(self.states.get(&spot), Some(State::Parked { due_ms, .. }) if *due_ms <= now_ms)
    }

    /// A record that was fresh, or parked and due, was tried, and what came of it was committed.
    pub(super) fn tried(&mut self, spot: Spot, now_ms: i64) {
        assert!(self.is_fresh(spot) || self.is_due(spot, now_ms), "{spot:?} is {:?}", self.states.get(&spot));
        let record = &self.records[&spot];
        let failures = match self.states.get(&spot) {
            Some(State::Parked { attempts, .. }) => *attempts,
            _ => 0,
        };
        let is_over = |state: Option<&State>| matches!(state, Some(State::Handled | State::Buried { .. }));
        let before = self.records.range((spot.0, 0)..spot).filter(|(_, other)| other.key == record.key);
        for (earlier, _) in before.filter(|_| record.key.is_some()) {
            let state = self.states.get(earlier);
            assert!(is_over(state), "{spot:?} is tried while {earlier:?} of its key is {state:?}");
        }
        let failed = |cause: String| match WAITS_MS.get(failures as usize) {
            Some(wait_ms) => {
                let due_ms = now_ms + wait_ms;
                State::Parked { attempts: failures + 1, due_ms, cause: Some(cause) }
            }
            None => State::Buried { attempts: failures + 1, cause },
        };
        let state = match says(self.seed, GROUP, record, failures, now_ms) {
            Says::Ack => State::Handled,
            Says::RetryAt(due_ms) => State::Parked { attempts: failures, due_ms, cause: None },
            Says::Reject(cause) => State::Buried { attempts: failures + 1, cause },
            Says::Fail(cause) => failed(cause),
            Says::Panic(cause) => failed(format!("the handler panicked: {cause}")),
        };
        self.states.insert(spot, state);
    }

    /// Fresh records were parked behind another.
    pub(super) fn parked_behind(&mut self, spots: &[Spot]) {
        for spot in spots {
            let behind = State::Parked { attempts: 0, due_ms: 0, cause: None };
            assert_eq!(self.states.insert(*spot, behind), None, "{spot:?} was looked at before");
        }
    }

    /// A record was sent back.
    pub(super) fn was_sent_back(&mut self, letter: &ConsumerRecord, partition: i32) {
        let (key, value) = (letter.key.clone(), letter.value.clone());
        let times = sent_back(letter) + 1;
        self.sent_back.push(SentBack { partition, times, key, value });
    }

    /// How many records are parked.
    pub(super) fn parked(&self) -> usize {
        self.states.values().filter(|state| matches!(state, State::Parked { .. })).count()
    }

    /// The ledgers: what was handled, by key, and what was filed, by partition, in the order of offsets.
    pub(super) fn ledgers(&self) -> BTreeMap<String, Ledger> {
        let mut entries: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (spot, _) in self.states.iter().filter(|(_, state)| **state == State::Handled) {
            let record = &self.records[spot];
            entries.entry(ledger_id(record)).or_default().push(entry(record));
        }
        for (partition, filed) in self.filed.iter().filter(|(_, filed)| !filed.offsets.is_empty()) {
            let id = file_id(*partition);
            let filed = filed.offsets.iter().map(|offset| format!("{id}/{offset}")).collect();
            entries.insert(id, filed);
        }
        let ledger = |(id, entries): (String, Vec<String>)| {
            let count = i64::try_from(entries.len()).expect("a few");
            let last = entries.last().cloned().expect("nothing is entered nowhere");
            (id.clone(), Ledger { id, count, last, entries })
        };
        entries.into_iter().map(ledger).collect()
    }
}
