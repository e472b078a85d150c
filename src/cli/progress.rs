//! How far long work is, on standard error: a line that changes for people, lines of JSON for programs.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::json;

/// How often it is said: to a person who looks, to a log, to a program.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);
const LOG_INTERVAL: Duration = Duration::from_secs(10);
const JSON_INTERVAL: Duration = Duration::from_secs(1);

/// Progress of one piece of work.
pub(crate) struct Progress {
    what: &'static str,
    json: bool,
    is_terminal: bool,
    began: Instant,
    shown: Instant,
}

impl Progress {
    pub(crate) fn new(what: &'static str, json: bool) -> Self {
        let now = Instant::now();
        Self { what, json, is_terminal: std::io::stderr().is_terminal(), began: now, shown: now }
    }

    /// So many entries and bytes of the file are done, of so many bytes if that is known; said if it is time.
    pub(crate) fn show(&mut self, entries: u64, bytes: u64, of_bytes: Option<u64>) {
        let interval = match (self.json, self.is_terminal) {
            (true, _) => JSON_INTERVAL,
            (false, true) => TERMINAL_INTERVAL,
            (false, false) => LOG_INTERVAL,
        };
        if self.shown.elapsed() >= interval {
            self.shown = Instant::now();
            self.say(entries, bytes, of_bytes, false);
        }
    }

    /// All of it is done.
    pub(crate) fn end(&mut self, entries: u64, bytes: u64) {
        self.say(entries, bytes, Some(bytes), true);
    }

    fn say(&self, entries: u64, bytes: u64, of_bytes: Option<u64>, is_done: bool) {
        let seconds = self.began.elapsed().as_secs_f64();
        let line = if self.json {
            let Self { what, .. } = self;
            json!({
                "progress": what, "entries": entries, "bytes": bytes, "of_bytes": of_bytes,
                "seconds": (seconds * 1e3).round() / 1e3, "done": is_done,
            })
            .to_string()
        } else {
            sentence(self.what, entries, bytes, of_bytes, seconds)
        };
        let mut out = std::io::stderr().lock();
        // Whoever closed standard error wants to know nothing of it.
        let _ = match (self.json || !self.is_terminal, is_done) {
            (true, _) => writeln!(out, "{line}"),
            (false, false) => write!(out, "\r{line}\x1b[K"),
            (false, true) => writeln!(out, "\r{line}\x1b[K"),
        };
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates and shares are shown with few digits")]
fn sentence(what: &str, entries: u64, bytes: u64, of_bytes: Option<u64>, seconds: f64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    let share =
        of_bytes.filter(|of_bytes| *of_bytes > 0).map(|of_bytes| 100.0 * bytes as f64 / of_bytes as f64);
    let share = share.map_or_else(String::new, |share| format!(" ({share:.0} %)"));
    let rate = mib / seconds.max(1e-3);
    format!("{what}: {entries} entries, {mib:.1} MiB{share}, {rate:.1} MiB/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_said_where_the_whole_is_known() {
        assert_eq!(
            sentence("check", 7, 3 << 20, Some(12 << 20), 2.0),
            "check: 7 entries, 3.0 MiB (25 %), 1.5 MiB/s"
        );
        assert_eq!(sentence("backup", 7, 3 << 20, None, 2.0), "backup: 7 entries, 3.0 MiB, 1.5 MiB/s");
        assert_eq!(sentence("check", 0, 0, Some(0), 0.0), "check: 0 entries, 0.0 MiB, 0.0 MiB/s");
    }
}
