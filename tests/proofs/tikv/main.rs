//! The same broker on TiKV's protocol: the cases of the suites that run on the embedded store, and what only a store of
//! others can do to it.
//!
//! Left out: of `command_line` the demo, which has a store of its own in a directory, and what asks no broker at all (help,
//! completions, addresses that are none); of `figures` those of the disk and of the journal; `serve`, which is about a
//! directory and its disk, and has `serve` of this folder instead; `grafana`, which is about Prometheus.

use tidegate_tests::store_under_test::StoreUnderTest;

const STORE: StoreUnderTest = StoreUnderTest::Tikv;

mod applications;
#[path = "../cases/command_line.rs"]
mod command_line;
mod dropped;
mod faults;
#[path = "../cases/figures.rs"]
mod figures;
mod idle;
#[path = "../cases/kill_loop.rs"]
mod kill_loop;
mod load;
#[path = "../cases/main_job.rs"]
mod main_job;
#[path = "../cases/metrics.rs"]
mod metrics;
mod one_broker;
mod part_by_part;
mod raw_namespace;
mod retention;
#[path = "../cases/scheduled.rs"]
mod scheduled;
mod serve;
#[path = "../cases/stock_clients.rs"]
mod stock_clients;
mod upkeep;
#[path = "../cases/wire.rs"]
mod wire;
