//! `tidegate backup`: one snapshot of everything into a file, from a broker that serves or a store that nobody serves.

mod download;
mod source;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;
use tidegate_backup::{Decoder, OutputFile, Part, Summary};

use self::source::Source;
use crate::bootstrap::admin_port_argument;
use crate::offline_store;
use crate::output::{json_argument, print_done, time_text};
use crate::progress::Progress;
use crate::snapshot_text::{cluster_text, digest_text};
use crate::stop_signal::StopSignal;

const LONG_ABOUT: &str = "\
Writes one snapshot of everything that is kept (models, events, logs, committed offsets, groups, schedules) into a file, \
while the broker serves; nobody waits for it. What belongs to running processes alone is left out.

The broker is asked at its admin port. With --data-dir the store of a broker that does not run is \
read instead, with --store a namespace of a TiKV cluster. The file \
is checked as it is written, and gets its name only once all of it is on disk; until then it is NAME.partial. It can be \
read by its owner only: it holds everything, and nothing in it is encrypted. `tidegate restore` reads it.

Progress goes to standard error, as lines of JSON with --json. The exit code is 0 if the backup is whole, 1 if there is \
none, 2 for arguments that make no sense.

  tidegate backup --to /backups/$(date +%F).tidegate
  tidegate backup --to - | ssh elsewhere 'cat > tidegate.backup'";

pub(crate) fn command() -> Command {
    Command::new("backup")
        .about("Writes one snapshot of everything into a file, while the broker serves")
        .long_about(LONG_ABOUT)
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("FILE")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("The file to write; `-` for standard output"),
        )
        .arg(admin_port_argument())
        .arg(
            Arg::new("compression")
                .long("compression")
                .value_name("HOW")
                .value_parser(["zstd", "none"])
                .default_value("zstd")
                .help("How the file is compressed"),
        )
        .arg(
            Arg::new("replace")
                .long("replace")
                .action(ArgAction::SetTrue)
                .help("Replace a file of that name"),
        )
        .arg(json_argument())
        .args(offline_store::arguments(
            "Read the store in this directory, which no broker serves",
            "Read this store, tikv://PD:PORT/NAMESPACE, whether or not a broker serves it",
        ))
}

pub(crate) async fn run(arguments: &ArgMatches) -> anyhow::Result<()> {
    let mut stop = StopSignal::new()?;
    let summary = tokio::select! {
        summary = take(arguments) => summary?,
        () = stop.received() => anyhow::bail!("interrupted: there is no backup"),
    };
    let to = arguments.get_one::<PathBuf>("to").expect("clap requires it");
    let sentence = format!(
        "backed up {} entries as of {} into {} ({} bytes), cluster {}, digest {}",
        summary.entries,
        time_text(summary.header.snapshot.unix_ms()),
        to.display(),
        summary.file_bytes,
        cluster_text(summary.header.cluster),
        digest_text(&summary),
    );
    let said = json!({
        "file": to,
        "entries": summary.entries,
        "entry_bytes": summary.entry_bytes,
        "file_bytes": summary.file_bytes,
        "snapshot_ms": summary.header.snapshot.unix_ms(),
        "cluster_id": summary.header.cluster.map(|id| cluster_text(Some(id))),
        "digest": digest_text(&summary),
    });
    if to.as_os_str() == "-" {
        eprintln!("{}", if arguments.get_flag("json") { said.to_string() } else { sentence });
        return Ok(());
    }
    print_done(arguments, &sentence, &said)
}

/// Copies and checks.
async fn take(arguments: &ArgMatches) -> anyhow::Result<Summary> {
    let to = arguments.get_one::<PathBuf>("to").expect("clap requires it");
    let mut sink = Sink::create(to, arguments.get_flag("replace"))?;
    let mut source = Source::open(arguments).await?;
    let mut progress = Progress::new("backup", arguments.get_flag("json"));
    let mut decoder = Decoder::new();
    let mut entries = 0;
    while let Some(bytes) = source.next_bytes().await? {
        decoder.feed(&bytes);
        while let Some(part) = decoder.next_part()? {
            if let Part::Entries(found) = part {
                entries += found.len() as u64;
            }
        }
        sink.write(&bytes)?;
        progress.show(entries, decoder.offset(), None);
    }
    let summary = decoder.finish()?;
    source.close().await;
    sink.finish()?;
    progress.end(entries, summary.file_bytes);
    Ok(summary)
}

/// Where the bytes go.
enum Sink {
    File(OutputFile),
    StandardOutput,
}

impl Sink {
    fn create(to: &Path, replace: bool) -> anyhow::Result<Self> {
        if to.as_os_str() == "-" {
            return Ok(Self::StandardOutput);
        }
        match OutputFile::create(to, replace) {
            Err(tidegate_backup::OutputError::Exists { path }) => {
                anyhow::bail!("{} is there already: choose another name, or give --replace", path.display())
            }
            created => Ok(Self::File(created?)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::File(file) => Ok(file.write(bytes)?),
            Self::StandardOutput => std::io::stdout().lock().write_all(bytes).context("standard output"),
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::File(file) => Ok(file.finish()?),
            Self::StandardOutput => std::io::stdout().lock().flush().context("standard output"),
        }
    }
}
