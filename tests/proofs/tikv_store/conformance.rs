//! The suite that every backend passes. The expiry of transactions is that of a clock that the cases move; the time of the
//! cluster goes on by itself, so the cases of backends that make their versions by that clock are not for this one.

use std::sync::Arc;

use tidegate_store::conformance::{Backend, DurableBackend};
use tidegate_store::{ManualClock, TikvOptions, TikvStore, TransactionLimits};
use tidegate_tests::tikv_cluster::TikvCluster;

use super::fixture::{connect, options_with_clock};

/// A namespace of its own.
struct Tikv {
    // Before the cluster: its connections are to be closed when that ends.
    store: TikvStore,
    clock: ManualClock,
    address: String,
    limits: TransactionLimits,
    cluster: Arc<TikvCluster>,
}

async fn open(cluster: Arc<TikvCluster>, address: String, clock: ManualClock) -> Tikv {
    // The cases let the clock leap and nobody renews a hold meanwhile: to hold for so long keeps their snapshots.
    let options = TikvOptions { hold_renew_ms: 3_600_000, ..options_with_clock(&address, &clock) };
    let limits = options.limits;
    Tikv { store: connect(options).await, clock, address, limits, cluster }
}

impl Backend for Tikv {
    type Store = TikvStore;

    async fn create() -> Self {
        let cluster = TikvCluster::shared();
        let address = cluster.fresh_namespace();
        open(cluster, address, ManualClock::at(0)).await
    }

    fn store(&self) -> &TikvStore {
        &self.store
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn limits(&self) -> TransactionLimits {
        self.limits
    }
}

impl DurableBackend for Tikv {
    async fn reopen(self) -> Self {
        let Self { store, clock, address, cluster, .. } = self;
        store.shutdown().await;
        open(cluster, address, clock).await
    }
}

tidegate_store::conformance_tests!(Tikv);
tidegate_store::conformance_unknown_outcome_tests!(Tikv);
tidegate_store::conformance_durable_tests!(Tikv);
