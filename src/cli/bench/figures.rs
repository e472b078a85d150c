//! From measured times to rows.

use std::time::Duration;

use super::Figure;

/// So many things in so long, as a rate.
#[expect(clippy::cast_precision_loss, reason = "a rate is shown in whole numbers")]
pub(super) fn rate(what: impl Into<String>, count: usize, elapsed: Duration, unit: &'static str) -> Figure {
    let value = format!("{:.0}", count as f64 / elapsed.as_secs_f64());
    Figure { what: what.into(), value, unit }
}

/// So many things.
pub(super) fn count(what: impl Into<String>, count: usize, unit: &'static str) -> Figure {
    Figure { what: what.into(), value: count.to_string(), unit }
}

/// Median and 99th percentile of some times, in milliseconds.
pub(super) fn percentiles(what: &str, mut times: Vec<Duration>) -> Vec<Figure> {
    times.sort_unstable();
    let at = |percent: usize| {
        times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    };
    let figure = |name: &str, time: Duration| Figure {
        what: format!("{what}, {name}"),
        value: format!("{:.2}", time.as_secs_f64() * 1e3),
        unit: "ms",
    };
    vec![figure("p50", at(50)), figure("p99", at(99))]
}

/// What this process has in memory now.
pub(super) fn resident(what: impl Into<String>) -> Figure {
    memory(what, "self", "VmRSS:")
}

/// A line of a process's status that counts memory.
pub(super) fn memory(what: impl Into<String>, process: &str, line: &str) -> Figure {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|other| other.starts_with(line));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let value = kib.map_or_else(|| "-".to_owned(), |kib| (kib / 1024).to_string());
    Figure { what: what.into(), value, unit: "MiB" }
}
