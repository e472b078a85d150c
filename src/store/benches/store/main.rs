//! What the embedded store does in a second, as tables. Nothing passes or fails here.
//!
//! `cargo bench -p tidegate-store -- --help` has the options.

#![allow(missing_docs)]

mod load;
mod plain_redb;
mod trees;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tidegate_store::{EmbeddedOptions, EmbeddedStore, SystemClock};

use load::Kind;

/// Measures the embedded store, with every commit on disk before it is acknowledged.
#[derive(Parser)]
struct Arguments {
    /// Sizes of the tree under the commits, in GiB; each takes twice its size on disk while it is measured
    #[arg(long, value_delimiter = ',', default_values_t = [0, 4])]
    tree_gib: Vec<u64>,
    /// How long each row is measured, in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Where the stores are made and removed again; on the disk that is to be measured
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
    /// Only the tables whose name contains this: load 100 B, load row, load append, opening, trees
    #[arg(long, default_value = "")]
    only: String,
    /// Only the rows with so many committers
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 128])]
    committers: Vec<u64>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let measure = Duration::from_secs(arguments.seconds.max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let dir = tempfile::Builder::new().prefix("tidegate-bench-").tempdir_in(&arguments.directory)?;
    let wanted = |table: &str| table.contains(&arguments.only);
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| wanted(kind.table())).collect();
    if !kinds.is_empty() {
        runtime.block_on(load::measure(dir.path(), &kinds, &arguments.committers, measure))?;
    }
    if wanted("opening") {
        runtime.block_on(load::measure_opening(dir.path(), measure))?;
    }
    if wanted("trees") {
        for gib in &arguments.tree_gib {
            runtime.block_on(trees::measure(dir.path(), *gib, measure))?;
            plain_redb::measure(dir.path(), *gib, measure)?;
        }
    }
    Ok(())
}

/// Opens a store as a broker does.
fn open(dir: &std::path::Path) -> Result<EmbeddedStore> {
    let options = EmbeddedOptions::new(Arc::new(SystemClock));
    EmbeddedStore::open(dir, options).with_context(|| format!("opening {}", dir.display()))
}

/// How many bytes this process has given to the file system so far. (What the kernel counts as written to the disk are
/// the pages that became dirty together, however little of them.)
fn written_bytes() -> Result<u64> {
    let counters = std::fs::read_to_string("/proc/self/io").context("the counters of this process")?;
    let line = counters.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(line.context("wchar")?.parse()?)
}

/// What the disk writes for a group beside its bytes, as they neither begin nor end with a block.
const BLOCK_BYTES: u64 = 4_096;

/// How much memory this process has resident, in MiB.
fn resident_mib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("the status of this process")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1_024)
}
