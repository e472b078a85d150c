//! Stock clients go on where the backup was taken, and are told of what is gone.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::OwnedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use tidegate_tests::admin::{client, committed_offsets, create_topic};
use tidegate_tests::broker::Broker;
use tidegate_tests::deadline::Deadline;
use tidegate_tests::ledger::{Ledger, RecordId};
use tidegate_tests::log_reader::{read_log, read_messages};
use tidegate_tests::member::{Member, is_broken_connection};
use tidegate_tests::producer::LedgerProducer;
use tidegate_tests::scheduled_topic::{
    ScheduledProducer, ScheduledReader, ScheduledRecord, SharedBook, create_scheduled_topic, now_ms,
};
use tidegate_tests::shared_ledger::SharedLedger;

use crate::fixture::{GROUP, PARTITIONS, TOPIC, backup, done, json, place, produce, restore, text, tidegate};

fn wait_for_commits(ledger: &SharedLedger, records: usize) {
    ledger.wait_until(&format!("{records} records are committed"), |ledger| ledger.committed() >= records);
}

#[test]
fn clients_that_live_through_it_go_on_where_the_backup_was_taken() {
    let (_directory, file) = place();
    let mut broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    let bootstrap = broker.bootstrap().to_owned();
    let ledger = SharedLedger::new(PARTITIONS);
    let mut producer = LedgerProducer::new(&bootstrap, TOPIC, "lz4", 200, &ledger);
    let members = ["one", "two"].map(|name| Member::join(&bootstrap, GROUP, TOPIC, name, &[], &ledger));
    producer.send(10_000);
    producer.flush();
    wait_for_commits(&ledger, 10_000);

    let said = json(&done(backup(&broker, &file).arg("--json")));
    assert_eq!(said["file"], text(&file));
    assert!(said["entries"].as_u64().is_some_and(|entries| entries > 0), "{said}");
    broker.kill();
    broker.replace_data(|data| {
        let restored = json(&done(restore(&file, data).arg("--json")));
        for field in ["entries", "digest", "snapshot_ms", "cluster_id"] {
            assert_eq!(restored[field], said[field], "{field}");
        }
    });
    broker.restart();

    // The same producer, by its id and sequence, and the same members.
    producer.send(10_000);
    producer.flush();
    wait_for_commits(&ledger, 20_000);
    members.into_iter().for_each(Member::leave);
    ledger.audit(&read_log(&bootstrap, TOPIC, PARTITIONS), producer.produced());
}

#[test]
fn a_backup_under_load_is_one_moment_of_logs_offsets_and_schedules() {
    let (_directory, file) = place();
    let mut broker = Broker::start();
    let bootstrap = broker.bootstrap().to_owned();
    create_topic(&bootstrap, TOPIC, PARTITIONS, &[]);
    create_scheduled_topic(&bootstrap, "reminders", 2);
    let book = SharedBook::new();
    let reminders = ScheduledProducer::new(&bootstrap, "reminders", "none", &book);
    let soon = now_ms() + 3_000;
    for number in 0..200 {
        let value = format!("reminder {number}");
        let due_ms = soon + i64::from(number);
        book.lock().expect(&value, due_ms);
        reminders.send(ScheduledRecord { value: Some(&value), timestamp_ms: due_ms, ..Default::default() });
    }
    reminders.flush();

    let ledger = SharedLedger::new(PARTITIONS);
    let mut producer = LedgerProducer::new(&bootstrap, TOPIC, "none", 200, &ledger);
    let member = Member::join(&bootstrap, GROUP, TOPIC, "only", &[], &ledger);
    producer.send(20_000);
    producer.flush();
    wait_for_commits(&ledger, 1_000);
    // Three of them, one after the other, while records are produced and committed all the time.
    let taking = thread::spawn({
        let admin = broker.admin().to_owned();
        let file = file.clone();
        move || {
            for _ in 0..3 {
                done(&mut tidegate(&["backup", "--replace", "--admin", &admin, "--to", text(&file)]));
            }
        }
    });
    while !taking.is_finished() {
        producer.send(200);
    }
    taking.join().expect("each of them was whole");
    producer.send(1_000);
    producer.flush();
    let sent = producer.sent();
    wait_for_commits(&ledger, sent);
    member.leave();
    let whole = read_log(&bootstrap, TOPIC, PARTITIONS);
    broker.kill();
    broker.replace_data(|data| {
        done(&mut restore(&file, data));
    });
    broker.restart();

    let log = read_log(&bootstrap, TOPIC, PARTITIONS);
    let committed = committed_offsets(&bootstrap, GROUP, TOPIC, PARTITIONS);
    for (partition, records) in &log {
        assert!(whole[partition].starts_with(records), "partition {partition} is not a beginning");
        let end = i64::try_from(records.len()).expect("a count");
        let offset = committed.get(partition).copied().unwrap_or(0);
        assert!((0..=end).contains(&offset), "{offset} was committed in a log of {end}");
    }
    assert!(log.values().map(Vec::len).sum::<usize>() >= 20_000, "records were there before");
    assert!(committed.values().sum::<i64>() >= 1_000, "offsets were committed before");

    go_on_from(&bootstrap, &log, &committed);
    // What was held came due on the way: each comes once, and no earlier than it should.
    ScheduledReader::new(&bootstrap, "reminders", 2, &book).read_until(0);
    assert_eq!(read_messages(&bootstrap, "reminders", 2).values().map(Vec::len).sum::<usize>(), 200);
    // A producer that comes new gets an id of its own, and is taken.
    let ledger = SharedLedger::new(PARTITIONS);
    let mut producer = LedgerProducer::new(&bootstrap, TOPIC, "none", 10, &ledger);
    producer.send(1_000);
    producer.flush();
    assert_eq!(ledger.read(Ledger::acknowledged), 1_000);
}

/// A consumer of the group gets, from the committed offsets on, what the log has, once.
fn go_on_from(bootstrap: &str, log: &BTreeMap<i32, Vec<RecordId>>, committed: &BTreeMap<i32, i64>) {
    let mut config = client(bootstrap);
    config.set("group.id", GROUP).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[TOPIC]).expect("a subscription");
    let mut next: BTreeMap<i32, i64> =
        log.keys().map(|partition| (*partition, committed.get(partition).copied().unwrap_or(0))).collect();
    let is_at_end = |next: &BTreeMap<i32, i64>| {
        next.iter().all(|(partition, offset)| usize::try_from(*offset) == Ok(log[partition].len()))
    };
    let deadline = Deadline::start();
    while !is_at_end(&next) {
        deadline.check("the group goes on to the end of the log");
        let message: OwnedMessage = match consumer.poll(std::time::Duration::from_millis(100)) {
            Some(Ok(message)) => message.detach(),
            Some(Err(error)) => {
                assert!(is_broken_connection(&error), "the broker delivers: {error}");
                continue;
            }
            None => continue,
        };
        let offset = next.get_mut(&message.partition()).expect("a partition of the topic");
        assert_eq!(message.offset(), *offset, "partition {}", message.partition());
        let expected = &log[&message.partition()][usize::try_from(*offset).expect("an offset")];
        assert_eq!(RecordId::parse(message.key(), message.payload()).as_ref(), Some(expected));
        *offset += 1;
    }
}

#[test]
fn a_reader_of_records_that_are_gone_is_told_by_the_epoch() {
    let (_directory, file) = place();
    let mut broker = Broker::start();
    let bootstrap = broker.bootstrap().to_owned();
    create_topic(&bootstrap, TOPIC, 1, &[]);
    produce(&bootstrap, "kept", 10);
    done(&mut backup(&broker, &file));
    produce(&bootstrap, "gone", 10);

    let mut config = client(&bootstrap);
    config.set("group.id", "reader").set("auto.offset.reset", "error").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut start = TopicPartitionList::new();
    start.add_partition_offset(TOPIC, 0, Offset::Beginning).expect("a valid offset");
    consumer.assign(&start).expect("an assignment");
    let read = |wanted: &str| {
        let deadline = Deadline::start();
        loop {
            deadline.check(wanted);
            match consumer.poll(std::time::Duration::from_millis(100)) {
                Some(Ok(message)) if message.payload() == Some(wanted.as_bytes()) => return Ok(()),
                Some(Ok(_)) | None => {}
                Some(Err(error)) if is_broken_connection(&error) => {}
                Some(Err(error)) => return Err(error.to_string()),
            }
        }
    };
    read("gone 9").expect("they are there");
    broker.kill();
    // Other records at the offsets of those that are gone, and beyond them, before the reader is back.
    let mut elsewhere = Broker::start();
    elsewhere.kill();
    elsewhere.replace_data(|data| {
        done(&mut restore(&file, data));
    });
    elsewhere.restart();
    produce(elsewhere.bootstrap(), "other", 30);
    elsewhere.kill();
    broker.replace_data(|data| fs::rename(elsewhere.data_directory(), data).expect("it can be moved"));
    broker.restart();
    // It cannot know by the offset, which is there.
    let told = read("other 29").expect_err("not to be told would be to miss ten records");
    assert!(told.contains("AutoOffsetReset"), "{told}");
}
