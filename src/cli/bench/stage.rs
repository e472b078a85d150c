//! A broker for one row: in this process, on a fresh store.

use std::time::Instant;

use tidegate::{Admin, ClientOptions, NewTopic};
use tidegate_broker::settings::{Settings, StoreAddress};
use tidegate_broker::{BrokerStore, RunningBroker};
use tidegate_model::{Db, DbSettings};

use tidegate_store::TikvAddress;

use super::Figure;
use super::figures::percentiles;
use crate::store;

/// A broker that serves, with what a row needs of it.
pub(super) struct Stage {
    pub(super) broker: RunningBroker,
    pub(super) store: BrokerStore,
    pub(super) address: String,
    _directory: tempfile::TempDir,
}

impl Stage {
    pub(super) async fn open(address: &StoreAddress) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("tidegate-bench-").tempdir()?;
        let (broker, store) = start(&settings(directory.path(), address)?).await?;
        let address = broker.listen().to_string();
        Ok(Self { broker, store, address, _directory: directory })
    }

    pub(super) fn client(&self) -> ClientOptions {
        ClientOptions::new(&self.address)
    }

    pub(super) fn db(&self) -> Db<BrokerStore> {
        Db::new(self.store.clone(), DbSettings::default(), self.broker.wakeup())
    }

    pub(super) async fn create(&self, topic: &str, partitions: i32, delivery: &str) -> anyhow::Result<()> {
        create(self.client(), topic, partitions, delivery).await
    }

    pub(super) async fn close(self) {
        self.broker.stop().await;
        store::shutdown(&self.store).await;
    }
}

/// Creates a topic on a broker.
pub(super) async fn create(
    client: ClientOptions,
    topic: &str,
    partitions: i32,
    delivery: &str,
) -> anyhow::Result<()> {
    let topic = NewTopic {
        name: topic.to_owned(),
        partitions: Some(partitions),
        configs: vec![("tidegate.delivery".to_owned(), delivery.to_owned())],
    };
    Ok(Admin::connect(client).await?.create_topic(&topic).await?)
}

/// A store of its own, which no broker serves.
pub(super) async fn fresh_store(address: &StoreAddress) -> anyhow::Result<(BrokerStore, tempfile::TempDir)> {
    let directory = tempfile::Builder::new().prefix("tidegate-bench-").tempdir()?;
    Ok((store::open(&settings(directory.path(), address)?).await?, directory))
}

fn settings(directory: &std::path::Path, address: &StoreAddress) -> anyhow::Result<Settings> {
    let mut settings = Settings::default();
    settings.set("listen", "127.0.0.1:0")?;
    settings.set("admin", "127.0.0.1:0")?;
    settings.set("group.initial.rebalance.delay.ms", "0")?;
    settings.data_dir = directory.to_owned();
    settings.store = unused(address);
    Ok(settings)
}

/// A store that nobody has used.
pub(super) fn unused(address: &StoreAddress) -> StoreAddress {
    match address {
        StoreAddress::Embedded => StoreAddress::Embedded,
        StoreAddress::Tikv(shared) => {
            let namespace = format!("{}-{:08x}", shared.namespace, rand::random::<u32>());
            StoreAddress::Tikv(TikvAddress { namespace, ..shared.clone() })
        }
    }
}

async fn start(settings: &Settings) -> anyhow::Result<(RunningBroker, BrokerStore)> {
    let store = store::open(settings).await?;
    let broker = RunningBroker::start(settings.clone(), store.clone()).await?;
    Ok((broker, store))
}

/// From nothing to serving, without the start of the process: a new store, and one that is there.
pub(super) async fn start_up(address: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let directory = tempfile::Builder::new().prefix("tidegate-bench-").tempdir()?;
    let settings = settings(directory.path(), address)?;
    let mut rows = Vec::new();
    for what in ["start-up on a new store", "start-up on a store that is there"] {
        let began = Instant::now();
        let (broker, store) = start(&settings).await?;
        rows.extend(percentiles(what, vec![began.elapsed()]).into_iter().take(1));
        broker.stop().await;
        store::shutdown(&store).await;
    }
    Ok(rows)
}
