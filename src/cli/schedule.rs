//! `tidegate schedule`: what waits on a topic under a name.

use anyhow::Context;
use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bootstrap::{ADMIN_REMEDY, admin_port_argument};
use crate::output::{Row, json_argument, print, print_done, time_text};

/// How long the admin server may take.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
/// Schedules that are asked for at a time.
const PAGE: usize = 1_000;

pub(crate) fn command() -> Command {
    let topic = || Arg::new("topic").required(true).value_name("TOPIC").help("The topic's name");
    Command::new("schedule")
        .about("Lists and cancels what waits for its due time under a name")
        .long_about(
            "Lists and cancels what waits for its due time under a name: events that were published with a schedule \
             id, and records with the header `tidegate-schedule-id` on topics with tidegate.delivery=scheduled.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(admin_port_argument().global(true))
        .arg(json_argument())
        .subcommand(
            Command::new("list").about("Lists schedules by name").arg(topic()).arg(
                Arg::new("limit")
                    .long("limit")
                    .value_name("N")
                    .default_value("100")
                    .value_parser(clap::value_parser!(u32).range(1..))
                    .help("At most so many"),
            ).arg(Arg::new("after").long("after").value_name("SCHEDULE").help("Only names after this one")),
        )
        .subcommand(
            Command::new("cancel")
                .about("Cancels a schedule: what waits under its name never enters the log")
                .arg(topic())
                .arg(Arg::new("schedule").required(true).value_name("SCHEDULE").help("The schedule's name")),
        )
}

pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (verb, arguments) = matches.subcommand().expect("clap requires a subcommand");
    let arguments = arguments.clone();
    let verb = verb.to_owned();
    // The HTTP client blocks.
    tokio::task::spawn_blocking(move || match verb.as_str() {
        "list" => list(&arguments),
        "cancel" => cancel(&arguments),
        other => unreachable!("clap knows no subcommand {other}"),
    })
    .await?
}

#[derive(Deserialize)]
struct Page {
    schedules: Vec<ScheduleRow>,
    next: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct ScheduleRow {
    schedule: String,
    partition: i32,
    /// In milliseconds since the Unix epoch.
    due_ms: i64,
}

impl Row for ScheduleRow {
    const COLUMNS: &'static [&'static str] = &["SCHEDULE", "PARTITION", "DUE"];

    fn cells(&self) -> Vec<String> {
        vec![self.schedule.clone(), self.partition.to_string(), time_text(self.due_ms)]
    }
}

fn list(arguments: &ArgMatches) -> anyhow::Result<()> {
    let limit = usize::try_from(*arguments.get_one::<u32>("limit").expect("it has a default"))?;
    let mut after = arguments.get_one::<String>("after").cloned();
    let mut rows: Vec<ScheduleRow> = Vec::new();
    while rows.len() < limit {
        let mut request =
            agent().get(&url(arguments, None)).query("limit", (limit - rows.len()).min(PAGE).to_string());
        if let Some(after) = &after {
            request = request.query("after", after);
        }
        let page: Page = answer(request.call(), arguments)?.body_mut().read_json()?;
        rows.extend(page.schedules);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    print(arguments, &rows)?;
    if rows.is_empty() {
        eprintln!(
            "nothing waits there under a name; records without a `tidegate-schedule-id` are not listed (the metric \
             tidegate_timers_pending counts all)"
        );
    }
    Ok(())
}

fn cancel(arguments: &ArgMatches) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Cancelled {
        cancelled: bool,
    }
    let schedule = arguments.get_one::<String>("schedule").expect("clap requires it");
    let url = url(arguments, Some(schedule));
    let cancelled: Cancelled = answer(agent().delete(&url).call(), arguments)?.body_mut().read_json()?;
    let sentence = if cancelled.cancelled { "cancelled" } else { "nothing waits under that name" };
    print_done(arguments, sentence, &json!({ "cancelled": cancelled.cancelled }))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into()
}

fn url(arguments: &ArgMatches, schedule: Option<&str>) -> String {
    let admin = arguments.get_one::<String>("admin").expect("it has a default");
    let topic = arguments.get_one::<String>("topic").expect("clap requires it");
    let base = format!("http://{admin}/v1/schedules/{}", percent_encoded(topic));
    schedule.map_or(base.clone(), |schedule| format!("{base}/{}", percent_encoded(schedule)))
}

/// A name as one segment of a path (RFC 3986).
fn percent_encoded(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(encode).collect()
}

fn answer(
    called: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    arguments: &ArgMatches,
) -> anyhow::Result<ureq::http::Response<ureq::Body>> {
    let admin = arguments.get_one::<String>("admin").expect("it has a default");
    let mut response =
        called.with_context(|| format!("the admin server at {admin} does not answer ({ADMIN_REMEDY})"))?;
    if !response.status().is_success() {
        let reason = response.body_mut().read_to_string().unwrap_or_default();
        anyhow::bail!("{} ({})", reason.trim(), response.status());
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_due_time_is_shown_to_people_as_a_time_and_to_programs_in_milliseconds() {
        let row = ScheduleRow { schedule: "a".to_owned(), partition: 1, due_ms: 1_790_000_000_025 };
        assert_eq!(row.cells(), ["a", "1", "2026-09-21T14:13:20.025Z"]);
        let json = serde_json::to_value(&row).expect("plain fields");
        assert_eq!(json, json!({ "schedule": "a", "partition": 1, "due_ms": 1_790_000_000_025_i64 }));
    }

    #[test]
    fn a_name_is_one_segment_of_a_path_whatever_is_in_it() {
        assert_eq!(percent_encoded("a/b c?d.é~"), "a%2Fb%20c%3Fd.%C3%A9~");
    }
}
