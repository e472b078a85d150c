//! The figures as text, under their own names and under those of `kafka_exporter`, which existing dashboards know.

use std::collections::BTreeMap;

use tidegate_format::PartitionState;
use tidegate_group::state_name;
use tidegate_outbox::Pending;
use tidegate_store::Version;
use tidegate_store::embedded::{COMMIT_LATENCY_BOUNDS_US, EmbeddedMetrics};
use tidegate_store::tikv::TikvMetrics;

use super::exposition::{Exposition, float, signed_float};
use super::groups::GroupFigures;
use super::lag::{PartitionLag, seconds_between};
use crate::Broker;
use crate::metrics::names::{self, Family};
use crate::topics::Topics;

/// One partition.
#[derive(Debug)]
pub(crate) struct PartitionFigures {
    pub(crate) topic: String,
    pub(crate) partition: String,
    /// None if it was never used.
    pub(crate) state: Option<PartitionState>,
    pub(crate) pending: Pending,
}

/// What the broker is, and the disk that it is on.
pub(crate) fn broker(text: &mut Exposition, broker: &Broker, is_ready: bool) {
    text.single(&names::READY, f64::from(u8::from(is_ready)));
    text.begin(&names::BUILD_INFO);
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    if let Some(space) = broker.disk_space() {
        text.single(&names::DISK_FREE_BYTES, float(space.usable_bytes));
        text.single(&names::DISK_SIZE_BYTES, float(space.total_bytes));
    }
    text.single(&names::CONNECTIONS, float(broker.connection_places.taken() as u64));
    text.single(&names::EXTENSION_SESSIONS, float(broker.extension_sessions.taken() as u64));
    text.single(&names::KAFKA_BROKERS, 1.0);
    let id = broker.settings.broker_id;
    let address = format!("{}:{}", broker.advertised.host, broker.advertised.port);
    text.begin(&names::KAFKA_BROKER_INFO);
    text.sample(&[("id", &id.to_string()), ("address", &address)], f64::from(id));
}

/// Topics and their partitions.
pub(crate) fn partitions(text: &mut Exposition, topics: &Topics, rows: &[PartitionFigures], broker_id: i32) {
    let mut each = |family: &Family, value: &dyn Fn(&PartitionFigures) -> Option<f64>| {
        text.begin(family);
        for row in rows {
            if let Some(value) = value(row) {
                text.sample(&[("topic", &row.topic), ("partition", &row.partition)], value);
            }
        }
    };
    let end = |row: &PartitionFigures| {
        Some(signed_float(row.state.as_ref().map_or(0, |state| state.next_offset.0)))
    };
    let start =
        |row: &PartitionFigures| Some(signed_float(row.state.as_ref().map_or(0, |state| state.log_start.0)));
    each(&names::LOG_END_OFFSET, &end);
    each(&names::LOG_START_OFFSET, &start);
    each(&names::LOG_BYTES, &|row| Some(float(row.state.as_ref().map_or(0, |state| state.log_bytes))));
    each(&names::KAFKA_CURRENT_OFFSET, &end);
    each(&names::KAFKA_OLDEST_OFFSET, &start);
    each(&names::KAFKA_LEADER, &|_| Some(f64::from(broker_id)));
    for family in [names::KAFKA_LEADER_IS_PREFERRED, names::KAFKA_REPLICAS, names::KAFKA_IN_SYNC_REPLICA] {
        each(&family, &|_| Some(1.0));
    }
    each(&names::KAFKA_UNDER_REPLICATED, &|_| Some(0.0));
    text.begin(&names::KAFKA_PARTITIONS);
    for topic in topics.iter() {
        text.sample(&[("topic", &topic.name)], f64::from(topic.partitions));
    }
}

/// What waits in the partitions.
pub(crate) fn waiting(text: &mut Exposition, rows: &[PartitionFigures], now_ms: i64) {
    let since = |at_ms: Option<i64>| at_ms.map_or(0.0, |at_ms| seconds_between(at_ms, now_ms));
    let mut each = |family: &Family, value: &dyn Fn(&Pending) -> Option<f64>| {
        text.begin(family);
        for row in rows {
            if let Some(value) = value(&row.pending) {
                text.sample(&[("topic", &row.topic), ("partition", &row.partition)], value);
            }
        }
    };
    each(&names::OUTBOX_PENDING, &|pending| Some(float(pending.outbox as u64)));
    each(&names::TIMERS_PENDING, &|pending| Some(float(pending.timer as u64)));
    each(&names::PENDING_CAPPED, &|pending| Some(f64::from(u8::from(pending.capped))));
    each(&names::OLDEST_DUE, &|pending| {
        Some(since(pending.oldest_commit_ms).max(since(pending.oldest_due_ms)))
    });
    each(&names::NEXT_DUE, &|pending| pending.oldest_due_ms.map(|due_ms| signed_float(due_ms) / 1000.0));
}

/// A family of figures of lags: its name, the label that names the group, and the figure.
type LagFamily = (Family, &'static str, fn(&PartitionLag) -> f64);

/// Groups and how far they are behind.
pub(crate) fn groups(text: &mut Exposition, groups: &[GroupFigures], lags: &[PartitionLag]) {
    for (family, label) in [(names::GROUP_MEMBERS, "group"), (names::KAFKA_GROUP_MEMBERS, "consumergroup")] {
        text.begin(&family);
        for row in groups {
            text.sample(&[(label, &row.group)], float(row.members));
        }
    }
    text.begin(&names::GROUP_GENERATION);
    for row in groups {
        text.sample(&[("group", &row.group)], f64::from(row.generation));
    }
    text.begin(&names::GROUP_STATE);
    for row in groups {
        text.sample(&[("group", &row.group), ("state", state_name(row.state))], 1.0);
    }
    let families: [LagFamily; 6] = [
        (names::GROUP_LAG_RECORDS, "group", |lag| signed_float(lag.records)),
        (names::GROUP_PARKED_RECORDS, "group", |lag| signed_float(lag.parked)),
        (names::GROUP_LAG_SECONDS, "group", |lag| lag.seconds),
        (names::GROUP_COMMITTED_OFFSET, "group", |lag| signed_float(lag.committed.0)),
        (names::KAFKA_GROUP_LAG, "consumergroup", |lag| signed_float(lag.records)),
        (names::KAFKA_GROUP_OFFSET, "consumergroup", |lag| signed_float(lag.committed.0)),
    ];
    for (family, label, value) in families {
        text.begin(&family);
        for lag in lags {
            let partition = lag.id.partition.to_string();
            let labels = [(label, lag.group.as_str()), ("topic", &lag.topic), ("partition", &partition)];
            text.sample(&labels, value(lag));
        }
    }
    sums(text, &names::KAFKA_GROUP_LAG_SUM, lags, |lag| signed_float(lag.records));
    sums(text, &names::KAFKA_GROUP_OFFSET_SUM, lags, |lag| signed_float(lag.committed.0));
}

/// Sums over the partitions of a topic.
fn sums(text: &mut Exposition, family: &Family, lags: &[PartitionLag], value: fn(&PartitionLag) -> f64) {
    let mut by_topic: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for lag in lags {
        *by_topic.entry((&lag.group, &lag.topic)).or_default() += value(lag);
    }
    text.begin(family);
    for ((group, topic), sum) in by_topic {
        text.sample(&[("consumergroup", group), ("topic", topic)], sum);
    }
}

/// How far the machine's clock has jumped, while it is not believed.
pub(crate) fn clock(text: &mut Exposition, jump_ms: Option<i64>) {
    text.single(&names::CLOCK_JUMP_SECONDS, signed_float(jump_ms.unwrap_or(0)) / 1e3);
}

/// What a store on TiKV counts.
pub(crate) fn tikv(text: &mut Exposition, counts: &TikvMetrics) {
    text.begin(&names::TIKV_CALLS);
    let calls = [
        ("begin", counts.begins),
        ("get", counts.gets),
        ("scan", counts.scans),
        ("commit", counts.commits + counts.conflicts),
        ("settle", counts.settled),
    ];
    for (call, count) in calls {
        text.sample(&[("call", call)], float(count));
    }
    let singles = [
        (names::TIKV_COMMITS, float(counts.commits)),
        (names::TIKV_CONFLICTS, float(counts.conflicts)),
        (names::TIKV_COMMITS_SETTLED, float(counts.settled)),
        (names::TIKV_COMMITS_FOUND, float(counts.settled_applied)),
        (names::TIKV_COMMITS_UNKNOWN, float(counts.unknown)),
        (names::TIKV_ATTEMPT_ROWS_REMOVED, float(counts.attempt_rows_removed)),
        (names::TIKV_CLIENTS_REPLACED, float(counts.clients_replaced)),
        (names::TIKV_CLIENTS, float(counts.clients_connected)),
        (names::TIKV_OLDEST_SNAPSHOT, float(counts.oldest_snapshot_ms) / 1e3),
        (names::TIKV_GC_PASSES, float(counts.garbage_passes)),
        (names::TIKV_GC_SAFE_POINT, signed_float(Version(counts.garbage_safe_point).unix_ms()) / 1e3),
        (names::TIKV_LOCKS_RESOLVED, float(counts.locks_resolved)),
        (names::TIKV_RANGES_DESTROYED, float(counts.ranges_destroyed)),
    ];
    for (family, value) in singles {
        text.single(&family, value);
    }
}

/// What the embedded store counts.
pub(crate) fn store(text: &mut Exposition, counts: &EmbeddedMetrics) {
    let seconds = |us: u64| float(us) / 1e6;
    let singles = [
        (names::STORE_COMMITS, float(counts.commits)),
        (names::STORE_COMMIT_GROUPS, float(counts.groups)),
        (names::STORE_CONFLICTS, float(counts.conflicts)),
        (names::STORE_COMMITS_GIVEN_UP, float(counts.commits_given_up)),
        (names::STORE_JOURNAL_BYTES, float(counts.journal_bytes)),
        (names::STORE_THROTTLED_SECONDS, seconds(counts.throttled_us)),
        (names::STORE_FLUSHES, float(counts.flushes)),
        (names::STORE_FLUSH_SECONDS, seconds(counts.flush_us)),
        (names::STORE_RELOCATED_VALUES, float(counts.relocated_values)),
        (names::STORE_SEGMENTS_REMOVED, float(counts.segments_removed)),
        (names::STORE_OVERLAY_BYTES, float(counts.overlay_bytes)),
        (names::STORE_SEGMENTS, float(counts.segments)),
        (names::STORE_LIVE_BYTES, float(counts.live_bytes)),
        (names::STORE_DISK_LOW, float(counts.is_disk_low)),
        (names::STORE_STALLED, float(counts.is_stalled)),
    ];
    for (family, value) in singles {
        text.single(&family, value);
    }
    let bounds = COMMIT_LATENCY_BOUNDS_US.iter().map(|us| Some(seconds(*us))).chain([None]);
    let classes = bounds.zip(counts.commit_latency_counts);
    text.histogram(&names::STORE_COMMIT_SECONDS, classes, seconds(counts.group_us));
}
