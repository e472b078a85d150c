//! Tests of the store as a whole.

#![allow(clippy::unwrap_used)]

mod ahead;
mod conformance;
mod failure;
mod hanging;
mod kill;
mod reading;
mod recovery;
mod runs;
mod space;
mod workload;

use std::time::{Duration, Instant};

/// After this time what is waited for counts as never coming. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(120);

/// Waits until a thread of the store has come as far as it should, however late it gets its turn.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let hangs_at = Instant::now() + HANG_AFTER;
    while !is_so() {
        assert!(Instant::now() < hangs_at, "hung: {what}");
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
}
