//! `tidegate serve` as an operator meets it: what it refuses to start with, and how it says so; what it does when the
//! disk is nearly full or fails, or its files are damaged; what retention leaves; what its settings make of topics and of
//! old records.

#[path = "serve/produce_beside_retention.rs"]
mod produce_beside_retention;
#[path = "serve/settings.rs"]
mod settings;
#[path = "serve/topics.rs"]
mod topics;

use std::fs;
use std::path::Path;

use tidegate_tests::admin::create_topic;
use tidegate_tests::admin_http::get;
use tidegate_tests::broker::{Broker, serve};
use tidegate_tests::program::run;
use tidegate_tests::store_under_test::StoreUnderTest;
use tidegate_tests::wire::{self, Connection, Reader, api};

const STORE: StoreUnderTest = StoreUnderTest::Embedded;

#[path = "cases/retention.rs"]
mod retention;

const TOPIC: &str = "kept";
const NEEDLE: &[u8] = b"a value that is easy to find in a file";

/// Runs `serve` with one more pair of arguments, which it must refuse, and returns what it said.
fn refused(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let outcome = run(serve(&data, "127.0.0.1:0", "127.0.0.1:0").args(arguments));
    assert!(!outcome.success, "{arguments:?} was accepted");
    assert!(outcome.lines.is_empty(), "it claimed to serve: {:?}", outcome.lines);
    assert!(!data.exists(), "it left something behind");
    outcome.standard_error
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
}

#[test]
fn health_and_readiness_are_answered() {
    let broker = Broker::start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(broker.admin(), path).0, 200, "{path}");
    }
    assert_eq!(get(broker.admin(), "/no-such-page").0, 404);
}

#[test]
fn an_address_that_others_reach_is_refused_without_insecure() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (listen, admin) in
        [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:0", "0.0.0.0:0"), ("[::]:0", "127.0.0.1:0")]
    {
        let outcome = run(&mut serve(&directory.path().join("data"), listen, admin));
        assert!(!outcome.success, "{listen} {admin}");
        says(&outcome.standard_error, &["insecure"]);
    }
}

#[test]
fn an_address_in_use_is_named() {
    let broker = Broker::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let outcome = run(&mut serve(&directory.path().join("data"), broker.bootstrap(), "127.0.0.1:0"));
    assert!(!outcome.success);
    says(&outcome.standard_error, &[broker.bootstrap()]);
}

#[test]
fn a_broken_configuration_file_is_refused_with_its_name_and_the_mistake() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    let path = file.to_str().expect("a temporary path is plain");
    for (content, mistake) in [
        ("num.partition = 3", "num.partition"),
        ("num.partitions = \"many\"", "num.partitions"),
        ("num.partitions = ", "tidegate.toml"),
        ("log.retention.ms = -7", "log.retention.ms"),
    ] {
        fs::write(&file, content).expect("the file is written");
        says(&refused(&["--config", path]), &["tidegate.toml", mistake]);
    }
    says(&refused(&["--config", "/no/such/file.toml"]), &["/no/such/file.toml"]);
    says(&refused(&["--num-partitions", "0"]), &["num"]);
    says(&refused(&["--no-such-setting", "1"]), &["--no-such-setting"]);
}

#[test]
fn a_misspelt_variable_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = serve(&directory.path().join("data"), "127.0.0.1:0", "127.0.0.1:0");
    let outcome = run(command.env("TIDEGATE_NUM_PARTITION", "3"));
    assert!(!outcome.success);
    says(&outcome.standard_error, &["TIDEGATE_NUM_PARTITION", "num.partitions"]);
}

#[test]
fn a_second_process_on_the_same_directory_is_told_of_the_first() {
    let mut broker = Broker::start();
    let outcome = run(&mut serve(&broker.data_directory(), "127.0.0.1:0", "127.0.0.1:0"));
    assert!(!outcome.success);
    says(&outcome.standard_error, &[&broker.process_id().to_string(), "data"]);
    assert!(broker.is_running());
}

#[test]
fn a_nearly_full_disk_refuses_what_is_produced_and_serves_what_is_there() {
    let mut broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, 1, &[]);
    // Deletes and commits of offsets are let through, but no record, however small.
    let batch = wire::batch(NEEDLE, 0);
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(wire::produce(&mut connection, TOPIC, &batch), Some((0, 0)));

    broker.kill();
    // No disk has this much left.
    broker.restart_with(&["--store-reserve-bytes", "1125899906842624"]);
    let mut connection = Connection::open(broker.bootstrap());
    let (error, _) = wire::produce(&mut connection, TOPIC, &batch).expect("it is answered");
    assert_eq!(error, 56, "KAFKA_STORAGE_ERROR");
    assert_eq!(fetch(&broker), Some(0));

    broker.kill();
    broker.restart_with(&[]);
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(wire::produce(&mut connection, TOPIC, &batch), Some((0, 1)));
}

#[test]
fn a_disk_that_fails_ends_the_process_which_says_why_and_loses_nothing() {
    let mut broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(wire::produce(&mut connection, TOPIC, &wire::batch(NEEDLE, 0)), Some((0, 0)));
    let large = wire::batch(&[b'x'; 100_000], 0);
    assert_eq!(wire::produce(&mut connection, TOPIC, &large), Some((0, 1)));

    // The journal is longer, what the process says is not.
    broker.limit_file_bytes(64 << 10);
    let answer = wire::produce(&mut connection, TOPIC, &large);
    assert!(answer.is_none_or(|(error, _)| error != 0), "it was not acknowledged: {answer:?}");
    assert!(!broker.wait_for_end().success());
    says(&broker.standard_error(), &["the store has closed", "writing the journal failed"]);

    broker.restart();
    assert_eq!(fetch(&broker), Some(0));
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(wire::produce(&mut connection, TOPIC, &large), Some((0, 2)));
}

/// Fetches the first record: its error code; the answer must hold the record as it was sent if there is no error.
fn fetch(broker: &Broker) -> Option<i16> {
    let mut connection = Connection::open(broker.bootstrap());
    let answer = connection.ask(api::FETCH, 4, &wire::fetch_body(TOPIC, 0, 0, 0))?;
    let mut reader = Reader::new(&answer);
    assert_eq!((reader.int32(), reader.int32()), (0, 1), "no throttling, one topic");
    reader.skip_string();
    assert_eq!((reader.int32(), reader.int32()), (1, 0), "one partition, number 0");
    let error = reader.int16();
    if error == 0 {
        assert!(
            answer.windows(NEEDLE.len()).any(|window| window == NEEDLE),
            "a fetch without error has no record"
        );
    }
    Some(error)
}

/// Flips one bit of the record in whatever file holds it; returns how many places there were.
fn damage(directory: &Path) -> usize {
    let mut places = 0;
    for entry in fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            places += damage(&path);
            continue;
        }
        let mut bytes = fs::read(&path).expect("the file can be read");
        let found: Vec<usize> = bytes
            .windows(NEEDLE.len())
            .enumerate()
            .filter(|(_, window)| *window == NEEDLE)
            .map(|(at, _)| at)
            .collect();
        for &at in &found {
            bytes[at] ^= 1;
        }
        if !found.is_empty() {
            fs::write(&path, bytes).expect("the file can be written");
        }
        places += found.len();
    }
    places
}

#[test]
fn a_damaged_store_is_refused_or_named_and_never_served_as_if_it_were_whole() {
    // Once in a small value, as the journal's own content, and once in a large one, which stays where it was written.
    for filler in [0, 100_000] {
        let mut broker = Broker::start();
        create_topic(broker.bootstrap(), TOPIC, 1, &[]);
        let mut connection = Connection::open(broker.bootstrap());
        let value = [NEEDLE, &vec![b'.'; filler]].concat();
        assert_eq!(wire::produce(&mut connection, TOPIC, &wire::batch(&value, 0)), Some((0, 0)));
        // So that the damage does not lie at the journal's end, where a write that broke off would.
        for offset in 1..=20 {
            assert_eq!(wire::produce(&mut connection, TOPIC, &wire::batch(b"later", 0)), Some((0, offset)));
        }
        broker.kill();
        assert!(damage(&broker.data_directory()) > 0, "the record is in no file");

        match broker.try_restart() {
            Err(message) => says(&message, &["damaged", "journal"]),
            Ok(()) => {
                assert_ne!(fetch(&broker), Some(0), "the damaged record was served");
                let said = broker.standard_error();
                says(&said, &["a partition cannot be read", "damaged data at journal-000000000001"]);
            }
        }
    }
}
