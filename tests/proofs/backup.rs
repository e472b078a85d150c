//! `tidegate backup` and `restore` as an operator has them: taken while the broker serves, restored in its place, broken
//! off at any time, with stock clients that live through it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::OwnedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use tempfile::TempDir;
use tidegate_tests::admin::{client, committed_offsets, create_topic, log_bounds};
use tidegate_tests::broker::{Broker, binary, on};
use tidegate_tests::deadline::{Deadline, HANG_AFTER};
use tidegate_tests::ledger::{Ledger, RecordId};
use tidegate_tests::log_reader::{read_log, read_messages};
use tidegate_tests::member::Member;
use tidegate_tests::producer::LedgerProducer;
use tidegate_tests::program::{Outcome, run};
use tidegate_tests::scheduled_topic::{
    ScheduledProducer, ScheduledReader, ScheduledRecord, SharedBook, create_scheduled_topic, now_ms,
};
use tidegate_tests::shared_ledger::SharedLedger;
use tidegate_tests::tikv_cluster::TikvCluster;
use tidegate_tests::wire::{self, Connection};

const TOPIC: &str = "flights";
const GROUP: &str = "board";
const PARTITIONS: i32 = 4;

fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is plain")
}

/// Runs a command that succeeds; what it said on standard output.
fn done(command: &mut Command) -> Vec<String> {
    let outcome = run(command);
    assert!(outcome.success, "{command:?}: {}", outcome.standard_error);
    outcome.lines
}

/// What a command that fails says.
fn refused(command: &mut Command) -> String {
    let outcome = run(command);
    assert!(!outcome.success, "{command:?} succeeded: {:?}", outcome.lines);
    outcome.standard_error
}

fn backup(broker: &Broker, file: &Path) -> Command {
    tidegate(&["backup", "--admin", broker.admin(), "--to", text(file)])
}

fn restore(file: &Path, data: &Path) -> Command {
    tidegate(&["restore", "--from", text(file), "--data-dir", text(data)])
}

/// A directory with the place for a backup.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("backup.tidegate");
    (directory, file)
}

fn json(lines: &[String]) -> serde_json::Value {
    serde_json::from_str(&lines.join("\n")).expect("JSON")
}

fn wait_for_commits(ledger: &SharedLedger, records: usize) {
    ledger.wait_until(&format!("{records} records are committed"), |ledger| ledger.committed() >= records);
}

#[test]
fn clients_that_live_through_it_go_on_where_the_backup_was_taken() {
    let (_directory, file) = place();
    let mut broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    let bootstrap = broker.bootstrap().to_owned();
    let ledger = SharedLedger::new(PARTITIONS);
    let mut producer = LedgerProducer::new(&bootstrap, TOPIC, "lz4", 200, &ledger);
    let members = ["one", "two"].map(|name| Member::join(&bootstrap, GROUP, TOPIC, name, &[], &ledger));
    producer.send(10_000);
    producer.flush();
    wait_for_commits(&ledger, 10_000);

    let said = json(&done(backup(&broker, &file).arg("--json")));
    assert_eq!(said["file"], text(&file));
    assert!(said["entries"].as_u64().is_some_and(|entries| entries > 0), "{said}");
    broker.kill();
    broker.replace_data(|data| {
        let restored = json(&done(restore(&file, data).arg("--json")));
        for field in ["entries", "digest", "snapshot_ms", "cluster_id"] {
            assert_eq!(restored[field], said[field], "{field}");
        }
    });
    broker.restart();

    // The same producer, by its id and sequence, and the same members.
    producer.send(10_000);
    producer.flush();
    wait_for_commits(&ledger, 20_000);
    members.into_iter().for_each(Member::leave);
    ledger.audit(&read_log(&bootstrap, TOPIC, PARTITIONS), producer.produced());
}

#[test]
fn a_backup_under_load_is_one_moment_of_logs_offsets_and_schedules() {
    let (_directory, file) = place();
    let mut broker = Broker::start();
    let bootstrap = broker.bootstrap().to_owned();
    create_topic(&bootstrap, TOPIC, PARTITIONS, &[]);
    create_scheduled_topic(&bootstrap, "reminders", 2);
    let book = SharedBook::new();
    let reminders = ScheduledProducer::new(&bootstrap, "reminders", "none", &book);
    let soon = now_ms() + 3_000;
    for number in 0..200 {
        let value = format!("reminder {number}");
        let due_ms = soon + i64::from(number);
        book.lock().expect(&value, due_ms);
        reminders.send(ScheduledRecord { value: Some(&value), timestamp_ms: due_ms, ..Default::default() });
    }
    reminders.flush();

    let ledger = SharedLedger::new(PARTITIONS);
    let mut producer = LedgerProducer::new(&bootstrap, TOPIC, "none", 200, &ledger);
    let member = Member::join(&bootstrap, GROUP, TOPIC, "only", &[], &ledger);
    producer.send(20_000);
    wait_for_commits(&ledger, 1_000);
    // Three of them, one after the other, while records are produced and committed all the time.
    let taking = thread::spawn({
        let admin = broker.admin().to_owned();
        let file = file.clone();
        move || {
            for _ in 0..3 {
                done(&mut tidegate(&["backup", "--replace", "--admin", &admin, "--to", text(&file)]));
            }
        }
    });
    while !taking.is_finished() {
        producer.send(200);
    }
    taking.join().expect("each of them was whole");
    producer.send(1_000);
    producer.flush();
    let sent = producer.sent();
    wait_for_commits(&ledger, sent);
    member.leave();
    let whole = read_log(&bootstrap, TOPIC, PARTITIONS);
    broker.kill();
    broker.replace_data(|data| {
        done(&mut restore(&file, data));
    });
    broker.restart();

    let log = read_log(&bootstrap, TOPIC, PARTITIONS);
    let committed = committed_offsets(&bootstrap, GROUP, TOPIC, PARTITIONS);
    for (partition, records) in &log {
        assert!(whole[partition].starts_with(records), "partition {partition} is not a beginning");
        let end = i64::try_from(records.len()).expect("a count");
        let offset = committed.get(partition).copied().unwrap_or(0);
        assert!((0..=end).contains(&offset), "{offset} was committed in a log of {end}");
    }
    assert!(log.values().map(Vec::len).sum::<usize>() >= 20_000, "records were there before");
    assert!(committed.values().sum::<i64>() >= 1_000, "offsets were committed before");

    go_on_from(&bootstrap, &log, &committed);
    // What was held came due on the way: each comes once, and no earlier than it should.
    ScheduledReader::new(&bootstrap, "reminders", 2, &book).read_until(0);
    assert_eq!(read_messages(&bootstrap, "reminders", 2).values().map(Vec::len).sum::<usize>(), 200);
    // A producer that comes new gets an id of its own, and is taken.
    let ledger = SharedLedger::new(PARTITIONS);
    let mut producer = LedgerProducer::new(&bootstrap, TOPIC, "none", 10, &ledger);
    producer.send(1_000);
    producer.flush();
    assert_eq!(ledger.read(Ledger::acknowledged), 1_000);
}

/// A consumer of the group gets, from the committed offsets on, what the log has, once.
fn go_on_from(bootstrap: &str, log: &BTreeMap<i32, Vec<RecordId>>, committed: &BTreeMap<i32, i64>) {
    let mut config = client(bootstrap);
    config.set("group.id", GROUP).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[TOPIC]).expect("a subscription");
    let mut next: BTreeMap<i32, i64> =
        log.keys().map(|partition| (*partition, committed.get(partition).copied().unwrap_or(0))).collect();
    let is_at_end = |next: &BTreeMap<i32, i64>| {
        next.iter().all(|(partition, offset)| usize::try_from(*offset) == Ok(log[partition].len()))
    };
    let deadline = Deadline::start();
    while !is_at_end(&next) {
        deadline.check("the group goes on to the end of the log");
        let Some(message) = consumer.poll(std::time::Duration::from_millis(100)) else { continue };
        let message: OwnedMessage = message.expect("the broker delivers").detach();
        let offset = next.get_mut(&message.partition()).expect("a partition of the topic");
        assert_eq!(message.offset(), *offset, "partition {}", message.partition());
        let expected = &log[&message.partition()][usize::try_from(*offset).expect("an offset")];
        assert_eq!(RecordId::parse(message.key(), message.payload()).as_ref(), Some(expected));
        *offset += 1;
    }
}

#[test]
fn a_reader_of_records_that_are_gone_is_told_by_the_epoch() {
    let (_directory, file) = place();
    let mut broker = Broker::start();
    let bootstrap = broker.bootstrap().to_owned();
    create_topic(&bootstrap, TOPIC, 1, &[]);
    produce(&bootstrap, "kept", 10);
    done(&mut backup(&broker, &file));
    produce(&bootstrap, "gone", 10);

    let mut config = client(&bootstrap);
    config.set("group.id", "reader").set("auto.offset.reset", "error").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut start = TopicPartitionList::new();
    start.add_partition_offset(TOPIC, 0, Offset::Beginning).expect("a valid offset");
    consumer.assign(&start).expect("an assignment");
    let read = |wanted: &str| {
        let deadline = Deadline::start();
        loop {
            deadline.check(wanted);
            match consumer.poll(std::time::Duration::from_millis(100)) {
                Some(Ok(message)) if message.payload() == Some(wanted.as_bytes()) => return Ok(()),
                Some(Ok(_)) | None => {}
                Some(Err(error)) if tidegate_tests::member::is_broken_connection(&error) => {}
                Some(Err(error)) => return Err(error.to_string()),
            }
        }
    };
    read("gone 9").expect("they are there");
    broker.kill();
    // Other records at the offsets of those that are gone, and beyond them, before the reader is back.
    let mut elsewhere = Broker::start();
    elsewhere.kill();
    elsewhere.replace_data(|data| {
        done(&mut restore(&file, data));
    });
    elsewhere.restart();
    produce(elsewhere.bootstrap(), "other", 30);
    elsewhere.kill();
    broker.replace_data(|data| fs::rename(elsewhere.data_directory(), data).expect("it can be moved"));
    broker.restart();
    // It cannot know by the offset, which is there.
    let told = read("other 29").expect_err("not to be told would be to miss ten records");
    assert!(told.contains("AutoOffsetReset"), "{told}");
}

fn produce(bootstrap: &str, what: &str, records: usize) {
    let mut connection = Connection::open(bootstrap);
    for number in 0..records {
        let batch = wire::batch(format!("{what} {number}").as_bytes(), 0);
        let (error, _) = wire::produce(&mut connection, TOPIC, &batch).expect("it is answered");
        assert_eq!(error, 0);
    }
}

#[test]
fn what_is_not_empty_damaged_cut_or_no_backup_is_refused_with_the_place() {
    let (directory, file) = place();
    let mut broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    fill(&broker, 4);
    done(&mut backup(&broker, &file));
    let again = refused(&mut backup(&broker, &file));
    assert!(again.contains("is there already") && again.contains("--replace"), "{again}");
    assert!(!partial(&file).exists());

    let data = directory.path().join("data");
    let whole = fs::read(&file).expect("it can be read");
    let wrong = directory.path().join("wrong");
    let middle = whole.len() / 2;
    let damaged = [&whole[..middle], &[whole[middle] ^ 1], &whole[middle + 1..]].concat();
    for (bytes, said) in [
        (&whole[..middle], "cut off: it ends at byte"),
        (&whole[..whole.len() - 1], "cut off"),
        (&damaged[..], "damaged"),
        (b"something else", "not a backup"),
        (b"TIDEGBAK\0\0\0\x02", "format 2"),
        (&[&whole[..], b"more"].concat()[..], "more than it should"),
    ] {
        fs::write(&wrong, bytes).expect("it can be written");
        let refusal = refused(&mut restore(&wrong, &data));
        assert!(refusal.contains(said) && refusal.contains("wrong"), "{said}: {refusal}");
        assert!(!data.exists(), "nothing is written for a file that is not whole");
        let refusal = refused(&mut tidegate(&["restore", "--from", text(&wrong), "--check"]));
        assert!(refusal.contains(said), "{said}: {refusal}");
    }
    done(&mut tidegate(&["restore", "--from", text(&file), "--check"]));
    assert!(!data.exists());

    done(&mut restore(&file, &data));
    let refusal = refused(&mut restore(&file, &data));
    assert!(refusal.contains("not empty"), "{refusal}");
    let refusal = refused(&mut restore(&file, &broker.data_directory()));
    assert!(refusal.contains("in use by process"), "{refusal}");
    assert!(broker.is_running());
}

#[test]
fn through_pipes_from_a_directory_and_as_a_copy_with_an_id_of_its_own() {
    let (directory, file) = place();
    let mut broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    fill(&broker, 4);
    let refusal = refused(&mut tidegate(&[
        "backup",
        "--data-dir",
        text(&broker.data_directory()),
        "--to",
        text(&file),
    ]));
    assert!(refusal.contains("--admin") && refusal.contains("in use by process"), "{refusal}");
    let id = cluster_id(&broker);
    let ends = ends(&broker);
    assert!(broker.terminate().success());

    // No broker serves it: read where it lies, piped, and written as it is checked.
    let missing = directory.path().join("missing");
    let refusal = refused(&mut tidegate(&["backup", "--data-dir", text(&missing), "--to", "-"]));
    assert!(refusal.contains("no store in") && !missing.exists(), "{refusal}");
    let piped = directory.path().join("piped");
    let data = directory.path().join("copy");
    let taken = tidegate(&["backup", "--data-dir", text(&broker.data_directory()), "--to", "-"])
        .stdout(File::create(&piped).expect("a file"))
        .stderr(Stdio::null())
        .status()
        .expect("it runs");
    assert!(taken.success());
    let restored = tidegate(&["restore", "--from", "-", "--data-dir", text(&data), "--new-cluster-id"])
        .stdin(File::open(&piped).expect("a file"))
        .stdout(Stdio::null())
        .status()
        .expect("it runs");
    assert!(restored.success());

    broker.restart();
    let mut copy = Broker::start();
    copy.kill();
    copy.replace_data(|place| fs::rename(&data, place).expect("it can be moved"));
    copy.restart();
    assert_eq!(self::ends(&copy), ends);
    assert_eq!(cluster_id(&broker), id, "the original keeps its own");
    assert_ne!(cluster_id(&copy), id, "the copy has another");
}

/// The id of the cluster, as a backup has it.
fn cluster_id(broker: &Broker) -> String {
    let (_directory, file) = place();
    let said = json(&done(backup(broker, &file).arg("--json")));
    said["cluster_id"].as_str().expect("a broker has served it").to_owned()
}

fn ends(broker: &Broker) -> Vec<(i64, i64)> {
    (0..PARTITIONS).map(|partition| log_bounds(broker.bootstrap(), TOPIC, partition)).collect()
}

/// Produces so many MiB that do not compress, into partition 0.
fn fill(broker: &Broker, mib: usize) {
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

fn partial(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs")
}

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Deadline::start();
    while !reached() {
        deadline.check(what);
        thread::yield_now();
    }
}

/// Asks for a backup and reads only the beginning of the answer: what is left does not fit into the sockets.
fn begin_to_read(broker: &Broker) -> TcpStream {
    let mut stream = TcpStream::connect(broker.admin()).expect("it listens");
    stream.set_read_timeout(Some(HANG_AFTER)).expect("the option is known");
    write!(stream, "GET /v1/backup HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it is read");
    let mut head = [0; 64];
    stream.read_exact(&mut head).expect("it is answered");
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    stream
}

#[test]
fn a_broker_that_is_killed_or_stopped_in_the_midst_leaves_no_backup_behind() {
    let (_directory, file) = place();
    let mut broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    fill(&broker, 48);
    for round in 0..2 {
        let taking = spawn(&mut backup(&broker, &file));
        wait_until("it has begun", || partial(&file).metadata().is_ok_and(|file| file.len() > 0));
        if round == 0 {
            broker.kill();
        } else {
            assert!(broker.terminate().success());
        }
        let ended = taking.wait_with_output().expect("it ends");
        // With a fast disk it may have been done before; then it is whole.
        if ended.status.success() {
            done(&mut tidegate(&["restore", "--from", text(&file), "--check"]));
            fs::remove_file(&file).expect("it is there");
        } else {
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(said.contains("broke off") || said.contains("broken off"), "{said}");
        }
        assert!(!file.exists() && !partial(&file).exists());
        broker.restart();
    }
    done(&mut backup(&broker, &file));
}

#[test]
fn one_at_a_time_and_who_goes_away_or_does_not_read_ends_it() {
    let (_directory, file) = place();
    let mut broker = Broker::start_with(&["--backup-stall-max-ms", "1000"]);
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    fill(&broker, 48);
    let reading = begin_to_read(&broker);
    let refusal = refused(&mut backup(&broker, &file));
    assert!(refusal.contains("a backup is under way"), "{refusal}");
    drop(reading);
    let is_done = |outcome: &Outcome| match outcome.success {
        true => true,
        false => {
            assert!(outcome.standard_error.contains("under way"), "{}", outcome.standard_error);
            false
        }
    };
    let replacing = || run(backup(&broker, &file).arg("--replace"));
    wait_until("the one that went away is noticed", || is_done(&replacing()));
    let stalled = begin_to_read(&broker);
    wait_until("the one that does not read is given up", || is_done(&replacing()));
    drop(stalled);
    // Nobody waited for any of them.
    produce(broker.bootstrap(), "more", 1);
    assert!(broker.is_running());
}

#[test]
fn a_restore_that_is_killed_is_refused_by_serve_and_begun_anew() {
    let (_directory, file) = place();
    let mut broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    fill(&broker, 24);
    let ends = ends(&broker);
    done(&mut backup(&broker, &file));
    assert!(broker.terminate().success());
    broker.replace_data(|_| {});
    let whole = fs::read(&file).expect("it can be read");
    let data = broker.data_directory();
    for share in [8, 4, 2] {
        // It has taken what the pipe does not hold: it is in the midst, and waits for more.
        let mut restoring = tidegate(&["restore", "--from", "-", "--data-dir", text(&data)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let mut pipe = restoring.stdin.take().expect("it is piped");
        pipe.write_all(&whole[..whole.len() / share]).expect("it is read");
        restoring.kill().expect("SIGKILL is delivered");
        restoring.wait().expect("it is reaped");
        let said = broker.try_restart().expect_err("half a store is not served");
        assert!(said.contains("not whole") && said.contains("tidegate restore"), "{said}");
    }
    // Nor is one whose file ended early, or whose disk had no more room.
    let cut = tidegate(&["restore", "--from", "-", "--data-dir", text(&data)]).stdin(Stdio::null()).output();
    assert!(!cut.expect("it runs").status.success());
    let full = refused(restore(&file, &data).env("TIDEGATE_STORE_RESERVE_BYTES", "1125899906842624"));
    assert!(full.contains("reserve") && full.contains("begins anew"), "{full}");
    broker.try_restart().expect_err("it is still not whole");

    done(&mut restore(&file, &data));
    broker.restart();
    assert_eq!(self::ends(&broker), ends);
}

#[test]
fn a_disk_without_room_for_the_file_leaves_none() {
    let (_directory, file) = place();
    let broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    fill(&broker, 4);
    // No file of this process may be longer than a mebibyte.
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$@\"", "limited"]).arg(binary());
    limited.args(["backup", "--admin", broker.admin(), "--to", text(&file)]);
    let said = refused(&mut limited);
    assert!(said.contains("writing") && said.contains("backup.tidegate"), "{said}");
    assert!(!file.exists() && !partial(&file).exists());
    let full = tidegate(&["backup", "--admin", broker.admin(), "--to", "-"])
        .stdout(File::options().write(true).open("/dev/full").expect("every Linux has it"))
        .stderr(Stdio::piped())
        .spawn()
        .and_then(Child::wait_with_output)
        .expect("it runs");
    assert!(!full.status.success());
    assert!(String::from_utf8_lossy(&full.stderr).contains("No space left"), "{full:?}");
    done(&mut backup(&broker, &file));
}

#[test]
fn a_namespace_of_a_cluster_goes_into_another_one_and_into_a_directory_and_back() {
    let (directory, file) = place();
    let cluster = TikvCluster::start();
    let [source, target, back] = [(); 3].map(|()| cluster.fresh_namespace());
    let broker = Broker::start_with(&on(&source));
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    produce(broker.bootstrap(), "record", 50);
    let ends = ends(&broker);

    // Through the broker, and beside it.
    done(&mut backup(&broker, &file));
    let direct = directory.path().join("direct");
    done(&mut tidegate(&["backup", "--store", &source, "--to", text(&direct)]));
    let into = |store: &str, file: &Path| tidegate(&["restore", "--from", text(file), "--store", store]);
    let refusal = refused(&mut into(&source, &file));
    assert!(refusal.contains("not empty"), "{refusal}");

    done(&mut into(&target, &file));
    assert_eq!(self::ends(&Broker::start_with(&on(&target))), ends);

    let data = directory.path().join("data");
    done(&mut restore(&direct, &data));
    let again = directory.path().join("again");
    done(&mut tidegate(&["backup", "--data-dir", text(&data), "--to", text(&again)]));
    done(&mut into(&back, &again));
    let copy = Broker::start_with(&on(&back));
    assert_eq!(self::ends(&copy), ends);
    let records = |broker: &Broker| {
        let log = read_messages(broker.bootstrap(), TOPIC, PARTITIONS);
        let payload = |message: &OwnedMessage| message.payload().map(<[u8]>::to_vec);
        log.into_values().map(|messages| messages.iter().map(payload).collect()).collect::<Vec<Vec<_>>>()
    };
    assert_eq!(records(&copy), records(&broker));
}
