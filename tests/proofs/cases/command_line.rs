//! The commands that ask a broker that runs, as people use them.

use std::process::Command;

use tidegate_tests::broker::{Broker, binary};
use tidegate_tests::program::{Outcome, run};
use tidegate_tests::scheduled_topic::{ScheduledProducer, ScheduledRecord, SharedBook};
use tidegate_tests::wire::{self, Connection};

use super::STORE;

fn tidegate(arguments: &[&str]) -> Outcome {
    run(Command::new(binary()).args(arguments))
}

/// The lines of a command that succeeds.
pub(crate) fn lines(arguments: &[&str]) -> Vec<String> {
    let outcome = tidegate(arguments);
    assert!(outcome.success, "{arguments:?}: {}", outcome.standard_error);
    outcome.lines
}

/// What a command that fails says.
pub(crate) fn refusal(arguments: &[&str]) -> String {
    let outcome = tidegate(arguments);
    assert!(!outcome.success, "{arguments:?} succeeded: {:?}", outcome.lines);
    outcome.standard_error
}

#[test]
fn topics_are_created_listed_changed_and_dropped() {
    let broker = STORE.start_broker();
    let at = ["--bootstrap", broker.bootstrap()];
    let topic = |arguments: &[&str]| lines(&[&["topic"], arguments, &at].concat());
    let created = topic(&["create", "orders", "--partitions", "3", "--config", "retention.ms=60000"]);
    assert_eq!(created, ["created orders"]);
    assert_eq!(topic(&["list"]), ["TOPIC   PARTITIONS  RECORDS", "orders  3           0"]);
    topic(&[
        "alter",
        "orders",
        "--partitions",
        "4",
        "--config",
        "tidegate.delivery=scheduled",
        "--reset",
        "retention.ms",
    ]);
    assert_eq!(topic(&["describe", "orders"]).len(), 5, "a header and four partitions");
    let alter = ["topic", "alter", "orders", "--partitions", "5", "--reset", "retention"];
    let refused = refusal(&[&alter[..], &at].concat());
    assert!(refused.contains("`retention`") && refused.contains("retention.ms"), "{refused}");
    assert_eq!(topic(&["describe", "orders"]).len(), 5, "nothing is changed");
    let configs = topic(&["configs", "orders", "--json"]).join("\n");
    assert!(configs.contains("\"scheduled\""), "{configs}");
    assert_eq!(topic(&["delete", "orders"]), ["dropped orders"]);
    assert_eq!(topic(&["list", "--json"]), ["[]"]);
}

#[test]
fn what_the_broker_refuses_is_said_with_its_reason() {
    let broker = STORE.start_broker();
    let at = ["--bootstrap", broker.bootstrap()];
    let refused = |arguments: &[&str]| refusal(&[arguments, &at].concat());
    assert!(refused(&["topic", "create", "a b"]).contains("InvalidTopicException"));
    assert!(refused(&["topic", "create", "a", "-c", "retention.ms=soon"]).contains("retention.ms"));
    assert!(refused(&["topic", "describe", "missing"]).contains("there is no topic `missing`"));
    assert!(refused(&["topic", "alter", "missing"]).contains("say what to change"));
    assert!(refused(&["group", "describe", "missing"]).contains("there is no group `missing`"));
    assert!(refused(&["group", "delete", "missing"]).contains("there is no group `missing`"));
    let refused = refused(&["topic", "create", "a", "--partitions", "-3"]);
    assert!(refused.contains("-3 is not in 1..="), "{refused}");
}

#[test]
fn a_groups_offsets_can_be_set_shown_and_deleted() {
    let broker = STORE.start_broker();
    let at = ["--bootstrap", broker.bootstrap()];
    let command = |arguments: &[&str]| lines(&[arguments, &at].concat());
    command(&["topic", "create", "orders", "--partitions", "2"]);
    command(&["group", "reset", "billing", "--topic", "orders", "--to-earliest"]);
    assert_eq!(command(&["group", "list"]), ["GROUP    STATE  TYPE", "billing  Empty  -"]);
    let described = command(&["group", "describe", "billing"]);
    let header = "TOPIC   PARTITION  COMMITTED-OFFSET  LOG-END-OFFSET  LAG  MEMBER  HOST";
    assert_eq!(described[0], header);
    assert_eq!(described[1], "orders  0          0                 0               0    -       -");
    offsets_are_set_to_what_is_in_the_log(&broker);
    let redriven = command(&["group", "redrive", "billing", "--topic", "orders", "--max", "5"]);
    assert_eq!(redriven, ["sent 0 dead letters back to orders"]);
    assert_eq!(command(&["group", "delete", "billing"]), ["deleted billing"]);
    assert_eq!(command(&["group", "list", "--json"]), ["[]"]);
    single_dead_letters_are_sent_back_by_place_and_by_key(&broker);
}

fn offsets_are_set_to_what_is_in_the_log(broker: &Broker) {
    lines(&["topic", "create", "ten", "--bootstrap", broker.bootstrap()]);
    let mut connection = Connection::open(broker.bootstrap());
    for _ in 0..10 {
        let produced = wire::produce(&mut connection, "ten", &wire::batch(b"any", 0));
        assert_eq!(produced.map(|(error, _)| error), Some(0));
    }
    let reset = |arguments: &[&str]| {
        let reset = ["group", "reset", "payroll", "--topic", "ten", "--bootstrap", broker.bootstrap()];
        let rows = lines(&[&reset[..], arguments].concat());
        rows[1].split_whitespace().last().expect("an offset").to_owned()
    };
    let unknown = ["group", "reset", "payroll", "--topic", "ten", "--shift-by", "1"];
    let refused = refusal(&[&unknown[..], &["--bootstrap", broker.bootstrap()]].concat());
    assert!(refused.contains("group `payroll` has no committed offset in ten-0"), "{refused}");
    for (arguments, offset) in [
        (&["--to-offset", "7"][..], "7"),
        (&["--shift-by", "-2"], "5"),
        (&["--to-latest", "--dry-run"], "10"),
        (&["--shift-by", "1"], "6"),
        (&["--to-offset", "999"], "10"),
        (&["--shift-by", "-999"], "0"),
        (&["--to-timestamp", "3000-01-01T00:00:00Z"], "10"),
        (&["--to-timestamp", "1970-01-01T00:00:00Z"], "0"),
        (&["--to-timestamp", "0"], "0"),
    ] {
        assert_eq!(reset(arguments), offset, "{arguments:?}");
    }
    lines(&["group", "delete", "payroll", "--bootstrap", broker.bootstrap()]);
    lines(&["topic", "delete", "ten", "--bootstrap", broker.bootstrap()]);
}

fn single_dead_letters_are_sent_back_by_place_and_by_key(broker: &Broker) {
    let at = ["--bootstrap", broker.bootstrap()];
    let redrive = |arguments: &[&str]| {
        let redrive = ["group", "redrive", "billing", "--topic", "orders", "--json"];
        let told = lines(&[&redrive[..], arguments, &at].concat()).concat();
        let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        told["sent"].as_u64().expect("a number")
    };
    lines(&[&["topic", "create", "orders.billing.dlq", "--partitions", "1"][..], &at].concat());
    let mut connection = Connection::open(broker.bootstrap());
    for value in [b"0", b"1", b"2"] {
        let produced = wire::produce(&mut connection, "orders.billing.dlq", &wire::batch(value, 0));
        assert_eq!(produced.map(|(error, _)| error), Some(0));
    }
    assert_eq!(redrive(&["--at", "0:2"]), 1);
    assert_eq!(redrive(&["--at", "0:2", "--at", "0:0"]), 1, "the other is back");
    assert_eq!(redrive(&["--key", "any"]), 0, "none has a key");
    assert_eq!(redrive(&[]), 1, "the one that is left");
    let refused = |place| {
        let redrive = ["group", "redrive", "billing", "--topic", "orders", "--at", place];
        refusal(&[&redrive[..], &at].concat())
    };
    assert!(
        refused("0:3").contains("there is no dead letter at offset 3 of orders.billing.dlq, partition 0")
    );
    assert!(refused("3").contains("say PARTITION:OFFSET"));
}

#[test]
fn schedules_are_asked_for_at_the_admin_port() {
    let broker = STORE.start_broker();
    lines(&["topic", "create", "later", "-c", "tidegate.delivery=scheduled", "-b", broker.bootstrap()]);
    let admin = ["--admin", broker.admin()];
    let listed = lines(&[&["schedule", "list", "later"][..], &admin].concat());
    assert_eq!(listed, ["SCHEDULE  PARTITION  DUE"]);
    let cancelled = lines(&[&["schedule", "cancel", "later", "a/b c"][..], &admin].concat());
    assert_eq!(cancelled, ["nothing waits under that name"]);
    let any_time = "message.timestamp.after.max.ms=9223372036854775807";
    lines(&["topic", "alter", "later", "-c", any_time, "-p", "2", "-b", broker.bootstrap()]);
    let producer = ScheduledProducer::new(broker.bootstrap(), "later", "none", &SharedBook::new());
    // The beginning of the year 3000.
    let timestamp_ms = 32_503_680_000_000;
    let (partition, value, schedule) = (Some(1), Some("v"), Some("a/b c"));
    producer.send(ScheduledRecord { partition, value, schedule, timestamp_ms, ..Default::default() });
    producer.flush();
    let list = |more: &[&str]| lines(&[&["schedule", "list", "later"], more, &admin].concat());
    assert_eq!(list(&[]), ["SCHEDULE  PARTITION  DUE", "a/b c     1          3000-01-01T00:00:00Z"]);
    let listed: serde_json::Value = serde_json::from_str(&list(&["--json"]).concat()).expect("JSON");
    let row = serde_json::json!({ "schedule": "a/b c", "partition": 1, "due_ms": timestamp_ms });
    assert_eq!(listed, serde_json::json!([row]));
    let cancelled = lines(&[&["schedule", "cancel", "later", "a/b c"][..], &admin].concat());
    assert_eq!(cancelled, ["cancelled"]);
    assert!(
        refusal(&[&["schedule", "list", "missing"][..], &admin].concat())
            .contains("there is no topic `missing`")
    );
}
