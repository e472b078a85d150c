//! The admin port as its callers have it: over HTTP, on a broker that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_format::{
    EventValue, Offset, OffsetKey, OffsetValue, PartitionId, ScheduleKey, ScheduleValue, TimerKey, TopicId,
};
use tidegate_outbox::{Event, PublishSettings, Publisher, TopicDefaults, ensure_topic};
use tidegate_store::{Clock, EmbeddedStore, FaultyStore, ManualClock, MemoryStore, Store, SystemClock, Txn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use self::exposition::Exposition;
use crate::metrics::names::{READ, RECORDED, STORE};
use crate::settings::Settings;
use crate::{BrokerStore, RunningBroker, embedded_options};

#[path = "../../../tests/exposition.rs"]
#[expect(unreachable_pub, reason = "it is also a module of a library")]
mod exposition;

/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(120);

fn settings() -> Settings {
    let any_port: SocketAddr = ([127, 0, 0, 1], 0).into();
    Settings { listen: any_port, admin: any_port, data_dir: "/".into(), ..Settings::default() }
}

async fn start() -> RunningBroker {
    let store = MemoryStore::new(Arc::new(SystemClock));
    RunningBroker::start(settings(), store.into()).await.expect("free ports, an empty store")
}

/// A broker on an embedded store in a directory that is gone after the test.
async fn start_embedded() -> (RunningBroker, EmbeddedStore, tempfile::TempDir) {
    start_embedded_on(Arc::new(SystemClock)).await
}

async fn start_embedded_on(clock: Arc<dyn Clock>) -> (RunningBroker, EmbeddedStore, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let settings = Settings { data_dir: directory.path().join("data"), ..settings() };
    let options = embedded_options(&settings, clock);
    let store = EmbeddedStore::open(&settings.data_dir, options).expect("an empty directory");
    let broker =
        RunningBroker::start(settings, store.clone().into()).await.expect("free ports, an empty store");
    (broker, store, directory)
}

/// Sends the head of a request and reads the answer to its end.
async fn send(address: SocketAddr, head: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    let read = tokio::time::timeout(HANG_AFTER, stream.read_to_string(&mut answer)).await;
    read.expect("it does not hang").expect("UTF-8, and an orderly end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    (status, head.to_lowercase(), body.to_owned())
}

async fn request(broker: &RunningBroker, method: &str, path: &str) -> (u16, String) {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let (status, _, body) = send(broker.admin(), &head).await;
    (status, body)
}

async fn get(broker: &RunningBroker, path: &str) -> (u16, String) {
    request(broker, "GET", path).await
}

async fn scrape(broker: &RunningBroker) -> Exposition {
    let (status, body) = get(broker, "/metrics").await;
    assert_eq!(status, 200, "{body}");
    Exposition::parse(&body).unwrap_or_else(|error| panic!("{error}\n{body}"))
}

async fn json_of(broker: &RunningBroker, method: &str, path: &str) -> Value {
    let (status, body) = request(broker, method, path).await;
    assert_eq!(status, 200, "{method} {path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

async fn create_topic(broker: &RunningBroker, name: &str, partitions: i32) -> PartitionId {
    let catalogue = &broker.broker().catalogue;
    let topic = catalogue.create(name, partitions, BTreeMap::new(), false).await.expect("a new topic");
    topic.partition(0).expect("it has one")
}

async fn write(store: &BrokerStore, rows: impl IntoIterator<Item = (bytes::Bytes, bytes::Bytes)>) {
    let mut txn = store.begin().await.expect("it is open");
    for (key, value) in rows {
        txn.put(key, value);
    }
    txn.commit().await.expect("nobody else writes");
}

/// Lets events wait under these names for a day that does not come.
async fn schedule(broker: &RunningBroker, id: PartitionId, names: &[&str]) {
    const DUE_MS: i64 = 32_503_680_000_000;
    let rows = names.iter().zip(1_i32..).flat_map(|(name, number)| {
        let (due_ms, entry) =
            (DUE_MS + i64::from(number), Uuid::from_u128(u128::from(number.unsigned_abs())));
        let event = EventValue {
            schedule: Some((*name).to_owned()),
            timestamp_ms: Some(due_ms),
            key: None,
            value: None,
            headers: Vec::new(),
        };
        let place = ScheduleValue { partition: id.partition, due_ms, entry };
        let key = ScheduleKey { topic: id.topic, schedule: (*name).to_owned() };
        [(TimerKey { id, due_ms, entry }.encode(), event.encode()), (key.encode(), place.encode())]
    });
    write(&broker.broker().store, rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_is_well_formed_and_has_every_metric_and_no_other() {
    let (broker, _store, _directory) = start_embedded().await;
    let id = create_topic(&broker, "flights", 2).await;
    schedule(&broker, id, &["one"]).await;
    let group = "quotes\" back\\slashes\nlines ünïcode {}";
    let committed = OffsetValue {
        offset: Offset(0),
        leader_epoch: -1,
        metadata: String::new(),
        commit_time_ms: 0,
        expire_time_ms: None,
    };
    let key = OffsetKey { group: group.to_owned(), id };
    write(&broker.broker().store, [(key.encode(), committed.encode())]).await;

    let scraped = scrape(&broker).await;
    let labels = [("group", group), ("topic", "flights"), ("partition", "0")];
    assert_eq!(scraped.value("tidegate_consumer_group_lag_records", &labels), Some(0.0));
    assert_eq!(scraped.value("tidegate_ready", &[]), Some(1.0));
    assert_eq!(scraped.value("tidegate_timers_pending", &labels[1..]), Some(1.0));
    assert_eq!(scraped.value("tidegate_connections", &[]), Some(0.0));
    let found: BTreeSet<&str> = scraped.families.keys().map(String::as_str).collect();
    for family in READ.iter().chain(STORE) {
        assert!(found.contains(family.name), "{} is missing", family.name);
    }
    for name in found.iter().filter(|name| !name.starts_with("process_")) {
        let known = READ.iter().chain(STORE).chain(RECORDED).find(|family| family.name == *name);
        let known = known.unwrap_or_else(|| panic!("{name} is in no table"));
        let (kind, help) = &scraped.families[*name];
        assert_eq!((kind.as_str(), help.as_str()), (known.kind.text(), known.help));
        for sample in scraped.series(name, &[]) {
            let labels: BTreeSet<&str> = sample.labels.keys().map(String::as_str).collect();
            assert_eq!(labels, known.labels.iter().copied().collect(), "{name}");
        }
    }
    assert!(scraped.value("process_resident_memory_bytes", &[]).is_some_and(|bytes| bytes > 0.0));
    assert!(scraped.value("process_start_time_seconds", &[]).is_some());
    broker.stop().await;
}

/// It was one gauge of the process: a broker showed the connections of the others beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_brokers_in_one_process_count_their_own_connections() {
    let (busy, idle) = (start().await, start().await);
    let connection = TcpStream::connect(busy.listen()).await.expect("it listens");
    let counted = async |broker: &RunningBroker, count: f64| {
        let all = async { while scrape(broker).await.value("tidegate_connections", &[]) != Some(count) {} };
        tokio::time::timeout(HANG_AFTER, all).await.expect("the broker hears of it");
    };
    counted(&busy, 1.0).await;
    assert_eq!(scrape(&idle).await.value("tidegate_connections", &[]), Some(0.0));
    drop(connection);
    counted(&busy, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_says_what_its_format_is() {
    let broker = start().await;
    let (status, head, _) =
        send(broker.admin(), "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_the_outbox_are_counted_until_the_relay_has_moved_them() {
    let store = BrokerStore::from(MemoryStore::new(Arc::new(SystemClock)));
    let broker = RunningBroker::start(settings(), store.clone()).await.expect("free ports, an empty store");
    let id = create_topic(&broker, "flights", 1).await;
    // No relay works here any more.
    broker.broker().partitions.shutdown().await;
    let mut txn = store.begin().await.expect("in memory");
    let publish = PublishSettings::default();
    let mut publisher = Publisher::new(&txn, &publish, store.now_ms(), Uuid::new_v4());
    for number in 0..25 {
        let event = Event {
            id: number.to_string(),
            event_type: "flight.scheduled".to_owned(),
            source: "/test".to_owned(),
            topic: Some("flights".to_owned()),
            ..Event::default()
        };
        publisher.publish(&mut txn, &event).await.expect("the topic is there");
    }
    txn.commit().await.expect("nobody else writes");
    let labels = [("topic", "flights"), ("partition", "0")];
    let scraped = scrape(&broker).await;
    assert_eq!(scraped.value("tidegate_outbox_pending", &labels), Some(25.0));
    assert_eq!(scraped.value("tidegate_pending_capped", &labels), Some(0.0));
    assert_eq!(scraped.value("tidegate_log_end_offset", &labels), Some(0.0));

    broker.stop().await;

    let broker = RunningBroker::start(settings(), store).await.expect("free ports");
    let mut watch = broker.broker().partitions.watch(id).expect("it is there");
    broker.wakeup().committed(&[id]);
    while watch.see().is_none_or(|status| status.high_watermark < Offset(25)) {
        tokio::time::timeout(HANG_AFTER, watch.changed()).await.expect("the relay moves them");
    }
    let scraped = scrape(&broker).await;
    assert_eq!(scraped.value("tidegate_outbox_pending", &labels), Some(0.0));
    assert_eq!(scraped.value("tidegate_outbox_oldest_due_seconds", &labels), Some(0.0));
    assert_eq!(scraped.value("tidegate_log_end_offset", &labels), Some(25.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_an_application_creates_in_the_store_is_seen() {
    let broker = start().await;
    assert!(scrape(&broker).await.series("kafka_topic_partitions", &[]).is_empty());
    let store = &broker.broker().store;
    let mut txn = store.begin().await.expect("in memory");
    let defaults = TopicDefaults { partitions: 3, ..TopicDefaults::default() };
    ensure_topic(&mut txn, "flights", &defaults, TopicId(Uuid::new_v4())).await.expect("a good name");
    txn.commit().await.expect("nobody else writes");
    let seen = async {
        while scrape(&broker).await.value("kafka_topic_partitions", &[("topic", "flights")]) != Some(3.0) {}
    };
    tokio::time::timeout(HANG_AFTER, seen).await.expect("the topics are read again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_series_than_allowed_are_cut_and_that_is_said() {
    let settings = Settings { metrics_series_max: 100, ..settings() };
    let store = MemoryStore::new(Arc::new(SystemClock));
    let broker = RunningBroker::start(settings, store.into()).await.expect("free ports, an empty store");
    create_topic(&broker, "a", 100).await;
    assert_eq!(scrape(&broker).await.value("tidegate_metrics_truncated", &[]), Some(0.0));
    create_topic(&broker, "b", 1).await;
    let scraped = scrape(&broker).await;
    assert_eq!(scraped.value("tidegate_metrics_truncated", &[]), Some(1.0));
    assert_eq!(scraped.series("tidegate_log_end_offset", &[]).len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_store_has_closed_is_alive_and_not_ready_and_says_what_it_still_knows() {
    let (broker, store, _directory) = start_embedded().await;
    create_topic(&broker, "flights", 1).await;
    assert_eq!(get(&broker, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(&broker, "/readyz").await, (200, "ready\n".to_owned()));
    store.shutdown().await;
    assert_eq!(get(&broker, "/healthz").await, (200, "ok\n".to_owned()));
    let (status, reason) = get(&broker, "/readyz").await;
    assert_eq!(status, 503);
    assert!(reason.contains("the store was shut down"), "{reason}");
    let scraped = scrape(&broker).await;
    assert_eq!(scraped.value("tidegate_ready", &[]), Some(0.0));
    assert_eq!(scraped.value("tidegate_connections", &[]), Some(0.0));
    assert!(scraped.value("tidegate_store_commits_total", &[]).is_some());
    assert!(scraped.series("tidegate_log_end_offset", &[]).is_empty());
    let (status, reason) = get(&broker, "/v1/schedules/flights").await;
    assert_eq!(status, 503, "{reason}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_is_told_until_it_has_lasted() {
    let clock = ManualClock::at(1_790_000_000_000);
    let (broker, store, _directory) = start_embedded_on(Arc::new(clock.clone())).await;
    assert_eq!(get(&broker, "/readyz").await, (200, "ready\n".to_owned()));
    let before_ms = store.now_ms();
    clock.jump(-7_200_000);
    assert_eq!(store.now_ms(), before_ms);
    let (status, body) = get(&broker, "/readyz").await;
    assert_eq!(status, 200, "requests are served as ever");
    assert!(body.starts_with("ready\n") && body.contains("-7200000 ms"), "{body}");
    assert_eq!(scrape(&broker).await.value("tidegate_clock_jump_seconds", &[]), Some(-7_200.0));
    clock.advance(60_000);
    assert_eq!(get(&broker, "/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(scrape(&broker).await.value("tidegate_clock_jump_seconds", &[]), Some(0.0));
    assert_eq!(store.now_ms(), before_ms - 7_200_000 + 60_000);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stops_says_so_until_its_end() {
    // An address of its own: a port of 127.0.0.1 may be another test's as soon as it is free.
    let settings = Settings { admin: ([127, 0, 0, 2], 0).into(), ..settings() };
    let store = MemoryStore::new(Arc::new(SystemClock));
    let broker = RunningBroker::start(settings, store.into()).await.expect("free ports, an empty store");
    let admin = broker.admin();
    broker.broker().shutdown.cancel();
    assert_eq!(get(&broker, "/readyz").await, (503, "stopping\n".to_owned()));
    assert_eq!(get(&broker, "/healthz").await.0, 200);
    assert_eq!(scrape(&broker).await.value("tidegate_ready", &[]), Some(0.0));
    broker.stop().await;
    assert!(TcpStream::connect(admin).await.is_err(), "the port is free after the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_are_listed_page_by_page_and_cancelled() {
    let broker = start().await;
    let id = create_topic(&broker, "flights", 1).await;
    assert_eq!(
        json_of(&broker, "GET", "/v1/schedules/flights").await,
        json!({"schedules": [], "next": null})
    );
    schedule(&broker, id, &["a", "b/c?d", "e"]).await;

    let names = |page: &Value| -> Vec<String> {
        let entries = page["schedules"].as_array().expect("a list").iter();
        entries.map(|entry| entry["schedule"].as_str().expect("a name").to_owned()).collect()
    };
    let first = json_of(&broker, "GET", "/v1/schedules/flights?limit=2").await;
    assert_eq!((names(&first), &first["next"]), (vec!["a".to_owned(), "b/c?d".to_owned()], &json!("b/c?d")));
    assert_eq!(
        first["schedules"][0],
        json!({"schedule": "a", "partition": 0, "due_ms": 32_503_680_000_001_i64})
    );
    let second = json_of(&broker, "GET", "/v1/schedules/flights?limit=2&after=b/c%3Fd").await;
    assert_eq!((names(&second), &second["next"]), (vec!["e".to_owned()], &Value::Null));

    let path = "/v1/schedules/flights/b%2Fc%3Fd";
    assert_eq!(json_of(&broker, "DELETE", path).await, json!({"cancelled": true}));
    assert_eq!(json_of(&broker, "DELETE", path).await, json!({"cancelled": false}));
    assert_eq!(names(&json_of(&broker, "GET", "/v1/schedules/flights").await), ["a", "e"]);
    let labels = [("topic", "flights"), ("partition", "0")];
    let scraped = scrape(&broker).await;
    assert_eq!(scraped.value("tidegate_timers_pending", &labels), Some(2.0));
    assert_eq!(scraped.value("tidegate_next_due_timestamp_seconds", &labels), Some(32_503_680_000.001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_get_an_answer_that_says_why() {
    let broker = start().await;
    create_topic(&broker, "flights", 1).await;
    let long = "x".repeat(300);
    for (method, path, status, reason) in [
        ("GET", "/v1/schedules/trains".to_owned(), 404, "there is no topic `trains`"),
        ("GET", format!("/v1/schedules/{long}"), 404, "there is no topic"),
        ("DELETE", "/v1/schedules/trains/a".to_owned(), 404, "there is no topic `trains`"),
        ("GET", "/v1/schedules/flights?limit=0".to_owned(), 400, "limit"),
        ("GET", "/v1/schedules/flights?limit=many".to_owned(), 400, "limit"),
        ("GET", "/v1/schedules/flights?limit=-1".to_owned(), 400, "limit"),
        ("GET", "/v1/schedules/flights?page=2".to_owned(), 400, "unknown field `page`"),
        ("GET", "/v1/schedules/%ff%fe".to_owned(), 400, "UTF-8"),
        ("POST", "/v1/schedules/flights".to_owned(), 405, "`/v1/schedules/flights` does not take POST"),
        ("DELETE", "/metrics".to_owned(), 405, "`/metrics` does not take DELETE"),
        ("GET", "/metric".to_owned(), 404, "there are /metrics, /healthz"),
        ("GET", "/".to_owned(), 404, "there are /metrics, /healthz"),
    ] {
        let (found, body) = request(&broker, method, &path).await;
        assert!(found == status && body.contains(reason), "{method} {path}: {found} {body}");
    }
    assert_eq!(get(&broker, "/readyz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_or_too_long_a_one_ends_only_its_connection() {
    let broker = start().await;
    let long = "x".repeat(32 << 10);
    for (head, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"), 431),
        ("\u{0}\u{1}\u{2}\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400),
    ] {
        let mut stream = TcpStream::connect(broker.admin()).await.expect("it listens");
        // It may have heard enough, and not want the rest.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(HANG_AFTER, stream.read_to_end(&mut answer)).await.expect("it ends");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    assert_eq!(get(&broker, "/readyz").await.0, 200);
}

/// One more handle on a store that several brokers can reach.
fn shared(memory: &MemoryStore, first_nonce: u128) -> FaultyStore<MemoryStore> {
    let mut nonce = first_nonce;
    let store = FaultyStore::new(memory.clone(), move || {
        nonce += 1;
        nonce
    });
    store.faults().share();
    store
}

/// Lets time go on by itself as long as `work` waits for nothing but time.
async fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::pause();
    let result = work.await;
    tokio::time::resume();
    result
}

/// The lease is so long that it ends only where time is virtual, however long the machine takes for the rest.
#[tokio::test]
async fn a_broker_whose_lease_has_lapsed_says_so_and_answers_nothing_until_it_lives_again() {
    const LEASE_MS: u32 = 600_000;
    let lease = Duration::from_millis(LEASE_MS.into());
    let memory = MemoryStore::new(Arc::new(SystemClock));
    let store = shared(&memory, 0);
    let settings = Settings { broker_lease_ms: LEASE_MS, ..settings() };
    let broker = RunningBroker::start(settings.clone(), store.clone().into()).await.expect("the first");
    let second = RunningBroker::start(settings.clone(), shared(&memory, 1 << 64).into());
    let refused = in_virtual_time(second).await.err().expect("the first lives").to_string();
    assert!(refused.contains("broker 1") && refused.contains("lease of 600000 ms"), "{refused}");

    store.faults().go_away();
    in_virtual_time(tokio::time::sleep(lease)).await;
    let (status, said) = get(&broker, "/readyz").await;
    assert_eq!(status, 503);
    assert!(said.contains("lease has lapsed") && said.contains("the store away"), "{said}");
    let address = broker.listen();
    let asked = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        // ApiVersions, version 0, of a client without a name.
        stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255]).await.expect("it reads");
        let mut head = [0; 8];
        stream.read_exact(&mut head).await.expect("it answers");
        head
    });
    for _ in 0..10 {
        assert_eq!(get(&broker, "/readyz").await.0, 503);
        assert!(!asked.is_finished(), "only the holder of the lease answers");
    }
    store.faults().come_back();
    // Until it is renewed.
    in_virtual_time(tokio::time::sleep(lease / 10)).await;
    assert_eq!(asked.await.expect("no panic")[4..], [0, 0, 0, 7]);
    assert_eq!(get(&broker, "/readyz").await.0, 200);
    broker.stop().await;
    // It has given the lease back: the next one need not wait for its end.
    let next = in_virtual_time(async {
        let began = tokio::time::Instant::now();
        let next = RunningBroker::start(settings, shared(&memory, 1 << 65).into()).await;
        (next.expect("nobody has it"), began.elapsed())
    });
    let (next, took) = next.await;
    assert!(took < lease / 10, "{took:?}");
    next.stop().await;
}
