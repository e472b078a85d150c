//! Two groups one behind the other: a member of the first enters each order and publishes an invoice in one transaction,
//! a worker of the second, which has its partitions for good, files the invoices. In both some fail the first time, are
//! parked and tried again.

use tidegate::store::Store;
use tidegate::{ConsumerOptions, Event, NewEvent, Outcome, RetryPolicy, Tx, Worker};

use super::application::{Application, GROUP, TOPIC, consumer_options, enter, enter_under, numbers_of};
use super::stage::{in_time, until};

/// Orders that come in per round, and their keys.
pub(crate) const PER_ROUND: i64 = 60;
pub(crate) const KEYS: i64 = 9;
const INVOICES: &str = "invoices";
const FILING: &str = "filing";
/// Every so many orders, and invoices, fail the first time.
const ORDER_FAILS_EVERY: i64 = 6;
const INVOICE_FAILS_EVERY: i64 = 7;

/// The member that comes after one that was killed takes its place at once.
const INSTANCE: &str = "billing-1";

/// What a broker or a store does that goes away is no fault of the events: those that fail do so once.
const RETRY: RetryPolicy = RetryPolicy { retries_max: 1_000, first_ms: 5, max_ms: 20, jitter_percent: 50 };

/// The workers of an application.
pub(crate) struct Chain {
    billing: Worker,
    filing: Worker,
}

impl Chain {
    pub(crate) async fn create_topics<S: Store>(application: &Application<S>) {
        application.create_topic(TOPIC).await;
        application.create_topic(INVOICES).await;
    }

    pub(crate) async fn start<S: Store>(application: &Application<S>) -> Self {
        let filing = application.worker().group(FILING).partitions(INVOICES, 0..application.partitions);
        let filing = filing.retry(RETRY).start(file).await.expect("it starts");
        let consumer = ConsumerOptions { group_instance_id: Some(INSTANCE.to_owned()), ..consumer_options() };
        let billing = application.member().consumer_options(consumer).retry(RETRY);
        let billing = billing.start(bill).await.expect("it starts");
        Self { billing, filing }
    }

    pub(crate) async fn stop(self) {
        in_time("a worker to stop", self.billing.stop()).await.expect("it stops");
        in_time("a worker to stop", self.filing.stop()).await.expect("it stops");
    }
}

fn fails_now(event: &Event, every: i64) -> bool {
    let number: i64 = event.json().expect("every event is a number");
    event.failures() == 0 && number % every == 0
}

async fn bill<S: Store>(event: Event, tx: Tx<S>) -> Result<Outcome, String> {
    let key = event.key().expect("every event has one").to_owned();
    let number: i64 = event.json().expect("every event is a number");
    enter(&event, &tx).await.map_err(|error| error.to_string())?;
    let invoice = NewEvent::new("order.invoiced").topic(INVOICES).key(key).json(&number.into());
    tx.publish(invoice).await.map_err(|error| error.to_string())?;
    // With what it has written: none of that is to be seen.
    if fails_now(&event, ORDER_FAILS_EVERY) {
        return Err("the first time".to_owned());
    }
    Ok(Outcome::Ack)
}

fn filed(key: &str) -> String {
    format!("filed/{key}")
}

async fn file<S: Store>(event: Event, tx: Tx<S>) -> Result<Outcome, String> {
    let name = filed(event.key().expect("every invoice has one"));
    enter_under(name, &event, &tx).await.map_err(|error| error.to_string())?;
    if fails_now(&event, INVOICE_FAILS_EVERY) {
        return Err("the first time".to_owned());
    }
    Ok(Outcome::Ack)
}

/// Waits until so many orders, and their invoices, were handled.
pub(crate) async fn until_done<S: Store>(application: &Application<S>, count: i64) {
    until_handled(application, 2 * count).await;
}

/// Waits until about half of the last round was handled.
pub(crate) async fn until_half_done<S: Store>(application: &Application<S>, count: i64) {
    until_handled(application, 2 * count - PER_ROUND).await;
}

/// A store that does not answer just now is asked again.
async fn until_handled<S: Store>(application: &Application<S>, count: i64) {
    let count = usize::try_from(count).expect("positive");
    until("orders and invoices to be handled", async || {
        let ledgers = application.try_ledgers().await.unwrap_or_default();
        ledgers.values().map(Vec::len).sum::<usize>() >= count
    })
    .await;
}

/// Each order and each invoice was handled once, in the order of its key; nothing is left to do; both groups are listed,
/// the one that nobody joins too.
pub(crate) async fn check<S: Store>(application: &Application<S>, count: i64) {
    let ledgers = application.ledgers().await;
    for key in 0..KEYS {
        let expected = Some(numbers_of(key, count, KEYS));
        let key = key.to_string();
        assert_eq!(ledgers.get(&key), expected.as_ref(), "key {key}");
        assert_eq!(ledgers.get(&filed(&key)), expected.as_ref(), "invoices of key {key}");
    }
    for (group, topic) in [(GROUP, TOPIC), (FILING, INVOICES)] {
        let follows = async || application.committed_in(group, topic).await == count;
        until("the committed offsets to follow", follows).await;
        assert_eq!(application.noted_by(group).await, (0, 0), "{group}: no mark, no parked record");
    }
    let groups = application.admin().await.list_groups().await.expect("it answers");
    let filing = groups.iter().find(|group| group.group == FILING).expect("it is listed");
    assert_eq!((filing.state.as_str(), filing.protocol_type.as_str()), ("Empty", ""));
    assert!(groups.iter().any(|group| group.group == GROUP && group.state == "Stable"), "{groups:?}");
}
