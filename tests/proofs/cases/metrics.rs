//! Lag, log ends and pending schedules at `/metrics` are exactly what a stock client produced, committed and scheduled.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tidegate_tests::admin::{client, create_topic, wait_for};
use tidegate_tests::admin_http::metrics;
use tidegate_tests::broker::Broker;
use tidegate_tests::deadline::Deadline;
use tidegate_tests::scheduled_topic::{
    ScheduledProducer, ScheduledReader, ScheduledRecord, SharedBook, create_scheduled_topic, now_ms,
};

use super::STORE;

const TOPIC: &str = "flights";
const GROUP: &str = "board";

/// The samples of one name for the group or topic, by partition.
fn by_partition(samples: &BTreeMap<String, f64>, name: &str, labels: &str) -> Vec<(usize, f64)> {
    let sample = |index: usize| {
        let found = samples.get(&format!("{name}{{{labels},partition=\"{index}\"}}"));
        found.map(|value| (index, *value))
    };
    (0..4).filter_map(sample).collect()
}

fn lag(broker: &Broker) -> Vec<(usize, f64)> {
    let samples = metrics(broker.admin());
    let labels = format!("group=\"{GROUP}\",topic=\"{TOPIC}\"");
    let lag = by_partition(&samples, "tidegate_consumer_group_lag_records", &labels);
    // The same under the name that existing dashboards know.
    let exporter = format!("consumergroup=\"{GROUP}\",topic=\"{TOPIC}\"");
    assert_eq!(by_partition(&samples, "kafka_consumergroup_lag", &exporter), lag);
    // Behind in records is behind in time, and the other way round.
    let seconds = by_partition(&samples, "tidegate_consumer_group_lag_seconds", &labels);
    let behind =
        |lag: &[(usize, f64)]| lag.iter().map(|&(index, lag)| (index, lag > 0.0)).collect::<Vec<_>>();
    assert_eq!(behind(&seconds), behind(&lag));
    lag
}

fn produce(broker: &Broker, counts: [usize; 3]) {
    let book = SharedBook::new();
    let producer = ScheduledProducer::new(broker.bootstrap(), TOPIC, "lz4", &book);
    for (partition, count) in (0..).zip(counts) {
        for _ in 0..count {
            let timestamp_ms = now_ms();
            producer.send(ScheduledRecord {
                partition: Some(partition),
                value: Some("a flight"),
                timestamp_ms,
                ..ScheduledRecord::default()
            });
        }
    }
    producer.flush();
    book.check();
}

fn commit(broker: &Broker, offsets: &[(i32, i64)]) {
    let consumer: BaseConsumer =
        client(broker.bootstrap()).set("group.id", GROUP).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for &(index, offset) in offsets {
        list.add_partition_offset(TOPIC, index, Offset::Offset(offset)).expect("a valid offset");
    }
    consumer.commit(&list, CommitMode::Sync).expect("the commit is accepted");
}

#[test]
fn lag_is_exactly_what_was_produced_less_what_was_committed() {
    let mut broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, 3, &[]);
    assert_eq!(lag(&broker), []);

    produce(&broker, [100, 250, 7]);
    commit(&broker, &[(0, 40), (1, 250)]);
    // A partition without a commit has no lag: nobody said that the group reads it.
    assert_eq!(lag(&broker), [(0, 60.0), (1, 0.0)]);
    let samples = metrics(broker.admin());
    let topic = format!("topic=\"{TOPIC}\"");
    assert_eq!(by_partition(&samples, "tidegate_log_end_offset", &topic), [(0, 100.0), (1, 250.0), (2, 7.0)]);
    assert_eq!(by_partition(&samples, "tidegate_log_start_offset", &topic), [(0, 0.0), (1, 0.0), (2, 0.0)]);

    produce(&broker, [1, 2, 3]);
    commit(&broker, &[(2, 0)]);
    assert_eq!(lag(&broker), [(0, 61.0), (1, 2.0), (2, 10.0)]);

    broker.kill();
    broker.restart();
    assert_eq!(lag(&broker), [(0, 61.0), (1, 2.0), (2, 10.0)]);

    commit(&broker, &[(0, 101), (1, 252), (2, 10)]);
    assert_eq!(lag(&broker), [(0, 0.0), (1, 0.0), (2, 0.0)]);
    let admin: AdminClient<DefaultClientContext> =
        client(broker.bootstrap()).create().expect("an admin client");
    let deleted = wait_for(admin.delete_groups(&[GROUP], &AdminOptions::new())).expect("it is answered");
    deleted[0].as_ref().expect("the group is deleted");
    assert_eq!(lag(&broker), [], "a deleted group is not seen any more");
}

#[test]
fn pending_schedules_are_counted_until_they_come() {
    let broker = STORE.start_broker();
    create_scheduled_topic(broker.bootstrap(), TOPIC, 1);
    let book = SharedBook::new();
    let producer = ScheduledProducer::new(broker.bootstrap(), TOPIC, "zstd", &book);
    let pending = || {
        let samples = metrics(broker.admin());
        by_partition(&samples, "tidegate_timers_pending", &format!("topic=\"{TOPIC}\""))
    };
    let hour_ms = now_ms() + 3_600_000;
    for n in 0..10 {
        let schedule = format!("flight {n}");
        let schedule = Some(schedule.as_str());
        producer.send(ScheduledRecord {
            value: Some("x"),
            timestamp_ms: hour_ms,
            schedule,
            ..ScheduledRecord::default()
        });
    }
    producer.flush();
    assert_eq!(pending(), [(0, 10.0)]);
    let cancel =
        ScheduledRecord { schedule: Some("flight 3"), timestamp_ms: now_ms(), ..ScheduledRecord::default() };
    producer.send(cancel);
    let due = now_ms();
    book.lock().expect("now", due);
    let replaced =
        ScheduledRecord { schedule: Some("flight 4"), value: Some("now"), timestamp_ms: due, ..cancel };
    producer.send(replaced);
    producer.flush();
    ScheduledReader::new(broker.bootstrap(), TOPIC, 1, &book).read_until(0);
    // Counting takes a small part of the time: where the store is slow, it is not done again at once.
    let deadline = Deadline::start();
    loop {
        match pending()[..] {
            [(0, 8.0)] => break,
            ref found => assert_eq!(found, [(0, 10.0)]),
        }
        deadline.check("what is cancelled or has come is not counted any more");
    }
}
