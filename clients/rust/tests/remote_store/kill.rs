//! The broker's process is killed while transactions are on their way, again and again: what is known of each in the end
//! is what is there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use tidegate::RemoteStore;
use tidegate_broker::settings::Settings;
use tidegate_format::UserKey;
use tidegate_store::{CommitError, CommitToken, Outcome, ReadError, Store, SystemClock, Txn};
use tidegate_tests::kept_port::KeptPort;
use tokio::sync::mpsc;

use crate::fixture::{Broker, connect, directory, in_time};

/// Set for the process that is to be killed: the directory of its store, and where it listens.
const DIRECTORY: &str = "TIDEGATE_TEST_KILL_DIRECTORY";
const LISTEN: &str = "TIDEGATE_TEST_KILL_LISTEN";
const SERVING: &str = "serving on ";
const TEST: &str = "kill::unknown_outcomes_are_settled_after_the_broker_was_killed_and_started_again";
/// `TIDEGATE_KILL_ROUNDS` raises it.
const ROUNDS: usize = 20;
const WRITERS: usize = 8;
/// Answers of a round after which the process is killed.
const ANSWERS: usize = 60;

/// What became of the transaction that writes a key.
#[derive(Debug)]
enum Fate {
    Applied,
    NotApplied,
    Unknown(CommitToken),
}

/// Serves a store until it is killed.
async fn serve(directory: &Path, listen: SocketAddr) {
    let settings = Settings { listen, ..Settings::default() };
    let broker = Broker::open(directory, Arc::new(SystemClock), settings).await;
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{SERVING}{}", broker.address()).and_then(|()| out.flush()).expect("somebody listens");
    drop(out);
    std::future::pending::<()>().await;
}

/// Starts the process, which serves when this returns.
fn start(directory: &Path, listen: SocketAddr) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", TEST, "--nocapture"])
        .env(DIRECTORY, directory)
        .env(LISTEN, listen.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    let serving = format!("{SERVING}{listen}");
    assert!(lines.map_while(Result::ok).any(|line| line == serving), "it ended before it served");
    child
}

fn key(name: &str) -> Bytes {
    UserKey { key: Bytes::copy_from_slice(name.as_bytes()) }.encode()
}

/// Each transaction writes a key of its own and counts in one that all of its writer share.
async fn write(store: &RemoteStore, writer: usize, name: &str) -> Result<Fate, ReadError> {
    let mut txn = store.begin().await?;
    let counter = key(&format!("counter {writer}"));
    let count = txn.get(&counter).await?.map_or(0, |count| number(&count));
    txn.put(key(name), "1".into());
    txn.put(counter, (count + 1).to_string().into());
    Ok(match txn.commit().await {
        Ok(_) => Fate::Applied,
        Err(CommitError::Unknown { token }) => Fate::Unknown(token),
        Err(_) => Fate::NotApplied,
    })
}

fn number(text: &Bytes) -> usize {
    std::str::from_utf8(text).expect("text").parse().expect("a number")
}

/// Writes until it hears nothing any more, and tells the fate of each transaction.
async fn write_until_killed(
    store: RemoteStore,
    round: usize,
    writer: usize,
    fates: mpsc::UnboundedSender<(String, Fate)>,
) {
    for turn in 0.. {
        let name = format!("{round} {writer} {turn}");
        match write(&store, writer, &name).await {
            Ok(fate) => {
                let is_lost = matches!(fate, Fate::Unknown(_));
                fates.send((name, fate)).expect("somebody counts");
                if is_lost {
                    return;
                }
            }
            // Nothing was written yet.
            Err(_) => return,
        }
    }
}

async fn round(directory: &Path, listen: SocketAddr, round: usize, fates: &mut BTreeMap<String, Fate>) {
    let mut child = start(directory, listen);
    let store = connect(listen).await;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_until_killed(store.clone(), round, writer, sender.clone())))
        .collect();
    drop(sender);
    for _ in 0..ANSWERS {
        let answer = in_time("an answer", receiver.recv()).await;
        fates.extend([answer.expect("they write until it is killed")]);
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    // Those who begin again now would wait for a broker that comes back in the next round only.
    writers.iter().for_each(tokio::task::JoinHandle::abort);
    while let Some(answer) = in_time("an answer", receiver.recv()).await {
        fates.extend([answer]);
    }
}

/// As `TIDEGATE_KILL_ROUNDS` says, and never fewer than are promised.
fn rounds() -> usize {
    let asked = std::env::var("TIDEGATE_KILL_ROUNDS").ok();
    let rounds = asked.map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    assert!(rounds >= ROUNDS, "TIDEGATE_KILL_ROUNDS={rounds}: tests/README.md promises {ROUNDS}");
    rounds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_outcomes_are_settled_after_the_broker_was_killed_and_started_again() {
    if let Ok(directory) = std::env::var(DIRECTORY) {
        let listen = std::env::var(LISTEN).expect("it is set with the directory");
        return serve(Path::new(&directory), listen.parse().expect("an address")).await;
    }
    let rounds = rounds();
    let directory = directory();
    let mut fates = BTreeMap::new();
    let port = KeptPort::take();
    for number in 0..rounds {
        round(directory.path(), port.address(), number, &mut fates).await;
    }
    let mut child = start(directory.path(), port.address());
    let store = connect(port.address()).await;
    let mut applied = 0;
    let mut unknown = 0;
    for (name, fate) in &fates {
        let is_applied = match fate {
            Fate::Applied => true,
            Fate::NotApplied => false,
            Fate::Unknown(token) => {
                unknown += 1;
                store.outcome(token).await.expect("settled") == Outcome::Applied
            }
        };
        let found = store.begin().await.expect("it begins").get(&key(name)).await.expect("a get");
        assert_eq!(found.is_some(), is_applied, "{name}: {fate:?}");
        applied += usize::from(is_applied);
    }
    assert!(unknown > 0, "nothing was on its way when the process was killed");
    // Aborted writers have told nobody of their last: those keys are there, and are counted.
    let mut counted = 0;
    let mut txn = store.begin().await.expect("it begins");
    for writer in 0..WRITERS {
        let count = txn.get(&key(&format!("counter {writer}"))).await.expect("a get");
        counted += count.map_or(0, |count| number(&count));
    }
    let untold = untold(&mut txn, &fates).await;
    assert_eq!(counted, applied + untold, "each transaction was applied once");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

/// Keys that are there and whose fate was never told.
async fn untold(txn: &mut impl Txn, fates: &BTreeMap<String, Fate>) -> usize {
    let (start, end) = UserKey::range(b"0", Some(b":"));
    let range = tidegate_store::KeyRange::new(start, end);
    let keys = txn.scan_keys(&range, usize::MAX, tidegate_store::Direction::Forward).await.expect("a scan");
    let name =
        |key: &Bytes| String::from_utf8(UserKey::decode(key).expect("a key").key.to_vec()).expect("text");
    keys.iter().filter(|key| !fates.contains_key(&name(key))).count()
}
