//! Upkeep of a TiKV cluster: old versions are given up, locks of clients that are gone resolved, and what dropped topics
//! held removed once no old version of it can be read. Nobody else does it.
//!
//! What it is: rounds, every `gc.interval.ms`, of the broker that has the namespace's lease. What it refuses to do: it goes
//! past no snapshot that is open anywhere; that is the store's to know. What always holds: without a lease that lives no
//! round begins.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tidegate_store::{Store, TikvStore, Version};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::Broker;
use crate::metrics::names;
use crate::settings::Settings;

/// How much longer than a transaction may live a lock is left alone.
const LOCK_MARGIN_MS: u64 = 10_000;

/// Keeps a cluster up until `stop`.
pub(crate) async fn run(store: TikvStore, broker: Arc<Broker>, stop: CancellationToken) {
    // Said from the beginning, so that a rate of it can be alerted on.
    counter!(names::GC_FAILURES).absolute(0);
    stop.run_until_cancelled(rounds(&store, &broker)).await;
}

async fn rounds(store: &TikvStore, broker: &Broker) {
    loop {
        sleep(Duration::from_millis(broker.settings.gc_interval_ms)).await;
        if broker.lease.is_live() {
            round(store, &broker.settings).await;
            if let Err(error) = broker.catalogue.finish_drops().await {
                failed("what dropped topics held is not removed", &error);
            }
        }
    }
}

async fn round(store: &TikvStore, settings: &Settings) {
    let ago = |ms: u64| Version::first_of_ms(store.now_ms().saturating_sub_unsigned(ms));
    // First: giving up old versions ends what is older than they are, too, and does not say how much that was.
    let transaction_ms = store.transaction_lasts_ms() + LOCK_MARGIN_MS;
    match store.resolve_locks(ago(settings.gc_life_time_ms.max(transaction_ms))).await {
        Ok(0) => {}
        Ok(locks) => debug!(locks, "locks of transactions that had ended are resolved"),
        Err(error) => failed("locks of clients that are gone are not resolved", &error),
    }
    match store.collect_garbage(ago(settings.gc_life_time_ms)).await {
        Ok(collected) => debug!(?collected, "old versions are given up"),
        Err(error) => failed("old versions are not given up", &error),
    }
}

fn failed(what: &str, error: &dyn Display) {
    counter!(names::GC_FAILURES).increment(1);
    warn!(%error, "{what}: again in the next round");
}
