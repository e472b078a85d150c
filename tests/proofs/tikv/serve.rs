//! `tidegate serve --store tikv://…` as an operator meets it: what it refuses to start with, and how it says so; what it
//! does with more than TiKV takes at once. Always an error and an end, within the time that is promised, never a hang.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use tidegate_tests::admin::{create_topic, log_bounds};
use tidegate_tests::admin_http::{get, metrics};
use tidegate_tests::broker::{Broker, PATIENCE, patiently_on, serve};
use tidegate_tests::certificates::Certificates;
use tidegate_tests::kept_port::KeptPort;
use tidegate_tests::program::{Outcome, run, run_within};
use tidegate_tests::scheduled_topic::{create_scheduled_topic, now_ms};
use tidegate_tests::tikv_cluster::{OwnCluster, TikvCluster};
use tidegate_tests::wire::{self, Connection};

use crate::raw_namespace::RawNamespace;

/// How long it may take from the start of the process to its end, with default settings: that is promised to users
/// (`docs/tikv.md`), so it is the one time that is asserted here.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// Runs `serve` on a store that it must refuse in time, and gives what it said.
fn refused(store: &str, arguments: &[&str]) -> String {
    refused_by(store, arguments, |command| run_within(REFUSED_WITHIN, command))
}

/// As before, for what it finds out from a cluster that answers, however long a busy machine takes for that.
fn refused_by_the_cluster(store: &str, arguments: &[&str]) -> String {
    refused_by(store, &[&PATIENCE, arguments].concat(), run)
}

fn refused_by(store: &str, arguments: &[&str], run: impl Fn(&mut Command) -> Outcome) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let mut command = serve(&data, "127.0.0.1:0", "127.0.0.1:0");
    let outcome = run(command.args(["--store", store]).args(arguments));
    assert_eq!(outcome.code, Some(1), "{store} {arguments:?}: {}", outcome.standard_error);
    assert!(outcome.lines.is_empty(), "it claimed to serve: {:?}", outcome.lines);
    assert!(!data.exists(), "it left something behind");
    outcome.standard_error
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
}

#[test]
fn an_address_that_cannot_be_read_is_refused_with_what_would_be_right() {
    for bad in
        ["tikv", "tikv://", "tikv://127.0.0.1:2379", "tikv://127.0.0.1/ns", "tikv://127.0.0.1:2379/a b"]
    {
        says(&refused(bad, &[]), &["store", "tikv://"]);
    }
}

#[test]
fn a_placement_driver_that_is_not_there_is_named() {
    // Nobody listens there; and one who listens and never answers is no better.
    let nobodys = KeptPort::take();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    for address in [nobodys.address(), silent.local_addr().expect("it is bound")] {
        let address = address.to_string();
        says(&refused(&format!("tikv://{address}/ns"), &[]), &[&address, "store"]);
    }
}

#[test]
fn a_placement_driver_without_a_store_is_refused() {
    let cluster = OwnCluster::placement_driver_only();
    says(&refused_by_the_cluster(&cluster.namespace("ns"), &[]), &["no TiKV store", "--store"]);
}

#[test]
fn stores_that_hang_or_are_gone_are_told_from_a_wrong_address() {
    let mut cluster = OwnCluster::start();
    let store = cluster.namespace("ns");
    cluster.freeze_store();
    says(&refused(&store, &[]), &[&store, "its stores run", "--store"]);
    cluster.thaw_store();
    cluster.stop_store();
    says(&refused(&store, &[]), &[&store, "its stores run", "--store"]);
}

#[test]
fn certificates_are_given_together_and_can_be_read() {
    let certificates = Certificates::make();
    let client = certificates.client();
    let [_, ca, _, _, _, key] = client.arguments();
    let store = "tikv://127.0.0.1:2379/ns";
    says(&refused(store, &["--tikv-tls-ca", ca]), &["tikv.tls.ca", "tikv.tls.cert", "together"]);
    let missing = "/no/such/file.pem";
    let three = ["--tikv-tls-ca", ca, "--tikv-tls-cert", missing, "--tikv-tls-key", key];
    says(&refused(store, &three), &["tikv.tls.cert", missing]);
}

#[test]
fn a_client_certificate_that_is_refused_is_told_from_a_cluster_without_stores() {
    let certificates = Certificates::make();
    let cluster = OwnCluster::placement_driver_with_tls(&certificates.server());
    let store = cluster.namespace("ns");
    let refused = refused_by_the_cluster;
    says(&refused(&store, &certificates.client().arguments()), &["no TiKV store"]);
    says(&refused(&store, &certificates.stranger().arguments()), &["tikv.tls"]);
    // Without any, and with TLS to one that has none.
    says(&refused(&store, &[]), &["tikv.tls"]);
    let plain = OwnCluster::placement_driver_only();
    says(&refused(&plain.namespace("ns"), &certificates.client().arguments()), &["tikv.tls"]);
}

#[test]
fn a_broker_serves_on_a_cluster_behind_tls() {
    const TOPIC: &str = "kept";
    let cluster = OwnCluster::start_behind_tls();
    let store = cluster.tls_namespace("ns");
    let files = ["ca.pem", "client.pem", "client.key", "stranger.pem", "stranger.key"];
    let files = files.map(|name| cluster.tls_file(name).display().to_string());
    let [ca, client, client_key, stranger, stranger_key] = files.each_ref().map(String::as_str);
    let tls = |cert, key| ["--tikv-tls-ca", ca, "--tikv-tls-cert", cert, "--tikv-tls-key", key];
    let broker = Broker::start_with(&[&patiently_on(&store)[..], &tls(client, client_key)].concat());
    create_topic(broker.bootstrap(), TOPIC, 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(wire::produce(&mut connection, TOPIC, &wire::batch(b"kept", 0)), Some((0, 0)));
    assert_eq!(log_bounds(broker.bootstrap(), TOPIC, 0), (0, 1));
    says(&refused_by_the_cluster(&store, &tls(stranger, stranger_key)), &["tikv.tls"]);
}

/// A key and its value.
type Entry = (&'static [u8], &'static [u8]);

#[test]
fn a_namespace_of_somebody_else_is_refused_and_left_as_it_is() {
    let cluster = TikvCluster::shared();
    let marked = b"tidegate-store\0\0\0\x01".as_slice();
    let another = "choose another one in --store";
    let cases: [(&[Entry], [&str; 3]); 3] = [
        (&[(b"order/1", b"theirs")], ["not Tidegate's", "order/1", another]),
        (&[(b"m", b"theirs")], ["not Tidegate's", "a mark that is not ours", another]),
        // What an application of another kind has put where Tidegate's own data lies.
        (&[(b"d\xfetheirs", b"theirs"), (b"m", marked)], ["did not write", "0xfe", "`store`"]),
    ];
    for (theirs, parts) in cases {
        let store = cluster.fresh_namespace();
        let namespace = RawNamespace::open(&store);
        theirs.iter().for_each(|(key, value)| namespace.put(key, value));
        let before = namespace.entries();
        says(&refused_by_the_cluster(&store, &[]), &parts);
        assert_eq!(namespace.entries(), before, "nothing of it is touched");
    }
}

#[test]
fn a_namespace_that_a_later_release_has_written_is_refused_and_left_as_it_is() {
    let cluster = TikvCluster::shared();
    let store = cluster.fresh_namespace();
    let mut broker = Broker::start_with(&patiently_on(&store));
    create_topic(broker.bootstrap(), "kept", 1, &[]);
    assert!(broker.terminate().success());
    let namespace = RawNamespace::open(&store);
    // How the store lays out what it keeps, and the format of what it keeps.
    let layout = ["has layout 2", "up to 1", "use a newer one"];
    let format = ["version 3 is newer than 2", "run the release that wrote it", "`store`"];
    let cases: [(&[u8], &[u8], [&str; 3]); 2] =
        [(b"m", b"tidegate-store\0\0\0\x02", layout), (b"d\x01", b"\0\0\0\x03", format)];
    for (key, newer, parts) in cases {
        let own = namespace.entries()[key].clone();
        namespace.put(key, newer);
        let before = namespace.entries();
        says(&refused_by_the_cluster(&store, &[]), &parts);
        assert_eq!(namespace.entries(), before, "nothing of it is touched");
        namespace.put(key, &own);
    }
    // It was for these two alone.
    broker.restart();
}

#[test]
fn the_first_line_says_where_the_data_is_and_the_disk_is_nobodys() {
    let cluster = TikvCluster::shared();
    let namespace = cluster.fresh_namespace();
    let broker = Broker::start_with(&patiently_on(&namespace));
    assert!(broker.first_line().ends_with(&format!(", data in {namespace}")), "{}", broker.first_line());
    assert!(!broker.data_directory().exists(), "it needs no directory");
    let (status, metrics) = get(broker.admin(), "/metrics");
    assert_eq!(status, 200);
    assert!(!metrics.contains("tidegate_disk_free_bytes"), "there is no disk to watch");
    assert_eq!(get(broker.admin(), "/readyz").0, 200);
}

#[test]
fn more_than_tikv_takes_at_once_is_refused_and_nothing_of_it_is_there() {
    const TOPIC: &str = "large";
    const MESSAGE_TOO_LARGE: i16 = 10;
    let cluster = TikvCluster::shared();
    let namespace = cluster.fresh_namespace();
    let arguments = [&patiently_on(&namespace)[..], &["--message-max-bytes", "8388608"]].concat();
    let broker = Broker::start_with(&arguments);
    create_topic(broker.bootstrap(), TOPIC, 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let large = wire::batch(&vec![b'x'; 8_388_000], 0);
    assert_eq!(wire::produce(&mut connection, TOPIC, &large), Some((MESSAGE_TOO_LARGE, -1)));
    assert_eq!(wire::produce(&mut connection, TOPIC, &wire::batch(b"small", 0)), Some((0, 0)));
    assert_eq!(log_bounds(broker.bootstrap(), TOPIC, 0), (0, 1));
}

#[test]
fn more_scheduled_records_than_tikv_takes_at_once_are_refused_and_hold_up_nobody() {
    const TOPIC: &str = "scheduled";
    const MESSAGE_TOO_LARGE: i16 = 10;
    let cluster = TikvCluster::shared();
    let broker = Broker::start_with(&patiently_on(&cluster.fresh_namespace()));
    create_scheduled_topic(broker.bootstrap(), TOPIC, 1);
    let mut connection = Connection::open(broker.bootstrap());
    let now = now_ms();
    // Less than the largest batch, but each of its records is an entry that waits.
    let many = wire::batch_of(60_000, b"later", now + 3_600_000);
    assert_eq!(wire::produce(&mut connection, TOPIC, &many), Some((MESSAGE_TOO_LARGE, -1)));
    assert_eq!(wire::produce(&mut connection, TOPIC, &wire::batch(b"now", now)), Some((0, 0)));
    assert_eq!(log_bounds(broker.bootstrap(), TOPIC, 0), (0, 1));
    let waiting = metrics(broker.admin())["tidegate_timers_pending{topic=\"scheduled\",partition=\"0\"}"];
    assert_eq!(waiting, 0.0, "nothing of the large one is there");
}

#[test]
fn the_settings_file_that_comes_with_the_service_is_read() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/tidegate.toml");
    // It gets as far as the cluster, which is not there.
    says(&refused("tikv://127.0.0.1:1/ns", &["--config", file]), &["Placement Driver", "127.0.0.1:1"]);
}
