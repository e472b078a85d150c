use std::collections::BTreeSet;

use super::*;

const DOCUMENTED: &str = include_str!("../../../grafana/METRICS.md");

fn all() -> impl Iterator<Item = &'static Family> {
    RECORDED.iter().chain(READ).chain(STORE).chain(TIKV)
}

#[test]
fn users_are_told_of_every_metric_what_the_broker_says_of_it() {
    let row = |family: &Family| {
        let Family { name, kind, help, labels } = family;
        format!("| `{name}` | {} | {} | {help} |", kind.text(), labels.join(", "))
    };
    let expected: BTreeSet<String> = all().map(row).collect();
    let found: BTreeSet<String> =
        DOCUMENTED.lines().filter(|line| line.starts_with("| `")).map(ToOwned::to_owned).collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&expected).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:#?}\nunknown {unknown:#?}");
}

#[test]
fn names_follow_prometheus_conventions() {
    let names: BTreeSet<&str> = all().map(|family| family.name).collect();
    assert_eq!(names.len(), all().count(), "each comes once");
    for Family { name, kind, help, .. } in all() {
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
        assert!(name.starts_with("tidegate_") || name.starts_with("kafka_"), "{name}");
        assert!(!help.is_empty() && !help.ends_with('.') && !help.contains(['\n', '|']), "{name}: {help}");
    }
}
