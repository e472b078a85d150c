//! Stock clients on the embedded store.

use tidegate_tests::store_under_test::StoreUnderTest;

const STORE: StoreUnderTest = StoreUnderTest::Embedded;

#[path = "cases/stock_clients.rs"]
mod cases;
