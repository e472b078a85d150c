//! The main job with a real stock client against the real binary: records of every codec reach a changing consumer
//! group across a `kill -9`; nothing is lost, nothing comes twice once committed, keys keep their order.

use tidegate_tests::admin::{committed_offsets, create_topic, log_bounds};
use tidegate_tests::ledger::Ledger;
use tidegate_tests::log_reader::read_log;
use tidegate_tests::member::Member;
use tidegate_tests::producer::LedgerProducer;
use tidegate_tests::shared_ledger::SharedLedger;

use super::STORE;

const TOPIC: &str = "flights";
const GROUP: &str = "board";
const PARTITIONS: i32 = 6;
const KEYS: u32 = 1_000;
const RECORDS: u32 = 100_000;

type Settings<'a> = &'a [(&'a str, &'a str)];

/// Produces [`RECORDS`] records in five equal parts: the first to a group of two, the second while it becomes three, the
/// third to the three, the fourth while it becomes two again, and the fifth across a `kill -9` under load.
fn main_job(codec: &str, settings: Settings<'_>) {
    let mut broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    let bootstrap = broker.bootstrap().to_owned();
    let ledger = SharedLedger::new(PARTITIONS);
    let join = |name| Member::join(&bootstrap, GROUP, TOPIC, name, settings, &ledger);
    let mut producer = LedgerProducer::new(&bootstrap, TOPIC, codec, KEYS, &ledger);
    let part = RECORDS / 5;

    let first = join("first");
    let second = join("second");
    producer.send(part);
    ledger.wait_until("a group of two shares the topic", |ledger| ledger.ownership() == [3, 3]);
    ledger.wait_until("two members have committed something", |ledger| ledger.committed() > 0);

    let third = join("third");
    producer.send(part);
    ledger.wait_until("a group of three shares the topic", |ledger| ledger.ownership() == [2, 2, 2]);
    producer.send(part);
    wait_for_commits(&ledger, 2 * part);

    first.leave();
    producer.send(part);
    ledger.wait_until("the two that stay share the topic", |ledger| ledger.ownership() == [3, 3]);
    wait_for_commits(&ledger, 3 * part);

    producer.send(part / 2);
    broker.kill();
    producer.send(part / 2);
    broker.restart();

    producer.flush();
    assert_eq!(producer.sent(), ledger.read(Ledger::acknowledged));
    wait_for_commits(&ledger, RECORDS);
    let committed = ledger.read(Ledger::committed_offsets);
    assert_eq!(committed, committed_offsets(&bootstrap, GROUP, TOPIC, PARTITIONS));
    second.leave();
    third.leave();
    ledger.audit(&read_log(&bootstrap, TOPIC, PARTITIONS), producer.produced());
    assert!(broker.is_running());
}

fn wait_for_commits(ledger: &SharedLedger, records: u32) {
    let records = usize::try_from(records).expect("fits");
    ledger.wait_until(&format!("{records} records are committed"), |ledger| ledger.committed() >= records);
}

#[test]
fn uncompressed_records_reach_a_changing_group_across_a_kill() {
    main_job("none", &[("partition.assignment.strategy", "range")]);
}

#[test]
fn gzip_records_reach_a_changing_group_across_a_kill() {
    main_job("gzip", &[("partition.assignment.strategy", "roundrobin")]);
}

#[test]
fn snappy_records_reach_a_changing_group_across_a_kill() {
    main_job("snappy", &[("partition.assignment.strategy", "cooperative-sticky")]);
}

#[test]
fn lz4_records_reach_a_changing_group_across_a_kill() {
    main_job("lz4", &[("partition.assignment.strategy", "range,roundrobin")]);
}

#[test]
fn zstd_records_reach_a_changing_group_across_a_kill() {
    main_job("zstd", &[("partition.assignment.strategy", "cooperative-sticky")]);
}

#[test]
fn members_go_on_after_a_kill_without_joining_again() {
    let mut broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    let bootstrap = broker.bootstrap().to_owned();
    let ledger = SharedLedger::new(PARTITIONS);
    let mut producer = LedgerProducer::new(&bootstrap, TOPIC, "lz4", KEYS, &ledger);
    let members = ["one", "two"].map(|name| Member::join(&bootstrap, GROUP, TOPIC, name, &[], &ledger));
    ledger.wait_until("a group of two shares the topic", |ledger| ledger.ownership() == [3, 3]);
    producer.send(1_000);
    wait_for_commits(&ledger, 1_000);
    let assignments = ledger.read(Ledger::assignments);

    for round in 1..=3 {
        broker.kill();
        broker.restart();
        // A generation that was forgotten would refuse the commits of its members.
        producer.send(1_000);
        wait_for_commits(&ledger, 1_000 * (round + 1));
    }
    assert_eq!(ledger.read(Ledger::assignments), assignments, "nobody was given partitions anew");

    members.into_iter().for_each(Member::leave);
    ledger.audit(&read_log(&bootstrap, TOPIC, PARTITIONS), producer.produced());
}

#[test]
fn a_static_member_that_comes_back_moves_nobody() {
    let broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    let bootstrap = broker.bootstrap();
    let ledger = SharedLedger::new(PARTITIONS);
    let mut producer = LedgerProducer::new(bootstrap, TOPIC, "none", KEYS, &ledger);
    let join = |name| Member::join(bootstrap, GROUP, TOPIC, name, &[("group.instance.id", name)], &ledger);
    let steady = join("steady");
    let restless = join("restless");
    ledger.wait_until("a group of two shares the topic", |ledger| ledger.ownership() == [3, 3]);
    producer.send(5_000);
    wait_for_commits(&ledger, 5_000);
    let assignments = ledger.read(Ledger::assignments);

    restless.leave();
    let restless = join("restless");
    producer.send(5_000);
    wait_for_commits(&ledger, 10_000);
    assert_eq!(
        ledger.read(Ledger::assignments),
        assignments + 1,
        "only the one that came back was given partitions"
    );

    steady.leave();
    restless.leave();
    ledger.audit(&read_log(bootstrap, TOPIC, PARTITIONS), producer.produced());
}

#[test]
fn sigterm_ends_well_and_the_next_start_goes_on() {
    let mut broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    let bootstrap = broker.bootstrap().to_owned();
    let ledger = SharedLedger::new(PARTITIONS);
    let mut producer = LedgerProducer::new(&bootstrap, TOPIC, "zstd", KEYS, &ledger);
    let member = Member::join(&bootstrap, GROUP, TOPIC, "only", &[], &ledger);
    producer.send(10_000);
    wait_for_commits(&ledger, 1_000);

    let status = broker.terminate();
    assert!(status.success(), "{status}\n{}", broker.standard_error());
    producer.send(10_000);
    broker.restart();

    producer.flush();
    wait_for_commits(&ledger, 20_000);
    member.leave();
    ledger.audit(&read_log(&bootstrap, TOPIC, PARTITIONS), producer.produced());
    let ends: i64 = (0..PARTITIONS).map(|index| log_bounds(&bootstrap, TOPIC, index).1).sum();
    assert_eq!(ends, 20_000);
}
