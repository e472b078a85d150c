//! `tidegate bench`: figures of this machine, as a table; nothing passes or fails.
//!
//! Broker and clients run in this one process, on a fresh store for each row, with every commit durable before it is
//! acknowledged; where memory is measured, the broker is a `serve` process of its own. Ratios to other brokers are taken
//! with other tools (`tests/bench/run`).

mod backup;
mod cancel;
mod figures;
mod items;
mod load;
mod model_reads;
mod model_writes;
mod models;
mod records;
mod schedules;
mod served;
mod stage;
mod worker;

use clap::{Arg, ArgMatches, Command};
use serde::Serialize;
use tidegate_broker::settings::Settings;

use crate::output::{Row, json_argument, print};

const LONG_ABOUT: &str = "\
Measures this machine: produce and consume with the Rust client; model transactions with two indexes and an event, in process \
and through the port; writes with no, two and six indexes, rows under one parent, reads by id, by index and with related \
rows; commit to delivery, a worker's events exactly once, schedule lateness and memory with many pending and with a tenth of \
them, cancels that race entries as they come due with produce beside them, backup and restore. Each row has a broker of its \
own in this process (that of the schedules in another one), on a fresh store in a temporary directory (TMPDIR) or in a \
namespace of its own (--store), with every commit durable before it is acknowledged.";

pub(crate) fn command() -> Command {
    Command::new("bench")
        .about("Measures this machine and prints a table")
        .long_about(LONG_ABOUT)
        .arg(json_argument())
        .arg(
            Arg::new("store")
                .long("store")
                .value_name("STORE")
                .default_value("embedded")
                .help("Where each row has its fresh store: `embedded`, or `tikv://PD:PORT/NAMESPACE`, of which each row takes one of its own"),
        )
        .arg(
            Arg::new("pending")
                .long("pending")
                .value_name("N")
                .default_value("1000000")
                .value_parser(clap::value_parser!(u32).range(1..=20_000_000))
                .help("Schedules that wait while lateness is measured"),
        )
        .arg(
            Arg::new("cancels")
                .long("cancels")
                .value_name("N")
                .default_value("100000")
                .value_parser(clap::value_parser!(u32).range(1..=10_000_000))
                .help("Cancels that race entries as they come due, 10,000 a second"),
        )
        .arg(
            Arg::new("only")
                .long("only")
                .value_name("NAME")
                .value_parser([
                    "start",
                    "models",
                    "port",
                    "writes",
                    "parents",
                    "reads",
                    "records",
                    "delivery",
                    "schedules",
                    "cancels",
                    "worker",
                    "backup",
                ])
                .help("Only this part"),
        )
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
struct Figure {
    what: String,
    value: String,
    unit: &'static str,
}

impl Row for Figure {
    const COLUMNS: &'static [&'static str] = &["WHAT", "VALUE", "UNIT"];

    fn cells(&self) -> Vec<String> {
        vec![self.what.clone(), self.value.clone(), self.unit.to_owned()]
    }
}

pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let pending = *matches.get_one::<u32>("pending").expect("it has a default");
    let cancels = *matches.get_one::<u32>("cancels").expect("it has a default");
    let mut settings = Settings::default();
    settings.set("store", matches.get_one::<String>("store").expect("it has a default"))?;
    let store = settings.store;
    let only = matches.get_one::<String>("only");
    let wanted = |part: &str| only.is_none_or(|only| only == part);
    let mut figures = Vec::new();
    let mut add = |part: &str, rows: Vec<Figure>| {
        eprintln!("{part} done");
        figures.extend(rows);
    };
    if wanted("start") {
        add("start", stage::start_up(&store).await?);
    }
    if wanted("models") {
        add("models", models::throughput(&store).await?);
    }
    if wanted("port") {
        add("port", models::through_the_port(&store).await?);
    }
    if wanted("writes") {
        add("writes", model_writes::throughput(&store).await?);
    }
    if wanted("parents") {
        add("parents", model_writes::parents(&store).await?);
    }
    if wanted("reads") {
        add("reads", model_reads::throughput(&store).await?);
    }
    if wanted("delivery") {
        add("delivery", models::commit_to_delivery(&store).await?);
    }
    if wanted("records") {
        add("records", records::throughput(&store).await?);
    }
    if wanted("cancels") {
        add("cancels", cancel::race(&store, cancels).await?);
    }
    if wanted("worker") {
        add("worker", worker::throughput(&store).await?);
    }
    if wanted("backup") {
        add("backup", backup::throughput(&store).await?);
    }
    if wanted("schedules") {
        // Twice: what they take of memory is not to grow with their number.
        for pending in [pending.div_ceil(10), pending] {
            add("schedules", schedules::lateness(&store, pending).await?);
        }
    }
    print(matches, &figures)
}
