//! Every figure at `/metrics` is that of what stock clients did, and goes with what it is about.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tidegate_tests::admin::{client, create_topic, wait_for};
use tidegate_tests::admin_http::get;
use tidegate_tests::broker::Broker;
use tidegate_tests::deadline::{Deadline, HANG_AFTER};
use tidegate_tests::exposition::Exposition;
use tidegate_tests::ledger::Ledger;
use tidegate_tests::log_reader::read_messages;
use tidegate_tests::member::Member;
use tidegate_tests::producer::LedgerProducer;
use tidegate_tests::prometheus::promtool;
use tidegate_tests::scheduled_topic::{
    ScheduledProducer, ScheduledReader, ScheduledRecord, SharedBook, create_scheduled_topic, now_ms,
};
use tidegate_tests::shared_ledger::SharedLedger;
use tidegate_tests::store_under_test::StoreUnderTest;

use super::STORE;

const TOPIC: &str = "flights";
const GROUP: &str = "board";
const OF_TOPIC: [(&str, &str); 1] = [("topic", TOPIC)];
const OF_BOTH: [(&str, &str); 2] = [("group", GROUP), ("topic", TOPIC)];

fn scrape(broker: &Broker) -> Exposition {
    let (status, text) = get(broker.admin(), "/metrics");
    assert_eq!(status, 200, "{text}");
    Exposition::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The figures of a metric by partition, from partition 0 on.
fn by_partition(figures: &Exposition, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
    figures.by("partition", name, labels).into_values().collect()
}

fn administrator(broker: &Broker) -> AdminClient<DefaultClientContext> {
    client(broker.bootstrap()).create().expect("an admin client")
}

/// So many records into each partition, without compression.
fn produce(broker: &Broker, counts: &[usize]) {
    let mut config = client(broker.bootstrap());
    let producer: ThreadedProducer<DefaultProducerContext> =
        config.set("compression.codec", "none").create().expect("a producer");
    for (index, count) in (0..).zip(counts) {
        for _ in 0..*count {
            let record: BaseRecord<'_, str, str> = BaseRecord::to(TOPIC).partition(index).payload("departed");
            producer.send(record).map_err(|(error, _)| error).expect("there is room in the producer's queue");
        }
    }
    producer.flush(HANG_AFTER).expect("all records are acknowledged");
}

fn commit(broker: &Broker, offsets: &[i64]) {
    let consumer: BaseConsumer =
        client(broker.bootstrap()).set("group.id", GROUP).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for (index, offset) in (0..).zip(offsets) {
        list.add_partition_offset(TOPIC, index, Offset::Offset(*offset)).expect("a valid offset");
    }
    consumer.commit(&list, CommitMode::Sync).expect("the commit is accepted");
}

fn labelled(figures: &Exposition, value: &str) -> Vec<String> {
    let samples = figures.samples.iter().filter(|sample| sample.labels.values().any(|found| found == value));
    samples.map(|sample| format!("{} {:?}", sample.name, sample.labels)).collect()
}

#[test]
fn the_figures_of_a_topic_and_a_group_are_exact_and_go_with_them() {
    let broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, 4, &[]);
    produce(&broker, &[7, 0, 113, 1_000]);
    commit(&broker, &[7, 0, 50, 1]);
    wait_for_a_step_of_the_clock();

    let figures = scrape(&broker);
    let of_partition = |name| by_partition(&figures, name, &OF_TOPIC);
    for name in ["tidegate_log_end_offset", "kafka_topic_partition_current_offset"] {
        assert_eq!(of_partition(name), [7.0, 0.0, 113.0, 1_000.0]);
    }
    for name in ["tidegate_log_start_offset", "kafka_topic_partition_oldest_offset"] {
        assert_eq!(of_partition(name), [0.0; 4]);
    }
    assert_eq!(of_partition("kafka_topic_partition_in_sync_replica"), [1.0; 4]);
    assert_eq!(of_partition("kafka_topic_partition_under_replicated_partition"), [0.0; 4]);
    assert_eq!(figures.value("kafka_topic_partitions", &OF_TOPIC), Some(4.0));
    assert_eq!(
        by_partition(&figures, "tidegate_consumer_group_committed_offset", &OF_BOTH),
        [7.0, 0.0, 50.0, 1.0]
    );
    assert_eq!(
        by_partition(&figures, "tidegate_consumer_group_lag_records", &OF_BOTH),
        [0.0, 0.0, 63.0, 999.0]
    );
    let exported = [("consumergroup", GROUP), ("topic", TOPIC)];
    assert_eq!(by_partition(&figures, "kafka_consumergroup_lag", &exported), [0.0, 0.0, 63.0, 999.0]);
    assert_eq!(figures.value("kafka_consumergroup_lag_sum", &exported), Some(1_062.0));
    assert_eq!(figures.value("kafka_consumergroup_current_offset_sum", &exported), Some(58.0));
    let seconds = by_partition(&figures, "tidegate_consumer_group_lag_seconds", &OF_BOTH);
    assert_eq!(seconds[..2], [0.0, 0.0]);
    assert!(seconds[2..].iter().all(|lag| *lag > 0.0), "{seconds:?}");
    // Someone who only commits is no member, and the group is seen all the same.
    assert_eq!(figures.value("tidegate_consumer_group_members", &[("group", GROUP)]), Some(0.0));
    assert_eq!(figures.value("kafka_consumergroup_members", &[("consumergroup", GROUP)]), Some(0.0));

    delete_records(&broker, &[(2, 113), (3, 900)]);
    let figures = scrape(&broker);
    assert_eq!(by_partition(&figures, "tidegate_log_start_offset", &OF_TOPIC), [0.0, 0.0, 113.0, 900.0]);
    assert_eq!(
        by_partition(&figures, "tidegate_consumer_group_lag_records", &OF_BOTH),
        [0.0, 0.0, 63.0, 999.0]
    );
    let seconds = by_partition(&figures, "tidegate_consumer_group_lag_seconds", &OF_BOTH);
    assert_eq!(seconds[..3], [0.0; 3], "none of the uncommitted records of partition 2 is there");
    assert!(seconds[3] > 0.0);

    let deleted = wait_for(administrator(&broker).delete_topics(&[TOPIC], &AdminOptions::new()));
    deleted.expect("it is answered")[0].as_ref().expect("the topic is deleted");
    let figures = scrape(&broker);
    assert_eq!(labelled(&figures, TOPIC), [""; 0]);
    assert_eq!(figures.value("tidegate_consumer_group_members", &[("group", GROUP)]), Some(0.0));
    let deleted = wait_for(administrator(&broker).delete_groups(&[GROUP], &AdminOptions::new()));
    deleted.expect("it is answered")[0].as_ref().expect("the group is deleted");
    assert_eq!(labelled(&scrape(&broker), GROUP), [""; 0]);
}

/// Until the store's clock shows a later time than now.
fn wait_for_a_step_of_the_clock() {
    let now = now_ms();
    while now_ms() <= now + 1 + STORE.clock_step_ms() {
        std::hint::spin_loop();
    }
}

#[test]
fn lag_in_seconds_is_the_time_since_the_first_record_that_was_not_committed() {
    let broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, 1, &[]);
    let deadline = Deadline::start();
    for committed in 0.. {
        let before_ms = now_ms();
        produce(&broker, &[1]);
        let after_ms = now_ms();
        commit(&broker, &[committed]);
        wait_for_a_step_of_the_clock();
        let asked_ms = now_ms();
        let figures = scrape(&broker);
        let answered_ms = now_ms();
        // It was appended between `before` and `after`, and looked at between `asked` and `answered`, by the store's clock.
        let seconds = by_partition(&figures, "tidegate_consumer_group_lag_seconds", &OF_BOTH);
        let step_ms = STORE.clock_step_ms();
        let between = (asked_ms - after_ms - step_ms)..=(answered_ms - before_ms + step_ms);
        let [lag] = seconds[..] else { panic!("{seconds:?}") };
        assert!(lag > 0.0);
        if between.clone().any(|ms| (lag * 1_000.0 - precise(ms)).abs() < 0.5) {
            break;
        }
        // A Placement Driver that stands still does so with its clock: the next record is not of that time.
        assert_eq!(STORE, StoreUnderTest::Tikv, "{lag} s is not within {between:?} ms");
        deadline.check(&format!("{lag} s is within {between:?} ms"));
    }
}

#[expect(clippy::cast_precision_loss, reason = "the milliseconds of a test")]
fn precise(ms: i64) -> f64 {
    ms as f64
}

fn delete_records(broker: &Broker, before: &[(i32, i64)]) {
    let mut list = TopicPartitionList::new();
    for (index, offset) in before {
        list.add_partition_offset(TOPIC, *index, Offset::Offset(*offset)).expect("a valid offset");
    }
    let deleted = wait_for(administrator(broker).delete_records(&list, &AdminOptions::new()));
    for partition in deleted.expect("it is answered").elements() {
        partition.error().expect("the records are deleted");
    }
}

#[test]
fn a_group_is_seen_with_its_members_and_after_the_last_has_left() {
    let mut broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, 4, &[]);
    let ledger = SharedLedger::new(4);
    let join = |name| Member::join(broker.bootstrap(), GROUP, TOPIC, name, &[], &ledger);
    let members = [join("first"), join("second")];
    let mut producer = LedgerProducer::new(broker.bootstrap(), TOPIC, "zstd", 10, &ledger);
    producer.send(1_000);
    producer.flush();
    ledger.wait_until("two share the topic", |ledger| ledger.ownership() == [2, 2]);
    ledger.wait_until("all is committed", |ledger| ledger.committed() >= 1_000);

    let of_group = [("group", GROUP)];
    let generation = |figures: &Exposition| figures.value("tidegate_consumer_group_generation", &of_group);
    let figures = scrape(&broker);
    assert_eq!(figures.value("tidegate_consumer_group_members", &of_group), Some(2.0));
    assert_eq!(figures.value("kafka_consumergroup_members", &[("consumergroup", GROUP)]), Some(2.0));
    assert_eq!(
        figures.by("state", "tidegate_consumer_group_state", &of_group),
        [("Stable".to_owned(), 1.0)].into()
    );
    assert_eq!(by_partition(&figures, "tidegate_consumer_group_lag_records", &OF_BOTH), [0.0; 4]);
    assert_eq!(by_partition(&figures, "tidegate_consumer_group_lag_seconds", &OF_BOTH), [0.0; 4]);
    let committed = ledger.read(Ledger::committed_offsets);
    let shown = figures.by("partition", "tidegate_consumer_group_committed_offset", &OF_BOTH);
    let expected: BTreeMap<String, f64> =
        committed.iter().map(|(index, offset)| (index.to_string(), precise(*offset))).collect();
    assert_eq!(shown, expected);
    let with_members = generation(&figures).expect("it has one");
    assert!(with_members >= 1.0);

    for member in members {
        member.leave();
    }
    // A client does not insist on being heard when it leaves: who was not is missed when its session is over.
    let deadline = Deadline::start();
    let figures = loop {
        let figures = scrape(&broker);
        if figures.value("tidegate_consumer_group_members", &of_group) == Some(0.0) {
            break figures;
        }
        deadline.check("both have left");
    };
    assert_eq!(
        figures.by("state", "tidegate_consumer_group_state", &of_group),
        [("Empty".to_owned(), 1.0)].into()
    );
    assert!(generation(&figures).expect("it has one") > with_members, "a rebalance is seen");
    assert_eq!(figures.by("partition", "tidegate_consumer_group_committed_offset", &OF_BOTH), expected);

    broker.kill();
    broker.restart();
    let restarted = scrape(&broker);
    assert_eq!(generation(&restarted), generation(&figures));
    assert_eq!(restarted.by("partition", "tidegate_consumer_group_committed_offset", &OF_BOTH), expected);
    assert_eq!(by_partition(&restarted, "tidegate_consumer_group_lag_records", &OF_BOTH), [0.0; 4]);
    assert_eq!(by_partition(&restarted, "tidegate_consumer_group_parked_records", &OF_BOTH), [0.0; 4]);
}

#[test]
fn scheduled_records_are_counted_while_they_wait_and_their_lateness_when_they_come() {
    let broker = STORE.start_broker();
    create_scheduled_topic(broker.bootstrap(), TOPIC, 2);
    let book = SharedBook::new();
    let producer = ScheduledProducer::new(broker.bootstrap(), TOPIC, "lz4", &book);
    let far_ms = now_ms() + 3_600_000;
    for (partition, count) in [(0, 30), (1, 10)] {
        for number in 0..count {
            producer.send(ScheduledRecord {
                partition: Some(partition),
                value: Some("far"),
                timestamp_ms: far_ms + number,
                ..ScheduledRecord::default()
            });
        }
    }
    producer.flush();
    let waiting = |figures: &Exposition| {
        assert_eq!(by_partition(figures, "tidegate_timers_pending", &OF_TOPIC), [30.0, 10.0]);
        assert_eq!(by_partition(figures, "tidegate_outbox_pending", &OF_TOPIC), [0.0; 2]);
        assert_eq!(by_partition(figures, "tidegate_pending_capped", &OF_TOPIC), [0.0; 2]);
        assert_eq!(by_partition(figures, "tidegate_outbox_oldest_due_seconds", &OF_TOPIC), [0.0; 2]);
        let due = by_partition(figures, "tidegate_next_due_timestamp_seconds", &OF_TOPIC);
        assert_eq!(due, [precise(far_ms) / 1_000.0; 2]);
    };
    let figures = scrape(&broker);
    waiting(&figures);
    assert_eq!(by_partition(&figures, "tidegate_log_end_offset", &OF_TOPIC), [0.0; 2]);
    assert_eq!(figures.value("tidegate_produce_records_total", &[]), Some(40.0));
    assert_eq!(figures.value("tidegate_schedule_lateness_seconds_count", &[]), None);

    // On a machine that stands still for that time they are due when they come, and not late: then more come, and further ahead.
    let (mut lead_ms, mut sent) = (2_000, 0);
    while book.lock().held() == 0 {
        let soon_ms = now_ms() + lead_ms;
        for number in sent..sent + 25 {
            let value = format!("soon {number}");
            book.lock().expect(&value, soon_ms);
            let record =
                ScheduledRecord { value: Some(&value), timestamp_ms: soon_ms, ..ScheduledRecord::default() };
            producer.send(record);
        }
        producer.flush();
        (lead_ms, sent) = (2 * lead_ms, sent + 25);
    }
    ScheduledReader::new(broker.bootstrap(), TOPIC, 2, &book).read_until(0);
    let figures = scrape(&broker);
    waiting(&figures);
    let count = |name| figures.value(name, &[]).unwrap_or_default();
    assert_eq!(count("tidegate_appended_records_total"), precise(sent));
    assert_eq!(count("tidegate_produce_records_total"), precise(40 + sent));
    let held = count("tidegate_relay_records_total");
    assert!(held > 0.0, "none of {sent} was held");
    assert_eq!(count("tidegate_schedule_lateness_seconds_count"), held);
    assert!(count("tidegate_schedule_lateness_seconds_sum") >= 0.0);
    assert!(count("tidegate_relay_bytes_total") > 0.0);
    assert!(count("tidegate_relay_turn_seconds_count") >= 1.0);
    assert_eq!(count("tidegate_outbox_late_total"), 0.0);
}

#[test]
fn requests_and_traffic_are_counted_as_they_were() {
    let broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, 2, &[]);
    produce(&broker, &[300, 200]);
    assert_eq!(read_messages(broker.bootstrap(), TOPIC, 2).values().map(Vec::len).sum::<usize>(), 500);
    let refused = wait_for(administrator(&broker).delete_topics(&["trains"], &AdminOptions::new()));
    refused.expect("it is answered")[0].as_ref().expect_err("there are no trains");

    // The clients are gone; when their connections are, nothing is counted any more.
    let deadline = Deadline::start();
    let figures = loop {
        let figures = scrape(&broker);
        if figures.value("tidegate_connections", &[]) == Some(0.0) {
            break figures;
        }
        deadline.check("the connections of clients that are gone");
    };
    let count = |name| figures.value(name, &[]).unwrap_or_default();
    let log_bytes: f64 = by_partition(&figures, "tidegate_log_bytes", &OF_TOPIC).iter().sum();
    assert_eq!(count("tidegate_produce_records_total"), 500.0);
    assert_eq!(count("tidegate_appended_records_total"), 500.0);
    assert_eq!(count("tidegate_produce_bytes_total"), log_bytes);
    assert!(count("tidegate_produce_batches_total") >= 2.0);
    assert!(count("tidegate_fetch_records_total") >= 500.0);
    assert!(count("tidegate_fetch_bytes_total") >= log_bytes);
    assert_eq!(count("tidegate_connections_refused_total"), 0.0);

    let requests = figures.by("api", "tidegate_requests_total", &[]);
    assert_eq!((requests["CreateTopics"], requests["DeleteTopics"]), (1.0, 1.0));
    assert!(requests["Produce"] >= 1.0 && requests["Fetch"] >= 1.0 && requests["ApiVersions"] >= 3.0);
    assert_eq!(figures.by("api", "tidegate_request_seconds_count", &[]), requests);
    let error = [("api", "DeleteTopics"), ("error", "UnknownTopicOrPartition")];
    assert_eq!(figures.value("tidegate_request_errors_total", &error), Some(1.0));
    assert_eq!(figures.series("tidegate_request_errors_total", &[("api", "Produce")]), [] as [&_; 0]);

    let commits = figures.value("tidegate_commit_seconds_count", &[("kind", "produce")]);
    assert!(commits.is_some_and(|commits| commits >= 2.0), "{commits:?}");
    the_store_counts_its_own(&figures);
}

/// A journal on a disk counts other things than a cluster of others, and neither claims what it has not.
fn the_store_counts_its_own(figures: &Exposition) {
    let count = |name: &str| figures.value(name, &[]).unwrap_or_else(|| panic!("{name} is missing"));
    let families = |prefix: &str| figures.families.keys().filter(|name| name.starts_with(prefix)).count();
    match STORE {
        StoreUnderTest::Embedded => {
            let groups = count("tidegate_store_commit_groups_total");
            assert_eq!(count("tidegate_store_commit_seconds_count"), groups);
            assert!(count("tidegate_store_commits_total") >= groups);
            assert!(count("tidegate_disk_free_bytes") > 0.0);
            assert!(count("tidegate_disk_size_bytes") > count("tidegate_disk_free_bytes"));
            assert!(figures.by("call", "tidegate_tikv_calls_total", &[]).is_empty());
        }
        StoreUnderTest::Tikv => {
            let calls = figures.by("call", "tidegate_tikv_calls_total", &[]);
            let commits = count("tidegate_tikv_commits_total");
            assert!(commits >= 2.0);
            assert_eq!(calls["commit"], commits + count("tidegate_tikv_conflicts_total"));
            assert_eq!(calls["settle"], count("tidegate_tikv_commits_settled_total"));
            assert!(calls["begin"] >= commits && calls["get"] > 0.0 && calls["scan"] > 0.0, "{calls:?}");
            assert_eq!(count("tidegate_tikv_clients"), 4.0);
            for none in ["commits_unknown", "clients_replaced", "gc_failures"] {
                assert_eq!(count(&format!("tidegate_tikv_{none}_total")), 0.0, "{none}");
            }
            assert_eq!(families("tidegate_store_") + families("tidegate_disk_"), 0);
        }
    }
}

#[test]
fn requests_that_want_no_answer_are_counted_too() {
    let broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, 1, &[]);
    let mut config = client(broker.bootstrap());
    let producer: ThreadedProducer<DefaultProducerContext> =
        config.set("acks", "0").create().expect("a producer");
    for _ in 0..10 {
        let record: BaseRecord<'_, str, str> = BaseRecord::to(TOPIC).payload("departed");
        producer.send(record).map_err(|(error, _)| error).expect("there is room in the producer's queue");
    }
    producer.flush(HANG_AFTER).expect("all records are sent");
    let deadline = Deadline::start();
    let produce = [("api", "Produce")];
    let figures = loop {
        let figures = scrape(&broker);
        if figures.value("tidegate_produce_records_total", &[]) == Some(10.0)
            && figures.value("tidegate_requests_total", &produce).is_some()
        {
            break figures;
        }
        deadline.check("ten records that nobody was told of");
    };
    assert_eq!(by_partition(&figures, "tidegate_log_end_offset", &OF_TOPIC), [10.0]);
}

#[test]
fn prometheus_own_checker_finds_nothing_wrong_with_a_scrape() {
    let broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, 2, &[]);
    produce(&broker, &[3, 2]);
    commit(&broker, &[1, 1]);
    let (_, text) = get(broker.admin(), "/metrics");
    // The sums of kafka_exporter have names that are not as Prometheus wants them, and must have them.
    let is_exported_sum = |line: &str| line.contains("kafka_consumergroup_") && line.contains("_sum");
    let is_checked = |line: &&str| !line.is_empty() && !is_exported_sum(line);
    let checked = text.lines().filter(is_checked).map(|line| format!("{line}\n"));
    promtool(&std::env::temp_dir(), &["check", "metrics"], &checked.collect::<String>());
}
