//! The commands as they are run, and what is in a broker before a backup is taken.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tidegate_tests::admin::log_bounds;
use tidegate_tests::broker::{Broker, binary};
use tidegate_tests::program::run;
use tidegate_tests::wire::{self, Connection};

pub(crate) const TOPIC: &str = "flights";
pub(crate) const GROUP: &str = "board";
pub(crate) const PARTITIONS: i32 = 4;

pub(crate) fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments);
    command
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is plain")
}

/// Runs a command that succeeds; what it said on standard output.
pub(crate) fn done(command: &mut Command) -> Vec<String> {
    let outcome = run(command);
    assert!(outcome.success, "{command:?}: {}", outcome.standard_error);
    outcome.lines
}

/// What a command that fails says.
pub(crate) fn refused(command: &mut Command) -> String {
    let outcome = run(command);
    assert!(!outcome.success, "{command:?} succeeded: {:?}", outcome.lines);
    outcome.standard_error
}

pub(crate) fn backup(broker: &Broker, file: &Path) -> Command {
    tidegate(&["backup", "--admin", broker.admin(), "--to", text(file)])
}

pub(crate) fn restore(file: &Path, data: &Path) -> Command {
    tidegate(&["restore", "--from", text(file), "--data-dir", text(data)])
}

/// A directory with the place for a backup.
pub(crate) fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("backup.tidegate");
    (directory, file)
}

pub(crate) fn json(lines: &[String]) -> serde_json::Value {
    serde_json::from_str(&lines.join("\n")).expect("JSON")
}

pub(crate) fn partial(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

pub(crate) fn produce(bootstrap: &str, what: &str, records: usize) {
    let mut connection = Connection::open(bootstrap);
    for number in 0..records {
        let batch = wire::batch(format!("{what} {number}").as_bytes(), 0);
        let (error, _) = wire::produce(&mut connection, TOPIC, &batch).expect("it is answered");
        assert_eq!(error, 0);
    }
}

/// Produces so many MiB that do not compress, into partition 0.
pub(crate) fn fill(broker: &Broker, mib: usize) {
    let mut connection = Connection::open(broker.bootstrap());
    let mut noise = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..mib * 2 {
        let value: Vec<u8> = (0..(512 << 10) / 8)
            .flat_map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                noise.to_le_bytes()
            })
            .collect();
        let (error, _) =
            wire::produce(&mut connection, TOPIC, &wire::batch(&value, 0)).expect("it is answered");
        assert_eq!(error, 0);
    }
}

pub(crate) fn ends(broker: &Broker) -> Vec<(i64, i64)> {
    (0..PARTITIONS).map(|partition| log_bounds(broker.bootstrap(), TOPIC, partition)).collect()
}
