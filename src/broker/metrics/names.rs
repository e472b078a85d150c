//! The names of all metrics, with what they mean: the one table. `grafana/METRICS.md` lists the same for users.
//!
//! What always holds: labels come from bounded sets (APIs, error codes, kinds of commit), or from topics and groups that
//! exist when the figures are read.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// As Prometheus writes it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric: all series of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    /// The labels of its series; those of a histogram's buckets beside `le`.
    pub(crate) labels: &'static [&'static str],
}

macro_rules! families {
    (@constant recorded $constant:ident $name:literal $kind:ident $help:literal $labels:expr) => {
        pub(crate) const $constant: &str = $name;
    };
    (@constant read $constant:ident $name:literal $kind:ident $help:literal $labels:expr) => {
        pub(crate) const $constant: Family = families!(@family $name $kind $help $labels);
    };
    (@family $name:literal $kind:ident $help:literal $labels:expr) => {
        Family { name: $name, kind: Kind::$kind, help: $help, labels: &$labels }
    };
    ($(#[$doc:meta])* $how:ident $all:ident: $($kind:ident $constant:ident $name:literal $labels:expr, $help:literal;)*) => {
        $( families!(@constant $how $constant $name $kind $help $labels); )*
        $(#[$doc])*
        pub(crate) const $all: &[Family] = &[$( families!(@family $name $kind $help $labels) ),*];
    };
}

families! {
    /// What is counted where it happens, with the `metrics` macros.
    recorded RECORDED:
    Counter REQUESTS "tidegate_requests_total" ["api"], "Requests that were answered, and produce requests that want no answer";
    Histogram REQUEST_SECONDS "tidegate_request_seconds" ["api"], "Time from a request's last byte to its answer, long polls included";
    Counter REQUEST_ERRORS "tidegate_request_errors_total" ["api", "error"], "Errors in answers, by their names in Kafka or in the extension";
    Counter EXTENSION_SESSIONS_EXPIRED "tidegate_extension_sessions_expired_total" [], "Snapshots that ended by their age, or because nobody read from them";
    Counter CONNECTIONS_REFUSED "tidegate_connections_refused_total" [], "Connections that were closed at once because of max.connections";
    Counter PRODUCE_BATCHES "tidegate_produce_batches_total" [], "Record batches that producers sent and that were committed, repeats left out";
    Counter PRODUCE_BYTES "tidegate_produce_bytes_total" [], "Bytes of those batches, as they came";
    Counter PRODUCE_RECORDS "tidegate_produce_records_total" [], "Records of those batches, held ones included";
    Counter FETCH_BYTES "tidegate_fetch_bytes_total" [], "Bytes of record batches given to consumers";
    Counter FETCH_RECORDS "tidegate_fetch_records_total" [], "Records of those batches; a batch is given whole, also from its middle on";
    Counter APPENDED_RECORDS "tidegate_appended_records_total" [], "Records that entered the logs, from producers and from the relay";
    Counter TAIL_CACHE_READS "tidegate_tail_cache_reads_total" ["result"], "Reads of a partition that were served from the newest batches in memory (hit), from a page that was read ahead (ahead) or from the store (miss)";
    Gauge PARTITIONS_LOADED "tidegate_partitions_loaded" [], "Partitions that have a task: written or relayed to not long ago";
    Counter RETENTION_SWEEPS "tidegate_retention_sweeps_total" [], "Times that records past their retention were removed from a partition";
    Histogram COMMIT_SECONDS "tidegate_commit_seconds" ["kind"], "Time of one commit of a partition or a group, from asking the store to its answer";
    Counter COMMIT_CONFLICTS "tidegate_commit_conflicts_total" ["kind"], "Commits that were run again because another transaction came first";
    Histogram RELAY_TURN_SECONDS "tidegate_relay_turn_seconds" [], "Time of one turn that moved due entries into a log, reads and commit together";
    Counter RELAY_RECORDS "tidegate_relay_records_total" [], "Records that were moved from outbox and timers into the logs";
    Counter RELAY_BYTES "tidegate_relay_bytes_total" [], "Bytes of the entries that were moved";
    Counter OUTBOX_LATE "tidegate_outbox_late_total" [], "Entries that only a sweep from the start found: there should be none";
    Counter LEASE_RENEWALS "tidegate_lease_renewals_total" [], "Renewals of the lease of a namespace that several brokers can reach";
    Counter LEASE_RENEWALS_FAILED "tidegate_lease_renewals_failed_total" [], "Times that the store did not take a renewal of the lease of a namespace that several brokers can reach";
    Counter GC_FAILURES "tidegate_tikv_gc_failures_total" [], "Times that old versions were not given up on TiKV, locks not resolved or what dropped topics held not removed";
    Gauge DROPPED_TOPICS "tidegate_dropped_topics_waiting" [], "Dropped topics whose data waits until no older snapshot can read it: on TiKV, for about gc.life.time.ms";
    Histogram SCHEDULE_LATENESS "tidegate_schedule_lateness_seconds" [], "How long after its due time each scheduled record was in its log";
}

families! {
    /// What is read when it is asked for, so that what is deleted disappears.
    #[cfg(test)]
    read READ:
    Gauge READY "tidegate_ready" [], "Whether /readyz says so: 1 or 0";
    Gauge BUILD_INFO "tidegate_build_info" ["version"], "1; the label has the release";
    Gauge METRICS_TRUNCATED "tidegate_metrics_truncated" [], "Whether series are missing because of metrics.series.max";
    Gauge EXTENSION_SESSIONS "tidegate_extension_sessions" [], "Snapshots that are held for applications that use the store through the port";
    Gauge CONNECTIONS "tidegate_connections" [], "Open connections of Kafka clients";
    Gauge LOG_END_OFFSET "tidegate_log_end_offset" ["topic", "partition"], "Offset after the last record of the partition";
    Gauge LOG_START_OFFSET "tidegate_log_start_offset" ["topic", "partition"], "Offset of the first record of the partition";
    Gauge LOG_BYTES "tidegate_log_bytes" ["topic", "partition"], "Bytes of the record batches in the partition";
    Gauge OUTBOX_PENDING "tidegate_outbox_pending" ["topic", "partition"], "Events that were due at their commit and are not in the log yet";
    Gauge TIMERS_PENDING "tidegate_timers_pending" ["topic", "partition"], "Events and records that wait for their due time";
    Gauge PENDING_CAPPED "tidegate_pending_capped" ["topic", "partition"], "Whether more wait than were counted";
    Gauge OLDEST_DUE "tidegate_outbox_oldest_due_seconds" ["topic", "partition"], "For how long the oldest entry that is due has been due; 0 if none is";
    Gauge NEXT_DUE "tidegate_next_due_timestamp_seconds" ["topic", "partition"], "When the next scheduled entry is due, as Unix time; no series if none waits";
    Gauge GROUP_MEMBERS "tidegate_consumer_group_members" ["group"], "Members of the consumer group";
    Gauge GROUP_GENERATION "tidegate_consumer_group_generation" ["group"], "Generation of the consumer group: each rebalance raises it by one";
    Gauge GROUP_STATE "tidegate_consumer_group_state" ["group", "state"], "1 for the state that the consumer group is in";
    Gauge GROUP_LAG_RECORDS "tidegate_consumer_group_lag_records" ["group", "topic", "partition"], "Offsets from the one that the group has committed to the end of the log, and the records that its workers have parked";
    Gauge GROUP_PARKED_RECORDS "tidegate_consumer_group_parked_records" ["group", "topic", "partition"], "Records that failed, or wait behind one of their key that did, and are tried again later";
    Gauge GROUP_LAG_SECONDS "tidegate_consumer_group_lag_seconds" ["group", "topic", "partition"], "How long ago the first record that the group has not committed entered the log; 0 if there is none";
    Gauge GROUP_COMMITTED_OFFSET "tidegate_consumer_group_committed_offset" ["group", "topic", "partition"], "The offset that the group has committed: that of the next record it wants";
    Gauge DISK_FREE_BYTES "tidegate_disk_free_bytes" [], "Bytes that are free on the volume of the data directory";
    Gauge DISK_SIZE_BYTES "tidegate_disk_size_bytes" [], "Size of the volume of the data directory";
    Gauge KAFKA_BROKERS "kafka_brokers" [], "Number of brokers in the cluster";
    Gauge KAFKA_BROKER_INFO "kafka_broker_info" ["id", "address"], "The broker's id";
    Gauge KAFKA_PARTITIONS "kafka_topic_partitions" ["topic"], "Number of partitions of the topic";
    Gauge KAFKA_CURRENT_OFFSET "kafka_topic_partition_current_offset" ["topic", "partition"], "As tidegate_log_end_offset";
    Gauge KAFKA_OLDEST_OFFSET "kafka_topic_partition_oldest_offset" ["topic", "partition"], "As tidegate_log_start_offset";
    Gauge KAFKA_LEADER "kafka_topic_partition_leader" ["topic", "partition"], "Id of the broker that serves the partition";
    Gauge KAFKA_LEADER_IS_PREFERRED "kafka_topic_partition_leader_is_preferred" ["topic", "partition"], "1: the one broker serves all partitions";
    Gauge KAFKA_REPLICAS "kafka_topic_partition_replicas" ["topic", "partition"], "1: copies are the store's affair";
    Gauge KAFKA_IN_SYNC_REPLICA "kafka_topic_partition_in_sync_replica" ["topic", "partition"], "1: as replicas";
    Gauge KAFKA_UNDER_REPLICATED "kafka_topic_partition_under_replicated_partition" ["topic", "partition"], "0: as replicas";
    Gauge KAFKA_GROUP_MEMBERS "kafka_consumergroup_members" ["consumergroup"], "As tidegate_consumer_group_members";
    Gauge KAFKA_GROUP_LAG "kafka_consumergroup_lag" ["consumergroup", "topic", "partition"], "As tidegate_consumer_group_lag_records";
    Gauge KAFKA_GROUP_LAG_SUM "kafka_consumergroup_lag_sum" ["consumergroup", "topic"], "Sum of it over the topic's partitions";
    Gauge KAFKA_GROUP_OFFSET "kafka_consumergroup_current_offset" ["consumergroup", "topic", "partition"], "As tidegate_consumer_group_committed_offset";
    Gauge KAFKA_GROUP_OFFSET_SUM "kafka_consumergroup_current_offset_sum" ["consumergroup", "topic"], "Sum of it over the topic's partitions";
}

families! {
    /// What the embedded store counts, read when it is asked for.
    #[cfg(test)]
    read STORE:
    Counter STORE_COMMITS "tidegate_store_commits_total" [], "Transactions that were committed";
    Counter STORE_COMMIT_GROUPS "tidegate_store_commit_groups_total" [], "Groups of transactions: one write and one sync each";
    Histogram STORE_COMMIT_SECONDS "tidegate_store_commit_seconds" [], "Time of a group, from the first transaction taken to its answers";
    Counter STORE_CONFLICTS "tidegate_store_conflicts_total" [], "Transactions that were refused with a conflict";
    Counter STORE_COMMITS_GIVEN_UP "tidegate_store_commits_given_up_total" [], "Commits that the disk did not answer within store.commit.max.ms";
    Counter STORE_JOURNAL_BYTES "tidegate_store_journal_bytes_total" [], "Bytes appended to the journal";
    Counter STORE_THROTTLED_SECONDS "tidegate_store_throttled_seconds_total" [], "Time that commits were slowed down because flushing fell behind";
    Counter STORE_FLUSHES "tidegate_store_flushes_total" [], "Overlays that were written to the tree";
    Counter STORE_FLUSH_SECONDS "tidegate_store_flush_seconds_total" [], "Time that took";
    Counter STORE_RELOCATED_VALUES "tidegate_store_relocated_values_total" [], "Large values that were moved out of sparse segments";
    Counter STORE_SEGMENTS_REMOVED "tidegate_store_segments_removed_total" [], "Segments of the journal that were removed";
    Gauge STORE_OVERLAY_BYTES "tidegate_store_overlay_bytes" [], "Memory taken by entries that the tree does not have yet";
    Gauge STORE_SEGMENTS "tidegate_store_segments" [], "Segments of the journal";
    Gauge STORE_LIVE_BYTES "tidegate_store_live_bytes" [], "Bytes of large values in the journal";
    Gauge STORE_DISK_LOW "tidegate_store_disk_low" [], "Whether the disk is down to store.reserve.bytes, and produce is refused";
    Gauge STORE_STALLED "tidegate_store_stalled" [], "Whether commits are given up because the disk does not answer";
    Gauge CLOCK_JUMP_SECONDS "tidegate_clock_jump_seconds" [], "By how much the machine's clock has jumped while timers do not go by it; else 0";
}

families! {
    /// What a store on TiKV counts, read when it is asked for.
    #[cfg(test)]
    read TIKV:
    Counter TIKV_CALLS "tidegate_tikv_calls_total" ["call"], "Calls of the store that went to the cluster";
    Counter TIKV_COMMITS "tidegate_tikv_commits_total" [], "Transactions that were committed on TiKV";
    Counter TIKV_CONFLICTS "tidegate_tikv_conflicts_total" [], "Transactions that TiKV refused with a conflict";
    Counter TIKV_COMMITS_SETTLED "tidegate_tikv_commits_settled_total" [], "Commits without a clear answer, which were settled by writing";
    Counter TIKV_COMMITS_FOUND "tidegate_tikv_commits_found_applied_total" [], "Commits that were found applied though their answer was lost or said otherwise";
    Counter TIKV_COMMITS_UNKNOWN "tidegate_tikv_commits_unknown_total" [], "Commits that could not be settled in time";
    Counter TIKV_ATTEMPT_ROWS_REMOVED "tidegate_tikv_attempt_rows_removed_total" [], "Rows of attempts to commit that were removed";
    Counter TIKV_CLIENTS_REPLACED "tidegate_tikv_clients_replaced_total" [], "Clients that were given up because they hung or broke";
    Gauge TIKV_CLIENTS "tidegate_tikv_clients" [], "Clients that are connected";
    Gauge TIKV_OLDEST_SNAPSHOT "tidegate_tikv_oldest_snapshot_seconds" [], "Age of the oldest snapshot that this broker has open";
    Counter TIKV_GC_PASSES "tidegate_tikv_gc_passes_total" [], "Rounds in which this broker gave old versions up";
    Gauge TIKV_GC_SAFE_POINT "tidegate_tikv_gc_safe_point_timestamp_seconds" [], "Up to when old versions may go, as this broker last asked for it, as Unix time; 0 if it has not";
    Counter TIKV_LOCKS_RESOLVED "tidegate_tikv_locks_resolved_total" [], "Locks of transactions that had ended that this broker removed";
    Counter TIKV_RANGES_DESTROYED "tidegate_tikv_ranges_destroyed_total" [], "Logs of partitions of dropped topics that were destroyed in every TiKV";
}

/// Who commits: the values of the label `kind`.
pub(crate) const COMMIT_KINDS: &[&str] = &["produce", "delete_records", "retention", "relay", "group"];
/// The label of which they are the values.
pub(crate) const KIND: &str = "kind";

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
