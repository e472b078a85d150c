//! `tidegate group`: consumer groups, their members, offsets and lag.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;
use serde_json::json;
use tidegate::{Admin, DeadLetters, ListedGroup, OffsetSpec, ResponseError, TopicPartition};

use crate::output::{Row, json_argument, print, print_done};
use crate::{bootstrap, reset};

pub(crate) fn command() -> Command {
    let name = || Arg::new("group").required(true).value_name("GROUP").help("The group's id");
    Command::new("group")
        .about("Lists and describes consumer groups, resets and deletes them, sends their dead letters back")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(bootstrap::argument())
        .arg(json_argument())
        .subcommand(Command::new("list").about("Lists groups with their states"))
        .subcommand(
            Command::new("describe").about("Shows offsets and lag, partition by partition").arg(name()),
        )
        .subcommand(Command::new("members").about("Shows members with what they read").arg(name()))
        .subcommand(reset::command(name()))
        .subcommand(
            Command::new("delete")
                .about("Deletes a group without members, with its offsets and what its workers have parked")
                .arg(name()),
        )
        .subcommand(
            Command::new("redrive")
                .about("Sends a group's dead letters back to the topic that they come from")
                .arg(name())
                .arg(Arg::new("topic").long("topic").required(true).value_name("TOPIC").help(
                    "The topic that they come from; they lie in TOPIC.GROUP.dlq, and all groups of TOPIC see them again",
                ))
                .arg(
                    Arg::new("max")
                        .long("max")
                        .value_name("N")
                        .value_parser(clap::value_parser!(u64))
                        .help("At most so many; all that are there if not given"),
                )
                .arg(
                    Arg::new("key")
                        .long("key")
                        .value_name("KEY")
                        .conflicts_with("at")
                        .help("Only those with this key"),
                )
                .arg(
                    Arg::new("at")
                        .long("at")
                        .value_name("PARTITION:OFFSET")
                        .value_parser(place)
                        .action(ArgAction::Append)
                        .help("Only the one at this place in TOPIC.GROUP.dlq; may be given several times"),
                ),
        )
}

pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (verb, arguments) = matches.subcommand().expect("clap requires a subcommand");
    let admin = bootstrap::admin(arguments).await?;
    let group = || arguments.get_one::<String>("group").expect("clap requires it").as_str();
    match verb {
        "list" => {
            let groups = admin.list_groups().await?;
            print(arguments, &groups.into_iter().map(GroupRow::from).collect::<Vec<_>>())
        }
        "describe" => describe(&admin, arguments, group()).await,
        "members" => members(&admin, arguments, group()).await,
        "reset" => reset::run(&admin, arguments, group()).await,
        "redrive" => {
            let topic = arguments.get_one::<String>("topic").expect("clap requires it");
            let max = arguments.get_one::<u64>("max").copied();
            let options = bootstrap::options(arguments);
            let sent = tidegate::redrive_only(options, topic, group(), &dead_letters(arguments), max).await?;
            print_done(
                arguments,
                &format!("sent {sent} dead letters back to {topic}"),
                &json!({ "sent": sent }),
            )
        }
        "delete" => {
            admin.delete_group(group()).await.map_err(|error| match error.code() {
                Some(ResponseError::GroupIdNotFound) => anyhow::anyhow!("there is no group `{}`", group()),
                Some(ResponseError::NonEmptyGroup) => {
                    anyhow::anyhow!("group `{}` has members: stop them first", group())
                }
                _ => error.into(),
            })?;
            print_done(arguments, &format!("deleted {}", group()), &json!({ "deleted": group() }))
        }
        other => unreachable!("clap knows no subcommand {other}"),
    }
}

/// Which dead letters are asked for.
fn dead_letters(arguments: &ArgMatches) -> DeadLetters {
    if let Some(key) = arguments.get_one::<String>("key") {
        return DeadLetters::Key(key.clone().into());
    }
    match arguments.get_many::<(i32, i64)>("at") {
        Some(places) => DeadLetters::At(places.copied().collect()),
        None => DeadLetters::All,
    }
}

/// A place in a log, as an argument.
fn place(text: &str) -> Result<(i32, i64), String> {
    let numbers = text.split_once(':').and_then(|(partition, offset)| {
        let (partition, offset): (i32, i64) = (partition.parse().ok()?, offset.parse().ok()?);
        (partition >= 0 && offset >= 0).then_some((partition, offset))
    });
    numbers.ok_or_else(|| "say PARTITION:OFFSET, like 0:17".to_owned())
}

#[derive(Serialize)]
struct GroupRow {
    group: String,
    state: String,
    protocol_type: String,
}

impl From<ListedGroup> for GroupRow {
    fn from(listed: ListedGroup) -> Self {
        let ListedGroup { group, state, protocol_type } = listed;
        Self { group, state, protocol_type }
    }
}

impl Row for GroupRow {
    const COLUMNS: &'static [&'static str] = &["GROUP", "STATE", "TYPE"];

    fn cells(&self) -> Vec<String> {
        let protocol_type = if self.protocol_type.is_empty() { "-" } else { &self.protocol_type };
        vec![self.group.clone(), self.state.clone(), protocol_type.to_owned()]
    }
}

#[derive(Serialize)]
struct OffsetRow {
    topic: String,
    partition: i32,
    committed_offset: Option<i64>,
    log_end_offset: Option<i64>,
    lag: Option<i64>,
    member_id: Option<String>,
    client_host: Option<String>,
}

impl Row for OffsetRow {
    const COLUMNS: &'static [&'static str] =
        &["TOPIC", "PARTITION", "COMMITTED-OFFSET", "LOG-END-OFFSET", "LAG", "MEMBER", "HOST"];

    fn cells(&self) -> Vec<String> {
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            number(self.committed_offset),
            number(self.log_end_offset),
            number(self.lag),
            text(&self.member_id),
            text(&self.client_host),
        ]
    }
}

/// What a group has to do with a partition.
#[derive(Default)]
struct Read {
    committed_offset: Option<i64>,
    /// The member that reads it, and its host.
    reader: Option<(String, String)>,
}

async fn describe(admin: &Admin, arguments: &ArgMatches, group: &str) -> anyhow::Result<()> {
    let described = admin.describe_group(group).await?;
    let committed = admin.list_group_offsets(group).await?;
    if described.state == "Dead" && committed.is_empty() {
        anyhow::bail!("there is no group `{group}`");
    }
    let mut partitions: BTreeMap<TopicPartition, Read> = BTreeMap::new();
    for offset in committed {
        partitions.entry(offset.partition).or_default().committed_offset = Some(offset.offset);
    }
    for member in &described.members {
        for partition in &member.assignment {
            let reader = (member.member_id.clone(), member.client_host.clone());
            partitions.entry(partition.clone()).or_default().reader = Some(reader);
        }
    }
    // A member may still have partitions of a topic that was dropped.
    let topics = admin.list_topics().await?.topics;
    let is_there = |at: &&TopicPartition| {
        topics.get(&at.topic).is_some_and(|topic| topic.partitions.contains_key(&at.partition))
    };
    let wanted = partitions.keys().filter(is_there).map(|at| (at.clone(), OffsetSpec::Latest)).collect();
    let ends = admin.list_offsets(&wanted).await?;
    let row = |(at, Read { committed_offset, reader }): (TopicPartition, Read)| {
        let log_end_offset = ends.get(&at).copied().flatten();
        let (member_id, client_host) = reader.unzip();
        OffsetRow {
            lag: committed_offset.zip(log_end_offset).map(|(committed, end)| (end - committed).max(0)),
            topic: at.topic,
            partition: at.partition,
            committed_offset,
            log_end_offset,
            member_id,
            client_host,
        }
    };
    print(arguments, &partitions.into_iter().map(row).collect::<Vec<_>>())
}

#[derive(Serialize)]
struct MemberRow {
    member_id: String,
    group_instance_id: Option<String>,
    client_id: String,
    client_host: String,
    assignment: Vec<String>,
}

impl Row for MemberRow {
    const COLUMNS: &'static [&'static str] = &["MEMBER", "INSTANCE", "CLIENT", "HOST", "READS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.member_id.clone(),
            self.group_instance_id.clone().unwrap_or_else(|| "-".to_owned()),
            self.client_id.clone(),
            self.client_host.clone(),
            self.assignment.join(" "),
        ]
    }
}

async fn members(admin: &Admin, arguments: &ArgMatches, group: &str) -> anyhow::Result<()> {
    let described = admin.describe_group(group).await?;
    if described.state == "Dead" {
        anyhow::bail!("there is no group `{group}`");
    }
    let rows: Vec<_> = described
        .members
        .into_iter()
        .map(|member| MemberRow {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            assignment: member.assignment.iter().map(|at| format!("{}-{}", at.topic, at.partition)).collect(),
        })
        .collect();
    print(arguments, &rows)
}
