//! What does not open says why, names the setting, and does not hang.

use std::net::TcpListener;
use std::time::Duration;

use tidegate_store::{TikvOpenError, TikvOptions, TikvStore, TikvTls};
use tidegate_tests::deadline::HANG_AFTER;
use tidegate_tests::kept_port::KeptPort;
use tidegate_tests::tikv_cluster::{OwnCluster, TikvCluster};
use tikv_client::{CheckLevel, TransactionClient, TransactionOptions};

use super::fixture::{connect, default_options, options, put, text};

/// What opening says of those who answer.
async fn refusal(options: TikvOptions) -> TikvOpenError {
    let opened = tokio::time::timeout(HANG_AFTER, TikvStore::connect(options)).await.expect("an answer");
    opened.err().expect("it does not open")
}

/// What opening says of those who do not, with the defaults or options that are less patient, which it must within ten
/// seconds: that is promised to users. They are counted in steps, so that what the machine stands still does not count.
async fn refusal_in_time(options: TikvOptions) -> TikvOpenError {
    const STEP: Duration = Duration::from_millis(10);
    let mut opening = std::pin::pin!(TikvStore::connect(options));
    for _ in 0..1_000 {
        if let Ok(opened) = tokio::time::timeout(STEP, &mut opening).await {
            return opened.err().expect("it does not open");
        }
    }
    panic!("no answer within 10 s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_is_named() {
    let nobodys = KeptPort::take();
    let nobodys = nobodys.address().to_string();
    let error = refusal_in_time(default_options(&format!("tikv://{nobodys}/n"))).await;
    let text = error.to_string();
    assert!(matches!(error, TikvOpenError::PlacementDriver { .. }), "{text}");
    assert!(text.contains(&nobodys) && text.contains("refused") && text.contains("--store"), "{text}");
    let error = refusal_in_time(default_options("tikv://no-such-host.invalid:2379/n")).await;
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_placement_driver_is_named() {
    // Something that listens and says nothing, and a TiKV.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("it is bound");
    let error = refusal_in_time(default_options(&format!("tikv://{address}/n"))).await;
    assert!(matches!(error, TikvOpenError::PlacementDriver { .. }), "{error}");
    let cluster = OwnCluster::start();
    let error = refusal(options(&format!("tikv://{}/n", cluster.proxy().address()))).await;
    assert!(error.to_string().contains("does not answer as a Placement Driver"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_placement_driver_that_answers_is_enough_and_of_many_that_do_not_none_is_waited_for_alone() {
    let silent: Vec<_> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let silent: Vec<String> =
        silent.iter().map(|silent| silent.local_addr().expect("it is bound").to_string()).collect();
    let impatient = |text: String| TikvOptions { connect_timeout_ms: 2_000, ..default_options(&text) };
    let error = refusal_in_time(impatient(format!("tikv://{}/n", silent.join(",")))).await;
    let said = error.to_string();
    assert!(matches!(error, TikvOpenError::PlacementDriver { .. }), "{said}");
    assert!(silent.iter().all(|address| said.contains(&format!("{address}: no answer in time"))), "{said}");
    let cluster = OwnCluster::start();
    let store =
        connect(options(&format!("tikv://{},{}/n", silent[..2].join(","), cluster.pd_address()))).await;
    put(&store, "k", "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_placement_driver_without_stores_is_named() {
    let cluster = OwnCluster::placement_driver_only();
    let error = refusal(options(&cluster.namespace("n"))).await;
    assert!(matches!(error, TikvOpenError::NoStores { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_that_do_not_answer_or_are_gone_are_told_from_a_wrong_address() {
    let mut cluster = OwnCluster::start();
    let address = cluster.namespace("n");
    // The Placement Driver is to answer in half of it.
    let options = || TikvOptions { connect_timeout_ms: 8_000, ..default_options(&address) };
    for is_stopped in [false, true] {
        if is_stopped {
            cluster.thaw_store();
            cluster.stop_store();
        } else {
            cluster.freeze_store();
        }
        let error = refusal_in_time(options()).await;
        let said = error.to_string();
        assert!(matches!(error, TikvOpenError::Unavailable { .. }), "{said}");
        assert!(
            said.contains(&address) && said.contains("its stores run") && said.contains("--store"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_tls_and_files_that_are_no_certificates_are_named() {
    let cluster = TikvCluster::shared();
    let address = cluster.fresh_namespace();
    let files = tempfile::tempdir().expect("a directory");
    let path = |name: &str| files.path().join(name);
    let tls = TikvTls { ca: path("ca"), cert: path("cert"), key: path("key") };
    let with_tls = || TikvOptions { tls: Some(tls.clone()), ..options(&address) };
    let error = refusal(with_tls()).await;
    assert!(error.to_string().contains("tikv.tls.ca"), "{error}");
    for name in ["ca", "cert", "key"] {
        std::fs::write(path(name), "not PEM").expect("written");
    }
    let error = refusal(with_tls()).await;
    assert!(matches!(&error, TikvOpenError::Tls { setting: "tikv.tls.ca", .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_only_a_client_whose_certificate_is_accepted_gets_in() {
    let cluster = OwnCluster::start_behind_tls();
    let address = cluster.tls_namespace("n");
    let tls = |ca: &str, own: &str| TikvTls {
        ca: cluster.tls_file(&format!("{ca}.pem")),
        cert: cluster.tls_file(&format!("{own}.pem")),
        key: cluster.tls_file(&format!("{own}.key")),
    };
    let with = |tls| TikvOptions { tls: Some(tls), ..options(&address) };
    let store = connect(with(tls("ca", "client"))).await;
    put(&store, "k", "1").await;
    assert_eq!(super::fixture::try_get(&store, "k").await, Ok(Some(text("1"))));
    for (tls, who) in
        [(tls("ca", "stranger"), "a client nobody knows"), (tls("other-ca", "client"), "a false authority")]
    {
        let error = refusal(with(tls)).await;
        let said = error.to_string().to_lowercase();
        assert!(matches!(error, TikvOpenError::PlacementDriver { .. }), "{who}: {said}");
        assert!(said.contains("cert") && said.contains("tikv.tls"), "{who}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_not_ours_or_newer_is_left_alone() {
    let cluster = TikvCluster::shared();
    for (key, value, expected) in [
        ("somebody's", b"x".to_vec(), "not Tidegate's"),
        ("m", b"somebody's".to_vec(), "not Tidegate's"),
        ("m", [b"tidegate-store".as_slice(), &[0, 0, 0, 2]].concat(), "layout 2"),
    ] {
        let options = options(&cluster.fresh_namespace());
        let prefix = format!("_tidegate/{}\0", options.address.namespace);
        let client = TransactionClient::new(options.address.pd_endpoints.clone()).await.expect("a client");
        let begin = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
        let mut txn = client.begin_with_options(begin).await.expect("a begin");
        txn.put(format!("{prefix}{key}"), value).await.expect("a put");
        txn.commit().await.expect("a commit");
        let error = refusal(options).await;
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_of_one_cluster_do_not_see_one_another() {
    let cluster = TikvCluster::shared();
    let first = connect(options(&cluster.fresh_namespace())).await;
    let second = connect(options(&cluster.fresh_namespace())).await;
    put(&first, "k", "first").await;
    assert_eq!(super::fixture::try_get(&second, "k").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_out_of_bounds_are_named() {
    let mut wrong = options("tikv://127.0.0.1:1/n");
    wrong.limits.max_value_bytes = 8 << 20;
    assert!(refusal(wrong).await.to_string().contains("transaction.max.value.bytes"));
    let none = TikvOptions { clients: 0, ..options("tikv://127.0.0.1:1/n") };
    assert!(refusal(none).await.to_string().contains("tikv.clients"));
}
