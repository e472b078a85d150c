//! A process that produces, publishes, cancels and relays on the embedded store is killed, again and again.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_store::{EmbeddedOptions, EmbeddedStore, ManualClock};

use crate::fixture::{
    NOW_MS, Owner, TOPIC, block_on, commit, create_topic, event, partition, publish, values_of, waiting,
};
use crate::hold::fixture::{idempotent, named, produce, record};
use crate::schedule;

/// Set for the process that is to be killed: the directory, and the number of its first round.
const DIRECTORY: &str = "TIDEGATE_TEST_KILL_DIRECTORY";
const FIRST_ROUND: &str = "TIDEGATE_TEST_KILL_FIRST_ROUND";
const TEST: &str =
    "proofs::kill::what_was_acknowledged_survives_kill_9_once_and_is_answered_as_the_first_time";
const KILLS: usize = 8;
const ROUND_MS: i64 = 10;

fn open(directory: &Path, now_ms: i64) -> (EmbeddedStore, ManualClock) {
    let clock = ManualClock::at(now_ms);
    let defaults = EmbeddedOptions::new(Arc::new(clock.clone()));
    let options = EmbeddedOptions { overlay_bytes: 192 << 10, segment_bytes: 1 << 20, ..defaults };
    (EmbeddedStore::open(directory, options).expect("nobody else has it"), clock)
}

fn start_ms(round: usize) -> i64 {
    NOW_MS + i64::try_from(round).expect("a few") * ROUND_MS
}

/// Whether the batch of a round is held as a whole; else its first record is for now.
fn is_whole(round: usize) -> bool {
    round / 2 % 2 == 1
}

/// What an idempotent producer sends in a round: two records, of which one or both are to be held for some rounds.
fn batch_of(round: usize) -> Bytes {
    let now_ms = start_ms(round);
    let first_ms = if is_whole(round) { now_ms + 2 * ROUND_MS } else { now_ms };
    let held = named(record(&format!("held {round}"), now_ms + 3 * ROUND_MS), &format!("s{round}"));
    let sequence = i32::try_from(2 * round).expect("a few");
    idempotent(vec![record(&format!("first {round}"), first_ms), held], sequence)
}

/// Says that something is done, to whoever kills this process.
fn acknowledge(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nack {what}").and_then(|()| out.flush()).expect("somebody listens");
}

/// Round after round, until it is killed.
async fn work(directory: &Path, first_round: usize) {
    let (store, clock) = open(directory, start_ms(first_round));
    let mut owner = Owner::of(&store, partition(0)).await;
    for round in first_round.. {
        clock.set(start_ms(round));
        produce(&store, &owner, &batch_of(round)).await;
        acknowledge(&format!("batch {round}"));
        publish(&store, event("k", &format!("event {round}"))).await.expect("published");
        acknowledge(&format!("event {round}"));
        if round % 2 == 0 {
            let name = format!("s{round}");
            let found = commit(&store, async |_, txn| schedule::cancel(txn, TOPIC, &name).await).await;
            assert!(found.expect("readable").is_some(), "it is held for some rounds");
            acknowledge(&format!("cancel {round}"));
        }
        owner.drain(&store).await;
    }
}

/// Starts the process, kills it after so many acknowledgements, and gives all that it made.
fn kill_after(directory: &Path, first_round: usize, acknowledgements: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", TEST, "--nocapture"])
        .env(DIRECTORY, directory)
        .env(FIRST_ROUND, first_round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    let mut acknowledged = Vec::new();
    for line in lines {
        if let Some(what) = line.expect("text").strip_prefix("ack ") {
            acknowledged.push(what.to_owned());
        }
        if acknowledged.len() == acknowledgements {
            child.kill().expect("it runs until it is killed");
        }
    }
    child.wait().expect("it was killed");
    assert!(acknowledged.len() >= acknowledgements, "it ran until it was killed");
    acknowledged
}

/// Repeats the last batches, as a producer does that has lost its connection; gives the first round after them.
async fn repeat_last(directory: &Path, acknowledged: &BTreeSet<String>, first_round: usize) -> usize {
    let is_acknowledged = |round: usize| acknowledged.contains(&format!("batch {round}"));
    let unknown = (first_round..).find(|round| !is_acknowledged(*round)).expect("it was killed");
    let (store, _) = open(directory, start_ms(unknown));
    let owner = Owner::of(&store, partition(0)).await;
    let repeated = unknown.saturating_sub(4)..=unknown;
    assert!(repeated.clone().any(is_whole) && !repeated.clone().all(is_whole), "of both kinds");
    for round in repeated {
        let repeated = produce(&store, &owner, &batch_of(round)).await.appended;
        assert_eq!(repeated.base_offset, tidegate_log::UNKNOWN_OFFSET);
        assert!(repeated.repeated || !is_acknowledged(round), "batch {round} is known");
    }
    store.shutdown().await;
    unknown + 1
}

async fn check(directory: &Path, acknowledged: &BTreeSet<String>, rounds: usize) {
    let (store, clock) = open(directory, start_ms(rounds));
    clock.advance(60_000);
    let mut owner = Owner::of(&store, partition(0)).await;
    owner.drain(&store).await;
    assert_eq!(waiting(&store, partition(0)).await, (0, 0, 0));
    let values = values_of(&store, partition(0)).await;
    let logged: BTreeSet<&str> = values.iter().map(String::as_str).collect();
    assert_eq!(logged.len(), values.len(), "nothing is in the log twice");
    for round in 0..rounds {
        assert!(logged.contains(format!("first {round}").as_str()), "round {round}");
        let is_held = logged.contains(format!("held {round}").as_str());
        let is_cancelled = acknowledged.contains(&format!("cancel {round}"));
        assert!(is_held != is_cancelled || (round % 2 == 0 && !is_held), "held record of round {round}");
        let is_published = acknowledged.contains(&format!("event {round}"));
        assert!(!is_published || logged.contains(format!("event {round}").as_str()), "event {round}");
    }
    let others = logged.iter().filter(|value| !value.starts_with("event")).count();
    assert!(others <= 2 * rounds, "nothing that nobody produced");
}

#[test]
fn what_was_acknowledged_survives_kill_9_once_and_is_answered_as_the_first_time() {
    if let (Ok(directory), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(FIRST_ROUND)) {
        block_on(work(Path::new(&directory), round.parse().expect("a number")));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut acknowledged = BTreeSet::new();
    let mut round = 0;
    block_on(async {
        let (store, _) = open(directory.path(), NOW_MS);
        create_topic(&store, 1).await;
        store.shutdown().await;
    });
    for kill in 0..KILLS {
        // Not a multiple of a round's acknowledgements, so that it is hit at different places.
        acknowledged.extend(kill_after(directory.path(), round, 40 + 7 * kill));
        round = block_on(repeat_last(directory.path(), &acknowledged, round));
    }
    block_on(check(directory.path(), &acknowledged, round));
}
