//! The same on redb alone, each commit durable and quick to open after a crash.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use redb::{Database, TableDefinition};

use crate::trees::{FILL_VALUE_BYTES, GROUP, entries, fill_key, scattered};
use crate::written_bytes;

const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("entries");

/// Prints the rows of redb.
pub(crate) fn measure(dir: &Path, gib: u64, time: Duration) -> Result<()> {
    let path = dir.join("plain.redb");
    let database = Database::builder().set_cache_size(64 << 20).create(&path)?;
    let value = vec![1; usize::try_from(FILL_VALUE_BYTES)?];
    for start in (0..entries(gib)).step_by(20_000) {
        let numbers = start..entries(gib).min(start + 20_000);
        commit(&database, numbers, &value)?;
    }
    drop(database);
    for transactions in [1, GROUP] {
        let began = Instant::now();
        let database = Database::builder().set_cache_size(64 << 20).create(&path)?;
        let opening = began.elapsed();
        let before = written_bytes()?;
        let began = Instant::now();
        let mut groups = 0;
        while began.elapsed() < time {
            let numbers = (0..transactions).map(|n| scattered(groups * transactions + n, entries(gib)));
            commit(&database, numbers, &[2; 100])?;
            groups += 1;
        }
        let took = began.elapsed();
        let commits = groups * transactions;
        println!(
            "| redb alone | {transactions} | {:.0} | {:.2} ms | {:.1} KiB | {:.0} ms |",
            commits as f64 / took.as_secs_f64(),
            took.as_secs_f64() * 1e3 / groups as f64,
            (written_bytes()? - before) as f64 / commits as f64 / 1_024.0,
            opening.as_secs_f64() * 1e3,
        );
    }
    std::fs::remove_file(&path)?;
    Ok(())
}

/// One durable transaction that has them all: what a group is at best.
fn commit(database: &Database, numbers: impl Iterator<Item = u64>, value: &[u8]) -> Result<()> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let mut table = transaction.open_table(TABLE)?;
    for number in numbers {
        table.insert(fill_key(number).as_slice(), value)?;
    }
    drop(table);
    transaction.commit()?;
    Ok(())
}
