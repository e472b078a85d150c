//! Backups and restores that end early: processes killed, clients that go away or do not read, disks without room.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

use tidegate_tests::admin::create_topic;
use tidegate_tests::broker::{Broker, binary};
use tidegate_tests::deadline::{Deadline, HANG_AFTER};
use tidegate_tests::program::run;

use crate::fixture::{
    PARTITIONS, TOPIC, backup, done, ends, fill, partial, place, produce, refused, restore, text, tidegate,
};

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

/// What the broker says while it has not noticed that whoever took a backup before has gone away.
const UNDER_WAY: &str = "a backup is under way";

/// Takes a backup once it has.
fn once_noticed<T>(take: impl Fn() -> T, said: impl Fn(&T) -> String) -> T {
    let deadline = Deadline::start();
    loop {
        let taken = take();
        if !said(&taken).contains(UNDER_WAY) {
            return taken;
        }
        deadline.check("the one that went away is noticed");
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
    let mut broker = Broker::start();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    fill(&broker, 48);
    let reading = begin_to_read(&broker);
    let refusal = refused(&mut backup(&broker, &file));
    assert!(refusal.contains(UNDER_WAY), "{refusal}");
    drop(reading);
    let replacing = |broker: &Broker| run(backup(broker, &file).arg("--replace"));
    let next = once_noticed(|| replacing(&broker), |next| next.standard_error.clone());
    assert!(next.success, "{}", next.standard_error);
    // From now on nobody is waited for that long: whoever reads may be given up, too, where the machine stands still.
    assert!(broker.terminate().success());
    broker.restart_with(&["--backup-stall-max-ms", "1000"]);
    let stalled = begin_to_read(&broker);
    wait_until("the one that does not read is given up", || replacing(&broker).success);
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
    let before = ends(&broker);
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
    assert_eq!(ends(&broker), before);
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
    let to_full = || {
        tidegate(&["backup", "--admin", broker.admin(), "--to", "-"])
            .stdout(File::options().write(true).open("/dev/full").expect("every Linux has it"))
            .stderr(Stdio::piped())
            .spawn()
            .and_then(Child::wait_with_output)
            .expect("it runs")
    };
    let full = once_noticed(to_full, |full| String::from_utf8_lossy(&full.stderr).into_owned());
    assert!(!full.status.success());
    assert!(String::from_utf8_lossy(&full.stderr).contains("No space left"), "{full:?}");
    let last = once_noticed(|| run(&mut backup(&broker, &file)), |last| last.standard_error.clone());
    assert!(last.success, "{}", last.standard_error);
}
