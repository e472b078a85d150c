//! What the tests have in common: a model with every kind of index, and a database whose pauses take no time.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_format::{
    EventValue, Kind, OutboxKey, PartitionId, TimerKey, TopicKey, TopicValue, topic_range,
};
use tidegate_outbox::Wakeup;
use tidegate_store::{Direction, KeyRange, ManualClock, MemoryStore, ScanLimit, Store, Txn};

use crate::{Ambient, Db, DbSettings, Field, Index, Model, ModelId, NewEvent, Write};

pub(crate) const NOW_MS: i64 = 1_772_000_000_000;

/// A flight: found by gate and time, by origin if it has one, by departure while it is open, by weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flight {
    pub(crate) number: String,
    pub(crate) gate: String,
    pub(crate) departs_ms: i64,
    pub(crate) origin: Option<String>,
    pub(crate) is_open: bool,
    pub(crate) weight: f64,
}

impl Flight {
    pub(crate) fn new(number: &str, gate: &str, departs_ms: i64) -> Self {
        let (number, gate) = (number.to_owned(), gate.to_owned());
        Self { number, gate, departs_ms, origin: None, is_open: true, weight: 1.5 }
    }
}

impl Model for Flight {
    const TABLE: &'static str = "flights";

    fn id(&self) -> ModelId {
        self.number.as_str().into()
    }

    fn indexes() -> &'static [Index<Self>] {
        const INDEXES: &[Index<Flight>] = &[
            Index::new(
                "by_gate",
                &[
                    Field::str("gate", |flight| Some(&flight.gate)),
                    Field::time_ms("departs", |flight| Some(flight.departs_ms)),
                ],
            ),
            Index::new("by_origin", &[Field::str("origin", |flight| flight.origin.as_deref())]),
            Index::<Flight>::new(
                "open_by_departure",
                &[Field::time_ms("departs", |flight| Some(flight.departs_ms))],
            )
            .when(|flight| flight.is_open),
            Index::new("by_weight", &[Field::f64("weight", |flight| Some(flight.weight))]),
        ];
        INDEXES
    }

    fn events(&self, write: Write) -> Vec<NewEvent> {
        let departure = || {
            NewEvent::new("flight.departed")
                .due_at(self.departs_ms)
                .schedule(format!("departure/{}", self.number))
        };
        match write {
            Write::Insert => vec![NewEvent::new("flight.scheduled"), departure()],
            Write::Update => vec![NewEvent::new("flight.changed"), departure()],
            Write::Delete => vec![NewEvent::new("flight.cancelled")],
        }
    }
}

/// Pauses that take no time and are remembered; random numbers that count.
#[derive(Default)]
pub(crate) struct TestAmbient {
    pub(crate) pauses: Mutex<Vec<Duration>>,
    count: AtomicU64,
}

impl Ambient for TestAmbient {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.pauses.lock().expect("not poisoned").push(duration);
        Box::pin(tokio::task::yield_now())
    }

    fn random(&self) -> u128 {
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        u128::from(count.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

/// Remembers who was woken.
#[derive(Default)]
pub(crate) struct TestWakeup(pub(crate) Mutex<Vec<Vec<PartitionId>>>);

impl Wakeup for TestWakeup {
    fn committed(&self, partitions: &[PartitionId]) {
        self.0.lock().expect("not poisoned").push(partitions.to_vec());
    }
}

/// A database and what it was given.
pub(crate) struct Fixture<S: Store> {
    pub(crate) db: Db<S>,
    pub(crate) ambient: Arc<TestAmbient>,
    pub(crate) wakeup: Arc<TestWakeup>,
}

impl<S: Store> Fixture<S> {
    pub(crate) fn over(store: S, settings: DbSettings) -> Self {
        let (ambient, wakeup) = (Arc::<TestAmbient>::default(), Arc::<TestWakeup>::default());
        let db = Db::with_ambient(store, settings, wakeup.clone(), ambient.clone());
        Self { db, ambient, wakeup }
    }

    pub(crate) fn wakeups(&self) -> usize {
        self.wakeup.0.lock().expect("not poisoned").len()
    }

    pub(crate) fn pauses(&self) -> Vec<Duration> {
        self.ambient.pauses.lock().expect("not poisoned").clone()
    }
}

pub(crate) fn memory_store() -> MemoryStore {
    MemoryStore::new(Arc::new(ManualClock::at(NOW_MS)))
}

pub(crate) fn fixture() -> Fixture<MemoryStore> {
    Fixture::over(memory_store(), DbSettings::default())
}

/// Every entry in a range.
pub(crate) async fn rows(store: &impl Store, range: (Bytes, Bytes)) -> Vec<(Bytes, Bytes)> {
    let mut txn = store.begin().await.expect("the store is there");
    let range = KeyRange::new(range.0, range.1);
    txn.scan(&range, ScanLimit::count(100_000), Direction::Forward).await.expect("the store is there")
}

/// The events that wait for the relay of a topic: those due at commit in commit order, then those that are due later.
pub(crate) async fn waiting(store: &impl Store, topic: &str) -> Vec<(Option<i64>, EventValue)> {
    let mut txn = store.begin().await.expect("the store is there");
    let key = TopicKey { name: topic.to_owned() }.encode();
    let Some(topic) = txn.get(&key).await.expect("the store is there") else { return vec![] };
    let topic = TopicValue::decode(topic).expect("a topic");
    let mut waiting = vec![];
    for (key, value) in rows(store, topic_range(topic.id)).await {
        let due_ms = match Kind::of_key(&key) {
            Some(Kind::Outbox) => OutboxKey::decode(&key).map(|_| None),
            Some(Kind::Timer) => TimerKey::decode(&key).map(|key| Some(key.due_ms)),
            other => panic!("{other:?} in a partition that nobody owns"),
        };
        waiting.push((due_ms.expect("a key"), EventValue::decode(value).expect("an event")));
    }
    waiting
}

/// The text of a header.
pub(crate) fn header<'a>(event: &'a EventValue, name: &str) -> Option<&'a str> {
    let (_, value) = event.headers.iter().find(|(found, _)| found == name)?;
    std::str::from_utf8(value.as_deref()?).ok()
}
