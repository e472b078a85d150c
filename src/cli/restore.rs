//! `tidegate restore`: what a backup holds, into an empty store.

mod input;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;
use tidegate_backup::{Header, Part, Renewal, Restore, RestoreError, Restored, Summary};
use tidegate_broker::BrokerStore;
use uuid::Uuid;

use self::input::Input;
use crate::output::{json_argument, print_done, time_text};
use crate::progress::Progress;
use crate::snapshot_text::{cluster_text, digest_text};
use crate::stop_signal::StopSignal;
use crate::{offline_store, store};

/// How long to wait for a store whose clock is behind the backup, and how often to look.
const CLOCK_WAIT_MAX: Duration = Duration::from_secs(60);
const CLOCK_WAIT: Duration = Duration::from_secs(1);

const LONG_ABOUT: &str = "\
Reads a file of `tidegate backup` and writes what it holds into an empty store, for `tidegate serve`.

The file is read and checked to its end before anything is written (what comes from standard input is checked as it is \
written). A restore that does not end leaves a store that says so: `serve` refuses it, and `restore` begins anew there. \
Consumers go on from the offsets of the backup, schedules that came due since are delivered once, producers go on. \
Epochs of partitions and producer ids leap, so that clients of the original notice that the log was cut.

The cluster keeps its id. For a copy that is to stand beside the original, give --new-cluster-id.

Progress goes to standard error, as lines of JSON with --json. The exit code is 0 if the store is whole (with --check: if \
the file is), 1 if not, 2 for arguments that make no sense.

  tidegate restore --from 2026-11-29.tidegate --data-dir /var/lib/tidegate
  tidegate restore --from 2026-11-29.tidegate --check";

pub(crate) fn command() -> Command {
    Command::new("restore")
        .about("Writes what a backup holds into an empty store")
        .long_about(LONG_ABOUT)
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("FILE")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("The file of `tidegate backup`; `-` for standard input"),
        )
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Only check the file, to its end"),
        )
        .arg(
            Arg::new("new-cluster-id")
                .long("new-cluster-id")
                .action(ArgAction::SetTrue)
                .conflicts_with("check")
                .help("Give the cluster a new id: for a copy beside the original"),
        )
        .arg(json_argument())
        .args(offline_store::arguments(
            "Restore into this directory, which is made if it is missing",
            "Restore into this store, tikv://PD:PORT/NAMESPACE",
        ))
}

pub(crate) async fn run(arguments: &ArgMatches) -> anyhow::Result<()> {
    let mut stop = StopSignal::new()?;
    let from = arguments.get_one::<PathBuf>("from").expect("clap requires it").clone();
    if arguments.get_flag("check") {
        let summary = tokio::select! {
            summary = check_aside(&from, arguments.get_flag("json")) => summary?,
            () = stop.received() => anyhow::bail!("interrupted"),
        };
        return say(arguments, "whole:", &summary, summary.header.cluster);
    }
    anyhow::ensure!(
        offline_store::is_given(arguments),
        "say where to restore to: --data-dir DIRECTORY or --store ADDRESS (or --check, to check the file only)"
    );
    let (summary, restored) = tokio::select! {
        done = restore(arguments, &from) => done?,
        () = stop.received() => anyhow::bail!(
            "interrupted: the store is not whole, and `serve` refuses it; run `restore` again, which begins anew"
        ),
    };
    say(arguments, "restored", &summary, restored.cluster)
}

fn say(arguments: &ArgMatches, what: &str, summary: &Summary, cluster: Option<Uuid>) -> anyhow::Result<()> {
    let Summary { header, entries, entry_bytes, file_bytes, .. } = summary;
    let sentence = format!(
        "{what} {entries} entries ({entry_bytes} bytes) as of {}, cluster {}, digest {}",
        time_text(header.snapshot.unix_ms()),
        cluster_text(cluster),
        digest_text(summary),
    );
    let said = json!({
        "entries": entries,
        "entry_bytes": entry_bytes,
        "file_bytes": file_bytes,
        "snapshot_ms": header.snapshot.unix_ms(),
        "release": header.release,
        "cluster_id": cluster.map(|id| cluster_text(Some(id))),
        "digest": digest_text(summary),
    });
    print_done(arguments, &sentence, &said)
}

/// As [`check`], on a thread that may wait for the disk.
async fn check_aside(from: &Path, json: bool) -> anyhow::Result<Summary> {
    let from = from.to_owned();
    tokio::task::spawn_blocking(move || check(&from, json)).await?
}

/// Reads a file to its end, and tries on its entries what a restore would do to them.
fn check(from: &Path, json: bool) -> anyhow::Result<Summary> {
    let mut input = Input::open(from)?;
    let mut progress = Progress::new("check", json);
    let mut renewal = Renewal::default();
    let mut entries = 0;
    while let Some(part) = input.next_part()? {
        if let Part::Entries(found) = part {
            entries += found.len() as u64;
            for (key, value) in found {
                renewal.renew(key, value)?;
            }
        }
        progress.show(entries, input.offset(), input.len());
    }
    renewal.rest()?.for_each(drop);
    let summary = input.finish()?;
    progress.end(entries, summary.file_bytes);
    Ok(summary)
}

async fn restore(arguments: &ArgMatches, from: &Path) -> anyhow::Result<(Summary, Restored)> {
    let json = arguments.get_flag("json");
    let is_file = from.as_os_str() != "-";
    let checked = if is_file { Some(check_aside(from, json).await?) } else { None };
    let mut input = Input::open(from)?;
    let header = input.header()?;
    let cluster = match arguments.get_flag("new-cluster-id") {
        true => Some(Uuid::new_v4()),
        false => header.cluster,
    };
    let store = offline_store::open_new(arguments, header.snapshot).await?;
    let restore = begin(&store, &header, cluster).await?;
    let written = write(restore, input, checked.as_ref(), json).await;
    store::shutdown(&store).await;
    written.context(
        "the restore did not end, and `serve` refuses the store: run `restore` again, which begins anew",
    )
}

/// Begins to restore; waits for a store whose clock is a little behind.
async fn begin(
    store: &BrokerStore,
    header: &Header,
    cluster: Option<Uuid>,
) -> anyhow::Result<Restore<BrokerStore>> {
    let deadline = Instant::now() + CLOCK_WAIT_MAX;
    loop {
        match Restore::begin(store.clone(), header, cluster, Uuid::new_v4()).await {
            Err(RestoreError::VersionsBehind { behind_ms })
                if Duration::from_millis(behind_ms.unsigned_abs()) < deadline - Instant::now() =>
            {
                eprintln!("waiting: the store's clock is {behind_ms} ms behind the backup's last commit");
                tokio::time::sleep(CLOCK_WAIT).await;
            }
            begun => return Ok(begun?),
        }
    }
}

async fn write(
    mut restore: Restore<BrokerStore>,
    mut input: Input,
    checked: Option<&Summary>,
    json: bool,
) -> anyhow::Result<(Summary, Restored)> {
    let mut progress = Progress::new("restore", json);
    let mut entries = 0;
    while let Some(part) = input.next_part()? {
        if let Part::Entries(found) = part {
            entries += found.len() as u64;
            restore.write(found).await?;
        }
        progress.show(entries, input.offset(), input.len());
    }
    let summary = input.finish()?;
    anyhow::ensure!(
        checked.is_none_or(|checked| *checked == summary),
        "the file has changed since it was checked"
    );
    let restored = restore.finish().await?;
    progress.end(entries, summary.file_bytes);
    Ok((summary, restored))
}
