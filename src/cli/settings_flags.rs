//! The broker's settings as flags and environment variables, made from the broker's own table.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, ArgMatches};
use tidegate_broker::settings::{SETTINGS, Settings, settings_in_file};

/// Settings of which people think first: `-h` shows these, `--help` all.
const COMMON: &[&str] =
    &["listen", "advertised", "admin", "insecure", "store", "data.dir", "log.filter", "log.format"];

/// The settings that name the directory of the store, and the store itself.
pub(crate) const DATA_DIR: &str = "data.dir";
pub(crate) const STORE: &str = "store";

/// The flags: `--config`, and one for each setting.
pub(crate) fn arguments() -> Vec<Arg> {
    arguments_of(|_| true)
}

/// The flags of commands that open the store without a broker: `--config`, and one for each setting of the store.
pub(crate) fn store_arguments() -> Vec<Arg> {
    arguments_of(is_of_store)
}

fn is_of_store(name: &str) -> bool {
    name == DATA_DIR || heading(name) == "Store"
}

fn arguments_of(is_wanted: impl Fn(&str) -> bool) -> Vec<Arg> {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env("TIDEGATE_CONFIG")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Read settings from a TOML file: num.partitions = 3");
    let settings = SETTINGS.iter().filter(|setting| is_wanted(setting.name)).map(|setting| {
        let is_switch = matches!(setting.default, "true" | "false");
        let argument = Arg::new(setting.name)
            .long(setting.flag())
            .env(setting.environment_variable())
            .help(format!(
                "{} [default: {}]",
                setting.help,
                if setting.default.is_empty() { "none" } else { setting.default }
            ))
            .help_heading(heading(setting.name))
            .hide_env(true)
            .hide_short_help(!COMMON.contains(&setting.name))
            .value_name(value_name(setting.name));
        if is_switch {
            let values = [PossibleValue::new("true"), PossibleValue::new("false")];
            argument
                .value_parser(values)
                .num_args(0..=1)
                .default_missing_value("true")
                .action(ArgAction::Set)
                .hide_possible_values(true)
        } else {
            argument.allow_hyphen_values(true)
        }
    });
    std::iter::once(config).chain(settings).collect()
}

/// What the help shows in place of a setting's value.
fn value_name(name: &str) -> &'static str {
    match name {
        "listen" | "advertised" | "admin" => "HOST:PORT",
        "data.dir" => "DIR",
        _ => "VALUE",
    }
}

/// Under which heading the help shows a setting.
fn heading(name: &str) -> &'static str {
    match name.split('.').next().unwrap_or(name) {
        "listen" | "advertised" | "admin" | "insecure" | "data" | "broker" => "Where it serves",
        "store" | "tikv" | "transaction" | "commit" | "gc" | "clock" => "Store",
        "socket" | "queued" | "max" | "connections" | "shutdown" => "Connections",
        "auto" | "num" | "topic" | "event" | "tidegate" => "Topics",
        "group" | "offset" | "offsets" => "Consumer groups",
        "relay" => "Outbox and schedules",
        "log" if name == "log.filter" || name == "log.format" => "Logging",
        _ => "Records",
    }
}

/// The settings: defaults, then the file, then the environment, then flags.
pub(crate) fn settings(matches: &ArgMatches) -> anyhow::Result<Settings> {
    settings_of(matches, |_| true)
}

/// The settings of the store, of a command with [`store_arguments`]; the others as the file has them, or their defaults.
pub(crate) fn store_settings(matches: &ArgMatches) -> anyhow::Result<Settings> {
    settings_of(matches, is_of_store)
}

fn settings_of(matches: &ArgMatches, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<Settings> {
    let mut settings = Settings::default();
    if let Some(path) = matches.get_one::<PathBuf>("config") {
        apply_file(&mut settings, path)?;
    }
    check_environment()?;
    for setting in SETTINGS.iter().filter(|setting| is_wanted(setting.name)) {
        // clap has put flags before the environment.
        if let Some(text) = matches.get_one::<String>(setting.name) {
            settings.set(setting.name, text)?;
        }
    }
    settings.check()?;
    Ok(settings)
}

fn apply_file(settings: &mut Settings, path: &Path) -> anyhow::Result<()> {
    for (name, text) in settings_in_file(path)? {
        settings.set(&name, &text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Refuses variables that look like settings and are none: a misspelt one would be ignored without a word.
fn check_environment() -> anyhow::Result<()> {
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("TIDEGATE_")) else { continue };
        let known = SETTINGS.iter().any(|setting| setting.environment_variable() == name);
        if !known
            && name != "TIDEGATE_CONFIG"
            && !name.starts_with("TIDEGATE_TEST_")
            && !is_service_link(name)
        {
            let dotted = name.trim_start_matches("TIDEGATE_").to_lowercase().replace('_', ".");
            let error = Settings::default().set(&dotted, "").expect_err("no such setting");
            anyhow::bail!("environment variable {name}: {error}");
        }
    }
    Ok(())
}

/// Whether a variable is one of those that Kubernetes gives every pod beside a service called `tidegate` (and Docker a
/// container that is linked to one): `TIDEGATE_SERVICE_HOST`, `TIDEGATE_SERVICE_PORT_KAFKA`, `TIDEGATE_PORT_9092_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let rest = name.trim_start_matches("TIDEGATE_");
    rest == "NAME"
        || rest == "SERVICE_HOST"
        || ["SERVICE_PORT", "PORT"]
            .iter()
            .any(|link| rest.strip_prefix(link).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')))
}
