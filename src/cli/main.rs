//! The command `tidegate`: serves a broker, and asks one that runs.
//!
//! Refuses to do more than read its arguments, call the crates below and print: what it prints on standard output is
//! meant for pipes, everything else goes to standard error.

mod backup;
mod bench;
mod bootstrap;
mod completions;
mod demo;
mod group;
mod logging;
mod offline_store;
mod open_files;
mod output;
mod progress;
mod reset;
mod restore;
mod schedule;
mod serve;
mod settings_flags;
mod snapshot_text;
mod stop_signal;
mod store;
mod topic;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

const ABOUT: &str = "A Kafka-style broker with the outbox first";
const LONG_ABOUT: &str = "\
A broker that speaks the Kafka protocol, keeps everything in one transactional store and puts the outbox first: \
models and their events are written in one transaction, and the broker delivers the events to consumer groups, now or \
when they are due.

Try it:
  tidegate demo       plays flights through a broker of its own and checks what arrives
  tidegate serve      serves Kafka clients on 127.0.0.1:9092
  tidegate topic create flights --partitions 3
  tidegate group list";

fn command() -> Command {
    Command::new("tidegate")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(demo::command())
        .subcommand(serve::command())
        .subcommand(topic::command())
        .subcommand(group::command())
        .subcommand(schedule::command())
        .subcommand(backup::command())
        .subcommand(restore::command())
        .subcommand(bench::command())
        .subcommand(completions::command())
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {}", output::causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (name, arguments) = matches.subcommand().expect("clap requires a subcommand");
    if name == "completions" {
        return completions::run(arguments, command());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match name {
            "backup" => backup::run(arguments).await,
            "restore" => restore::run(arguments).await,
            "bench" => bench::run(arguments).await,
            "demo" => demo::run(arguments).await,
            "serve" => serve::run(arguments).await,
            "topic" => topic::run(arguments).await,
            "group" => group::run(arguments).await,
            "schedule" => schedule::run(arguments).await,
            other => unreachable!("clap knows no subcommand {other}"),
        }
    });
    // Whatever still reads a file in the background must not hold the process up.
    runtime.shutdown_background();
    result
}
