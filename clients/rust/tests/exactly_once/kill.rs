//! A process with broker and worker is killed, again and again, in the midst of its work.

use std::path::Path;
use std::sync::Arc;

use tidegate::store::{EmbeddedOptions, EmbeddedStore, SystemClock};
use tidegate::{Event, Outcome};
use tidegate_broker::BrokerStore;
use tidegate_tests::test_process::TestProcess;

use super::stage::{Ledger, Stage, TOPIC, enter};

/// Set for the process that is to be killed: the directory.
const DIRECTORY: &str = "TIDEGATE_TEST_WORKER_DIRECTORY";
const ROUNDS: &str = "TIDEGATE_KILL_ROUNDS";
const TEST: &str = "kill::after_every_kill_9_each_event_has_had_its_effect_once_and_in_order";
/// Events that come in per round, their keys, and partitions.
const PER_ROUND: i64 = 60;
const KEYS: i64 = 9;
const PARTITIONS: i32 = 2;

pub(crate) fn open(directory: &Path) -> EmbeddedStore {
    let defaults = EmbeddedOptions::new(Arc::new(SystemClock));
    let options =
        EmbeddedOptions { overlay_bytes: 64 << 10, segment_bytes: 1 << 20, reserve_bytes: 0, ..defaults };
    EmbeddedStore::open(directory, options).expect("nobody else has it")
}

/// Fails now and then, so that records are parked and tried again when the process is killed.
async fn handle(event: Event, tx: tidegate::Tx<BrokerStore>) -> Result<Outcome, String> {
    let number: i64 = event.json().expect("a number");
    if event.failures() == 0 && number % 6 == 0 {
        return Err("the first time".to_owned());
    }
    enter(&event, &tx).await.map_err(|error| error.to_string())?;
    Ok(Outcome::Ack)
}

/// Produces the next events, handles what there is, and says each time that more was handled, until it is killed.
async fn work(directory: &Path) {
    let stage = Stage::on(BrokerStore::from(open(directory)), PARTITIONS).await;
    let admin = stage.admin().await;
    let mut sent = 0;
    for partition in 0..PARTITIONS {
        let at = tidegate::TopicPartition::new(TOPIC, partition);
        sent += admin.list_offset(&at, tidegate::OffsetSpec::Latest).await.expect("it is there").unwrap_or(0);
    }
    let _worker = stage.fixed().start(handle).await.expect("it starts");
    println!("\nat {} of {sent}", stage.handled().await);
    let mut seen = 0;
    for look in 0.. {
        let handled = stage.handled().await;
        // However much goes by between two looks, there is more to come.
        if look == 0 || handled >= usize::try_from(sent).expect("positive") {
            // Whole rounds only: what was cut off by a kill is sent to the end of its round first.
            let end = (sent / PER_ROUND + 1) * PER_ROUND;
            stage.send(sent..end, KEYS).await;
            sent = end;
        }
        if handled > seen {
            seen = handled;
            println!("\nhandled {handled}");
        }
        tokio::task::yield_now().await;
    }
}

/// Starts the process, and kills it once it has said so often that more was handled.
fn kill_after(directory: &Path, says: usize) {
    let directory = directory.to_str().expect("a path in UTF-8");
    let mut process = TestProcess::start(TEST, &[(DIRECTORY, directory)]);
    for _ in 0..says {
        process.said("handled ");
    }
    process.kill();
}

/// How often something is killed: as `TIDEGATE_KILL_ROUNDS` says, and never less than is promised.
pub(crate) fn rounds(promised: usize) -> usize {
    let asked = std::env::var(ROUNDS).ok();
    let rounds = asked.map_or(promised, |rounds| rounds.parse().expect("a number of rounds"));
    assert!(rounds >= promised, "{ROUNDS}={rounds}: tests/README.md promises {promised}");
    rounds
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn after_every_kill_9_each_event_has_had_its_effect_once_and_in_order() {
    if let Ok(directory) = std::env::var(DIRECTORY) {
        block_on(work(Path::new(&directory)));
    }
    let rounds = rounds(20);
    let directory = tempfile::tempdir().expect("a directory");
    block_on(async {
        let store = open(directory.path());
        let stage = Stage::on(BrokerStore::from(store.clone()), PARTITIONS).await;
        stage.create_topic(TOPIC).await;
        stage.broker.stop().await;
        store.shutdown().await;
    });
    for round in 0..rounds {
        kill_after(directory.path(), 1 + round % 7);
    }
    block_on(async {
        let store = open(directory.path());
        let stage = Stage::on(BrokerStore::from(store.clone()), PARTITIONS).await;
        let admin = stage.admin().await;
        let mut sent = 0;
        for partition in 0..PARTITIONS {
            let at = tidegate::TopicPartition::new(TOPIC, partition);
            sent +=
                admin.list_offset(&at, tidegate::OffsetSpec::Latest).await.expect("there").expect("an end");
        }
        assert!(sent > 0);
        let worker = stage.fixed().start(handle).await.expect("it starts");
        stage.until_handled(usize::try_from(sent).expect("positive")).await;
        check(&stage, sent).await;
        worker.stop().await.expect("it stops");
        stage.broker.stop().await;
        store.shutdown().await;
    });
}

/// As many effects as events; those of a key in their order. A kill may have cut a round short, so numbers can repeat in the
/// log: what is compared is the log itself.
async fn check(stage: &Stage, sent: i64) {
    let mut logged: std::collections::BTreeMap<String, Vec<i64>> = std::collections::BTreeMap::new();
    let options = tidegate::ConsumerOptions::default();
    let mut consumer = tidegate::Consumer::connect(stage.client(), options).await.expect("it listens");
    let all = (0..PARTITIONS).map(|at| (tidegate::TopicPartition::new(TOPIC, at), tidegate::Start::Earliest));
    consumer.assign(all).expect("no group");
    for _ in 0..sent {
        let record = super::stage::in_time("a record", consumer.recv()).await.expect("a record");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let key = text(record.key.as_ref().expect("a key"));
        let number = text(record.value.as_ref().expect("a value")).parse().expect("a number");
        logged.entry(key).or_default().push(number);
    }
    let snapshot = stage.db.snapshot().await.expect("the store is there");
    for (key, numbers) in logged {
        let ledger = snapshot.find::<Ledger>(key.as_str()).await.expect("readable").expect("handled");
        assert_eq!(ledger.numbers, numbers, "key {key}");
    }
    super::stage::until("the committed offsets to follow", async || stage.committed().await == sent).await;
    assert_eq!(stage.noted().await, (0, 0));
}
