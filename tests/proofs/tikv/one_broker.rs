//! One broker for each namespace: a second one is refused while the first lives, takes over when it does not, and the
//! first then says nothing any more.

use tidegate_tests::admin::{create_topic, log_bounds};
use tidegate_tests::broker::{Broker, patiently_on as on, serve};
use tidegate_tests::program::run;
use tidegate_tests::tikv_cluster::TikvCluster;
use tidegate_tests::wire::{self, Connection};

const TOPIC: &str = "kept";

#[test]
fn a_second_broker_is_refused_by_name_and_admitted_to_another_namespace() {
    let cluster = TikvCluster::shared();
    let namespace = cluster.fresh_namespace();
    // So long that the first one holds it also if it stands still for a while.
    let long = ["--store", &namespace, "--broker-lease-ms", "30000"];
    let mut first = Broker::start_with(&long);
    let directory = tempfile::tempdir().expect("a temporary directory");
    for id in ["1", "2"] {
        let outcome =
            run(serve(directory.path(), "127.0.0.1:0", "127.0.0.1:0").args(long).args(["--broker-id", id]));
        assert!(!outcome.success && outcome.lines.is_empty(), "{:?}", outcome.lines);
        for part in ["broker 1", first.bootstrap(), "lease of 30000 ms", "`store`"] {
            assert!(outcome.standard_error.contains(part), "{part} is missing: {}", outcome.standard_error);
        }
    }
    assert!(first.is_running());
    let mut other = Broker::start_with(&on(&cluster.fresh_namespace()));
    assert!(other.is_running());
    // Who ends in order leaves at once.
    assert!(first.terminate().success());
    let second = Broker::start_with(&[&long[..], &["--broker-id", "2"]].concat());
    drop(second);
}

#[test]
fn a_broker_that_was_frozen_finds_itself_replaced_and_writes_nothing() {
    let cluster = TikvCluster::shared();
    let namespace = cluster.fresh_namespace();
    let mut first = Broker::start_with(&on(&namespace));
    create_topic(first.bootstrap(), TOPIC, 1, &[]);
    let mut connection = Connection::open(first.bootstrap());
    let batch = wire::batch(b"from the first", 0);
    assert_eq!(wire::produce(&mut connection, TOPIC, &batch), Some((0, 0)));

    first.freeze();
    // This waits in the first one's socket until it is thawed.
    wire::send_produce(&mut connection, TOPIC, &wire::batch(b"too late", 0));
    let mut second = Broker::start_with(&[&on(&namespace)[..], &["--broker-id", "2"]].concat());
    let mut to_second = Connection::open(second.bootstrap());
    assert_eq!(wire::produce(&mut to_second, TOPIC, &wire::batch(b"from the second", 0)), Some((0, 1)));

    first.thaw();
    let status = first.wait_for_end();
    assert!(!status.success(), "{status}");
    let said = first.standard_error();
    for part in ["broker 2", second.bootstrap(), "lease of 1000 ms"] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    assert_eq!(connection.receive(), None, "the late one is not answered");
    assert_eq!(wire::produce(&mut to_second, TOPIC, &wire::batch(b"and on", 0)), Some((0, 2)));
    assert_eq!(log_bounds(second.bootstrap(), TOPIC, 0), (0, 3), "what came too late is nowhere");
    assert!(second.is_running());
}

#[test]
fn what_was_killed_is_replaced_by_itself_when_its_lease_is_over() {
    let cluster = TikvCluster::shared();
    let mut broker = Broker::start_on(cluster, &[]);
    create_topic(broker.bootstrap(), TOPIC, 1, &[]);
    broker.kill();
    broker.restart();
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(wire::produce(&mut connection, TOPIC, &wire::batch(b"after", 0)), Some((0, 0)));
}
