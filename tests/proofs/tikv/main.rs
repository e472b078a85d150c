//! The same broker on TiKV's protocol: the cases of the main job, the kill loop and schedules, and what only a store of
//! others can do to it.

use tidegate_tests::store_under_test::StoreUnderTest;

const STORE: StoreUnderTest = StoreUnderTest::Tikv;

mod applications;
mod dropped;
mod faults;
mod idle;
#[path = "../cases/kill_loop.rs"]
mod kill_loop;
mod load;
#[path = "../cases/main_job.rs"]
mod main_job;
mod one_broker;
mod part_by_part;
mod raw_namespace;
mod retention;
#[path = "../cases/scheduled.rs"]
mod scheduled;
mod serve;
mod upkeep;
