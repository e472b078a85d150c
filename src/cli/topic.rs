//! `tidegate topic`: list, create, describe, alter and drop topics.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;
use serde_json::json;
use tidegate::{Admin, ConfigEntry, NewTopic, OffsetSpec, Partition, Topic, TopicPartition};

use crate::bootstrap;
use crate::output::{Row, json_argument, print, print_done};

pub(crate) fn command() -> Command {
    let name = || Arg::new("topic").required(true).value_name("TOPIC").help("The topic's name");
    let config = |help: &'static str| {
        Arg::new("config")
            .long("config")
            .short('c')
            .value_name("NAME=VALUE")
            .action(ArgAction::Append)
            .help(help)
    };
    let partitions = || {
        Arg::new("partitions")
            .long("partitions")
            .short('p')
            .value_name("N")
            .allow_negative_numbers(true)
            .value_parser(clap::value_parser!(i32).range(1..))
    };
    Command::new("topic")
        .about("Lists, creates, describes, changes and drops topics")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(bootstrap::argument())
        .arg(json_argument())
        .subcommand(Command::new("list").about("Lists topics with their partitions and records"))
        .subcommand(
            Command::new("create")
                .about("Creates a topic")
                .arg(name())
                .arg(partitions().help("How many partitions; the broker's num.partitions if not given"))
                .arg(config(
                    "What to configure: tidegate.delivery=scheduled, retention.ms=60000; may be repeated",
                )),
        )
        .subcommand(
            Command::new("describe").about("Shows a topic's partitions with their offsets").arg(name()),
        )
        .subcommand(Command::new("configs").about("Shows what is configured for a topic").arg(name()))
        .subcommand(
            Command::new("alter")
                .about("Changes a topic's configuration, or gives it more partitions")
                .arg(name())
                .arg(partitions().help("How many partitions it is to have in all"))
                .arg(config("What to set; may be repeated"))
                .arg(
                    Arg::new("reset")
                        .long("reset")
                        .value_name("NAME")
                        .action(ArgAction::Append)
                        .help("What to set back to its default; may be repeated"),
                ),
        )
        .subcommand(Command::new("delete").about("Drops a topic with all its records").arg(name()))
}

pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (verb, arguments) = matches.subcommand().expect("clap requires a subcommand");
    let admin = bootstrap::admin(arguments).await?;
    let topic = || arguments.get_one::<String>("topic").expect("clap requires it").as_str();
    match verb {
        "list" => list(&admin, arguments).await,
        "create" => create(&admin, arguments, topic()).await,
        "describe" => print(arguments, &partitions(&admin, topic()).await?),
        "configs" => {
            let configs = admin.describe_topic_configs(topic()).await?;
            print(arguments, &configs.into_iter().map(ConfigRow::from).collect::<Vec<_>>())
        }
        "alter" => alter(&admin, arguments, topic()).await,
        "delete" => {
            admin.delete_topic(topic()).await?;
            print_done(arguments, &format!("dropped {}", topic()), &json!({ "dropped": topic() }))
        }
        other => unreachable!("clap knows no subcommand {other}"),
    }
}

#[derive(Serialize)]
struct TopicRow {
    topic: String,
    partitions: usize,
    records: i64,
}

impl Row for TopicRow {
    const COLUMNS: &'static [&'static str] = &["TOPIC", "PARTITIONS", "RECORDS"];

    fn cells(&self) -> Vec<String> {
        vec![self.topic.clone(), self.partitions.to_string(), self.records.to_string()]
    }
}

#[derive(Serialize)]
struct PartitionRow {
    partition: i32,
    leader: Option<i32>,
    log_start_offset: i64,
    log_end_offset: i64,
}

impl Row for PartitionRow {
    const COLUMNS: &'static [&'static str] = &["PARTITION", "LEADER", "LOG-START-OFFSET", "LOG-END-OFFSET"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.partition.to_string(),
            self.leader.map_or_else(|| "-".to_owned(), |leader| leader.to_string()),
            self.log_start_offset.to_string(),
            self.log_end_offset.to_string(),
        ]
    }
}

#[derive(Serialize)]
struct ConfigRow {
    name: String,
    value: Option<String>,
    is_override: bool,
    documentation: Option<String>,
}

impl From<ConfigEntry> for ConfigRow {
    fn from(entry: ConfigEntry) -> Self {
        let ConfigEntry { name, value, is_override, documentation } = entry;
        Self { name, value, is_override, documentation }
    }
}

impl Row for ConfigRow {
    const COLUMNS: &'static [&'static str] = &["NAME", "VALUE", "SET-FOR", "MEANING"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.value.clone().unwrap_or_else(|| "-".to_owned()),
            if self.is_override { "topic" } else { "default" }.to_owned(),
            self.documentation.clone().unwrap_or_default(),
        ]
    }
}

async fn list(admin: &Admin, arguments: &ArgMatches) -> anyhow::Result<()> {
    let topics = admin.list_topics().await?.topics;
    let mut rows = Vec::with_capacity(topics.len());
    for (topic, info) in &topics {
        let partitions = match partitions_of(admin, topic, info).await {
            Ok(partitions) => partitions,
            // It was dropped since.
            Err(_) if !admin.list_topics().await?.topics.contains_key(topic) => continue,
            Err(error) => return Err(error),
        };
        let records = partitions.iter().map(|row| row.log_end_offset - row.log_start_offset).sum();
        rows.push(TopicRow { topic: topic.clone(), partitions: partitions.len(), records });
    }
    rows.sort_by(|left, right| left.topic.cmp(&right.topic));
    print(arguments, &rows)
}

async fn partitions(admin: &Admin, topic: &str) -> anyhow::Result<Vec<PartitionRow>> {
    let topics = admin.list_topics().await?.topics;
    let info = topics.get(topic).with_context(|| format!("there is no topic `{topic}`"))?;
    partitions_of(admin, topic, info).await
}

async fn partitions_of(admin: &Admin, topic: &str, info: &Topic) -> anyhow::Result<Vec<PartitionRow>> {
    let offsets = async |spec| {
        let wanted = info.partitions.keys().map(|partition| (TopicPartition::new(topic, *partition), spec));
        admin.list_offsets(&wanted.collect()).await
    };
    let (earliest, latest) = (offsets(OffsetSpec::Earliest).await?, offsets(OffsetSpec::Latest).await?);
    let of = |offsets: &BTreeMap<TopicPartition, Option<i64>>, partition| {
        offsets.get(&TopicPartition::new(topic, partition)).copied().flatten().unwrap_or(0)
    };
    let row = |(partition, info): (&i32, &Partition)| PartitionRow {
        partition: *partition,
        leader: info.leader,
        log_start_offset: of(&earliest, *partition),
        log_end_offset: of(&latest, *partition),
    };
    Ok(info.partitions.iter().map(row).collect())
}

async fn create(admin: &Admin, arguments: &ArgMatches, topic: &str) -> anyhow::Result<()> {
    let created = NewTopic {
        name: topic.to_owned(),
        partitions: arguments.get_one::<i32>("partitions").copied(),
        configs: configs(arguments)?,
    };
    admin.create_topic(&created).await?;
    print_done(arguments, &format!("created {topic}"), &json!({ "created": topic }))
}

async fn alter(admin: &Admin, arguments: &ArgMatches, topic: &str) -> anyhow::Result<()> {
    let set = configs(arguments)?.into_iter().map(|(name, value)| (name, Some(value)));
    let reset: Vec<&str> =
        arguments.get_many::<String>("reset").unwrap_or_default().map(String::as_str).collect();
    let changes: Vec<_> = set.chain(reset.iter().map(|name| ((*name).to_owned(), None))).collect();
    let partitions = arguments.get_one::<i32>("partitions").copied();
    if changes.is_empty() && partitions.is_none() {
        anyhow::bail!("say what to change: --config NAME=VALUE, --reset NAME or --partitions N");
    }
    if !reset.is_empty() {
        // A broker takes this for done already: a name that it does not know is not set.
        check_known(&reset, &admin.describe_topic_configs(topic).await?)?;
    }
    if !changes.is_empty() {
        admin.alter_topic_configs(topic, &changes).await?;
    }
    if let Some(partitions) = partitions {
        let created = admin.create_partitions(topic, partitions).await;
        created.context(if changes.is_empty() {
            "no partitions were added"
        } else {
            "the configuration was changed, but no partitions were added"
        })?;
    }
    print_done(arguments, &format!("changed {topic}"), &json!({ "changed": topic }))
}

/// Refuses names that are none of the configurations there are.
fn check_known(names: &[&str], configs: &[ConfigEntry]) -> anyhow::Result<()> {
    let known = |name: &str| configs.iter().any(|config| config.name == name);
    let Some(unknown) = names.iter().find(|name| !known(name)) else { return Ok(()) };
    let known: Vec<&str> = configs.iter().map(|config| config.name.as_str()).collect();
    anyhow::bail!("there is no topic configuration `{unknown}`; there are {}", known.join(", "))
}

fn configs(arguments: &ArgMatches) -> anyhow::Result<Vec<(String, String)>> {
    let given = arguments.get_many::<String>("config").unwrap_or_default();
    let split = |config: &String| {
        let (name, value) =
            config.split_once('=').with_context(|| format!("--config {config}: write NAME=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    given.map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_configuration_is_refused_with_those_that_are() {
        let entry = |name: &str| ConfigEntry {
            name: name.to_owned(),
            value: None,
            is_override: false,
            documentation: None,
        };
        let configs = ["retention.bytes", "retention.ms"].map(entry);
        check_known(&[], &configs).expect("nothing is asked for");
        check_known(&["retention.ms", "retention.bytes"], &configs).expect("both are there");
        let refused = check_known(&["retention.ms", "retention"], &configs).expect_err("it is a part of one");
        assert_eq!(
            refused.to_string(),
            "there is no topic configuration `retention`; there are retention.bytes, retention.ms"
        );
    }
}
