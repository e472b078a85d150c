//! The main job on the embedded store.

use tidegate_tests::store_under_test::StoreUnderTest;

const STORE: StoreUnderTest = StoreUnderTest::Embedded;

#[path = "cases/main_job.rs"]
mod cases;
