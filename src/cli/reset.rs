//! `tidegate group reset`: sets the committed offsets of a group in a topic.
//!
//! What always holds: an offset that is set lies between the first record that is kept and the end of its partition's
//! log, and either all partitions have one or nothing is changed.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::{Arg, ArgGroup, ArgMatches, Command};
use serde::Serialize;
use tidegate::{Admin, OffsetSpec, ResponseError, TopicPartition};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::output::{Row, print};

pub(crate) fn command(group: Arg) -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).num_args(0);
    let number = |name: &'static str| {
        let value = Arg::new(name).long(name).value_name("N").allow_negative_numbers(true);
        value.value_parser(clap::value_parser!(i64))
    };
    Command::new("reset")
        .about("Sets the committed offsets of a group without members, and drops what its workers have parked there")
        .arg(group)
        .arg(Arg::new("topic").long("topic").required(true).value_name("TOPIC").help("In which topic"))
        .arg(
            Arg::new("partition")
                .long("partition")
                .value_name("N")
                .value_parser(clap::value_parser!(i32).range(0..))
                .help("In which partition; all of them if not given"),
        )
        .arg(flag("to-earliest").help("To the first record kept"))
        .arg(flag("to-latest").help("To the end"))
        .arg(
            Arg::new("to-timestamp")
                .long("to-timestamp")
                .value_name("TIME")
                .allow_negative_numbers(true)
                .value_parser(time_ms)
                .help("To the first record of that time: 2026-11-29T08:00:00Z, or milliseconds since 1970"),
        )
        .arg(number("to-offset").help("To this offset, or the nearest that there is"))
        .arg(number("shift-by").help("So many offsets on from the committed one; back with a minus"))
        .group(
            ArgGroup::new("to")
                .args(["to-earliest", "to-latest", "to-timestamp", "to-offset", "shift-by"])
                .required(true),
        )
        .arg(flag("dry-run").help("Only show what would be set"))
}

/// A time as an argument, in milliseconds since 1970.
fn time_ms(text: &str) -> Result<i64, String> {
    if let Ok(unix_ms) = text.parse() {
        return Ok(unix_ms);
    }
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "write 2026-11-29T08:00:00Z, or milliseconds since 1970".to_owned())?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).map_err(|error| error.to_string())
}

pub(crate) async fn run(admin: &Admin, arguments: &ArgMatches, group: &str) -> anyhow::Result<()> {
    let partitions = partitions(admin, arguments).await?;
    let offsets = targets(admin, arguments, group, &partitions).await?;
    if !arguments.get_flag("dry-run") {
        admin.set_group_offsets(group, &offsets).await.map_err(|error| match error.code() {
            Some(ResponseError::UnknownMemberId) => {
                anyhow::anyhow!(
                    "group `{group}` has members: stop them first, or they would go on where they are"
                )
            }
            _ => error.into(),
        })?;
    }
    let rows: Vec<_> = offsets
        .into_iter()
        .map(|(at, offset)| ResetRow { topic: at.topic, partition: at.partition, committed_offset: offset })
        .collect();
    print(arguments, &rows)
}

/// The partitions that are meant.
async fn partitions(admin: &Admin, arguments: &ArgMatches) -> anyhow::Result<Vec<TopicPartition>> {
    let topic = arguments.get_one::<String>("topic").expect("clap requires it");
    let metadata = admin.list_topics().await?;
    let found = metadata.topics.get(topic).with_context(|| format!("there is no topic `{topic}`"))?;
    let wanted = arguments.get_one::<i32>("partition").copied();
    if let Some(wanted) = wanted.filter(|wanted| !found.partitions.contains_key(wanted)) {
        anyhow::bail!("topic `{topic}` has no partition {wanted}");
    }
    let meant = found.partitions.keys().filter(|partition| wanted.is_none_or(|wanted| wanted == **partition));
    Ok(meant.map(|partition| TopicPartition::new(topic, *partition)).collect())
}

/// The offset of a partition that is asked for, wherever its log begins and ends.
type Wanted<'a> = Box<dyn Fn(&TopicPartition) -> anyhow::Result<i64> + 'a>;

/// The offset of each partition that the arguments mean.
async fn targets(
    admin: &Admin,
    arguments: &ArgMatches,
    group: &str,
    partitions: &[TopicPartition],
) -> anyhow::Result<Vec<(TopicPartition, i64)>> {
    let all = |spec| partitions.iter().map(|at| (at.clone(), spec)).collect::<BTreeMap<_, _>>();
    let (earliest, latest) = (
        admin.list_offsets(&all(OffsetSpec::Earliest)).await?,
        admin.list_offsets(&all(OffsetSpec::Latest)).await?,
    );
    let of = |offsets: &BTreeMap<TopicPartition, Option<i64>>, at: &TopicPartition| {
        offsets.get(at).copied().flatten().unwrap_or(0)
    };
    let wanted: Wanted<'_> = if arguments.get_flag("to-earliest") {
        Box::new(|at: &TopicPartition| Ok(of(&earliest, at)))
    } else if let Some(timestamp_ms) = arguments.get_one::<i64>("to-timestamp") {
        let found = admin.list_offsets(&all(OffsetSpec::AtTimestamp(*timestamp_ms))).await?;
        let end = &latest;
        // If no record is that late, the next one will be.
        Box::new(move |at: &TopicPartition| {
            Ok(found.get(at).copied().flatten().unwrap_or_else(|| of(end, at)))
        })
    } else if let Some(offset) = arguments.get_one::<i64>("to-offset").copied() {
        Box::new(move |_: &TopicPartition| Ok(offset))
    } else if let Some(by) = arguments.get_one::<i64>("shift-by").copied() {
        let committed: BTreeMap<_, _> = admin
            .list_group_offsets(group)
            .await?
            .into_iter()
            .map(|committed| (committed.partition, committed.offset))
            .collect();
        Box::new(move |at: &TopicPartition| {
            let from = committed.get(at).with_context(|| {
                format!("group `{group}` has no committed offset in {}-{}", at.topic, at.partition)
            })?;
            Ok(from.saturating_add(by))
        })
    } else {
        Box::new(|at: &TopicPartition| Ok(of(&latest, at)))
    };
    let target = |at: &TopicPartition| -> anyhow::Result<(TopicPartition, i64)> {
        let (start, end) = (of(&earliest, at), of(&latest, at));
        Ok((at.clone(), nearest(wanted(at)?, start, end)))
    };
    partitions.iter().map(target).collect()
}

/// The offset of a log from `start` to `end` that is nearest to the one that is asked for.
fn nearest(wanted: i64, start: i64, end: i64) -> i64 {
    wanted.min(end).max(start)
}

#[derive(Serialize)]
struct ResetRow {
    topic: String,
    partition: i32,
    committed_offset: i64,
}

impl Row for ResetRow {
    const COLUMNS: &'static [&'static str] = &["TOPIC", "PARTITION", "COMMITTED-OFFSET"];

    fn cells(&self) -> Vec<String> {
        vec![self.topic.clone(), self.partition.to_string(), self.committed_offset.to_string()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_milliseconds_or_rfc_3339() {
        assert_eq!(time_ms("1790000000025"), Ok(1_790_000_000_025));
        assert_eq!(time_ms("-1"), Ok(-1));
        assert_eq!(time_ms("2026-09-21T14:13:20.025Z"), Ok(1_790_000_000_025));
        assert_eq!(time_ms("2026-09-21T16:13:20+02:00"), Ok(1_790_000_000_000));
        for bad in ["", "yesterday", "2026-09-21", "2026-09-21T14:13:20", "1.5"] {
            assert!(time_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_offset_outside_of_the_log_becomes_the_nearest_in_it() {
        let found = [-7, 0, 3, 5, 9, 10, 11, i64::MAX].map(|wanted| nearest(wanted, 5, 10));
        assert_eq!(found, [5, 5, 5, 5, 9, 10, 10, 10]);
    }
}
