//! What the demo shows while it runs, and at its end.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tidegate::{Admin, OffsetSpec, TopicPartition};

use super::flight::TOPIC;
use super::ledger::{Ledger, Verdict};
use super::{GROUP, SharedLedger, lock};

/// How often the view changes, on a terminal and in a pipe.
const TERMINAL_EVERY: Duration = Duration::from_millis(250);
const PIPE_EVERY: Duration = Duration::from_secs(2);

/// Shows how it goes until it is aborted: one line that changes on a terminal, a line now and then in a pipe.
pub(super) async fn show(ledger: SharedLedger, admin: Admin, flights: usize) {
    let terminal = std::io::stdout().is_terminal();
    loop {
        let lags = lags(&admin).await.unwrap_or_default();
        let line = line(&lock(&ledger), &lags, flights);
        if print(&line, terminal).is_err() {
            return;
        }
        tokio::time::sleep(if terminal { TERMINAL_EVERY } else { PIPE_EVERY }).await;
    }
}

fn print(line: &str, terminal: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if terminal {
        write!(out, "\r\x1b[2K{line}")?;
    } else {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

fn line(ledger: &Ledger, lags: &[i64], flights: usize) -> String {
    format!(
        "written {}/{flights}  delivered {}/{}  departures pending {}  late {}  lag {lags:?}",
        ledger.written(),
        ledger.delivered(),
        flights * 2,
        ledger.pending(),
        lateness(ledger),
    )
}

fn lateness(ledger: &Ledger) -> String {
    match ledger.lateness_ms() {
        Some((median, p99, max)) => format!("p50 {median} p99 {p99} max {max} ms"),
        None => "-".to_owned(),
    }
}

/// The group's lag in each partition, by partition.
pub(super) async fn lags(admin: &Admin) -> Result<Vec<i64>, tidegate::Error> {
    let committed = admin.list_group_offsets(GROUP).await?;
    let metadata = admin.list_topics().await?;
    let partitions = metadata.topics.get(TOPIC).map(|topic| topic.partitions.len()).unwrap_or_default();
    let mut lags = Vec::with_capacity(partitions);
    for partition in (0..partitions).filter_map(|partition| i32::try_from(partition).ok()) {
        let at = TopicPartition::new(TOPIC, partition);
        let end = admin.list_offset(&at, OffsetSpec::Latest).await?.unwrap_or(0);
        let done = committed.iter().find(|offset| offset.partition == at).map_or(0, |offset| offset.offset);
        lags.push((end - done).max(0));
    }
    Ok(lags)
}

/// The last figures.
pub(super) fn summary(ledger: &Ledger, lags: &[i64]) {
    if std::io::stdout().is_terminal() {
        println!();
    }
    println!("{} flights written, {} events delivered, lag {lags:?}", ledger.written(), ledger.delivered());
    println!("lateness of departures: {}", lateness(ledger));
}

/// What the check found.
pub(super) fn print_verdict(verdict: &Verdict) {
    let Verdict { flights, missing, repeated, out_of_order, early, unknown } = verdict;
    if verdict.is_good() {
        println!(
            "checked: {} events of {flights} flights, each exactly once, in order per flight, none early",
            flights * 2
        );
    } else {
        println!(
            "checked: {missing} missing, {repeated} repeated, {out_of_order} flights out of order, {early} early, {unknown} unknown"
        );
    }
}
