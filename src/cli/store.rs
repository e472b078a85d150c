//! The store that the settings name, from its opening to its end.

use std::sync::Arc;

use anyhow::Context;
use tidegate_broker::settings::{Settings, StoreAddress};
use tidegate_broker::{BrokerStore, embedded_options, tikv_options};
use tidegate_store::{EmbeddedOptions, EmbeddedStore, SystemClock, TikvStore, Version};

/// Opens it.
pub(crate) async fn open(settings: &Settings) -> anyhow::Result<BrokerStore> {
    open_after(settings, Version::default()).await
}

/// As [`open`], with versions that come after a given one. A cluster's come from its oracle.
pub(crate) async fn open_after(settings: &Settings, versions_after: Version) -> anyhow::Result<BrokerStore> {
    match &settings.store {
        StoreAddress::Embedded => {
            let options = embedded_options(settings, Arc::new(SystemClock));
            let options = EmbeddedOptions { versions_after, ..options };
            let directory = settings.data_dir.clone();
            let opened =
                tokio::task::spawn_blocking(move || EmbeddedStore::open(&directory, options)).await?;
            let store = opened
                .with_context(|| format!("cannot open the store in {}", settings.data_dir.display()))?;
            Ok(store.into())
        }
        StoreAddress::Tikv(address) => {
            let opened = TikvStore::connect(tikv_options(settings, address)).await;
            Ok(opened.with_context(|| format!("cannot open the store {address}"))?.into())
        }
    }
}

/// Waits until the store has closed by itself, and gives the reason. Only the embedded one does, when its disk has failed;
/// a cluster that is away comes back.
pub(crate) async fn closed(store: &BrokerStore) -> String {
    match store {
        BrokerStore::Embedded(store) => store.closed().await.to_string(),
        _ => std::future::pending().await,
    }
}

/// Ends it in order.
pub(crate) async fn shutdown(store: &BrokerStore) {
    match store {
        BrokerStore::Embedded(store) => store.shutdown().await,
        BrokerStore::Tikv(store) => store.shutdown().await,
        _ => {}
    }
}
