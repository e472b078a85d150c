//! What a broker on TiKV does while nobody asks anything of it.

use tidegate_tests::admin::create_topic;
use tidegate_tests::admin_http::metrics;
use tidegate_tests::broker::{Broker, patiently_on};
use tidegate_tests::deadline::Deadline;
use tidegate_tests::tikv_cluster::TikvCluster;

const PARTITIONS: i32 = 10_000;

/// Calls of the store so far, all kinds together.
fn calls(broker: &Broker) -> f64 {
    let all = metrics(broker.admin());
    all.iter().filter(|(name, _)| name.starts_with("tidegate_tikv_calls_total")).map(|(_, value)| value).sum()
}

fn renewals(broker: &Broker) -> f64 {
    metrics(broker.admin()).get("tidegate_lease_renewals_total").copied().unwrap_or(0.0)
}

#[test]
fn ten_thousand_idle_partitions_cost_next_to_nothing() {
    let cluster = TikvCluster::shared();
    let namespace = cluster.fresh_namespace();
    let broker =
        Broker::start_with(&[&patiently_on(&namespace)[..], &["--metrics-series-max", "100"]].concat());
    create_topic(broker.bootstrap(), "many", PARTITIONS, &[]);
    // By now whoever looks at new partitions has begun to.
    let deadline = Deadline::start();
    let mut before = calls(&broker);
    loop {
        let began = std::time::Instant::now();
        let renewed = renewals(&broker);
        while renewals(&broker) < renewed + 4.0 {
            deadline.check("the lease is renewed");
        }
        let (now, took) = (calls(&broker), began.elapsed().as_secs_f64());
        println!(
            "{:.0} store calls/s with {PARTITIONS} idle partitions, scrapes included",
            (now - before) / took
        );
        // A call for each partition in the time of some renewals would be no rest.
        if now - before < f64::from(PARTITIONS) / 2.0 {
            break;
        }
        deadline.check("the broker comes to rest");
        before = now;
    }
}
