//! The cases of retention, and what becomes of the rows in the namespace: they go too, in several transactions, also when
//! the broker is killed over it.

use std::collections::BTreeMap;

use tidegate_tests::admin_http::metrics;
use tidegate_tests::broker::Broker;
use tidegate_tests::deadline::Deadline;

use super::STORE;
use crate::raw_namespace::RawNamespace;

use cases::{BATCHES, KEPT, filled, keep_the_last, the_last_are_left};

#[path = "../cases/retention.rs"]
mod cases;

/// How many are kept at first.
const KEPT_AT_FIRST: i64 = 1_300;

/// The rows of log batches: a tag, topic and partition, `01`, and an offset (`src/format/FORMAT.md`), behind a `d`.
fn log_rows(namespace: &RawNamespace) -> usize {
    let is_log = |key: &&Vec<u8>| key.len() == 31 && key[..2] == *b"d\x30" && key[22] == 1;
    namespace.entries().keys().filter(is_log).count()
}

fn wait_for_rows(namespace: &RawNamespace, expected: i64) {
    let deadline = Deadline::start();
    while log_rows(namespace) != usize::try_from(expected).expect("small") {
        deadline.check(&format!("{expected} rows are left; there are {}", log_rows(namespace)));
    }
}

/// Transactions that were committed, without the renewals of the lease.
fn commits(broker: &Broker) -> f64 {
    let all: BTreeMap<String, f64> = metrics(broker.admin());
    let renewals = all.get("tidegate_lease_renewals_total").copied().unwrap_or(0.0);
    all["tidegate_tikv_commits_total"] - renewals
}

#[test]
fn rows_that_retention_has_uncovered_go_in_several_transactions_also_across_a_kill() {
    let mut broker = filled();
    let (_, store) = broker.first_line().split_once(", data in ").expect("it says where its data is");
    let namespace = RawNamespace::open(store);
    assert_eq!(log_rows(&namespace), usize::try_from(BATCHES).expect("small"));

    let before = commits(&broker);
    keep_the_last(&broker, KEPT_AT_FIRST);
    wait_for_rows(&namespace, KEPT_AT_FIRST);
    // The topic's change, the log's new start, and the rows: 500 at a time. One may be a renewal that was not counted yet.
    let made = commits(&broker) - before;
    assert!(made >= 4.0, "{made} transactions");
    the_last_are_left(&broker, KEPT_AT_FIRST);

    keep_the_last(&broker, KEPT);
    broker.kill();
    broker.restart();
    the_last_are_left(&broker, KEPT);
    wait_for_rows(&namespace, KEPT);
}
