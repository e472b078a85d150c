//! Scheduled records, produced and read by a stock client against the real binary: none early, none lost, none twice,
//! in the order of their times; the cancelled ones never; across `kill -9`.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Message};
use tidegate_tests::admin::{create_topic, log_bounds, wait_for};
use tidegate_tests::broker::Broker;
use tidegate_tests::deadline::Deadline;
use tidegate_tests::log_reader::read_messages;
use tidegate_tests::scheduled_topic::{
    ScheduledProducer, ScheduledReader, ScheduledRecord, SharedBook, create_scheduled_topic, now_ms,
};
use tidegate_tests::wire::{self, Connection};

use super::STORE;

const TOPIC: &str = "departures";
const PARTITIONS: i32 = 3;

/// Starts a broker with the topic and an empty book.
fn start() -> (Broker, SharedBook) {
    let broker = STORE.start_broker();
    create_scheduled_topic(broker.bootstrap(), TOPIC, PARTITIONS);
    (broker, SharedBook::new())
}

fn producers(broker: &Broker, book: &SharedBook) -> Vec<ScheduledProducer> {
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    codecs.iter().map(|codec| ScheduledProducer::new(broker.bootstrap(), TOPIC, codec, book)).collect()
}

/// The log as it is when all has come holds exactly what was expected.
fn log_holds_exactly(broker: &Broker, book: &SharedBook) {
    let log = read_messages(broker.bootstrap(), TOPIC, PARTITIONS);
    assert_eq!(log.values().map(Vec::len).sum::<usize>(), book.lock().expected());
}

#[test]
fn records_come_when_they_are_due_in_the_order_of_their_times_and_none_early() {
    let (broker, book) = start();
    let producers = producers(&broker, &book);
    let reader = ScheduledReader::new(broker.bootstrap(), TOPIC, PARTITIONS, &book);
    let mut random = StdRng::seed_from_u64(1);
    let start = now_ms();
    for n in 0..5_000_usize {
        let value = format!("record {n}");
        // Some are due already, or long since; the others within the next seconds, many in the same millisecond.
        let due = match n % 10 {
            0 => start - random.random_range(0..1_000_000),
            _ => start + random.random_range(0..6_000),
        };
        let key = format!("key {}", n % 100);
        book.lock().expect(&value, due);
        producers[n % producers.len()].send(ScheduledRecord {
            key: (n % 7 != 0).then_some(&key),
            value: Some(&value),
            timestamp_ms: due,
            ..ScheduledRecord::default()
        });
    }
    producers.iter().for_each(ScheduledProducer::flush);
    // Where the machine stood still, all of them were due when they came: then more are sent, and further ahead.
    let mut lead_ms = 6_000;
    for more in 0.. {
        if book.lock().held() > 0 {
            break;
        }
        lead_ms *= 2;
        let (value, timestamp_ms) = (format!("more {more}"), now_ms() + lead_ms);
        book.lock().expect(&value, timestamp_ms);
        producers[0].send(ScheduledRecord { value: Some(&value), timestamp_ms, ..Default::default() });
        producers[0].flush();
    }
    reader.read_until(0);
    log_holds_exactly(&broker, &book);
}

/// Schedules, cancels and replaces; false if the machine was too slow to do so before the first was due.
fn cancel_and_replace(broker: &Broker, book: &SharedBook, lead_ms: i64, round: usize) -> bool {
    let producers = producers(broker, book);
    let mut random = StdRng::seed_from_u64(2);
    let start = now_ms();
    let first_due = start + lead_ms;
    let due = |random: &mut StdRng| first_due + random.random_range(0..2_000);
    let schedules: Vec<(String, String)> = (0..600)
        .map(|n| (format!("round {round} schedule {n}"), format!("round {round} record {n}")))
        .collect();
    for (n, (schedule, value)) in schedules.iter().enumerate() {
        let timestamp_ms = due(&mut random);
        book.lock().expect(value, timestamp_ms);
        let (partition, schedule) = (Some(partition_of(n)), Some(schedule.as_str()));
        let record = ScheduledRecord { partition, value: Some(value), timestamp_ms, schedule, key: None };
        producers[n % producers.len()].send(record);
    }
    producers.iter().for_each(ScheduledProducer::flush);
    for (n, (schedule, value)) in schedules.iter().enumerate() {
        // Whichever partition takes the word, with and without a key, in the batches of any codec.
        let record = ScheduledRecord {
            partition: Some(partition_of(n + 1)),
            key: (n % 2 == 0).then_some("any"),
            schedule: Some(schedule),
            ..ScheduledRecord::default()
        };
        let producer = &producers[(n + 1) % producers.len()];
        match n % 3 {
            0 => {
                // A cancel may carry any time.
                let times = [start, start - 1_000_000, due(&mut random)];
                let timestamp_ms = times[random.random_range(0..times.len())];
                book.lock().expect_no_more(value);
                producer.send(ScheduledRecord { value: None, timestamp_ms, ..record });
            }
            1 => {
                // A replacement is due earlier or later than what it replaces, or at once.
                let times = [start, due(&mut random)];
                let timestamp_ms = times[random.random_range(0..times.len())];
                let replacement = format!("{value}, replaced");
                book.lock().expect_no_more(value);
                book.lock().expect(&replacement, timestamp_ms);
                producer.send(ScheduledRecord { value: Some(&replacement), timestamp_ms, ..record });
            }
            _ => {}
        }
    }
    producers.iter().for_each(ScheduledProducer::flush);
    // Due after all the others: when these are here, nothing that was due before is still to come.
    for partition in 0..PARTITIONS {
        let value = format!("round {round} end of {partition}");
        let timestamp_ms = first_due + 2_500;
        book.lock().expect(&value, timestamp_ms);
        let record = ScheduledRecord {
            partition: Some(partition),
            value: Some(&value),
            timestamp_ms,
            ..Default::default()
        };
        producers[0].send(record);
    }
    producers[0].flush();
    now_ms() < first_due
}

fn partition_of(n: usize) -> i32 {
    i32::try_from(n).expect("small") % PARTITIONS
}

#[test]
fn what_was_cancelled_never_comes_and_what_was_replaced_comes_as_the_replacement() {
    let mut lead_ms = 4_000;
    for round in 1.. {
        let (broker, book) = start();
        if cancel_and_replace(&broker, &book, lead_ms, round) {
            ScheduledReader::new(broker.bootstrap(), TOPIC, PARTITIONS, &book).read_until(0);
            log_holds_exactly(&broker, &book);
            return;
        }
        // A machine this slow cancels only what is gone: give it more time.
        lead_ms *= 4;
        assert!(round < 4, "even {lead_ms} ms are not enough to send 1,000 records");
    }
}

#[test]
fn cancelling_what_is_gone_or_never_was_succeeds_and_its_name_may_be_used_again() {
    let (broker, book) = start();
    let producer = ScheduledProducer::new(broker.bootstrap(), TOPIC, "none", &book);
    let reader = ScheduledReader::new(broker.bootstrap(), TOPIC, PARTITIONS, &book);
    let schedule = Some("flight 7");
    let cancel = ScheduledRecord { schedule, timestamp_ms: now_ms(), ..ScheduledRecord::default() };
    producer.send(cancel);
    producer.flush();
    for value in ["first", "second"] {
        let timestamp_ms = now_ms() + 300;
        book.lock().expect(value, timestamp_ms);
        producer.send(ScheduledRecord {
            value: Some(value),
            schedule,
            timestamp_ms,
            ..ScheduledRecord::default()
        });
        producer.flush();
        reader.read_until(0);
        producer.send(cancel);
        producer.flush();
    }
    book.check();
    log_holds_exactly(&broker, &book);
}

#[test]
fn held_records_survive_kills_and_come_once() {
    let (mut broker, book) = start();
    let bootstrap = broker.bootstrap().to_owned();
    let producers = producers(&broker, &book);
    let start = now_ms();
    let total = 5_000_usize;
    for n in 0..total {
        let value = format!("record {n}");
        let timestamp_ms = start + 2_000 + i64::try_from(n % 3_000).expect("small");
        book.lock().expect(&value, timestamp_ms);
        let partition = Some(partition_of(n));
        producers[n % producers.len()].send(ScheduledRecord {
            partition,
            value: Some(&value),
            timestamp_ms,
            ..ScheduledRecord::default()
        });
        if n == total / 2 {
            broker.kill();
            broker.restart();
        }
    }
    producers.iter().for_each(ScheduledProducer::flush);
    broker.kill();
    broker.restart();
    let reader = ScheduledReader::new(&bootstrap, TOPIC, PARTITIONS, &book);
    for outstanding in [total * 3 / 4, total / 2, total / 4] {
        reader.read_until(outstanding);
        broker.kill();
        broker.restart();
    }
    reader.read_until(0);
    log_holds_exactly(&broker, &book);
}

#[test]
fn nothing_is_lost_or_repeated_when_killed_while_records_are_held_and_come_due() {
    let (mut broker, book) = start();
    let bootstrap = broker.bootstrap().to_owned();
    let producers = producers(&broker, &book);
    let reader = ScheduledReader::new(&bootstrap, TOPIC, PARTITIONS, &book);
    let mut random = StdRng::seed_from_u64(3);
    for round in 0..10 {
        let start = now_ms();
        for n in 0..500_usize {
            let value = format!("round {round} record {n}");
            // In one batch: some due already, some while the broker is down, some later.
            let timestamp_ms = start + random.random_range(-500..1_500);
            book.lock().expect(&value, timestamp_ms);
            let record = ScheduledRecord { value: Some(&value), timestamp_ms, ..ScheduledRecord::default() };
            producers[n % producers.len()].send(record);
        }
        let wanted = random.random_range(1..500);
        let outstanding = book.lock().outstanding();
        reader.read_until(outstanding.saturating_sub(wanted));
        broker.kill();
        broker.restart();
    }
    producers.iter().for_each(ScheduledProducer::flush);
    reader.read_until(0);
    log_holds_exactly(&broker, &book);
}

/// Sent by hand: a stock client does not say what it is answered the second time.
#[test]
fn a_held_batch_that_is_sent_again_after_a_kill_is_answered_as_the_first_time_and_comes_once() {
    let mut broker = STORE.start_broker();
    create_scheduled_topic(broker.bootstrap(), TOPIC, 1);
    let mut connection = Connection::open(broker.bootstrap());
    let producer_id = wire::init_producer_id(&mut connection);
    // Long enough for them to come before they are due, on any machine that is not hopeless.
    let due_ms = now_ms() + 10_000;
    let batch_of = |n: usize| {
        let sequence = i32::try_from(2 * n).expect("a few");
        wire::idempotent_batch_of(producer_id, sequence, 2, format!("held {n}").as_bytes(), due_ms)
    };
    let batches: Vec<Vec<u8>> = (0..3).map(batch_of).collect();
    let answers: Vec<_> = batches.iter().map(|batch| wire::produce(&mut connection, TOPIC, batch)).collect();
    assert_eq!(answers, [Some((0, -1)); 3], "held records have no offset yet");
    for is_due in [false, false, true] {
        if is_due {
            let deadline = Deadline::start();
            while log_bounds(broker.bootstrap(), TOPIC, 0).1 < 6 {
                deadline.check("the held records come");
            }
        }
        broker.kill();
        broker.restart();
        connection = Connection::open(broker.bootstrap());
        for (batch, answer) in batches.iter().zip(&answers) {
            assert_eq!(wire::produce(&mut connection, TOPIC, batch), *answer, "is due: {is_due}");
        }
    }
    // The next one is what its producer goes on with, and what would come behind a repeat.
    // It is due by the store's clock as well, which may be behind.
    let next = wire::idempotent_batch_of(producer_id, 6, 1, b"next", now_ms() - 3_600_000);
    assert_eq!(wire::produce(&mut connection, TOPIC, &next), Some((0, 6)));
    let values: Vec<_> = read_messages(broker.bootstrap(), TOPIC, 1)[&0]
        .iter()
        .map(|message| String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned())
        .collect();
    assert_eq!(values, ["held 0", "held 0", "held 1", "held 1", "held 2", "held 2", "next"]);
}

#[test]
fn a_timestamp_of_another_geological_age_is_refused_and_holds_up_nobody() {
    let (broker, book) = start();
    let mut connection = Connection::open(broker.bootstrap());
    let nanoseconds = now_ms() * 1_000_000;
    let batch = wire::batch(b"whenever", nanoseconds);
    let (error, _) = wire::produce(&mut connection, TOPIC, &batch).expect("it is answered");
    assert_eq!(error, 32, "INVALID_TIMESTAMP");
    let producer = ScheduledProducer::new(broker.bootstrap(), TOPIC, "none", &book);
    let due = now_ms() + 200;
    book.lock().expect("soon", due);
    producer.send(ScheduledRecord { value: Some("soon"), timestamp_ms: due, ..ScheduledRecord::default() });
    ScheduledReader::new(broker.bootstrap(), TOPIC, PARTITIONS, &book).read_until(0);
}

#[test]
fn topics_that_cannot_be_scheduled_are_refused() {
    let broker = STORE.start_broker();
    let config: ClientConfig = tidegate_tests::admin::client(broker.bootstrap());
    let admin: AdminClient<DefaultClientContext> = config.create().expect("an admin client");
    for (setting, value) in [
        ("cleanup.policy", "compact"),
        ("message.timestamp.type", "LogAppendTime"),
        ("tidegate.delivery", "whenever"),
    ] {
        let mut topic = NewTopic::new("odd", 1, TopicReplication::Fixed(1)).set(setting, value);
        if setting != "tidegate.delivery" {
            topic = topic.set("tidegate.delivery", "scheduled");
        }
        let created = wait_for(admin.create_topics(&[topic], &AdminOptions::new())).expect("it is answered");
        let refused = created[0].as_ref().expect_err("it is refused");
        assert_eq!(refused.1, RDKafkaErrorCode::InvalidConfig, "{setting}={value}");
    }
}

#[test]
fn on_a_topic_of_immediate_delivery_a_future_timestamp_holds_nothing() {
    let broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    // Within what `message.timestamp.after.max.ms` lets pass by default: an hour.
    let batch = wire::batch(b"tomorrow", now_ms() + 3_000_000);
    assert_eq!(wire::produce(&mut connection, TOPIC, &batch), Some((0, 0)));
    assert_eq!(read_messages(broker.bootstrap(), TOPIC, 1)[&0].len(), 1);
}
