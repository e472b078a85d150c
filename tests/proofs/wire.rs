//! Bad input by sockets on the embedded store.

use tidegate_tests::store_under_test::StoreUnderTest;

const STORE: StoreUnderTest = StoreUnderTest::Embedded;

#[path = "cases/wire.rs"]
mod cases;
