//! From order to payment: models and their events, a worker that handles each event once, reminders, retries, dead letters.
//!
//! An order is written with its event; a worker answers with an invoice, due at once, and a reminder that is held back. A
//! second worker takes payments from a bank that is down now and then: its failures are tried again without holding up other
//! customers, and an order that the bank refuses for good becomes a dead letter. Paying cancels the reminder; what is not paid
//! in time is reminded of. At the end everything is counted.
//!
//! `cargo run --example orders`

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate::{
    AppStore, ConsumerOptions, DEAD_LETTER_ATTEMPTS, DEAD_LETTER_CAUSE, DEAD_LETTER_TOPIC, Event, Model,
    NewEvent, OpenOptions, Outcome, RetryPolicy, Start, Tidegate, TopicPartition, Tx, WorkerBuilder, Write,
    dead_letter_topic, redrive,
};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

const ORDERS: u32 = 60;
const CUSTOMERS: u32 = 7;
const RETRIES: u32 = 2;
/// In a real shop, days.
const REMIND_AFTER: Duration = Duration::from_millis(1_500);

#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "orders", events(insert = "order.placed"))]
struct Order {
    id: String,
    #[model(index)]
    customer: String,
    cents: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Open,
    Paid,
    Reminded,
}

/// One per order, keyed by it: its events keep their order.
#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "invoices", events = invoice_events)]
struct Invoice {
    id: String,
    cents: u64,
    state: State,
    reminders: u32,
}

fn invoice_events(_: &Invoice, write: Write) -> Vec<NewEvent> {
    match write {
        Write::Insert => vec![NewEvent::new("invoice.written")],
        Write::Update | Write::Delete => vec![],
    }
}

/// What came in per customer: several orders change one row, side by side.
#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "accounts")]
struct Account {
    id: String,
    paid_cents: u64,
    payments: u32,
}

fn number(id: &str) -> u32 {
    id.parse().unwrap_or(0)
}

/// What the bank says: orders divisible by 20 have no money behind them, those divisible by 9 nobody pays, and for those
/// divisible by 4 it is down when it is asked first.
fn ask_the_bank(order: &str, failures: u32) -> Result<bool, AnyError> {
    match number(order) {
        n if n % 20 == 0 => Err("the bank knows no such account".into()),
        n if n % 9 == 0 => Ok(false),
        n if n % 4 == 0 && failures == 0 => Err("the bank is down".into()),
        _ => Ok(true),
    }
}

/// Whose invoice is open when it is reminded of.
fn is_unpaid(order: u32) -> bool {
    order.is_multiple_of(20) || order.is_multiple_of(9)
}

fn reminder(order: &str) -> String {
    format!("reminder/{order}")
}

/// An order is invoiced, and reminded of later, in one transaction.
async fn invoice(event: Event, tx: Tx<AppStore>) -> Result<Outcome, AnyError> {
    let order: Order = event.json()?;
    let remind = NewEvent::new("invoice.reminder").topic("reminders").key(order.id.clone());
    tx.publish(remind.schedule(reminder(&order.id)).due_in(REMIND_AFTER)).await?;
    tx.insert(&Invoice { id: order.id, cents: order.cents, state: State::Open, reminders: 0 }).await?;
    Ok(Outcome::Ack)
}

/// An invoice is paid, booked, and its reminder cancelled, in one transaction.
async fn collect(event: Event, tx: Tx<AppStore>) -> Result<Outcome, AnyError> {
    let written: Invoice = event.json()?;
    if !ask_the_bank(&written.id, event.failures())? {
        return Ok(Outcome::Ack);
    }
    let order = tx.find::<Order>(written.id.as_str()).await?.ok_or("an invoice has an order")?;
    let account = tx.find::<Account>(order.customer.as_str()).await?;
    let mut account = account.unwrap_or(Account { id: order.customer, paid_cents: 0, payments: 0 });
    account.paid_cents += written.cents;
    account.payments += 1;
    tx.save(&account).await?;
    let invoice = tx.find::<Invoice>(written.id.as_str()).await?.ok_or("it was written")?;
    tx.update(&Invoice { state: State::Paid, ..invoice }).await?;
    tx.cancel_schedule("reminders", &reminder(&written.id)).await?;
    Ok(Outcome::Ack)
}

/// Who has not paid in time is reminded once.
async fn remind(event: Event, tx: Tx<AppStore>) -> Result<Outcome, AnyError> {
    let Some(order) = event.key() else { return Ok(Outcome::Reject("a reminder without an order".into())) };
    let invoice = tx.find::<Invoice>(order).await?.ok_or("an invoice comes before its reminder")?;
    if invoice.state == State::Open {
        tx.update(&Invoice { state: State::Reminded, reminders: invoice.reminders + 1, ..invoice }).await?;
    }
    Ok(Outcome::Ack)
}

/// A shop in one process: store, broker and workers. With [`Tidegate::connect`] or [`Tidegate::tikv`] it would be the same.
struct Shop {
    tidegate: Tidegate,
}

impl Shop {
    fn worker(&self, group: &str, topic: &str) -> Result<WorkerBuilder<AppStore>, AnyError> {
        let retry = RetryPolicy { retries_max: RETRIES, first_ms: 50, ..RetryPolicy::default() };
        Ok(self.tidegate.worker()?.group(group).topics([topic]).retry(retry))
    }

    async fn place_orders(&self) -> Result<(), AnyError> {
        for number in 1..=ORDERS {
            let customer = format!("customer-{}", number % CUSTOMERS);
            let order = &Order { id: number.to_string(), customer, cents: u64::from(number) * 100 };
            self.tidegate.db().transaction(|tx| async move { tx.insert(order).await }).await?;
        }
        Ok(())
    }

    async fn invoices(&self) -> Result<Vec<Invoice>, AnyError> {
        Ok(self.tidegate.db().snapshot().await?.list::<Invoice>().limit(1_000).fetch().await?.rows)
    }

    /// How many invoices are in a state.
    async fn count(&self, state: State) -> Result<usize, AnyError> {
        Ok(self.invoices().await?.iter().filter(|invoice| invoice.state == state).count())
    }
}

/// What there should be in the end.
async fn check(shop: &Shop) -> Result<(), AnyError> {
    let invoices = shop.invoices().await?;
    assert_eq!(invoices.len(), ORDERS as usize, "one invoice for each order");
    for invoice in &invoices {
        let expected = if is_unpaid(number(&invoice.id)) { State::Reminded } else { State::Paid };
        assert_eq!(invoice.state, expected, "order {}", invoice.id);
        // Where the machine is slow, somebody may be reminded before the bank is asked again.
        assert!(invoice.reminders <= 1, "order {}", invoice.id);
    }
    let accounts = shop.tidegate.db().snapshot().await?.list::<Account>().limit(100).fetch().await?.rows;
    let paid: Vec<u32> = (1..=ORDERS).filter(|n| !is_unpaid(*n)).collect();
    let booked: u64 = accounts.iter().map(|account| account.paid_cents).sum();
    assert_eq!(booked, paid.iter().map(|n| u64::from(*n) * 100).sum::<u64>(), "every payment once");
    let payments: u32 = accounts.iter().map(|account| account.payments).sum();
    assert_eq!(payments as usize, paid.len());
    println!(
        "{ORDERS} orders: {} paid, {} reminded of, {booked} cents",
        paid.len(),
        ORDERS as usize - paid.len()
    );
    Ok(())
}

/// What the dead letters say: each order that the bank refuses, as often as it was given up, with cause, tries and origin.
async fn check_dead_letters(shop: &Shop, times: usize) -> Result<(), AnyError> {
    let refused: Vec<String> = (1..=ORDERS).filter(|n| n % 20 == 0).map(|n| n.to_string()).collect();
    let mut consumer = shop.tidegate.consumer(ConsumerOptions::default()).await?;
    let letters = TopicPartition::new(&dead_letter_topic("invoices", "collecting")?, 0);
    consumer.assign([(letters, Start::Earliest)])?;
    let mut found = BTreeMap::new();
    for _ in 0..times * refused.len() {
        let letter = tokio::time::timeout(Duration::from_secs(120), consumer.recv()).await??;
        let header = |wanted: &str| {
            let named = letter.headers.iter().find(|(name, _)| name == wanted);
            let value = named.and_then(|(_, value)| value.as_deref()).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        assert!(header(DEAD_LETTER_CAUSE).contains("the bank knows no such account"));
        assert_eq!(header(DEAD_LETTER_ATTEMPTS), (RETRIES + 1).to_string());
        assert_eq!(header(DEAD_LETTER_TOPIC), "invoices");
        let invoice: Invoice = serde_json::from_slice(&letter.value.ok_or("the event itself")?)?;
        *found.entry(invoice.id).or_insert(0) += 1;
    }
    assert_eq!(found, refused.into_iter().map(|order| (order, times)).collect());
    consumer.close().await?;
    Ok(())
}

async fn run() -> Result<(), AnyError> {
    let directory = tempfile::tempdir()?;
    let mut options = OpenOptions::new(directory.path());
    // One worker in each group: there is nobody to wait for.
    options.settings.group_initial_rebalance_delay_ms = 0;
    let shop = Shop { tidegate: Tidegate::open_with(options).await? };
    let invoicing = shop.worker("invoicing", "orders")?.start(invoice).await?;
    let collecting = shop.worker("collecting", "invoices")?.start(collect).await?;
    let reminding = shop.worker("reminding", "reminders")?.start(remind).await?;
    shop.place_orders().await?;

    // Until nobody is owed a payment or a reminder.
    let unpaid = (1..=ORDERS).filter(|order| is_unpaid(*order)).count();
    let paid = ORDERS as usize - unpaid;
    while (shop.count(State::Paid).await?, shop.count(State::Reminded).await?) != (paid, unpaid) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The bank's refusals are tried again, and given up in the end.
    let given_up = u64::from(ORDERS / 20);
    while collecting.figures().dead_letters < given_up {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    check(&shop).await?;
    check_dead_letters(&shop, 1).await?;

    // Sent back, they fail again: the bank has not changed its mind.
    let mut sent = 0;
    while sent < given_up {
        sent += redrive(shop.tidegate.client_options()?, "invoices", "collecting", None).await?;
    }
    while collecting.figures().dead_letters < 2 * given_up {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    check(&shop).await?;
    check_dead_letters(&shop, 2).await?;
    println!("{given_up} dead letters in {}", dead_letter_topic("invoices", "collecting")?);

    for worker in [invoicing, collecting, reminding] {
        worker.stop().await?;
    }
    shop.tidegate.shutdown().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    run().await
}

#[cfg(test)]
mod tests {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_order_is_invoiced_once_and_paid_or_reminded_of_once() {
        super::run().await.expect("it goes well");
    }
}
