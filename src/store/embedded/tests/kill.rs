//! `kill -9` of a real process under load, on real files: what it acknowledged is there, in order and whole.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use rand::Rng;

use super::super::{EmbeddedOptions, EmbeddedStore};
use crate::{Direction, KeyRange, ScanLimit, Store, SystemClock, Txn};

/// How often the process is killed; `TIDEGATE_KILL_ROUNDS` raises it.
const ROUNDS: usize = 20;
const CLIENTS: u64 = 8;
/// Tells the process that it is the one to be killed, and where the store is.
const DIR_VARIABLE: &str = "TIDEGATE_KILL_DIR";
const THIS_TEST: &str = "embedded::tests::kill::what_a_killed_process_acknowledged_is_there";
const ACKNOWLEDGED: &str = "acknowledged";

fn open(dir: &Path) -> EmbeddedStore {
    let mut options = EmbeddedOptions::new(Arc::new(SystemClock));
    options.overlay_bytes = 900_000;
    options.journal_flush_bytes = 4 << 20;
    options.segment_bytes = 2 << 20;
    options.journal_ahead_bytes = 256 << 10;
    EmbeddedStore::open(dir, options).unwrap()
}

fn count_key(client: u64) -> Bytes {
    format!("count/{client}").into()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

/// Each client counts up; each count is an event in the same transaction, and every fourth a large value.
async fn count_up(store: EmbeddedStore, client: u64) {
    loop {
        let mut txn = store.begin().await.unwrap();
        let count = txn.get(&count_key(client)).await.unwrap().map_or(0, |count| number(&count)) + 1;
        txn.put(count_key(client), Bytes::copy_from_slice(&count.to_be_bytes()));
        let mut suffix = BytesMut::new();
        suffix.put_u64(client);
        suffix.put_u64(count);
        txn.put_versioned("event/".into(), suffix.freeze(), "1".into());
        if count % 4 == 0 {
            let large = count.to_be_bytes().repeat(1_000);
            txn.put(format!("large/{client}/{}", count / 4 % 50).into(), large.into());
        }
        txn.commit().await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{ACKNOWLEDGED} {client} {count}").and_then(|()| out.flush()).unwrap();
    }
}

fn be_killed(dir: &Path) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let store = open(dir);
    runtime.block_on(async {
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| tokio::spawn(count_up(store.clone(), client))).collect();
        for client in clients {
            client.await.unwrap();
        }
    });
}

/// Runs the process until it has acknowledged so many commits, kills it, and gives the last count of each client.
fn kill_after(dir: &Path, acknowledgements: usize) -> BTreeMap<u64, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", THIS_TEST, "--nocapture"])
        .env(DIR_VARIABLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut counts = BTreeMap::new();
    let mut read = 0;
    for line in &mut lines {
        // The first of them may follow what the test harness prints without a line feed: the name of this test, if it runs alone.
        let line = line.unwrap();
        let Some((_, counted)) = line.rsplit_once(ACKNOWLEDGED) else { continue };
        let mut words = counted.split_whitespace().map(|word| word.parse::<u64>().unwrap());
        counts.insert(words.next().unwrap(), words.next().unwrap());
        read += 1;
        if read == acknowledgements {
            child.kill().unwrap();
        }
    }
    assert!(read >= acknowledgements, "the process ended on its own after {read}");
    child.wait().unwrap();
    counts
}

async fn check(dir: &Path, acknowledged: &BTreeMap<u64, u64>) {
    let store = open(dir);
    let mut txn = store.begin().await.unwrap();
    let mut events: BTreeMap<u64, u64> = BTreeMap::new();
    let everything = ScanLimit { count: usize::MAX, value_bytes: usize::MAX };
    for (key, _) in txn.scan(&KeyRange::prefix(b"event/"), everything, Direction::Forward).await.unwrap() {
        let ids = &key[b"event/".len() + 8..];
        let (client, count) = (number(&ids[..8]), number(&ids[8..]));
        let before = events.insert(client, count).unwrap_or(0);
        assert_eq!(count, before + 1, "events of client {client} are there each once, in order");
    }
    for client in 0..CLIENTS {
        let count = txn.get(&count_key(client)).await.unwrap().map_or(0, |count| number(&count));
        let acknowledged = acknowledged.get(&client).copied().unwrap_or(0);
        assert!(count >= acknowledged, "client {client}: {acknowledged} acknowledged, {count} there");
        assert_eq!(events.get(&client).copied().unwrap_or(0), count);
        for large in (1..=count / 4).rev().take(50) {
            let value = txn.get(format!("large/{client}/{}", large % 50).as_bytes()).await.unwrap().unwrap();
            assert_eq!(value, (large * 4).to_be_bytes().repeat(1_000));
        }
    }
    drop(txn);
    store.shutdown().await;
}

/// As `TIDEGATE_KILL_ROUNDS` says, and never fewer than are promised.
fn rounds() -> usize {
    let asked = std::env::var("TIDEGATE_KILL_ROUNDS").ok();
    let rounds = asked.map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    assert!(rounds >= ROUNDS, "TIDEGATE_KILL_ROUNDS={rounds}: tests/README.md promises {ROUNDS}");
    rounds
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    if let Ok(dir) = std::env::var(DIR_VARIABLE) {
        return be_killed(Path::new(&dir));
    }
    let rounds = rounds();
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for round in 0..rounds {
        println!("round {round}");
        let acknowledged = kill_after(dir.path(), rand::rng().random_range(1..3_000));
        runtime.block_on(check(dir.path(), &acknowledged));
    }
}
