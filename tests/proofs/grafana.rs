//! A real Prometheus with the project's own configuration scrapes a broker with traffic: every expression of every
//! dashboard returns data, and every alert can be evaluated.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rdkafka::producer::{DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::Value;
use tidegate_tests::admin::{client, create_topic};
use tidegate_tests::broker::Broker;
use tidegate_tests::deadline::{Deadline, HANG_AFTER};
use tidegate_tests::member::Member;
use tidegate_tests::producer::LedgerProducer;
use tidegate_tests::prometheus::{Prometheus, promtool};
use tidegate_tests::scheduled_topic::{
    ScheduledProducer, ScheduledRecord, SharedBook, create_scheduled_topic, now_ms,
};
use tidegate_tests::shared_ledger::SharedLedger;

const TOPIC: &str = "flights";
const SCHEDULED: &str = "departures";
const GROUP: &str = "board";

fn grafana() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Each dashboard, by its file's name.
fn dashboards() -> Vec<(String, Value)> {
    let mut dashboards = Vec::new();
    for entry in std::fs::read_dir(grafana().join("dashboards")).expect("it is there") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
        dashboards.push((name, serde_json::from_str(&read(&path)).expect("a dashboard is JSON")));
    }
    assert!(!dashboards.is_empty());
    dashboards
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {value}"))
}

/// The panels that show something, those within rows included.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let top = list(dashboard, "panels").iter();
    top.flat_map(|panel| std::iter::once(panel).chain(list(panel, "panels"))).collect()
}

/// Every expression, as Grafana asks it with its variables at "All".
fn expressions() -> BTreeSet<String> {
    let mut expressions = BTreeSet::new();
    for (_, dashboard) in dashboards() {
        for target in panels(&dashboard).into_iter().flat_map(|panel| list(panel, "targets")) {
            let mut expression = text(target, "expr").replace("$__rate_interval", "1m");
            for variable in list(&dashboard["templating"], "list") {
                let name = text(variable, "name");
                expression = expression.replace(&format!("${name}"), text(variable, "allValue"));
            }
            assert!(!expression.contains('$'), "a variable that is not defined: {expression}");
            expressions.insert(expression);
        }
    }
    expressions
}

/// The project's own configuration, but for the broker's address and the pace.
fn configuration(broker: &Broker) -> String {
    let mut configuration = read(&grafana().join("prometheus.yml"));
    let rules = grafana().join("rules/tidegate.yml");
    for (from, to) in [
        ("scrape_interval: 5s", "scrape_interval: 1s"),
        ("evaluation_interval: 15s", "evaluation_interval: 1s"),
        ("127.0.0.1:9644", broker.admin()),
        ("rules/tidegate.yml", &rules.display().to_string()),
    ] {
        assert_eq!(configuration.matches(from).count(), 1, "{from}");
        configuration = configuration.replace(from, to);
    }
    configuration
}

/// Traffic of every kind that the dashboards show: a group that reads and commits, scheduled records that wait and some
/// that become due, and an error.
struct Traffic {
    ledger: SharedLedger,
    producer: LedgerProducer,
    scheduled: ScheduledProducer,
    _members: [Member; 2],
}

impl Traffic {
    fn start(broker: &Broker) -> Self {
        let bootstrap = broker.bootstrap();
        create_topic(bootstrap, TOPIC, 4, &[]);
        create_scheduled_topic(bootstrap, SCHEDULED, 2);
        let ledger = SharedLedger::new(4);
        let join = |name| Member::join(bootstrap, GROUP, TOPIC, name, &[], &ledger);
        let scheduled = ScheduledProducer::new(bootstrap, SCHEDULED, "zstd", &SharedBook::new());
        let record = ScheduledRecord {
            value: Some("far"),
            timestamp_ms: now_ms() + 3_600_000,
            ..ScheduledRecord::default()
        };
        scheduled.send(record);
        Self {
            producer: LedgerProducer::new(bootstrap, TOPIC, "lz4", 100, &ledger),
            _members: [join("first"), join("second")],
            scheduled,
            ledger,
        }
    }

    fn more(&mut self) {
        self.producer.send(200);
        self.producer.flush();
        let soon = ScheduledRecord {
            value: Some("soon"),
            timestamp_ms: now_ms() + 300,
            ..ScheduledRecord::default()
        };
        self.scheduled.send(soon);
        self.scheduled.flush();
        let sent = self.producer.sent();
        self.ledger.wait_until("the group keeps up", |ledger| ledger.committed() >= sent);
    }
}

/// A record that is larger than a topic takes: an error for the dashboards to show.
fn refused_record(broker: &Broker) {
    let mut config = client(broker.bootstrap());
    config.set("message.max.bytes", "4000000");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    let value = "x".repeat(2_000_000);
    let record = rdkafka::producer::BaseRecord::<str, str>::to(TOPIC).payload(&value);
    producer.send(record).map_err(|(error, _)| error).expect("there is room in the producer's queue");
    producer.flush(HANG_AFTER).expect("it is answered");
}

#[test]
fn every_expression_of_every_dashboard_returns_data_and_every_alert_is_evaluated() {
    let mut broker = Broker::start();
    let prometheus = Prometheus::start(&configuration(&broker));
    let mut traffic = Traffic::start(&broker);
    refused_record(&broker);
    let deadline = Deadline::start();
    let mut without_data = expressions();
    assert!(without_data.len() > 30, "the dashboards show less than they did");
    while !without_data.is_empty() {
        traffic.more();
        without_data.retain(|expression| !prometheus.query(expression).iter().any(|value| value.is_finite()));
        assert!(!deadline.has_passed(), "these expressions return no data: {without_data:#?}");
    }
    let errors = prometheus.query("tidegate_request_errors_total{error=\"MessageTooLarge\"}");
    assert_eq!(errors, [1.0]);

    for (name, dashboard) in dashboards() {
        for variable in list(&dashboard["templating"], "list") {
            let query = text(&variable["query"], "query");
            let asked = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')'));
            let (metric, label) =
                asked.and_then(|asked| asked.split_once(", ")).expect("label_values(metric, label)");
            let values = prometheus.label_values(metric, label);
            assert!(
                values.iter().any(|value| [GROUP, TOPIC].contains(&value.as_str())),
                "{name}: {query}: {values:?}"
            );
        }
    }
    check_alerts(&prometheus);
    broker.kill();
    let down = "ALERTS{alertname=\"TidegateDown\", alertstate=\"pending\"}";
    wait_for_data(&prometheus, down);
}

/// Every alert is evaluated without an error, and none says that a broker that works is down, stuck or late.
fn check_alerts(prometheus: &Prometheus) {
    let deadline = Deadline::start();
    loop {
        let rules = prometheus.ask("/api/v1/rules");
        let rules = list(&list(&rules, "groups")[0], "rules").to_vec();
        assert!(!rules.is_empty());
        if rules.iter().all(|rule| text(rule, "health") == "ok") {
            break;
        }
        deadline.check(&format!("every alert is evaluated: {rules:#?}"));
        std::thread::yield_now();
    }
    for name in ["TidegateDown", "TidegateNotReady", "TidegateDiskLow", "TidegateDueEntryOld"] {
        let firing = prometheus.query(&format!("ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}"));
        assert!(firing.is_empty(), "{name}");
    }
}

fn wait_for_data(prometheus: &Prometheus, expression: &str) {
    let deadline = Deadline::start();
    while prometheus.query(expression).is_empty() {
        deadline.check(expression);
        std::thread::yield_now();
    }
}

#[test]
fn dashboards_are_what_grafana_can_provision() {
    let source = read(&grafana().join("provisioning/datasources/prometheus.yml"));
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        assert!(uids.insert(text(&dashboard, "uid").to_owned()), "{name}: another dashboard has its uid");
        assert!(!text(&dashboard, "title").is_empty() && dashboard["schemaVersion"].is_u64(), "{name}");
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        let mut row = "";
        for panel in panels(&dashboard) {
            let title = text(panel, "title");
            assert!(panel["id"].as_u64().is_some_and(|id| ids.insert(id)), "{name}: the id of {title}");
            if text(panel, "type") == "row" {
                row = title;
            }
            assert!(titles.insert((row, title)), "{name}: two panels {title} in {row}");
            let shows = list(panel, "targets");
            assert_eq!(shows.is_empty(), text(panel, "type") == "row", "{name}: {title}");
            let references: BTreeSet<&str> = shows.iter().map(|target| text(target, "refId")).collect();
            assert_eq!(references.len(), shows.len(), "{name}: {title}");
        }
        let variables = list(&dashboard["templating"], "list").iter();
        let sources =
            panels(&dashboard).into_iter().flat_map(|panel| list(panel, "targets")).chain(variables);
        for target in sources {
            let uid = text(&target["datasource"], "uid");
            assert!(
                source.lines().any(|line| line.trim() == format!("uid: {uid}")),
                "{name}: {uid} is not provisioned"
            );
        }
        assert_no_overlap(&name, &dashboard);
    }
    let provider = read(&grafana().join("provisioning/dashboards/tidegate.yml"));
    assert!(provider.contains("/etc/grafana/dashboards"));
}

/// No panel covers another.
fn assert_no_overlap(name: &str, dashboard: &Value) {
    let place = |panel: &Value| {
        let side = |key: &str| panel["gridPos"][key].as_u64().expect("a place on the grid");
        (side("x")..side("x") + side("w"), side("y")..side("y") + side("h"))
    };
    let places: Vec<_> = panels(dashboard).into_iter().map(place).collect();
    for (index, (x, y)) in places.iter().enumerate() {
        assert!(x.end <= 24, "{name}: wider than the grid");
        for (other_x, other_y) in &places[index + 1..] {
            let apart = |one: &std::ops::Range<u64>, two: &std::ops::Range<u64>| {
                one.end <= two.start || two.end <= one.start
            };
            assert!(
                apart(x, other_x) || apart(y, other_y),
                "{name}: panels at {x:?} {y:?} and {other_x:?} {other_y:?}"
            );
        }
    }
}

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    promtool(&grafana(), &["check", "config", "prometheus.yml"], "");
    promtool(&grafana().join("rules"), &["test", "rules", "tidegate_test.yml"], "");
    let (rules, tested) =
        (read(&grafana().join("rules/tidegate.yml")), read(&grafana().join("rules/tidegate_test.yml")));
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tested.contains(&format!("alertname: {alert}\n")), "{alert} is not tested");
    }
}
