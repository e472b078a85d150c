//! The settings that partitions go by.

use std::time::Duration;

use tidegate_format::BrokerId;
use tidegate_log::Retention;
use tidegate_outbox::relay::{RelayLimits, RelaySettings};
use tidegate_protocol::batch::{Compression, TimestampType};

use crate::settings::Settings;
use crate::topics::{self, TopicConfig};

/// How often a relay turn begins again after a conflict, before the partition's requests get their turn.
const RELAY_ATTEMPTS_MAX: usize = 4;

/// The limits of all partitions.
#[derive(Clone, Debug)]
pub(super) struct HostLimits {
    pub(super) broker: BrokerId,
    /// How many requests wait for one partition; more hold their connection up.
    pub(super) queue_max: usize,
    /// How many bytes of requests are committed together.
    pub(super) commit_max_bytes: usize,
    /// After how long without work a partition's task is put away.
    pub(super) idle: Duration,
    pub(super) producer_id_expiration_ms: i64,
    pub(super) decompressed_max_bytes: usize,
    pub(super) retention_check: Duration,
    pub(super) sweep_min: Duration,
    pub(super) sweep_max: Duration,
    relay_records_max: usize,
    relay_bytes_max: usize,
}

impl HostLimits {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            broker: BrokerId(settings.broker_id),
            queue_max: settings.produce_queue_max_requests,
            commit_max_bytes: settings.produce_commit_max_bytes,
            idle: Duration::from_millis(settings.partition_idle_ms),
            producer_id_expiration_ms: settings.producer_id_expiration_ms,
            decompressed_max_bytes: settings.decompressed_max_bytes,
            retention_check: Duration::from_millis(settings.log_retention_check_interval_ms),
            sweep_min: Duration::from_millis(settings.relay_sweep_min_ms),
            sweep_max: Duration::from_millis(settings.relay_sweep_max_ms),
            relay_records_max: settings.relay_max_records,
            relay_bytes_max: settings.relay_max_bytes,
        }
    }

    /// How entries become batches on a topic, in a store of this [`Store::order_lag_ms`](tidegate_store::Store::order_lag_ms).
    pub(super) fn relay(&self, topic: &TopicConfig, order_lag_ms: u64) -> RelaySettings {
        RelaySettings {
            limits: RelayLimits {
                records_max: self.relay_records_max,
                bytes_max: self.relay_bytes_max,
                batch_bytes_max: topic.max_message_bytes,
                attempts_max: RELAY_ATTEMPTS_MAX,
            },
            compression: Compression::None,
            timestamp_type: match topic.timestamp_type {
                topics::TimestampType::CreateTime => TimestampType::CreateTime,
                topics::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            overlap_ms: i64::try_from(order_lag_ms).unwrap_or(i64::MAX),
        }
    }
}

/// What a topic keeps.
pub(super) fn retention(topic: &TopicConfig) -> Retention {
    Retention { retention_ms: topic.retention_ms, retention_bytes: topic.retention_bytes }
}
