//! Where the bytes of a backup come from.

use bytes::Bytes;
use clap::ArgMatches;
use tidegate_backup::{Compression, Export};
use tidegate_broker::BrokerStore;
use tidegate_store::{AnyTxn, OpenError};

use super::download::Download;
use crate::{offline_store, store};

/// The bytes of one backup.
pub(super) enum Source {
    /// From a broker.
    Broker(Download),
    /// From a store that this process has opened.
    Store(Box<Export<AnyTxn>>, BrokerStore),
}

impl Source {
    pub(super) async fn open(arguments: &ArgMatches) -> anyhow::Result<Self> {
        let compression = arguments.get_one::<String>("compression").expect("it has a default");
        if !offline_store::is_given(arguments) {
            let admin = arguments.get_one::<String>("admin").expect("it has a default");
            let path = format!("/v1/backup?compression={compression}");
            return Ok(Self::Broker(Download::begin(admin, &path).await?));
        }
        let store = offline_store::open_existing(arguments).await.map_err(with_remedy)?;
        let compression = if compression == "none" { Compression::None } else { Compression::Zstd };
        let export = Export::begin(&store, compression, env!("CARGO_PKG_VERSION")).await?;
        Ok(Self::Store(Box::new(export), store))
    }

    /// The next bytes; none after the last.
    pub(super) async fn next_bytes(&mut self) -> anyhow::Result<Option<Bytes>> {
        match self {
            Self::Broker(download) => download.next_bytes().await,
            Self::Store(export, _) => Ok(export.next_bytes().await?),
        }
    }

    /// Ends what was read.
    pub(super) async fn close(self) {
        if let Self::Store(export, store) = self {
            drop(export);
            store::shutdown(&store).await;
        }
    }
}

/// Says what to do where a broker has the store.
fn with_remedy(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<OpenError>() {
        Some(OpenError::InUse { .. }) => {
            error.context("a broker that serves is asked for its backup: give --admin and no --data-dir")
        }
        _ => error,
    }
}
