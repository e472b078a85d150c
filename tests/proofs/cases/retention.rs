//! What the broker no longer keeps goes by itself, by time and by size, in the midst of its work: a stock client that reads
//! afterwards begins at the first record that is left, and finds all that are.

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::Message;
use tidegate_tests::admin::{client, create_topic, log_bounds, wait_for};
use tidegate_tests::admin_http::metrics;
use tidegate_tests::broker::Broker;
use tidegate_tests::deadline::Deadline;
use tidegate_tests::log_reader::read_messages;
use tidegate_tests::wire::{self, Connection, Reader};

use super::STORE;

const TOPIC: &str = "kept";
/// Of the one partition, each a batch of one record: several times more than a store removes in one transaction.
pub(crate) const BATCHES: i64 = 2_600;
/// How many are kept where some are.
pub(crate) const KEPT: i64 = 300;
/// Requests that wait for their answers at a time.
const PIPELINED: i64 = 100;
/// Looks at retention as often as it may.
const OFTEN: [&str; 2] = ["--log-retention-check-interval-ms", "100"];

/// A broker that often looks at what it keeps, with a topic that keeps everything, and that much in it.
pub(crate) fn filled() -> Broker {
    let broker = STORE.start_broker_with(&OFTEN);
    create_topic(broker.bootstrap(), TOPIC, 1, &[("retention.ms", "-1")]);
    produce(&broker, 0..BATCHES);
    broker
}

/// All values are of one length, and so are their batches.
fn value(number: i64) -> String {
    format!("record {number:08}")
}

fn produce(broker: &Broker, numbers: std::ops::Range<i64>) {
    let mut connection = Connection::open(broker.bootstrap());
    let mut next = numbers.start;
    while next < numbers.end {
        let until = numbers.end.min(next + PIPELINED);
        for number in next..until {
            wire::send_produce(&mut connection, TOPIC, &wire::batch(value(number).as_bytes(), 0));
        }
        for number in next..until {
            let answer = connection.receive().expect("it is answered");
            let mut reader = Reader::new(&answer);
            assert_eq!((reader.int32(), reader.int32()), (1, 1), "the answer in its turn, of one topic");
            reader.skip_string();
            assert_eq!((reader.int32(), reader.int32()), (1, 0), "one partition, number 0");
            assert_eq!((reader.int16(), reader.int64()), (0, number));
        }
        next = until;
    }
}

/// Sets how long or how much the topic keeps.
fn keep(broker: &Broker, setting: &str, value: &str) {
    let admin: AdminClient<DefaultClientContext> =
        client(broker.bootstrap()).create().expect("an admin client");
    let change = [AlterConfig::new(ResourceSpecifier::Topic(TOPIC)).set(setting, value)];
    let altered = wait_for(admin.alter_configs(&change, &AdminOptions::new())).expect("it is answered");
    altered[0].as_ref().expect("the topic is changed");
}

/// Keeps so many of the batches, to the byte, from now on.
pub(crate) fn keep_the_last(broker: &Broker, count: i64) {
    keep(broker, "retention.bytes", &(count * batch_bytes()).to_string());
}

fn batch_bytes() -> i64 {
    i64::try_from(wire::batch(value(0).as_bytes(), 0).len()).expect("small")
}

/// Waits until the log begins there, and not beyond.
fn wait_for_start(broker: &Broker, start: i64) {
    let deadline = Deadline::start();
    loop {
        let (found, _) = log_bounds(broker.bootstrap(), TOPIC, 0);
        assert!(found <= start, "the log begins at {found}: too much is gone");
        if found == start {
            break;
        }
        deadline.check(&format!("the log begins at {start}; it begins at {found}"));
    }
}

/// A stock client that reads from the start gets these, from the place of the first one on, and no others.
fn log_is(broker: &Broker, numbers: std::ops::Range<i64>) {
    assert_eq!(log_bounds(broker.bootstrap(), TOPIC, 0), (numbers.start, numbers.end));
    let log = read_messages(broker.bootstrap(), TOPIC, 1).remove(&0).expect("the partition");
    let found: Vec<(i64, Option<&[u8]>)> =
        log.iter().map(|message| (message.offset(), message.payload())).collect();
    let values: Vec<(i64, String)> = numbers.map(|number| (number, value(number))).collect();
    let expected: Vec<(i64, Option<&[u8]>)> =
        values.iter().map(|(number, value)| (*number, Some(value.as_bytes()))).collect();
    assert_eq!(found, expected);
}

fn figure(broker: &Broker, name: &str) -> f64 {
    metrics(broker.admin())[&format!("{name}{{topic=\"{TOPIC}\",partition=\"0\"}}")]
}

/// So many are left, and a stock client gets them.
pub(crate) fn the_last_are_left(broker: &Broker, count: i64) {
    wait_for_start(broker, BATCHES - count);
    log_is(broker, BATCHES - count..BATCHES);
    assert_eq!(figure(broker, "tidegate_log_bytes"), precise(count * batch_bytes()));
}

#[expect(clippy::cast_precision_loss, reason = "the offsets and bytes of a test")]
fn precise(number: i64) -> f64 {
    number as f64
}

#[test]
fn what_is_more_than_a_topic_keeps_goes_and_the_rest_is_read_from_the_first_that_is_left() {
    let broker = filled();
    keep_the_last(&broker, KEPT);
    the_last_are_left(&broker, KEPT);
    // What comes pushes out as much.
    produce(&broker, BATCHES..BATCHES + 10);
    wait_for_start(&broker, BATCHES + 10 - KEPT);
    log_is(&broker, BATCHES + 10 - KEPT..BATCHES + 10);
    assert_eq!(figure(&broker, "tidegate_log_bytes"), precise(KEPT * batch_bytes()));
}

#[test]
fn what_is_older_than_a_topic_keeps_goes_and_what_comes_later_stays() {
    let broker = filled();
    keep(&broker, "retention.ms", "1");
    wait_for_start(&broker, BATCHES);
    log_is(&broker, BATCHES..BATCHES);
    assert_eq!(figure(&broker, "tidegate_log_bytes"), 0.0);
    keep(&broker, "retention.ms", "604800000");
    produce(&broker, BATCHES..BATCHES + KEPT);
    log_is(&broker, BATCHES..BATCHES + KEPT);
    assert_eq!(figure(&broker, "tidegate_log_start_offset"), precise(BATCHES));
}
