//! Models and events from an application that writes straight to TiKV, in a process of its own: the broker finds the
//! events by the application's hints, also when either of them is killed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tidegate_tests::admin::create_topic;
use tidegate_tests::admin_http::{metrics, wait_for_readiness};
use tidegate_tests::broker::{Broker, binary, on, patiently_on};
use tidegate_tests::deadline::Deadline;
use tidegate_tests::ledger::audit_log;
use tidegate_tests::log_reader::read_log;
use tidegate_tests::member::Member;
use tidegate_tests::program::run;
use tidegate_tests::shared_ledger::{SharedLedger, listed};
use tidegate_tests::tcp_proxy::Way;
use tidegate_tests::tikv_cluster::{OwnCluster, TikvCluster};

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 4;
const KEYS: u32 = 20;
/// Nobody finds anything by looking for it.
const NEVER_SWEEPS: [&str; 4] = ["--relay-sweep-min-ms", "3600000", "--relay-sweep-max-ms", "3600000"];

/// How long an application waits for its store, and how late its events may come: the broker's `commit.max.ms`.
const COMMIT_MAX_MS: u32 = 60_000;

/// The example `tikv_orders` of the Rust client: writes orders `from..from + count` of each key, with their events.
fn application(store: &str, broker: &str, from: u32, count: u32) -> Command {
    let mut command = Command::new(example());
    command.args([store, broker]).args([KEYS, from, count, COMMIT_MAX_MS].map(|number| number.to_string()));
    command
}

/// Beside the binary, where `cargo build --all-targets` puts it.
fn example() -> PathBuf {
    binary().with_file_name("examples").join(format!("tikv_orders{}", std::env::consts::EXE_SUFFIX))
}

fn completes(command: &mut Command) {
    let outcome = run(command);
    assert!(outcome.success, "{}", outcome.standard_error);
}

fn spawn(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the example is built")
}

/// So many of each key.
fn produced(each: u32) -> BTreeMap<u32, u32> {
    (0..KEYS).map(|key| (key, each)).collect()
}

/// Waits until the log is whole, and checks it.
fn log_is(broker: &Broker, each: u32) {
    let deadline = Deadline::start();
    loop {
        let faults = audit_log(&read_log(broker.bootstrap(), TOPIC, PARTITIONS), &produced(each));
        if faults.is_empty() {
            break;
        }
        // Whatever is wrong but that some are still to come does not mend itself.
        assert!(!deadline.has_passed(), "{}", listed(&faults));
    }
    assert_eq!(late(broker), 0.0, "none was found where an earlier turn should have");
}

fn late(broker: &Broker) -> f64 {
    metrics(broker.admin()).get("tidegate_outbox_late_total").copied().unwrap_or(0.0)
}

#[test]
fn events_written_straight_to_the_store_are_delivered_though_nobody_looks_for_them() {
    let cluster = TikvCluster::shared();
    let store = cluster.fresh_namespace();
    let broker = Broker::start_with(&[&patiently_on(&store)[..], &NEVER_SWEEPS].concat());
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    let ledger = SharedLedger::new(PARTITIONS);
    let member = Member::join(broker.bootstrap(), "shipping", TOPIC, "only", &[], &ledger);
    // One after the other: each finds partitions that have fallen quiet.
    for round in 0..3 {
        completes(&mut application(&store, broker.bootstrap(), round * 50, 50));
        let each = (round + 1) * 50;
        ledger.wait_until(&format!("{each} of each key are committed"), |ledger| {
            ledger.committed() == usize::try_from(each * KEYS).expect("small")
        });
    }
    member.leave();
    log_is(&broker, 150);
}

#[test]
fn a_broker_that_is_killed_while_an_application_writes_misses_nothing() {
    let cluster = TikvCluster::shared();
    let store = cluster.fresh_namespace();
    let mut broker = Broker::start_with(&[&patiently_on(&store)[..], &NEVER_SWEEPS].concat());
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    let mut writer = spawn(&mut application(&store, broker.bootstrap(), 0, 200));
    let ledger = SharedLedger::new(PARTITIONS);
    let member = Member::join(broker.bootstrap(), "shipping", TOPIC, "only", &[], &ledger);
    for kills in 1..=3 {
        ledger.wait_until("some more are committed", |ledger| ledger.committed() >= kills * 500);
        broker.kill();
        broker.restart();
    }
    assert!(writer.wait().expect("it ends").success());
    ledger.wait_until("all are committed", |ledger| {
        ledger.committed() == usize::try_from(200 * KEYS).expect("small")
    });
    member.leave();
    log_is(&broker, 200);
}

#[test]
fn connections_that_hang_while_events_are_written_and_relayed_lose_and_double_none() {
    let cluster = OwnCluster::start();
    let store = cluster.namespace("shop");
    // It gives up soon what it asks; commits come as late as those of the application.
    let limits = ["--tikv-request-timeout-ms", "1000", "--commit-max-ms", "60000"];
    let arguments = [&on(&store)[..], &NEVER_SWEEPS, &limits].concat();
    let broker = Broker::start_with(&arguments);
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    let mut writer = spawn(&mut application(&store, broker.bootstrap(), 0, 200));
    let ledger = SharedLedger::new(PARTITIONS);
    let member = Member::join(broker.bootstrap(), "shipping", TOPIC, "only", &[], &ledger);
    for (round, way) in (1..).zip([Way::ToClient, Way::ToServer, Way::ToClient]) {
        ledger.wait_until("some more are committed", |ledger| ledger.committed() >= round * 500);
        cluster.proxy().hold(way);
        cluster.proxy().wait_until_something_is_held_back();
        // The broker has given its connections up, and what was under way on them.
        wait_for_readiness(broker.admin(), 503);
        cluster.proxy().release();
        wait_for_readiness(broker.admin(), 200);
    }
    assert!(writer.wait().expect("it ends").success());
    ledger.wait_until("all are committed", |ledger| {
        ledger.committed() == usize::try_from(200 * KEYS).expect("small")
    });
    member.leave();
    log_is(&broker, 200);
}

#[test]
fn what_was_written_while_no_broker_ran_is_delivered_when_one_starts() {
    let cluster = TikvCluster::shared();
    let store = cluster.fresh_namespace();
    let mut broker = Broker::start_with(&patiently_on(&store));
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    broker.terminate();
    completes(&mut application(&store, broker.bootstrap(), 0, 30));
    broker.restart();
    log_is(&broker, 30);
}
