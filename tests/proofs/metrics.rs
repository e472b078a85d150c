//! Lag, log ends and pending schedules on the embedded store.

use tidegate_tests::store_under_test::StoreUnderTest;

const STORE: StoreUnderTest = StoreUnderTest::Embedded;

#[path = "cases/metrics.rs"]
mod cases;
