//! `tidegate serve`: a broker until SIGTERM or SIGINT.

use clap::{Arg, ArgMatches, Command};
use rustix::process::Signal;
use tidegate_broker::RunningBroker;
use tidegate_broker::settings::{Settings, settings_as_file};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::output::write_line;
use crate::stop_signal::StopSignal;
use crate::{logging, open_files, settings_flags, store};

const LONG_ABOUT: &str = "\
Serves Kafka clients until SIGTERM or SIGINT, then answers what it has read and stops.

Everything is kept in the store: embedded in one directory of this machine, or a TiKV cluster (--store). The first \
line on standard output says that it serves, where, and where the data is. Logs go to standard error. Every setting can be given \
in a file (--config), as an environment variable (TIDEGATE_NUM_PARTITIONS=3) or as a flag (--num-partitions 3); flags \
beat the environment, which beats the file. `-h` shows the common ones, `--help` all of them, and --show-settings what they \
are with what was given.";

pub(crate) fn command() -> Command {
    Command::new("serve")
        .about("Serves Kafka clients on an embedded store or on TiKV")
        .long_about(LONG_ABOUT)
        .args(settings_flags::arguments())
        .arg(
            Arg::new("show-settings")
                .long("show-settings")
                .num_args(0)
                .help("Print all settings as they would be, as a file for --config, and end"),
        )
}

pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let settings = settings_flags::settings(matches)?;
    if matches.get_flag("show-settings") {
        return write_line(settings_as_file(&settings).trim_end());
    }
    logging::start(&settings)?;
    // Before anything else that takes time: a signal that comes early must not be lost.
    let mut stop = StopSignal::new()?;
    // A write beyond the limit of a file's size is an error to be said, not the end without a word.
    let _too_large = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    open_files::raise_limit();
    let store = store::open(&settings).await?;
    let started = tokio::select! {
        started = RunningBroker::start(settings.clone(), store.clone()) => Some(started?),
        // It may wait for the lease of a broker that is gone.
        () = stop.received() => None,
    };
    let Some(broker) = started else { return Ok(()) };
    announce(&broker, &settings)?;
    let failed = tokio::select! {
        () = stop.received() => None,
        reason = store::closed(&store) => Some(format!("the store has closed: {reason}")),
        reason = broker.failed() => Some(reason),
    };
    info!("stopping");
    broker.stop().await;
    store::shutdown(&store).await;
    match failed {
        None => Ok(()),
        Some(reason) => anyhow::bail!(reason),
    }
}

fn announce(broker: &RunningBroker, settings: &Settings) -> anyhow::Result<()> {
    write_line(&format!(
        "tidegate serves Kafka on {}, admin on http://{}, data in {}",
        broker.listen(),
        broker.admin(),
        settings.place()
    ))
}
