//! What commands print: a table for people, or JSON for programs.

use std::io::Write;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The flag `--json`.
pub(crate) fn json_argument() -> Arg {
    Arg::new("json")
        .long("json")
        .action(ArgAction::SetTrue)
        .global(true)
        .help("Print JSON instead of a table")
}

/// Rows that can be shown as a table.
pub(crate) trait Row: Serialize {
    /// The table's header.
    const COLUMNS: &'static [&'static str];

    /// One cell for each column.
    fn cells(&self) -> Vec<String>;
}

/// Prints rows as the arguments ask for.
pub(crate) fn print<R: Row>(matches: &ArgMatches, rows: &[R]) -> anyhow::Result<()> {
    let text = if matches.get_flag("json") { serde_json::to_string_pretty(rows)? } else { table(rows) };
    write_line(&text)
}

/// Says what was done: a sentence, or JSON.
pub(crate) fn print_done(
    matches: &ArgMatches,
    sentence: &str,
    json: &serde_json::Value,
) -> anyhow::Result<()> {
    write_line(&if matches.get_flag("json") {
        serde_json::to_string_pretty(json)?
    } else {
        sentence.to_owned()
    })
}

/// Prints a line on standard output.
pub(crate) fn write_line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Whoever reads has seen enough, `head` for one.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}

/// A time as RFC 3339 in UTC, for people; in milliseconds if it is beyond the years that RFC 3339 has.
pub(crate) fn time_text(unix_ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{unix_ms} ms"))
}

/// An error with its causes, those left out that the error before has said already.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = cause.trim_end();
        if said.is_empty() {
            cause.clone_into(&mut said);
        } else if !said.ends_with(cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

fn table<R: Row>(rows: &[R]) -> String {
    let header: Vec<String> = R::COLUMNS.iter().map(ToString::to_string).collect();
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..R::COLUMNS.len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pair(&'static str, i32);

    impl Row for Pair {
        const COLUMNS: &'static [&'static str] = &["NAME", "COUNT"];

        fn cells(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_string()]
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        let not_there = std::io::Error::from(std::io::ErrorKind::NotFound);
        let told = anyhow::Error::new(not_there)
            .context(format!("cannot read it: {}", std::io::ErrorKind::NotFound));
        assert_eq!(causes(&told), "cannot read it: entity not found");
        let not_told = anyhow::Error::msg("no space left\n").context("cannot write it");
        assert_eq!(causes(&not_told), "cannot write it: no space left");
    }

    #[test]
    fn a_time_is_shown_in_utc_as_exactly_as_it_is_known() {
        assert_eq!(time_text(1_790_000_000_000), "2026-09-21T14:13:20Z");
        assert_eq!(time_text(1_790_000_000_025), "2026-09-21T14:13:20.025Z");
        assert_eq!(time_text(-1), "1969-12-31T23:59:59.999Z");
        for beyond in [i64::MAX, i64::MIN, 253_402_300_800_000] {
            assert_eq!(time_text(beyond), format!("{beyond} ms"));
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(table(&[Pair("a", 1), Pair("longer", 22)]), "NAME    COUNT\na       1\nlonger  22");
        assert_eq!(table::<Pair>(&[]), "NAME  COUNT");
    }
}
