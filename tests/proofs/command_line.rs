//! The command as people use it: the demo, the commands that ask a broker, on the embedded store, and those that need none.

use tidegate_tests::store_under_test::StoreUnderTest;

use cases::{lines, refusal};

const STORE: StoreUnderTest = StoreUnderTest::Embedded;

#[path = "cases/command_line.rs"]
mod cases;

#[test]
fn the_demo_finds_every_event_once_in_order_and_none_early() {
    let lines = lines(&["demo", "--flights", "500", "--seconds", "4", "--listen", "127.0.0.1:0"]);
    let last = lines.last().expect("it says what it found");
    assert_eq!(
        last,
        "checked: 1000 events of 500 flights, each exactly once, in order per flight, none early"
    );
    assert!(lines.iter().any(|line| line.contains("kcat -b 127.0.0.1:")), "{lines:?}");
}

#[test]
fn the_demo_goes_on_when_nobody_reads_what_it_says() {
    let mut demo = std::process::Command::new(tidegate_tests::broker::binary())
        .args(["demo", "--flights", "20", "--seconds", "1", "--listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(demo.stdout.take());
    let ended = demo.wait_with_output().expect("it ends");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let said = refusal(&["schedule", "list", "any", "--admin", "127.0.0.1:1"]);
    assert!(said.contains("127.0.0.1:1"), "{said}");
    let said = refusal(&["group", "list", "--bootstrap", "127.0.0.1:1"]);
    assert!(said.contains("127.0.0.1:1"), "{said}");
    let said = refusal(&["group", "list", "--bootstrap", "no-such-host.invalid:9092"]);
    assert!(said.contains("no-such-host.invalid:9092: its name is not known"), "{said}");
}

#[test]
fn an_address_that_is_none_is_said_before_anybody_is_asked() {
    for arguments in [
        &["topic", "list", "--bootstrap", "nonsense"][..],
        &["group", "list", "--bootstrap", "127.0.0.1:1,host"],
        &["schedule", "list", "any", "--admin", "127.0.0.1"],
        &["backup", "--to", "-", "--admin", ":9644"],
    ] {
        let said = refusal(arguments);
        assert!(said.contains("write HOST:PORT"), "{arguments:?}: {said}");
    }
    let said = refusal(&["restore", "--from", "a file"]);
    assert!(said.contains("--data-dir") && said.contains("--check"), "{said}");
}

#[test]
fn shells_are_told_what_there_is_to_complete() {
    for shell in ["bash", "zsh", "fish"] {
        let script = lines(&["completions", shell]).join("\n");
        for word in ["restore", "completions", "data-dir", "num-partitions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert!(refusal(&["completions", "telnet"]).contains("bash"));
}

#[test]
fn help_says_what_each_command_is_for() {
    for command in
        ["serve", "demo", "topic", "group", "schedule", "backup", "restore", "bench", "completions"]
    {
        assert!(lines(&["--help"]).iter().any(|line| line.trim_start().starts_with(command)), "{command}");
        assert!(!lines(&[command, "--help"]).is_empty());
    }
    let settings = lines(&["serve", "--help"]).join("\n");
    for setting in ["--num-partitions", "--store-sync", "--group-initial-rebalance-delay-ms"] {
        assert!(settings.contains(setting), "{setting}");
    }
}
