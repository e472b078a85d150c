//! Retention as the clients of a real broker see it: the log's start moves on in the background, produce goes on, and what
//! is kept is read in full.

use tidegate_tests::admin::{create_topic, log_bounds};
use tidegate_tests::broker::Broker;
use tidegate_tests::deadline::Deadline;
use tidegate_tests::log_reader::read_messages;
use tidegate_tests::scheduled_topic::now_ms;
use tidegate_tests::wire::{self, Connection};

const TOPIC: &str = "short-lived";
/// The shortest that may be set: retention has many rounds in a case.
const CHECK_OFTEN: [&str; 2] = ["--log-retention-check-interval-ms", "100"];

/// Produces batches until the log's start is at `to` or beyond; every one is acknowledged, at the offset after the one
/// before it. Gives the log's end.
fn produce_until_start(broker: &Broker, value: &[u8], to: i64) -> i64 {
    let mut connection = Connection::open(broker.bootstrap());
    let (_, mut end) = log_bounds(broker.bootstrap(), TOPIC, 0);
    let deadline = Deadline::start();
    while log_bounds(broker.bootstrap(), TOPIC, 0).0 < to {
        deadline.check("what is old goes");
        for _ in 0..20 {
            let produced = wire::produce(&mut connection, TOPIC, &wire::batch(value, now_ms()));
            assert_eq!(produced, Some((0, end)), "produce goes on");
            end += 1;
        }
    }
    end
}

/// What a consumer reads that begins at the start; between two rounds of retention it is the whole log.
fn read(broker: &Broker) -> usize {
    read_messages(broker.bootstrap(), TOPIC, 1)[&0].len()
}

#[test]
fn records_go_by_size_while_produce_goes_on_and_as_much_as_was_asked_for_is_kept() {
    let broker = Broker::start_with(&CHECK_OFTEN);
    let value = [b'x'; 1_000];
    create_topic(broker.bootstrap(), TOPIC, 1, &[("retention.bytes", "100000")]);
    produce_until_start(&broker, &value, 300);
    // No more is produced now: the start stops where one batch less would be less than was asked for.
    let batch_bytes = i64::try_from(wire::batch(&value, now_ms()).len()).expect("small");
    let kept = (100_000 + batch_bytes - 1) / batch_bytes;
    let deadline = Deadline::start();
    loop {
        let (start, end) = log_bounds(broker.bootstrap(), TOPIC, 0);
        assert!(end - start >= kept, "{} records are fewer than 100,000 bytes", end - start);
        if end - start == kept {
            break;
        }
        deadline.check("what is more than was asked for goes");
    }
    assert_eq!(read(&broker), usize::try_from(kept).expect("a few"));
}

#[test]
fn records_go_by_time_while_produce_goes_on_and_across_a_kill() {
    let mut broker = Broker::start_with(&CHECK_OFTEN);
    create_topic(broker.bootstrap(), TOPIC, 1, &[("retention.ms", "500")]);
    let end = produce_until_start(&broker, b"gone soon", 1);
    broker.kill();
    broker.restart();
    // Nobody writes any more: the rest goes by itself, and the offsets stay.
    let deadline = Deadline::start();
    while log_bounds(broker.bootstrap(), TOPIC, 0) != (end, end) {
        deadline.check("what is left goes");
    }
    let mut connection = Connection::open(broker.bootstrap());
    let batch = wire::batch(b"new", now_ms());
    assert_eq!(wire::produce(&mut connection, TOPIC, &batch), Some((0, end)));
}
