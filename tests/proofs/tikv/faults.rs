//! The store goes away, hangs, or changes under the broker: stock clients see retries, the broker says that it is not
//! ready and why, and goes on by itself.

use std::time::{Duration, Instant};

use tidegate_tests::admin_http::{ReadinessWatch, readiness, readiness_stays, wait_for_readiness};
use tidegate_tests::deadline::Deadline;
use tidegate_tests::ledger::Ledger;
use tidegate_tests::tcp_proxy::Way;
use tidegate_tests::tikv_cluster::{Fault, OwnCluster};

use crate::load::Load;

/// Records that are produced while the store is away: some are on their way when it goes.
const MEANWHILE: u32 = 1_000;
/// Records that are produced at each look at a broker whose store stays away.
const AT_A_LOOK: u32 = 20;

/// Lets `harm` the cluster under load until the broker says that it is not ready, and `mend` it again.
fn survives(harm: impl Fn(&mut OwnCluster), mend: impl Fn(&mut OwnCluster)) {
    let mut cluster = OwnCluster::start();
    let mut load = Load::start(&cluster);
    for _ in 0..2 {
        load.producer.send(MEANWHILE);
        harm(&mut cluster);
        load.producer.send(MEANWHILE);
        let reason = wait_for_readiness(load.broker.admin(), 503);
        assert!(reason.contains("store") || reason.contains("lease"), "{reason}");
        mend(&mut cluster);
        wait_for_readiness(load.broker.admin(), 200);
        load.go_on(MEANWHILE);
    }
    load.check();
}

#[test]
fn the_store_is_stopped_and_started_again() {
    survives(OwnCluster::stop_store, OwnCluster::start_store);
}

#[test]
fn the_placement_driver_is_stopped_and_started_again() {
    survives(OwnCluster::stop_pd, OwnCluster::start_pd);
}

/// The fault has a duration: longer than every time-out and lease of the broker, shorter than a member's session.
#[test]
fn the_placement_driver_is_away_for_thirty_seconds_while_clients_go_on_trying() {
    let mut cluster = OwnCluster::start();
    let mut load = Load::start(&cluster);
    load.producer.send(MEANWHILE);
    cluster.stop_pd();
    let back = Instant::now() + Duration::from_secs(30);
    wait_for_readiness(load.broker.admin(), 503);
    let admin = load.broker.admin().to_owned();
    // The members ask all the while.
    readiness_stays(&admin, 503, back, || load.producer.send(AT_A_LOOK));
    assert!(load.ledger.read(Ledger::acknowledged) < load.producer.sent(), "nobody had to wait");
    cluster.start_pd();
    wait_for_readiness(&admin, 200);
    load.go_on(MEANWHILE);
    load.check();
}

#[test]
fn the_placement_driver_hangs() {
    survives(|cluster| cluster.freeze_pd(), |cluster| cluster.thaw_pd());
}

#[test]
fn requests_to_the_store_hang_and_come_late() {
    survives(
        |cluster| {
            cluster.proxy().hold(Way::ToServer);
            cluster.proxy().wait_until_something_is_held_back();
        },
        |cluster| cluster.proxy().release(),
    );
}

#[test]
fn answers_of_the_store_hang_and_come_late() {
    survives(
        |cluster| {
            cluster.proxy().hold(Way::ToClient);
            cluster.proxy().wait_until_something_is_held_back();
        },
        |cluster| cluster.proxy().release(),
    );
}

/// As long as it says so, nothing is wrong with the broker: it asks again, and is ready all the while or soon again.
#[test]
fn a_store_that_is_busy_now_and_then_delays_what_is_asked_and_changes_nothing() {
    const ASKED: [&str; 6] = ["KvGet", "KvBatchGet", "KvScan", "KvPrewrite", "KvCommit", "KvScanLock"];
    const TIMES: usize = 3;
    let cluster = OwnCluster::start();
    let mut load = Load::start(&cluster);
    for _ in 0..10 {
        for method in ASKED {
            cluster.next_calls(method, Fault::Busy, TIMES);
        }
        load.go_on(MEANWHILE);
    }
    assert_eq!(cluster.next_calls("KvPrewrite", Fault::Busy, 0), 0, "the store was asked");
    wait_for_readiness(load.broker.admin(), 200);
    load.check();
}

#[test]
fn regions_split_under_load() {
    let cluster = OwnCluster::start_with_regions_of(1);
    let mut load = Load::start(&cluster);
    let watch = ReadinessWatch::start(load.broker.admin());
    let (before, deadline) = (cluster.regions(), Deadline::start());
    while cluster.regions() < before + 3 {
        deadline.check("regions split");
        load.go_on(20_000);
    }
    let looks = watch.stop();
    assert!(!looks.is_empty(), "nobody looked");
    for look in looks {
        // It stays ready, or says why it is not.
        let is_told = look.said.contains("store") || look.said.contains("lease");
        assert!(look.status == 200 || (look.status == 503 && is_told), "{look:?}");
        assert!(look.figure == 0.0 || look.figure == 1.0, "{look:?}");
    }
    // Nobody does anything about it, and by the end it is.
    wait_for_readiness(load.broker.admin(), 200);
    let last = readiness(load.broker.admin());
    assert_eq!((last.status, last.figure), (200, 1.0), "{last:?}");
    load.check();
}
