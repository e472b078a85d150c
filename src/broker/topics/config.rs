//! What can be configured for each topic.
//!
//! One table of definitions: a name that is not in it is refused. Some of Kafka's have no meaning here and are taken
//! only because common tools set them; their documentation says so.

use std::collections::BTreeMap;

use tidegate_outbox::hold::HoldRules;

use crate::settings::{Delivery, Settings};

/// Kafka's numbers for the types of a configuration's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum ConfigKind {
    String = 2,
    Int = 3,
    Long = 5,
    List = 7,
}

/// One configuration that a topic can have.
pub(crate) struct ConfigDefinition {
    pub(crate) name: &'static str,
    pub(crate) kind: ConfigKind,
    pub(crate) documentation: &'static str,
    /// The broker's setting that gives the default, if there is one.
    pub(crate) setting: Option<&'static str>,
    default: fn(&Settings) -> String,
    check: fn(&str) -> Result<(), String>,
}

/// Who puts the time on a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// The configuration of a topic with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicConfig {
    pub(crate) delivery: Delivery,
    /// None: kept for ever.
    pub(crate) retention_ms: Option<i64>,
    /// None: no limit.
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) max_message_bytes: usize,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
}

/// A nanosecond timestamp is an error, not a schedule for the next geological age.
const TEN_YEARS_MS: i64 = HoldRules::TIMESTAMP_AFTER_MAX_MS;
/// Kafka's default since 4.0 (KIP-937).
const ONE_HOUR_MS: i64 = 3_600_000;

const NO_MEANING: &str = "Accepted because common tools set it; it has no meaning here";

/// Every configuration that a topic can have, by name.
pub(crate) const CONFIGS: &[ConfigDefinition] = &[
    ConfigDefinition {
        name: "cleanup.policy",
        kind: ConfigKind::List,
        documentation: "What happens to old records: `delete`. Compaction is not offered",
        setting: None,
        default: |_| "delete".to_owned(),
        check: |value| one_of(value, &["delete"]),
    },
    ConfigDefinition {
        name: "compression.type",
        kind: ConfigKind::String,
        documentation: "`producer`: batches stay as their producer compressed them",
        setting: None,
        default: |_| "producer".to_owned(),
        check: |value| one_of(value, &["producer"]),
    },
    ConfigDefinition {
        name: "max.message.bytes",
        kind: ConfigKind::Int,
        documentation: "Largest record batch, compressed as it comes",
        setting: Some("message.max.bytes"),
        default: |settings| settings.message_max_bytes.to_string(),
        check: |value| number(value, 1, 8 << 20),
    },
    ConfigDefinition {
        name: "message.timestamp.after.max.ms",
        kind: ConfigKind::Long,
        documentation: "How far a record's timestamp may lie in the future; an hour, on scheduled topics ten years",
        setting: None,
        default: |_| ONE_HOUR_MS.to_string(),
        check: |value| number(value, 0, i64::MAX),
    },
    ConfigDefinition {
        name: "message.timestamp.before.max.ms",
        kind: ConfigKind::Long,
        documentation: "How far a record's timestamp may lie in the past",
        setting: None,
        default: |_| i64::MAX.to_string(),
        check: |value| number(value, 0, i64::MAX),
    },
    ConfigDefinition {
        name: "message.timestamp.type",
        kind: ConfigKind::String,
        documentation: "`CreateTime`: records keep the timestamp of their producer; `LogAppendTime`: they get the broker's",
        setting: None,
        default: |_| "CreateTime".to_owned(),
        check: |value| one_of(value, &["CreateTime", "LogAppendTime"]),
    },
    ConfigDefinition {
        name: "min.insync.replicas",
        kind: ConfigKind::Int,
        documentation: NO_MEANING,
        setting: None,
        default: |_| "1".to_owned(),
        check: |value| number(value, 1, i64::from(i32::MAX)),
    },
    ConfigDefinition {
        name: "retention.bytes",
        kind: ConfigKind::Long,
        documentation: "How many bytes of records each partition keeps; -1: no limit",
        setting: Some("log.retention.bytes"),
        default: |settings| settings.log_retention_bytes.to_string(),
        check: |value| number(value, -1, i64::MAX),
    },
    ConfigDefinition {
        name: "retention.ms",
        kind: ConfigKind::Long,
        documentation: "How long records are kept, by the time they were appended; -1: for ever",
        setting: Some("log.retention.ms"),
        default: |settings| settings.log_retention_ms.to_string(),
        check: |value| number(value, -1, i64::MAX),
    },
    ConfigDefinition {
        name: "segment.bytes",
        kind: ConfigKind::Int,
        documentation: NO_MEANING,
        setting: None,
        default: |_| (1 << 30).to_string(),
        check: |value| number(value, 14, i64::from(i32::MAX)),
    },
    ConfigDefinition {
        name: "segment.ms",
        kind: ConfigKind::Long,
        documentation: NO_MEANING,
        setting: None,
        default: |_| (7 * 86_400_000).to_string(),
        check: |value| number(value, 1, i64::MAX),
    },
    ConfigDefinition {
        name: "tidegate.delivery",
        kind: ConfigKind::String,
        documentation: "`immediate`, or `scheduled`: records with a timestamp in the future are held until then",
        setting: Some("tidegate.delivery"),
        default: |settings| settings.tidegate_delivery.as_str().to_owned(),
        check: |value| one_of(value, &["immediate", "scheduled"]),
    },
];

fn one_of(value: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&value) { Ok(()) } else { Err(format!("must be one of: {}", allowed.join(", "))) }
}

fn number(value: &str, min: i64, max: i64) -> Result<(), String> {
    match value.parse::<i64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(()),
        _ => Err(format!("must be a whole number from {min} to {max}")),
    }
}

impl ConfigDefinition {
    /// The definition of a name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        CONFIGS.iter().find(|definition| definition.name == name)
    }

    /// Whether its value is a list.
    pub(crate) fn is_list(&self) -> bool {
        self.kind == ConfigKind::List
    }

    /// The value that is configured for a topic itself. One that its check does not take counts as none: applications
    /// write topics to the store as well, past this table, and a later release may have taken more.
    pub(crate) fn own<'a>(&self, overrides: &'a BTreeMap<String, String>) -> Option<&'a str> {
        overrides.get(self.name).map(String::as_str).filter(|value| (self.check)(value).is_ok())
    }

    /// The value that a topic has: its own or the default.
    pub(crate) fn value(&self, overrides: &BTreeMap<String, String>, settings: &Settings) -> String {
        if let Some(value) = self.own(overrides) {
            return value.to_owned();
        }
        if self.name == "message.timestamp.after.max.ms"
            && delivery(overrides, settings) == Delivery::Scheduled
        {
            return TEN_YEARS_MS.to_string();
        }
        (self.default)(settings)
    }
}

fn delivery(overrides: &BTreeMap<String, String>, settings: &Settings) -> Delivery {
    let own = overrides.get("tidegate.delivery").and_then(|name| Delivery::from_name(name));
    own.unwrap_or(settings.tidegate_delivery)
}

/// Checks what is configured for a topic of that name.
///
/// # Errors
/// What is wrong with it, for the client to read.
pub(super) fn check(topic: &str, overrides: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in overrides {
        let definition = ConfigDefinition::find(name)
            .ok_or_else(|| format!("there is no topic configuration `{name}`"))?;
        (definition.check)(value).map_err(|reason| format!("`{name}`: `{value}` {reason}"))?;
    }
    let explicit = overrides.get("tidegate.delivery").is_some_and(|value| value == "scheduled");
    let append_time = overrides.get("message.timestamp.type").is_some_and(|value| value == "LogAppendTime");
    if explicit && append_time {
        return Err(
            "`tidegate.delivery=scheduled` needs the producer's timestamps: not with LogAppendTime".into()
        );
    }
    if explicit && topic.starts_with("__") {
        return Err("an internal topic cannot have `tidegate.delivery=scheduled`".into());
    }
    Ok(())
}

impl TopicConfig {
    /// The configuration of a topic.
    pub(super) fn resolve(topic: &str, overrides: &BTreeMap<String, String>, settings: &Settings) -> Self {
        let value = |name: &str| {
            ConfigDefinition::find(name).expect("a name of the table").value(overrides, settings)
        };
        let number = |name| value(name).parse::<i64>().expect("what its check does not take is not used");
        let limit = |name| Some(number(name)).filter(|limit| *limit >= 0);
        let timestamp_type = match value("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        };
        // The broker's default does not turn a topic into a scheduled one that could not be configured as such.
        let can_hold = timestamp_type == TimestampType::CreateTime && !topic.starts_with("__");
        Self {
            delivery: if can_hold { delivery(overrides, settings) } else { Delivery::Immediate },
            retention_ms: limit("retention.ms"),
            retention_bytes: limit("retention.bytes").map(i64::unsigned_abs),
            max_message_bytes: usize::try_from(number("max.message.bytes")).expect("checked to be positive"),
            timestamp_type,
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_default_is_a_value_that_its_check_takes() {
        let settings = Settings::default();
        for definition in CONFIGS {
            (definition.check)(&(definition.default)(&settings)).expect(definition.name);
        }
    }

    #[test]
    fn the_table_is_in_order_and_has_each_name_once() {
        assert!(CONFIGS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn what_is_unknown_or_has_no_sense_is_refused() {
        for bad in [
            &[("retention.mss", "1")][..],
            &[("retention.ms", "soon")],
            &[("cleanup.policy", "compact")],
            &[("tidegate.delivery", "scheduled"), ("message.timestamp.type", "LogAppendTime")],
        ] {
            assert!(check("t", &overrides(bad)).is_err(), "{bad:?}");
        }
        assert!(check("__offsets", &overrides(&[("tidegate.delivery", "scheduled")])).is_err());
    }

    #[test]
    fn a_value_that_nobody_checked_counts_as_none() {
        let settings = Settings::default();
        for definition in CONFIGS {
            let unchecked = overrides(&[(definition.name, "soon")]);
            let resolved = TopicConfig::resolve("t", &unchecked, &settings);
            assert_eq!(
                resolved,
                TopicConfig::resolve("t", &overrides(&[]), &settings),
                "{}",
                definition.name
            );
            assert_eq!(definition.value(&unchecked, &settings), (definition.default)(&settings));
        }
        let [too_large, too_small] = ["9223372036854775807", "-2"].map(|value| {
            let unchecked = overrides(&[("max.message.bytes", value), ("retention.ms", value)]);
            TopicConfig::resolve("t", &unchecked, &settings)
        });
        assert_eq!(too_large.max_message_bytes, settings.message_max_bytes);
        assert_eq!(too_small.retention_ms, Some(settings.log_retention_ms));
    }

    #[test]
    fn a_scheduled_topic_takes_timestamps_up_to_ten_years_ahead() {
        let settings = Settings::default();
        let scheduled =
            TopicConfig::resolve("t", &overrides(&[("tidegate.delivery", "scheduled")]), &settings);
        assert_eq!(scheduled.timestamp_after_max_ms, TEN_YEARS_MS);
        let immediate = TopicConfig::resolve("t", &overrides(&[]), &settings);
        assert_eq!(immediate.timestamp_after_max_ms, ONE_HOUR_MS);
    }

    #[test]
    fn the_brokers_default_delivery_leaves_append_time_topics_alone() {
        let settings = Settings { tidegate_delivery: Delivery::Scheduled, ..Settings::default() };
        let append_time = overrides(&[("message.timestamp.type", "LogAppendTime")]);
        assert_eq!(TopicConfig::resolve("t", &append_time, &settings).delivery, Delivery::Immediate);
        assert_eq!(TopicConfig::resolve("t", &overrides(&[]), &settings).delivery, Delivery::Scheduled);
    }
}
