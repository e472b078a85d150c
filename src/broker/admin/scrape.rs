//! The figures of `/metrics` that are read from the store when they are asked for.
//!
//! Under names of our own, and under those that kafka_exporter made common, so that existing dashboards work.

use std::collections::BTreeMap;

use tidegate_format::{PartitionId, PartitionState};
use tidegate_store::embedded::COMMIT_LATENCY_BOUNDS_US;
use tidegate_store::{AnyStore, Store};
use tokio::sync::Mutex;

use super::exposition::Exposition;
use super::lag::{AppendTimes, LagError, PartitionLag, load_lag, load_member_counts, load_states};
use crate::{Broker, BrokerStore};
use crate::topics::Topics;

/// Reads the figures; one scrape at a time, as they share what was cached.
#[derive(Default)]
pub(crate) struct Scraper {
    append_times: Mutex<AppendTimes>,
}

impl Scraper {
    /// The figures as Prometheus reads them.
    pub(crate) async fn scrape(&self, broker: &Broker) -> Result<String, LagError> {
        let mut append_times = self.append_times.lock().await;
        let topics = broker.catalogue.topics();
        let mut txn = broker.store.begin().await?;
        let states = load_states(&mut txn, &topics).await?;
        let members = load_member_counts(&mut txn).await?;
        let now_ms = broker.store.now_ms();
        let lags = load_lag(&mut txn, &topics, &states, now_ms, &mut append_times).await?;
        let mut text = Exposition::default();
        partitions(&mut text, &topics, &states);
        groups(&mut text, &members, &lags);
        store(&mut text, &broker.store);
        process(&mut text);
        Ok(text.finish())
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has floats only; exact up to 2^53")]
fn number(value: i64) -> f64 {
    value as f64
}

fn partitions(text: &mut Exposition, topics: &Topics, states: &BTreeMap<PartitionId, PartitionState>) {
    let rows: Vec<(String, String, Option<&PartitionState>)> = topics
        .iter()
        .flat_map(|topic| topic.partition_ids().map(|id| (topic.name.clone(), id)))
        .map(|(name, id)| (name, id.partition.to_string(), states.get(&id)))
        .collect();
    let mut each = |names: [&str; 2], help: &str, value: fn(&PartitionState) -> i64| {
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            text.gauge(name, help);
            for (topic, partition, state) in &rows {
                let labels = [("topic", topic.as_str()), ("partition", partition.as_str())];
                text.sample(name, &labels, number(state.map_or(0, value)));
            }
        }
    };
    let end = ["tidegate_log_end_offset", "kafka_topic_partition_current_offset"];
    each(end, "Offset after the last record of the partition", |state| state.next_offset.0);
    let start = ["tidegate_log_start_offset", "kafka_topic_partition_oldest_offset"];
    each(start, "Offset of the first record of the partition", |state| state.log_start.0);
    each(["tidegate_log_bytes", ""], "Bytes of the record batches in the partition", |state| {
        i64::try_from(state.log_bytes).unwrap_or(i64::MAX)
    });
    text.gauge("kafka_topic_partitions", "Number of partitions of the topic");
    for topic in topics.iter() {
        text.sample("kafka_topic_partitions", &[("topic", &topic.name)], f64::from(topic.partitions));
    }
}

fn groups(text: &mut Exposition, members: &BTreeMap<String, usize>, lags: &[PartitionLag]) {
    for (name, label) in
        [("tidegate_consumer_group_members", "group"), ("kafka_consumergroup_members", "consumergroup")]
    {
        text.gauge(name, "Members of the consumer group");
        for (group, count) in members {
            text.sample(name, &[(label, group)], number(i64::try_from(*count).unwrap_or(i64::MAX)));
        }
    }
    let families: [(&str, &str, &str, fn(&PartitionLag) -> f64); 5] = [
        ("tidegate_consumer_group_lag_records", "group", "Records that the group has not committed", |lag| {
            number(lag.records)
        }),
        ("kafka_consumergroup_lag", "consumergroup", "Records that the group has not committed", |lag| {
            number(lag.records)
        }),
        (
            "tidegate_consumer_group_lag_seconds",
            "group",
            "How long ago the first record that the group has not committed entered the log",
            |lag| lag.seconds,
        ),
        (
            "tidegate_consumer_group_committed_offset",
            "group",
            "The next record that the group wants",
            |lag| number(lag.committed.0),
        ),
        (
            "kafka_consumergroup_current_offset",
            "consumergroup",
            "The next record that the group wants",
            |lag| number(lag.committed.0),
        ),
    ];
    for (name, label, help, value) in families {
        text.gauge(name, help);
        for lag in lags {
            let partition = lag.id.partition.to_string();
            let labels = [(label, lag.group.as_str()), ("topic", &lag.topic), ("partition", &partition)];
            text.sample(name, &labels, value(lag));
        }
    }
    let sums: [(&str, fn(&PartitionLag) -> f64); 2] = [
        ("kafka_consumergroup_lag_sum", |lag| number(lag.records)),
        ("kafka_consumergroup_current_offset_sum", |lag| number(lag.committed.0)),
    ];
    for (name, value) in sums {
        text.gauge(name, "Sum over the partitions of a topic");
        let mut by_topic: BTreeMap<(&str, &str), f64> = BTreeMap::new();
        for lag in lags {
            *by_topic.entry((&lag.group, &lag.topic)).or_default() += value(lag);
        }
        for ((group, topic), sum) in by_topic {
            text.sample(name, &[("consumergroup", group), ("topic", topic)], sum);
        }
    }
}

/// What the embedded store counts.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has floats only; exact up to 2^53")]
fn store(text: &mut Exposition, store: &BrokerStore) {
    let AnyStore::Embedded(store) = store else { return };
    let counts = store.metrics();
    let counters = [
        ("tidegate_store_commits_total", "Transactions that were committed", counts.commits),
        ("tidegate_store_commit_groups_total", "Groups of transactions: one write and one sync each", counts.groups),
        ("tidegate_store_conflicts_total", "Transactions that were refused with a conflict", counts.conflicts),
        ("tidegate_store_journal_bytes_total", "Bytes appended to the journal", counts.journal_bytes),
        ("tidegate_store_flushes_total", "Overlays that were written to the tree", counts.flushes),
        ("tidegate_store_segments_removed_total", "Segments of the journal that were removed", counts.segments_removed),
    ];
    for (name, help, count) in counters {
        text.counter(name, help);
        text.sample(name, &[], count as f64);
    }
    let times = [
        ("tidegate_store_throttled_seconds_total", "Time that commits were slowed down as flushing fell behind", counts.throttled_us),
        ("tidegate_store_flush_seconds_total", "Time that flushes took", counts.flush_us),
    ];
    for (name, help, us) in times {
        text.counter(name, help);
        text.sample(name, &[], us as f64 / 1e6);
    }
    let gauges = [
        ("tidegate_store_overlay_bytes", "Memory taken by entries that the tree does not have yet", counts.overlay_bytes),
        ("tidegate_store_segments", "Segments of the journal", counts.segments),
        ("tidegate_store_live_bytes", "Bytes of large values in the journal", counts.live_bytes),
        ("tidegate_store_disk_low", "Whether the disk is down to its reserve", counts.is_disk_low),
    ];
    for (name, help, value) in gauges {
        text.gauge(name, help);
        text.sample(name, &[], value as f64);
    }
    let name = "tidegate_store_commit_seconds";
    text.histogram(name, "Time of a group of commits, from the first transaction taken to its answers");
    let mut cumulative = 0;
    for (index, count) in counts.commit_latency_counts.iter().enumerate() {
        cumulative += count;
        let bound = COMMIT_LATENCY_BOUNDS_US.get(index).map(|us| (*us as f64 / 1e6).to_string());
        let labels = [("le", bound.as_deref().unwrap_or("+Inf"))];
        text.sample(&format!("{name}_bucket"), &labels, cumulative as f64);
    }
    text.sample(&format!("{name}_sum"), &[], counts.group_us as f64 / 1e6);
    text.sample(&format!("{name}_count"), &[], cumulative as f64);
}

/// Memory and start time of this process, under the names that every Prometheus client uses; nothing where `/proc` has
/// nothing to tell.
fn process(text: &mut Exposition) {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let kib = |field: &str| {
        let line = status.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace().nth(1)?.parse::<i64>().ok()
    };
    let rows = [
        ("process_resident_memory_bytes", "Resident memory size in bytes", "VmRSS:"),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes", "VmSize:"),
    ];
    for (name, help, field) in rows {
        if let Some(kib) = kib(field) {
            text.gauge(name, help);
            text.sample(name, &[], number(kib.saturating_mul(1024)));
        }
    }
}
