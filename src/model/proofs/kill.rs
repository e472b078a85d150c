//! The process is killed, again and again, in the midst of transactions and relays.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tidegate_store::{EmbeddedOptions, EmbeddedStore, ManualClock};

use super::application::{Told, run};
use super::expected::check;
use crate::fixture::NOW_MS;

/// Set for the process that is to be killed: the directory, and the number of its round.
const DIRECTORY: &str = "TIDEGATE_TEST_KILL_DIRECTORY";
const ROUND: &str = "TIDEGATE_TEST_KILL_ROUND";
const TEST: &str =
    "proofs::kill::whatever_kill_9_hits_all_that_is_stored_is_what_the_committed_transactions_left";
/// How many times it is killed; `TIDEGATE_KILL_ROUNDS` raises it.
const ROUNDS: u64 = 20;
/// Transactions of a round have numbers of their own.
const NUMBERS_PER_ROUND: u64 = 1_000_000;
/// Longer than a round takes by its own clock, which goes on with the transactions.
const ROUND_MS: i64 = 1_000_000;
const SEED: u64 = 7;

/// Opens the store in a round, or after it: then everything that was scheduled in the round is due.
fn open(directory: &Path, round: u64, is_after: bool) -> (EmbeddedStore, ManualClock) {
    let began_ms = NOW_MS + i64::try_from(round).expect("a few") * ROUND_MS;
    let clock = ManualClock::at(if is_after { began_ms + ROUND_MS - 1 } else { began_ms });
    let defaults = EmbeddedOptions::new(Arc::new(clock.clone()));
    let options =
        EmbeddedOptions { overlay_bytes: 64 << 10, segment_bytes: 1 << 20, reserve_bytes: 0, ..defaults };
    (EmbeddedStore::open(directory, options).expect("nobody else has it"), clock)
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

/// Says that a transaction is committed, to whoever kills this process.
fn acknowledge(lane: u8, number: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nack {lane} {number}").and_then(|()| out.flush()).expect("somebody listens");
}

/// Runs transactions until it is killed.
async fn work(directory: &Path, round: u64) {
    let (store, clock) = open(directory, round, false);
    let mut told = Told::default();
    told.begin_at(round * NUMBERS_PER_ROUND);
    run(&store, &clock, SEED, &mut told, usize::MAX, acknowledge).await;
    panic!("it goes on until it is killed");
}

/// Starts the process, kills it after so many acknowledgements, and takes in all that it made.
fn kill_after(directory: &Path, round: u64, acknowledgements: u64, told: &mut Told) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", TEST, "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut count = 0;
    for line in BufReader::new(child.stdout.take().expect("it was asked for")).lines() {
        let line = line.expect("text");
        let Some((lane, number)) = line.strip_prefix("ack ").and_then(|ack| ack.split_once(' ')) else {
            continue;
        };
        told.committed.insert((lane.parse().expect("a lane"), number.parse().expect("a number")));
        count += 1;
        if count == acknowledgements {
            child.kill().expect("it runs until it is killed");
        }
    }
    child.wait().expect("it was killed");
    assert!(count >= acknowledgements, "it ran until it was killed");
}

/// As `TIDEGATE_KILL_ROUNDS` says, and never fewer than are promised.
fn rounds() -> u64 {
    let asked = std::env::var("TIDEGATE_KILL_ROUNDS").ok();
    let rounds = asked.map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    assert!(rounds >= ROUNDS, "TIDEGATE_KILL_ROUNDS={rounds}: tests/README.md promises {ROUNDS}");
    rounds
}

#[test]
fn whatever_kill_9_hits_all_that_is_stored_is_what_the_committed_transactions_left() {
    if let (Ok(directory), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(ROUND)) {
        block_on(work(Path::new(&directory), round.parse().expect("a number")));
    }
    let rounds = rounds();
    let directory = tempfile::tempdir().expect("a directory");
    let mut told = Told::default();
    for round in 0..rounds {
        // Not a multiple of anything, so that it is hit at different places.
        kill_after(directory.path(), round, 20 + 7 * (round % 13), &mut told);
        block_on(async {
            let (store, _) = open(directory.path(), round, true);
            check(&store, SEED, &told).await;
            store.shutdown().await;
        });
    }
}
