//! What the demo shows while it runs, and at its end.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tidegate::{Admin, OffsetSpec, TopicPartition};
use tokio::task::JoinHandle;

use super::flight::TOPIC;
use super::ledger::{Ledger, Verdict};
use super::{GROUP, SharedLedger, lock};
use crate::output::write_line;

/// How often the view changes, on a terminal and in a pipe.
const TERMINAL_EVERY: Duration = Duration::from_millis(250);
const PIPE_EVERY: Duration = Duration::from_secs(2);
/// Columns of a terminal that does not say.
const COLUMNS: usize = 80;

/// Shows how it goes until it is dropped: two lines that change on a terminal, a line now and then in a pipe.
pub(super) struct View(JoinHandle<()>);

impl View {
    pub(super) fn start(ledger: SharedLedger, admin: Admin, flights: usize) -> Self {
        Self(tokio::spawn(show(ledger, admin, flights)))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn show(ledger: SharedLedger, admin: Admin, flights: usize) {
    let terminal = std::io::stdout().is_terminal();
    let mut is_first = true;
    loop {
        let lags = lags(&admin).await.unwrap_or_default();
        let lines = lines(&lock(&ledger), &lags, flights);
        let text =
            if terminal { frame(&lines, columns(), is_first) } else { format!("{}\n", lines.join("  ")) };
        if print(&text).is_err() {
            return;
        }
        is_first = false;
        tokio::time::sleep(if terminal { TERMINAL_EVERY } else { PIPE_EVERY }).await;
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Columns of the terminal.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// What a terminal shows the lines with, over those of before. None may be wrapped: the way up counts lines.
fn frame(lines: &[String; 2], columns: usize, is_first: bool) -> String {
    let up = if is_first { "" } else { "\x1b[2A" };
    let fit = |line: &String| line.chars().take(columns.saturating_sub(1)).collect::<String>();
    let [first, second] = lines.each_ref().map(fit);
    format!("\r{up}\x1b[2K{first}\n\x1b[2K{second}\n")
}

fn lines(ledger: &Ledger, lags: &[i64], flights: usize) -> [String; 2] {
    let events = flights * 2;
    let (written, delivered, pending) = (ledger.written(), ledger.delivered(), ledger.pending());
    [
        format!("written {written}/{flights}  delivered {delivered}/{events}  departures pending {pending}"),
        format!("late {}  lag {lags:?}", lateness(ledger)),
    ]
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
pub(super) fn summary(ledger: &Ledger, lags: &[i64]) -> anyhow::Result<()> {
    let (written, delivered) = (ledger.written(), ledger.delivered());
    write_line(&format!("{written} flights written, {delivered} events delivered, lag {lags:?}"))?;
    write_line(&format!("lateness of departures: {}", lateness(ledger)))
}

/// What the check found.
pub(super) fn print_verdict(verdict: &Verdict) -> anyhow::Result<()> {
    let Verdict { flights, missing, repeated, out_of_order, early, unknown } = verdict;
    let events = flights * 2;
    write_line(&if verdict.is_good() {
        format!(
            "checked: {events} events of {flights} flights, each exactly once, in order per flight, none early"
        )
    } else {
        format!(
            "checked: {missing} missing, {repeated} repeated, {out_of_order} flights out of order, {early} early, {unknown} unknown"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_two_lines_of_a_terminal_however_narrow_it_is() {
        let lines =
            ["written 1364/5000  delivered 1998/10000".to_owned(), "late -  lag [103, 74]".to_owned()];
        assert_eq!(
            frame(&lines, 80, true),
            "\r\x1b[2Kwritten 1364/5000  delivered 1998/10000\n\x1b[2Klate -  lag [103, 74]\n"
        );
        assert_eq!(frame(&lines, 8, false), "\r\x1b[2A\x1b[2Kwritten\n\x1b[2Klate - \n");
    }
}
