//! The figures at `/metrics` on the embedded store.

use tidegate_tests::store_under_test::StoreUnderTest;

const STORE: StoreUnderTest = StoreUnderTest::Embedded;

#[path = "cases/figures.rs"]
mod cases;
