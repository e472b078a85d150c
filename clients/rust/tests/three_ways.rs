//! One application, run three ways: in process, straight to TiKV, and through a broker. It ends with the same state.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate::model::{Ambient, Backfilled, Difference, Error, NoWakeup, SystemAmbient};
use tidegate::{
    AppStore, AutoOffsetReset, ClientOptions, Consumer, ConsumerOptions, Db, DbSettings, HintFigures, Model,
    ModelId, NewEvent, OpenOptions, Start, Tidegate, TopicPartition,
};
use tidegate_broker::RunningBroker;
use tidegate_broker::settings::Settings;
use tidegate_format::{IndexKey, MARKER};
use tidegate_store::{Direction, KeyRange, ManualClock, Store, TikvOptions, TikvStore, Txn};
use tidegate_tests::kept_port::KeptPort;
use tidegate_tests::tikv_cluster::TikvCluster;

use self::patient::{PATIENCE_MS, patient};

#[path = "exactly_once/patient.rs"]
mod patient;

/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(120);
const CUSTOMERS: i64 = 5;
const ORDERS: i64 = 20;
/// Every fourth order is cancelled, and its reminder with it.
const CANCELLED_EVERY: i64 = 4;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(table = "customers", referenced_by(Order))]
struct Customer {
    id: i64,
    #[model(unique)]
    email: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(
    table = "orders",
    events(insert = "order.placed", update = "order.changed", delete = "order.cancelled")
)]
#[model(index(name = "by_state_and_total", fields = [state, total]))]
struct Order {
    id: i64,
    #[model(references = Customer, on_delete = cascade)]
    customer: i64,
    state: String,
    total: i64,
}

/// What an application can see of what it has done.
#[derive(Debug, PartialEq)]
struct EndState {
    orders: Vec<Order>,
    by_total: Vec<Order>,
    of_customer: Vec<Order>,
    emails: Vec<Option<ModelId>>,
    own: Vec<(String, String)>,
    own_backwards: Vec<(String, String)>,
    some_own: Vec<Option<String>>,
    removed: u64,
    duplicate: String,
    /// The values of each key in the orders' topic, in their order.
    events: BTreeMap<String, Vec<String>>,
    /// The reminders that were not cancelled.
    reminders: Vec<String>,
}

/// A ticket as an earlier release of the application knew it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(table = "tickets")]
struct OldTicket {
    id: i64,
    seat: String,
    holder: i64,
}

/// As this one does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(table = "tickets")]
struct Ticket {
    id: i64,
    #[model(unique)]
    seat: String,
    #[model(index)]
    holder: i64,
}

/// What came of a table's new indexes, and of what somebody did past the library.
#[derive(Debug, PartialEq)]
struct Upkeep {
    refused: String,
    filled: Backfilled,
    of_holder: Vec<Ticket>,
    differing: u64,
    found: Vec<Difference>,
    mended: Vec<Difference>,
    left: u64,
}

/// What an application's pauses are made of: its own timer, or a store's clock that goes on by as much.
struct Pauses {
    clock: Option<ManualClock>,
    left_ms: AtomicI64,
}

impl Pauses {
    fn up_to(left: Duration, clock: Option<ManualClock>) -> Arc<Self> {
        let left_ms = i64::try_from(left.as_millis()).expect("a short time");
        Arc::new(Self { clock, left_ms: left_ms.into() })
    }
}

impl Ambient for Pauses {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let ms = i64::try_from(duration.as_millis()).expect("a short pause");
        assert!(self.left_ms.fetch_sub(ms, Ordering::SeqCst) >= ms, "it waits for what does not come");
        let Some(clock) = &self.clock else { return SystemAmbient.sleep(duration) };
        clock.advance(ms);
        Box::pin(tokio::task::yield_now())
    }

    fn random(&self) -> u128 {
        SystemAmbient.random()
    }
}

/// Brings a table to new indexes beside a writer that does not know them, and mends what was done past the library.
async fn keep_up(store: &AppStore, pauses: Arc<Pauses>) -> Result<Upkeep, Error> {
    let db = Db::with_ambient(store.clone(), DbSettings::default(), Arc::new(NoWakeup), pauses);
    let old = |id: i64| OldTicket { id, seat: format!("A{id}"), holder: id % 2 };
    for id in 0..4 {
        db.transaction(|tx| async move { tx.insert(&old(id)).await }).await?;
    }
    let of_holder = async || {
        let snapshot = db.snapshot().await?;
        Ok::<_, Error>(snapshot.query::<Ticket>("by_holder").value(1).fetch().await?.rows)
    };
    let refused = of_holder().await.expect_err("not all are in it").to_string();
    let earlier = db.begin().await?;
    earlier.insert(&old(5)).await?;
    let (filled, committed) = tokio::join!(db.backfill::<Ticket>(), earlier.commit());
    committed?;
    let (filled, of_holder) = (filled?, of_holder().await?);
    let differing = db.verify::<Ticket>().await?.differing;
    let index = IndexKey::range_table("tickets");
    let mut txn = db.raw_store().begin().await?;
    let range = KeyRange::new(index.0, index.1);
    let keys = txn.scan_keys(&range, 1, Direction::Forward).await?;
    let orphan = IndexKey { id: ModelId::Integer(9).encode(), ..IndexKey::decode(&keys[0])? };
    txn.delete(keys[0].clone());
    txn.put(orphan.encode()?, MARKER);
    txn.commit().await.map_err(Error::Commit)?;
    let found = db.verify::<Ticket>().await?.differences;
    let mended = db.repair::<Ticket>().await?.differences;
    let left = db.verify::<Ticket>().await?.differing;
    Ok(Upkeep { refused, filled, of_holder, differing, found, mended, left })
}

fn order(id: i64) -> Order {
    Order { id, customer: id % CUSTOMERS, state: "placed".into(), total: (id * 7) % 13 }
}

fn is_cancelled(id: i64) -> bool {
    id % CANCELLED_EVERY == 0
}

async fn write(db: &Db<AppStore>) -> Result<(), Error> {
    for id in 0..CUSTOMERS {
        let customer = &Customer { id, email: format!("{id}@example.org") };
        db.transaction(|tx| async move { tx.insert(customer).await }).await?;
    }
    for id in 0..ORDERS {
        let order = &order(id);
        db.transaction(|tx| async move {
            tx.insert(order).await?;
            let now_ms = tx.now_ms().await?;
            // Due soon, unless it is cancelled before that.
            let due_ms = now_ms + if is_cancelled(id) { 3_600_000 } else { 50 };
            let reminder = NewEvent::new("order.reminder").topic("reminders").key(id.to_string());
            tx.schedule(format!("order-{id}"), due_ms, reminder).await?;
            tx.user().put(format!("seen/{id:03}"), id.to_string()).await
        })
        .await?;
    }
    for id in 0..ORDERS {
        db.transaction(|tx| async move {
            if is_cancelled(id) {
                assert!(tx.cancel_schedule("reminders", &format!("order-{id}")).await?);
                assert!(tx.delete::<Order>(id).await?.is_some());
                return Ok(());
            }
            let mut order: Order = tx.find(id).await?.expect("it was placed");
            order.state = "paid".into();
            tx.update(&order).await
        })
        .await?;
    }
    Ok(())
}

fn text(entries: Vec<(bytes::Bytes, bytes::Bytes)>) -> Vec<(String, String)> {
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).expect("text");
    entries.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

async fn read_back(tidegate: &Tidegate) -> Result<EndState, Error> {
    let db = tidegate.db();
    let removed = db
        .transaction(|tx| async move { tx.user().delete_range("seen/005", Some(b"seen/010")).await })
        .await?;
    let twice = &Customer { id: 99, email: "1@example.org".into() };
    let duplicate = db.transaction(|tx| async move { tx.insert(twice).await }).await;
    let duplicate = duplicate.expect_err("the address is taken").to_string();
    let snapshot = db.snapshot().await?;
    let mut orders: Vec<Order> = Vec::new();
    for id in 0..ORDERS {
        orders.extend(snapshot.find::<Order>(id).await?);
    }
    let paid = || snapshot.query::<Order>("by_state_and_total").value("paid");
    let by_total = paid().reverse().limit(100).fetch().await?.rows;
    let of_customer = snapshot.referencing::<Order, Customer>(2, "customer").limit(100).fetch().await?.rows;
    let mut emails = Vec::new();
    for id in [1, 3, 7] {
        let found = snapshot.query::<Customer>("by_email").value(format!("{id}@example.org").as_str());
        emails.push(found.first().await?.map(|customer| customer.id.into()));
    }
    let own = snapshot.user();
    let some_own = own.batch_get(["seen/001", "seen/007", "seen/011"]).await?;
    let as_text = |value: bytes::Bytes| String::from_utf8(value.to_vec()).expect("text");
    Ok(EndState {
        orders,
        by_total,
        of_customer,
        emails,
        own: text(own.scan("seen/", None, 100).await?),
        own_backwards: text(own.scan_reverse("seen/", Some(b"seen/012"), 3).await?),
        some_own: some_own.into_iter().map(|value| value.map(as_text)).collect(),
        removed,
        duplicate,
        events: events(tidegate, "orders", usize::try_from(2 * ORDERS).expect("a few")).await,
        reminders: reminders(tidegate).await,
    })
}

/// So many records of a topic, by key.
async fn events(tidegate: &Tidegate, topic: &str, count: usize) -> BTreeMap<String, Vec<String>> {
    let options =
        ConsumerOptions { auto_offset_reset: AutoOffsetReset::Earliest, ..ConsumerOptions::default() };
    let mut consumer: Consumer = tidegate.consumer(options).await.expect("the broker is there");
    consumer.assign([(TopicPartition::new(topic, 0), Start::Earliest)]).expect("it has no group");
    let mut events = BTreeMap::<String, Vec<String>>::new();
    for _ in 0..count {
        let record = tokio::time::timeout(HANG_AFTER, consumer.recv()).await.expect("hung: a record");
        let record = record.expect("a record");
        let text = |bytes: Option<bytes::Bytes>| {
            bytes.map_or_else(|| "none".to_owned(), |bytes| String::from_utf8(bytes.to_vec()).expect("text"))
        };
        events.entry(text(record.key)).or_default().push(text(record.value));
    }
    events
}

async fn reminders(tidegate: &Tidegate) -> Vec<String> {
    let kept = (0..ORDERS).filter(|id| !is_cancelled(*id)).count();
    events(tidegate, "reminders", kept).await.into_keys().collect()
}

async fn run(tidegate: Tidegate) -> (EndState, Upkeep) {
    write(tidegate.db()).await.expect("written");
    let end = read_back(&tidegate).await.expect("read");
    let store = tidegate.db().raw_store();
    // Nobody else writes: a back-fill has nothing to wait for, and hears of it.
    let upkeep = keep_up(store, Pauses::up_to(HANG_AFTER, None)).await.expect("kept up");
    tidegate.shutdown().await;
    (end, upkeep)
}

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

async fn in_process() -> (EndState, Upkeep) {
    let directory = tempfile::tempdir().expect("a directory");
    run(Tidegate::open(directory.path()).await.expect("a new store")).await
}

async fn through_a_broker() -> (EndState, Upkeep) {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Tidegate::open_with(OpenOptions::new(directory.path()).listen(any_port()));
    let served = served.await.expect("a new store");
    let broker = served.client_options().expect("it has one").bootstrap.join(",");
    let end = run(Tidegate::connect(&broker).await.expect("it listens")).await;
    served.shutdown().await;
    end
}

async fn on_tikv(namespace: &str, brokers: &str) -> Tidegate {
    let client = ClientOptions { connect_timeout_ms: PATIENCE_MS, ..ClientOptions::new(brokers) };
    let opened = Tidegate::tikv_with(patient(namespace), client, DbSettings::default()).await;
    opened.expect("the cluster is there")
}

/// Waits until a hint is answered or given up: nobody waits for one.
async fn first_hint(tidegate: &Tidegate) -> HintFigures {
    let counted = async {
        loop {
            let figures = tidegate.hint_figures().expect("it has a broker to hint to");
            if figures != HintFigures::default() {
                return figures;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG_AFTER, counted).await.expect("hung: the count")
}

async fn straight_to_tikv() -> (EndState, Upkeep) {
    let cluster = TikvCluster::start();
    let namespace = cluster.fresh_namespace();
    let store = TikvStore::connect(patient(&namespace)).await.expect("the cluster is there");
    let settings = Settings { listen: any_port(), admin: any_port(), ..Settings::default() };
    let broker = RunningBroker::start(settings, store.clone().into()).await.expect("a free port");
    let tidegate = on_tikv(&namespace, &broker.listen().to_string()).await;
    write(tidegate.db()).await.expect("written");
    let end = read_back(&tidegate).await.expect("read");
    let figures = first_hint(&tidegate).await;
    assert!(figures.acknowledged > 0 && figures.unacknowledged == 0, "{figures:?}");
    tidegate.shutdown().await;
    broker.stop().await;
    store.shutdown().await;
    // How long others may write is waited for by the store's clock.
    let clock = ManualClock::at(0);
    let options = TikvOptions { clock: Arc::new(clock.clone()), ..patient(&namespace) };
    let store = TikvStore::connect(options).await.expect("the cluster is there");
    let pauses = Pauses::up_to(Duration::from_secs(300), Some(clock));
    let upkeep = keep_up(&AppStore::Local(store.clone().into()), pauses).await.expect("kept up");
    store.shutdown().await;
    (end, upkeep)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_ends_with_the_same_state_in_process_and_through_a_broker() {
    let (own, upkeep) = in_process().await;
    let kept = usize::try_from(ORDERS - ORDERS / CANCELLED_EVERY).expect("a few");
    assert_eq!((own.orders.len(), own.by_total.len(), own.reminders.len()), (kept, kept, kept));
    assert!(own.by_total.is_sorted_by_key(|order| -order.total) && !own.of_customer.is_empty());
    assert_eq!((own.removed, own.own.len()), (5, 15));
    assert_eq!(own.some_own, [Some("1".to_owned()), None, Some("11".to_owned())]);
    assert!(own.duplicate.contains("unique"), "{}", own.duplicate);
    assert_eq!(own.events.len(), usize::try_from(ORDERS).expect("a few"));
    assert!(upkeep.refused.contains("by_holder"), "{}", upkeep.refused);
    assert_eq!((upkeep.filled, upkeep.of_holder.len()), (Backfilled { rows: 5, is_done: true }, 3));
    assert_eq!((upkeep.differing, upkeep.found.len(), upkeep.mended.len(), upkeep.left), (0, 2, 2, 0));
    assert_eq!(through_a_broker().await, (own, upkeep));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_ends_with_the_same_state_in_process_and_on_tikv() {
    let own = in_process().await;
    assert_eq!(straight_to_tikv().await, own);
}

/// Events wait for a sweep then, and the application can see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_that_nobody_acknowledges_are_counted_and_hold_nobody_up() {
    let cluster = TikvCluster::start();
    // Nobody listens there.
    let nobody = KeptPort::take();
    let tidegate = on_tikv(&cluster.fresh_namespace(), &nobody.address().to_string()).await;
    write(tidegate.db()).await.expect("written");
    let figures = first_hint(&tidegate).await;
    assert!(figures.acknowledged == 0 && figures.unacknowledged > 0, "{figures:?}");
    tidegate.shutdown().await;
}

/// As in memory and on disk, and from two processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_race_for_a_unique_value_or_a_row_that_goes_one_wins_on_tikv() {
    let cluster = TikvCluster::start();
    let namespace = cluster.fresh_namespace();
    let (left, right) = (on_tikv(&namespace, "").await, on_tikv(&namespace, "").await);

    let mut tasks = tokio::task::JoinSet::new();
    for id in 0..16 {
        let db = if id % 2 == 0 { left.db() } else { right.db() }.clone();
        tasks.spawn(async move {
            let customer = &Customer { id, email: "one@example.org".into() };
            db.transaction(|tx| async move { tx.insert(customer).await }).await
        });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let is_refusal = |result: &&Result<(), Error>| matches!(result, Err(Error::Unique { .. }));
    assert_eq!(results.iter().filter(is_refusal).count(), 15, "{results:?}");
    let snapshot = left.db().snapshot().await.expect("read");
    assert_eq!(snapshot.list::<Customer>().count().await, Ok(1));

    // The topic of orders is there, so that only rows can conflict.
    let (id, winner) = (90, snapshot.list::<Customer>().first().await.expect("read").expect("the one").id);
    let order = |customer| Order { id, customer, state: "placed".into(), total: 1 };
    let first = &order(winner);
    let placed = left.db().transaction(|tx| async move { tx.insert(first).await });
    placed.await.expect("committed");
    left.db().transaction(|tx| async move { tx.delete::<Order>(id).await }).await.expect("committed");
    for is_child_first in [true, false] {
        let parent = &Customer { id: 100 + i64::from(is_child_first), email: format!("{is_child_first}") };
        left.db().transaction(|tx| async move { tx.insert(parent).await }).await.expect("committed");
        let child = left.db().begin().await.expect("begun");
        let deletion = right.db().begin().await.expect("begun");
        child.insert(&order(parent.id)).await.expect("the customer is there");
        deletion.delete::<Customer>(parent.id).await.expect("nothing names it").expect("it is there");
        let (first, second) = if is_child_first { (child, deletion) } else { (deletion, child) };
        assert_eq!(first.commit().await, Ok(()), "{is_child_first}");
        assert_eq!(second.commit().await, Err(Error::Conflict { attempts: 1 }), "{is_child_first}");
        let snapshot = right.db().snapshot().await.expect("read");
        assert_eq!(snapshot.find::<Customer>(parent.id).await.expect("read").is_some(), is_child_first);
        let children = snapshot.referencing::<Order, Customer>(parent.id, "customer").count().await;
        assert_eq!(children, Ok(u64::from(is_child_first)));
        left.db().transaction(|tx| async move { tx.delete::<Order>(id).await }).await.expect("committed");
    }
    for verified in [left.db().verify::<Customer>().await, right.db().verify::<Order>().await] {
        assert_eq!(verified.expect("readable").differences, []);
    }
    left.shutdown().await;
    right.shutdown().await;
}
