//! The suite that every backend passes, through a broker that runs on TiKV itself. As of the store on TiKV (the proof
//! `tikv_store`), the cases of backends that make their versions by a clock of their own are not for this one.

use std::sync::Arc;

use tidegate::RemoteStore;
use tidegate_broker::RunningBroker;
use tidegate_broker::settings::Settings;
use tidegate_store::conformance::{Backend, DurableBackend};
use tidegate_store::{ManualClock, TikvOptions, TikvStore, TransactionLimits};
use tidegate_tests::tikv_cluster::TikvCluster;

use crate::conformance::KEY_MAX_BYTES;
use crate::fixture::{any_port, connect, settings};
use crate::user_keys::UserKeys;

/// A broker on a namespace of its own, and its store through the port.
struct OnTikv {
    // Before what they use.
    store: UserKeys<RemoteStore>,
    broker: RunningBroker,
    under: TikvStore,
    clock: ManualClock,
    namespace: String,
    limits: TransactionLimits,
    cluster: Arc<TikvCluster>,
}

async fn open(cluster: Arc<TikvCluster>, namespace: String, clock: ManualClock) -> OnTikv {
    let address = namespace.parse().expect("an address");
    let options = TikvOptions {
        clients: 1,
        clock: Arc::new(clock.clone()),
        // How long a slow machine lets anybody wait is not promised.
        connect_timeout_ms: 60_000,
        request_timeout_ms: 60_000,
        // The suite waits for no transaction longer than twice its life.
        commit_max_ms: 40_000,
        ..TikvOptions::new(address)
    };
    let limits = options.limits;
    let under = TikvStore::connect(options).await.expect("the cluster is there");
    let settings = Settings { admin: any_port(), ..settings() };
    let broker = RunningBroker::start(settings, under.clone().into()).await.expect("a free port");
    let store = UserKeys(connect(broker.listen()).await);
    OnTikv { store, broker, under, clock, namespace, limits, cluster }
}

impl Backend for OnTikv {
    type Store = UserKeys<RemoteStore>;

    async fn create() -> Self {
        let cluster = TikvCluster::shared();
        let namespace = cluster.fresh_namespace();
        open(cluster, namespace, ManualClock::at(0)).await
    }

    fn store(&self) -> &UserKeys<RemoteStore> {
        &self.store
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn limits(&self) -> TransactionLimits {
        self.limits
    }

    fn key_max_bytes(&self) -> usize {
        KEY_MAX_BYTES
    }
}

impl DurableBackend for OnTikv {
    async fn reopen(self) -> Self {
        let Self { store, broker, under, clock, namespace, cluster, .. } = self;
        drop(store);
        broker.stop().await;
        under.shutdown().await;
        open(cluster, namespace, clock).await
    }
}

tidegate_store::conformance_tests!(OnTikv);
tidegate_store::conformance_unknown_outcome_tests!(OnTikv);
tidegate_store::conformance_durable_tests!(OnTikv);
