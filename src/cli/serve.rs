//! `tidegate serve`: a broker until SIGTERM or SIGINT.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use clap::{ArgMatches, Command};
use tidegate_broker::settings::Settings;
use tidegate_broker::{BrokerStore, RunningBroker, embedded_options};
use tidegate_store::{EmbeddedStore, SystemClock};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::{logging, open_files, settings_flags};

const LONG_ABOUT: &str = "\
Serves Kafka clients until SIGTERM or SIGINT, then answers what it has read and stops.

The first line on standard output says that it serves, and where. Logs go to standard error. Every setting can be given \
in a file (--config), as an environment variable (TIDEGATE_NUM_PARTITIONS=3) or as a flag (--num-partitions 3); flags \
beat the environment, which beats the file. `-h` shows the common ones, `--help` all of them.";

pub(crate) fn command() -> Command {
    Command::new("serve")
        .about("Serves Kafka clients on an embedded store")
        .long_about(LONG_ABOUT)
        .args(settings_flags::arguments())
}

pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let settings = settings_flags::settings(matches)?;
    logging::start(&settings)?;
    // Before anything else that takes time: a signal that comes early must not be lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    open_files::raise_limit();
    let store = open_store(&settings).await?;
    let broker = RunningBroker::start(settings.clone(), BrokerStore::from(store.clone())).await?;
    announce(&broker, &settings)?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = store.closed() => Some(reason),
    };
    info!("stopping");
    broker.stop().await;
    store.shutdown().await;
    match failed {
        None => Ok(()),
        Some(reason) => anyhow::bail!("the store has closed: {reason}"),
    }
}

/// Opens the embedded store of the settings' directory.
pub(crate) async fn open_store(settings: &Settings) -> anyhow::Result<EmbeddedStore> {
    let options = embedded_options(settings, Arc::new(SystemClock));
    let directory = settings.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&directory, options)).await?;
    opened.with_context(|| format!("cannot open the store in {}", settings.data_dir.display()))
}

fn announce(broker: &RunningBroker, settings: &Settings) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "tidegate serves Kafka on {}, admin on http://{}, data in {}",
        broker.listen(),
        broker.admin(),
        settings.data_dir.display()
    )?;
    out.flush()?;
    Ok(())
}
