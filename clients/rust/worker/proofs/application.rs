//! What the application does: transactions of its clerks on orders, a handler that enters events into ledgers, and another that
//! files them in batches. All of it is from a seed, so that whoever checks knows what each transaction and each try of an event
//! had to do.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tidegate_store::{EmbeddedStore, FaultyStore, Store};

use crate::model::{Ambient, BoxFuture, Error};
use crate::worker::event::Event;
use crate::worker::outcome::Outcome;
use crate::worker::redrive::REDRIVEN;
use crate::{ConsumerRecord, Db, Model, NewEvent, RetryPolicy, Tx};

pub(super) type Disk = FaultyStore<EmbeddedStore>;

/// The topic whose records are handled, with its partitions; and the others.
pub(super) const ORDERS: &str = "orders";
pub(super) const ORDERS_PARTITIONS: i32 = 2;
pub(super) const ENTRIES: &str = "entries";
/// The group that handles events one by one, and the one that handles them in batches.
pub(super) const GROUP: &str = "billing";
pub(super) const LETTERS: &str = "orders.billing.dlq";
pub(super) const FILING: &str = "filing";
pub(super) const FILING_LETTERS: &str = "orders.filing.dlq";
/// Whose transactions follow one another; those of different clerks meet only in the topic.
pub(super) const CLERKS: [u8; 2] = [0, 1];
/// Orders that a clerk has, and customers that these are of.
const ORDERS_PER_CLERK: u8 = 4;
pub(super) const CUSTOMERS: i64 = 3;
/// How long after it was made an event may be put off by its handler.
const PUT_OFF_MS: i64 = 70;
/// What was sent back so often is handled at once.
const SENT_BACK_MAX: u64 = 2;

/// How often and how soon what failed is tried again, as [`WAITS_MS`](super::expected::WAITS_MS) says.
pub(super) const RETRY: RetryPolicy =
    RetryPolicy { retries_max: 2, first_ms: 20, max_ms: 50, jitter_percent: 0 };

/// An order: found by customer, while it is open too; one coupon is used once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate::model, table = "orders")]
#[model(index(name = "open_by_customer", fields = [customer], when = |order| order.is_open))]
#[model(events(insert = "order.placed", update = "order.changed", delete = "order.removed"))]
pub(super) struct Order {
    pub(super) id: String,
    #[model(index)]
    pub(super) customer: i64,
    pub(super) is_open: bool,
    #[model(unique)]
    pub(super) coupon: Option<String>,
}

/// What was handled of a key, or filed of a partition, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate::model, table = "ledgers")]
pub(super) struct Ledger {
    pub(super) id: String,
    #[model(index)]
    pub(super) count: i64,
    #[model(unique)]
    pub(super) last: String,
    pub(super) entries: Vec<String>,
}

/// One thing that a clerk's transaction does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Save(Order),
    Delete(String),
    /// An event that is no model's, with or without a key.
    Note {
        key: Option<String>,
        value: String,
    },
}

/// What a clerk's transaction of that number does.
pub(super) fn plan(seed: u64, clerk: u8, number: u64) -> Vec<Step> {
    let mut rng = StdRng::seed_from_u64(mix(seed, &[u64::from(clerk), number]));
    let order_id = |rng: &mut StdRng| format!("{clerk}/{}", rng.random_range(0..ORDERS_PER_CLERK));
    let count = rng.random_range(1..4);
    let step = |at| match rng.random_range(0..10) {
        0..4 => {
            let coupon = rng.random_bool(0.5).then(|| format!("{clerk}/{}", rng.random_range(0..3)));
            let (id, customer) = (order_id(&mut rng), rng.random_range(0..CUSTOMERS));
            Step::Save(Order { id, customer, is_open: rng.random_bool(0.5), coupon })
        }
        4 => Step::Delete(order_id(&mut rng)),
        kind => {
            let key = (kind < 9).then(|| order_id(&mut rng));
            Step::Note { key, value: format!("{clerk}/{number}/{at}") }
        }
    };
    (0..count).map(step).collect()
}

fn mix(seed: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(seed, |mixed, part| (mixed ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29))
}

/// Where the number of a clerk's last transaction is.
pub(super) fn clerk_key(clerk: u8) -> String {
    format!("clerk/{clerk}")
}

/// Runs a clerk's transaction.
pub(super) async fn transact<S: Store>(db: &Db<S>, seed: u64, clerk: u8, number: u64) -> Result<(), Error> {
    let steps = &plan(seed, clerk, number);
    db.transaction(|tx| async move {
        for step in steps {
            match step {
                Step::Save(order) => match tx.save(order).await {
                    Ok(_) | Err(Error::Unique { .. }) => {}
                    Err(error) => return Err(error),
                },
                Step::Delete(id) => drop(tx.delete::<Order>(id.as_str()).await?),
                Step::Note { key, value } => {
                    let note = NewEvent::new("note.taken").topic(ORDERS).value(value.clone(), None);
                    let note = match key {
                        Some(key) => note.key(key.clone()),
                        None => note,
                    };
                    tx.publish(note).await?;
                }
            }
        }
        tx.user().put(clerk_key(clerk), number.to_string()).await
    })
    .await
}

/// What a handler says of a record, having failed so often before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Ack,
    Fail(String),
    Panic(String),
    Reject(String),
    RetryAt(i64),
}

/// What a group's handler has to say of a record.
pub(super) fn says(seed: u64, group: &str, record: &ConsumerRecord, failures: u32, now_ms: i64) -> Says {
    let salt = group.bytes().fold(0, |salt, byte| salt << 8 ^ u64::from(byte));
    let place = [salt, u64::from(record.partition.unsigned_abs()), record.offset.unsigned_abs()];
    let kind = mix(seed, &place) >> 32;
    let put_off_ms = put_off_ms(record);
    let text = |what: &str| format!("{what} of {}, {failures} failures before", entry(record));
    match kind % 16 {
        _ if sent_back(record) >= SENT_BACK_MAX => Says::Ack,
        0 | 1 if failures == 0 => Says::Fail(text("failure")),
        2 if failures <= 1 => Says::Fail(text("failure")),
        3 | 4 => Says::Fail(text("failure")),
        5 => Says::Reject(text("rejection")),
        6 | 7 if now_ms < put_off_ms => Says::RetryAt(put_off_ms),
        8 if failures == 0 => Says::Panic(text("panic")),
        _ => Says::Ack,
    }
}

/// Until when a record is put off at most.
pub(super) fn put_off_ms(record: &ConsumerRecord) -> i64 {
    record.timestamp_ms + PUT_OFF_MS
}

/// How often a record was sent back.
pub(super) fn sent_back(record: &ConsumerRecord) -> u64 {
    let count = record.header(REDRIVEN).map(|count| String::from_utf8(count.to_vec()).expect("text"));
    count.map_or(0, |count| count.parse().expect("a number"))
}

/// What a record is entered as.
pub(super) fn entry(record: &ConsumerRecord) -> String {
    format!("{}/{}", record.partition, record.offset)
}

/// Which ledger it is entered into: that of its key, or one of its own.
pub(super) fn ledger_id(record: &ConsumerRecord) -> String {
    match &record.key {
        Some(key) => String::from_utf8(key.to_vec()).expect("text"),
        None => format!("alone/{}", entry(record)),
    }
}

/// Which ledger a record is filed in: that of its partition.
pub(super) fn file_id(partition: i32) -> String {
    format!("filed/{partition}")
}

/// Enters an event, publishes that, and says what it has to say: what it did counts if that is yes.
pub(super) async fn handle<S: Store>(seed: u64, event: Event, tx: Tx<S>) -> Result<Outcome, String> {
    let record = event.record();
    let entered = enter(&tx, ledger_id(record), entry(record)).await;
    let now_ms = entered.map_err(|error| error.to_string())?;
    outcome(says(seed, GROUP, record, event.failures(), now_ms))
}

/// Files events, one after the other, up to the first that does not say yes.
pub(super) async fn file<S: Store>(seed: u64, events: Vec<Event>, tx: Tx<S>) -> Result<Outcome, String> {
    for event in &events {
        let record = event.record();
        let id = file_id(record.partition);
        let entered = enter(&tx, id.clone(), format!("{id}/{}", record.offset)).await;
        let now_ms = entered.map_err(|error| error.to_string())?;
        match says(seed, FILING, record, event.failures(), now_ms) {
            Says::Ack => {}
            other => return outcome(other),
        }
    }
    Ok(Outcome::Ack)
}

fn outcome(says: Says) -> Result<Outcome, String> {
    match says {
        Says::Ack => Ok(Outcome::Ack),
        Says::Fail(cause) => Err(cause),
        Says::Panic(cause) => panic!("{cause}"),
        Says::Reject(cause) => Ok(Outcome::Reject(cause)),
        Says::RetryAt(due_ms) => Ok(Outcome::RetryAt(due_ms)),
    }
}

async fn enter<S: Store>(tx: &Tx<S>, id: String, last: String) -> Result<i64, Error> {
    let found = tx.find::<Ledger>(id.as_str()).await?;
    let mut entries = found.map(|ledger| ledger.entries).unwrap_or_default();
    entries.push(last.clone());
    let count = i64::try_from(entries.len()).expect("a few");
    tx.save(&Ledger { id: id.clone(), count, last: last.clone(), entries }).await?;
    tx.publish(NewEvent::new("entry.made").topic(ENTRIES).key(id).value(last, None)).await?;
    tx.now_ms().await
}

/// Pauses that take no time.
#[derive(Debug)]
pub(super) struct NoPauses;

impl Ambient for NoPauses {
    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::task::yield_now())
    }

    fn random(&self) -> u128 {
        rand::random()
    }
}

/// A database over a store.
pub(super) fn database<S: Store>(store: S) -> Db<S> {
    let retry = crate::model::RetryPolicy { attempts_max: 1_000, ..crate::model::RetryPolicy::default() };
    let settings = crate::DbSettings { retry, ..crate::DbSettings::default() };
    Db::with_ambient(store, settings, Arc::new(crate::model::NoWakeup), Arc::new(NoPauses))
}
