//! The upkeep of a cluster that only a broker does: old versions are given up and locks of dead clients removed, in rounds
//! of the one that has the lease.

use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_tests::admin_http::metrics;
use tidegate_tests::broker::{Broker, patiently_on};
use tidegate_tests::deadline::Deadline;
use tidegate_tests::tikv_cluster::OwnCluster;

use crate::part_by_part::{PartByPart, Refused};
use crate::raw_namespace::RawNamespace;

const NAMESPACE: &str = "gc";
/// As many rounds as there can be.
const EAGER: [&str; 4] = ["--gc-interval-ms", "1000", "--gc-life-time-ms", "60000"];
/// None at all.
const NEVER: [&str; 2] = ["--gc-interval-ms", "86400000"];

/// Waits until a round of the broker is over: the next one is an interval away.
fn wait_for_a_round(broker: &Broker) {
    let passes = || metrics(broker.admin())["tidegate_tikv_gc_passes_total"];
    let (before, deadline) = (passes(), Deadline::start());
    while passes() <= before {
        deadline.check("old versions are given up");
    }
}

#[test]
fn old_versions_are_given_up_in_rounds_by_the_broker_that_has_the_lease() {
    // The safe point is the whole cluster's.
    let cluster = OwnCluster::start();
    let namespace = cluster.namespace(NAMESPACE);
    let broker = Broker::start_with(&[&patiently_on(&namespace)[..], &EAGER].concat());
    let deadline = Deadline::start();
    loop {
        let all = metrics(broker.admin());
        if all["tidegate_tikv_gc_passes_total"] >= 2.0 {
            assert!(all["tidegate_tikv_gc_safe_point_timestamp_seconds"] > 1_000_000_000.0);
            assert_eq!(all["tidegate_tikv_gc_failures_total"], 0.0);
            break;
        }
        deadline.check("old versions are given up");
    }
}

#[test]
fn a_broker_that_was_frozen_and_replaced_gives_nothing_up_when_it_goes_on() {
    let cluster = OwnCluster::start();
    let namespace = cluster.namespace(NAMESPACE);
    let mut first = Broker::start_with(&[&patiently_on(&namespace)[..], &EAGER].concat());
    wait_for_a_round(&first);
    first.freeze();
    let mut second =
        Broker::start_with(&[&patiently_on(&namespace)[..], &NEVER, &["--broker-id", "2"]].concat());
    let safe_point = cluster.safe_point();
    first.thaw();
    // The time for its next round has come while it was frozen.
    assert!(!first.wait_for_end().success());
    assert_eq!(cluster.safe_point(), safe_point, "without the lease it has moved nothing");
    assert!(second.is_running());
}

#[test]
fn the_lock_of_a_dead_client_goes_in_a_round_with_nobody_in_its_way() {
    const HOUR_MS: u64 = 3_600_000;
    let cluster = OwnCluster::start();
    let broker = Broker::start_with(&[&patiently_on(&cluster.namespace(NAMESPACE))[..], &EAGER].concat());
    let resolved = || metrics(broker.admin())["tidegate_tikv_locks_resolved_total"];
    assert_eq!(resolved(), 0.0);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than that").as_millis();
    let hours_ago = |hours: u64| (u64::try_from(now_ms).expect("64 bits last") - hours * HOUR_MS) << 18;
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    wait_for_a_round(&broker);
    let dead = runtime.block_on(async {
        let alive = PartByPart::begin(&cluster, NAMESPACE, hours_ago(3), "locked").await;
        assert_eq!(alive.prewrite("locked", "before").await, Ok(()));
        assert_eq!(alive.commit("locked", hours_ago(2)).await, Ok(()));
        // Its primary key is never locked, so no client that meets the lock removes it.
        let dead = PartByPart::begin(&cluster, NAMESPACE, hours_ago(1), "primary").await;
        assert_eq!(dead.prewrite("locked", "the dead one's").await, Ok(()));
        dead
    });
    let deadline = Deadline::start();
    while resolved() < 1.0 {
        deadline.check("the lock is removed");
    }
    let entries = RawNamespace::open(&cluster.namespace(NAMESPACE)).entries();
    assert_eq!(entries[b"dlocked".as_slice()], b"before");
    assert_eq!(runtime.block_on(dead.prewrite("primary", "the dead one's")), Err(Refused));
}
