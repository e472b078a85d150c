//! `tidegate demo`: real flights through a broker of its own, and a check of what arrived.
//!
//! What it does: starts a broker on an embedded store in a fresh directory; writes each flight as a model, with its
//! events, in one transaction; reads the topic with two members of a consumer group over TCP; shows what happens; and
//! at the end compares what arrived with what was written. It uses nothing that an application could not use.

mod flight;
mod ledger;
mod reader;
mod timetable;
mod view;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use clap::{Arg, ArgMatches, Command};
use tidegate::{Admin, ClientOptions, NewTopic};
use tidegate_broker::settings::Settings;
use tidegate_broker::{BrokerStore, RunningBroker, StartError};
use tidegate_model::{Db, DbSettings};

use crate::output::write_line;
use crate::stop_signal::StopSignal;
use crate::{logging, store};
use ledger::Ledger;
use timetable::Pace;
use view::View;

/// The group that the demo's two members form.
const GROUP: &str = "departures-board";
/// Members of the group.
const MEMBERS: usize = 2;
/// How long the last events may take to arrive after the last departure was due.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);
/// How long the members may take to have their partitions.
const JOIN_MAX: Duration = Duration::from_secs(60);

const LONG_ABOUT: &str = "\
Plays real flights of 2001 through a broker of its own: each flight is a model with two indexes, written in one transaction \
with its `flight.scheduled` event and a `flight.departed` event that is due at the departure, in compressed time. Two \
members of a consumer group read the topic over TCP. Ends with a check that every event arrived exactly once, in order \
per flight, none early; its exit status says so.";

pub(crate) fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").default_value(default).help(help)
    };
    Command::new("demo")
        .about("Plays flights through a broker of its own and checks what arrives")
        .long_about(LONG_ABOUT)
        .arg(
            number("flights", "5000", "How many flights, from 1 to 20000")
                .value_parser(clap::value_parser!(u32).range(1..=20_000)),
        )
        .arg(
            number("seconds", "20", "In how many seconds they are played, from 1 to 3600")
                .value_parser(clap::value_parser!(u32).range(1..=3_600)),
        )
        .arg(
            number("partitions", "4", "Partitions of the topic")
                .value_parser(clap::value_parser!(i32).range(1..=1_000)),
        )
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("HOST:PORT")
                .default_value("127.0.0.1:9092")
                .help("Where to serve Kafka clients meanwhile; a free port if this one is taken"),
        )
        .arg(
            Arg::new("advertised")
                .long("advertised")
                .value_name("HOST:PORT")
                .default_value("")
                .hide_default_value(true)
                .help("What clients are told to connect to, if that is not what --listen says"),
        )
        .arg(
            Arg::new("insecure")
                .long("insecure")
                .num_args(0)
                .help("Allow another address than loopback although there is neither TLS nor authentication"),
        )
        .arg(
            Arg::new("keep")
                .long("keep")
                .num_args(0)
                .help("Go on serving after the check, until interrupted"),
        )
}

/// What writer, readers and view share.
type SharedLedger = Arc<Mutex<Ledger>>;

fn lock(ledger: &SharedLedger) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let flights = usize::try_from(*matches.get_one::<u32>("flights").expect("it has a default"))?;
    let seconds = *matches.get_one::<u32>("seconds").expect("it has a default");
    let partitions = *matches.get_one::<i32>("partitions").expect("it has a default");
    let mut stop = StopSignal::new()?;
    let directory = tempfile::Builder::new().prefix("tidegate-demo-").tempdir();
    let directory = directory.context("there is no place for the demo's store: TMPDIR names another")?;
    let settings = settings(matches, directory.path())?;
    logging::start(&settings)?;
    let store = store::open(&settings).await?;
    let broker = start(&settings, &store).await?;
    let outcome = tokio::select! {
        outcome = play(&broker, &store, flights, seconds, partitions) => outcome,
        () = stop.received() => Err(anyhow::anyhow!("interrupted before the check")),
    };
    if matches.get_flag("keep") && outcome.is_ok() {
        write_line(&format!("still serving on {}; interrupt to end", broker.listen()))?;
        stop.received().await;
    }
    broker.stop().await;
    store::shutdown(&store).await;
    outcome
}

fn settings(matches: &ArgMatches, directory: &std::path::Path) -> anyhow::Result<Settings> {
    let mut settings = Settings::default();
    let listen = matches.get_one::<String>("listen").expect("it has a default");
    settings.set("listen", listen)?;
    settings.insecure = matches.get_flag("insecure");
    settings.set("advertised", matches.get_one::<String>("advertised").expect("it has a default"))?;
    settings.set("admin", "127.0.0.1:0")?;
    settings.set("log.filter", "warn")?;
    // Two members that come at once need not wait for more.
    settings.set("group.initial.rebalance.delay.ms", "200")?;
    settings.data_dir = directory.to_owned();
    settings.check()?;
    Ok(settings)
}

/// Starts the broker, on a free port if the one asked for is taken.
async fn start(settings: &Settings, store: &BrokerStore) -> Result<RunningBroker, StartError> {
    match RunningBroker::start(settings.clone(), store.clone()).await {
        Err(StartError::Listen { setting: "listen", mut address, .. }) => {
            address.set_port(0);
            let settings = Settings { listen: address, ..settings.clone() };
            RunningBroker::start(settings, store.clone()).await
        }
        started => started,
    }
}

async fn play(
    broker: &RunningBroker,
    store: &BrokerStore,
    flights: usize,
    seconds: u32,
    partitions: i32,
) -> anyhow::Result<()> {
    let address = broker.listen().to_string();
    let rows = flight::timetable(flights)?;
    let admin = Admin::connect(ClientOptions::new(&address)).await?;
    let topic = NewTopic { name: flight::TOPIC.to_owned(), partitions: Some(partitions), configs: vec![] };
    admin.create_topic(&topic).await?;
    write_line(&format!(
        "tidegate serves Kafka on {address}, admin on http://{}; look on with",
        broker.admin()
    ))?;
    write_line(&format!("  kcat -b {address} -t {} -C -f '%T %k %h\\n'", flight::TOPIC))?;
    write_line(&format!("  curl -s http://{}/metrics | grep lag", broker.admin()))?;

    let ledger = SharedLedger::default();
    let readers = reader::Readers::start(&address, MEMBERS, &ledger).await?;
    tokio::time::timeout(JOIN_MAX, readers.wait_for_partitions(partitions))
        .await
        .context("the group's members did not get their partitions")?;
    let db = Db::new(store.clone(), DbSettings::default(), broker.wakeup());
    let pace = Pace::new(tidegate_store::Clock::now_ms(&tidegate_store::SystemClock), seconds, &rows);
    let view = View::start(ledger.clone(), admin.clone(), flights);
    let written = writer::write(&db, &rows, &pace, &ledger).await;
    let arrived = match written {
        Ok(()) => {
            let due_in = pace.time_until_last(tidegate_store::Clock::now_ms(&tidegate_store::SystemClock));
            wait_for_all(&ledger, flights * 2, due_in + ARRIVAL_MAX).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    drop(view);
    arrived?;
    readers.stop().await?;
    let lags = view::lags(&admin).await?;
    view::summary(&lock(&ledger), &lags)?;
    show_query(&db).await?;
    let verdict = lock(&ledger).verdict();
    view::print_verdict(&verdict)?;
    if verdict.is_good() {
        Ok(())
    } else {
        anyhow::bail!("what arrived is not what was written: {verdict:?}")
    }
}

async fn wait_for_all(ledger: &SharedLedger, events: usize, at_most: Duration) {
    let all = async {
        while lock(ledger).delivered() < events {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // What is missing then is what the verdict says.
    let _ = tokio::time::timeout(at_most, all).await;
}

/// One question that an index answers, to show what the models are for.
async fn show_query(db: &Db<BrokerStore>) -> anyhow::Result<()> {
    let late = db
        .transaction(|tx| async move {
            tx.query::<flight::Flight>("late_by_destination").value("ORD").reverse().limit(3).fetch().await
        })
        .await?;
    if !late.rows.is_empty() {
        write_line("latest into ORD, by the index late_by_destination:")?;
    }
    for flight::Flight { date, origin, destination, delay_minutes, .. } in late.rows {
        write_line(&format!("  {date} {origin} -> {destination} {delay_minutes:+} min"))?;
    }
    Ok(())
}
