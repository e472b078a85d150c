//! The table itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use tidegate_store::SyncPolicy;

use super::value::SettingValue;
use super::{Delivery, EventTypes, ExtensionEnable, SettingError, SettingInfo, StoreAddress, nearest};

macro_rules! settings {
    ($( $name:literal $field:ident: $type:ty $([$bounds:expr])? = $default:literal, $help:literal; )*) => {
        /// The broker's settings, each within its bounds.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings {
            $( #[doc = $help] pub $field: $type, )*
        }

        /// What there is to set, in the order of the documentation.
        pub const SETTINGS: &[SettingInfo] =
            &[$( SettingInfo { name: $name, default: $default, help: $help } ),*];

        impl Default for Settings {
            fn default() -> Self {
                Self {
                    $( $field: <$type>::parse($default, &settings!(@bounds $($bounds)?))
                        .expect("the table's default fits its bounds"), )*
                }
            }
        }

        impl Settings {
            /// Sets one setting from text.
            ///
            /// # Errors
            /// If there is no such setting or the text is not a value of it; nothing is changed then.
            pub fn set(&mut self, name: &str, text: &str) -> Result<(), SettingError> {
                match name {
                    $( $name => {
                        self.$field = <$type>::parse(text, &settings!(@bounds $($bounds)?)).map_err(|expected| {
                            SettingError::Value { name: $name, value: text.to_owned(), expected }
                        })?;
                    } )*
                    _ => return Err(SettingError::Unknown { name: name.to_owned(), nearest: nearest(name) }),
                }
                Ok(())
            }

            /// The value of a setting as text; None if there is no such setting.
            #[must_use]
            pub fn text(&self, name: &str) -> Option<String> {
                match name {
                    $( $name => Some(self.$field.text()), )*
                    _ => None,
                }
            }
        }
    };
    (@bounds) => { () };
    (@bounds $bounds:expr) => { $bounds };
}

settings! {
    "listen" listen: SocketAddr = "127.0.0.1:9092",
        "Address and port to serve the Kafka protocol on; port 0 takes a free one";
    "advertised" advertised: String = "",
        "HOST:PORT that clients are told to connect to; empty: what `listen` is bound to";
    "admin" admin: SocketAddr = "127.0.0.1:9644",
        "Address and port of the admin HTTP server (/metrics, /healthz, /readyz, /v1); port 0 takes a free one";
    "insecure" insecure: bool = "false",
        "Allow addresses other than loopback although there is neither TLS nor authentication";
    "store" store: StoreAddress = "embedded",
        "Where everything is kept: `embedded` (in data.dir), or `tikv://PD:PORT[,PD:PORT...]/NAMESPACE`; in a file that has other settings of the store: store.url";
    "data.dir" data_dir: PathBuf = "tidegate-data",
        "Directory of the embedded store; made if it is missing";
    "broker.id" broker_id: i32 [0..=i32::MAX] = "1",
        "This broker's id";
    "broker.lease.ms" broker_lease_ms: u32 [500..=600_000] = "10000",
        "On TiKV: how long a broker that is silent keeps its namespace to itself, in milliseconds";

    "tikv.tls.ca" tikv_tls_ca: Option<PathBuf> = "",
        "On TiKV: PEM file of the authority that signed the certificates of the cluster; with tikv.tls.cert and tikv.tls.key";
    "tikv.tls.cert" tikv_tls_cert: Option<PathBuf> = "",
        "On TiKV: PEM file of this client's certificate";
    "tikv.tls.key" tikv_tls_key: Option<PathBuf> = "",
        "On TiKV: PEM file of its private key";
    "tikv.clients" tikv_clients: usize [1..=64] = "4",
        "On TiKV: clients, each with a connection to every store, among which transactions are spread";
    "tikv.connect.timeout.ms" tikv_connect_timeout_ms: u64 [100..=60_000] = "5000",
        "On TiKV: how long the start waits for the cluster, in milliseconds";
    "tikv.request.timeout.ms" tikv_request_timeout_ms: u64 [100..=60_000] = "5000",
        "On TiKV: how long one request to the cluster may take, in milliseconds";
    "commit.max.ms" commit_max_ms: u64 [100..=60_000] = "5000",
        "On TiKV: how long after its place in the order a commit may reach the cluster, in milliseconds; relays look back so far. Applications of the namespace keep to it, too";
    "gc.interval.ms" gc_interval_ms: u64 [1_000..=86_400_000] = "60000",
        "On TiKV: how often old versions are given up and locks of dead clients resolved, in milliseconds";
    "gc.life.time.ms" gc_life_time_ms: u64 [1_000..=86_400_000] = "600000",
        "On TiKV: for how long old versions are kept, in milliseconds, if no open snapshot needs them for longer";
    "gc.hold.after.ms" gc_hold_after_ms: u64 [300..=600_000] = "30000",
        "On TiKV: from which age on an open snapshot is written down, so that what it reads is kept, in milliseconds. Applications of the namespace keep to it, too";
    "store.overlay.bytes" store_overlay_bytes: usize [1 << 20..=1 << 34] = "33554432",
        "Memory for recent writes that the tree does not have yet: they are moved into it from a third of that on";
    "store.reserve.bytes" store_reserve_bytes: u64 [0..=1 << 50] = "268435456",
        "Below this many bytes of free disk, produce is refused while reads and deletes go on";
    "store.commit.max.ms" store_commit_max_ms: u64 [100..=600_000] = "30000",
        "How long a commit waits for the disk before it fails, in milliseconds";
    "store.sync" store_sync: SyncPolicy = "always",
        "When a commit counts as done: `always` (on disk), or `interval:<ms>` (a crash of the machine may lose that much)";
    "store.journal.flush.bytes" store_journal_flush_bytes: u64 [1 << 20..=1 << 40] = "134217728",
        "Bytes of journal after which the same is done: about what an opening after a crash reads";
    "store.journal.ahead.bytes" store_journal_ahead_bytes: u64 [0..=1 << 30] = "4194304",
        "How far ahead of the journal's end its segment is filled with zeros, which makes commits faster; 0: not at all";
    "store.segment.bytes" store_segment_bytes: u64 [1 << 20..=1 << 34] = "134217728",
        "Length of one segment of the journal";
    "store.open.segments.max" store_open_segments_max: usize [1..=1 << 20] = "256",
        "Segments of the journal that stay open to be read; each takes a file descriptor";
    "store.tree.cache.bytes" store_tree_cache_bytes: usize [1 << 20..=1 << 40] = "8388608",
        "Memory in which the tree is cached, beside the machine's page cache";
    "store.check.tree" store_check_tree: bool = "false",
        "Verify every page of the tree when the store is opened, which takes as long as reading the file";
    "clock.jump.max.ms" clock_jump_max_ms: i64 [1_000..=86_400_000] = "60000",
        "A jump of the machine's clock by more milliseconds moves no timers until it has lasted for a minute";
    "transaction.max.bytes" transaction_max_bytes: usize [1 << 20..=1 << 30] = "67108864",
        "Most bytes that one transaction may write";
    "transaction.max.ms" transaction_max_ms: u64 [1_000..=600_000] = "60000",
        "How long a writing transaction may live, in milliseconds";

    "socket.request.max.bytes" socket_request_max_bytes: usize [1024..=1 << 30] = "104857600",
        "Largest request that is read; a larger one closes its connection";
    "queued.max.request.bytes" queued_max_request_bytes: usize [1 << 20..=1 << 40] = "67108864",
        "Bytes of requests being read and handled at a time over all connections; more wait";
    "queued.max.connection.bytes" queued_max_connection_bytes: usize [64 << 10..=1 << 40] = "8388608",
        "The part of queued.max.request.bytes that one connection may have; a larger request comes alone";
    "max.connections" max_connections: usize [1..=1_000_000] = "10000",
        "Connections at a time; more are closed at once";
    "max.in.flight.requests.per.connection" max_in_flight_requests_per_connection: usize [1..=10_000] = "64",
        "Requests of one connection that are handled before the first of them is answered";
    "connections.max.idle.ms" connections_max_idle_ms: u64 [1_000..=86_400_000] = "600000",
        "A connection without a request for this long is closed";
    "shutdown.grace.ms" shutdown_grace_ms: u64 [0..=600_000] = "10000",
        "How long a graceful shutdown waits for requests that are being handled";

    "auto.create.topics.enable" auto_create_topics_enable: bool = "true",
        "Create a topic when a client asks for its metadata and allows that";
    "num.partitions" num_partitions: i32 [1..=10_000] = "1",
        "Partitions of topics that are created without a number";
    "topic.partitions.max" topic_partitions_max: i32 [1..=100_000] = "10000",
        "Most partitions that one topic may have";
    "tidegate.delivery" tidegate_delivery: Delivery = "immediate",
        "For new topics: `immediate`, or `scheduled` (records with a timestamp in the future are held until then)";
    "event.types" event_types: EventTypes = "",
        "Which topics event types belong to: TYPE=TOPIC[,TYPE=TOPIC...]; the others belong to the topic that their first publisher names";
    "log.retention.ms" log_retention_ms: i64 [-1..=i64::MAX] = "604800000",
        "How long records are kept, by the time they were appended; -1: for ever (topics: retention.ms)";
    "log.retention.bytes" log_retention_bytes: i64 [-1..=i64::MAX] = "-1",
        "How many bytes of records each partition keeps; -1: no limit (topics: retention.bytes)";
    "log.retention.check.interval.ms" log_retention_check_interval_ms: u64 [100..=86_400_000] = "300000",
        "How often partitions are looked at for records past their retention";
    "message.max.bytes" message_max_bytes: usize [1..=8 << 20] = "1048588",
        "Largest record batch, compressed as it comes (topics: max.message.bytes)";
    "decompressed.max.bytes" decompressed_max_bytes: usize [1 << 16..=1 << 30] = "33554432",
        "Largest record batch after decompression where a batch has to be looked into (scheduled topics, look-up by time)";
    "producer.id.expiration.ms" producer_id_expiration_ms: i64 [1_000..=i64::MAX] = "86400000",
        "After how long without a batch an idempotent producer is forgotten";

    "fetch.max.bytes" fetch_max_bytes: usize [1024..=1 << 30] = "57671680",
        "Most bytes in an answer to one Fetch";
    "fetch.max.wait.ms" fetch_max_wait_ms: u64 [1..=3_600_000] = "300000",
        "Longest time that a Fetch may ask to wait";
    "tail.cache.bytes" tail_cache_bytes: usize [0..=1 << 40] = "16777216",
        "Memory for the newest batches of all partitions, which most consumers read";
    "read.ahead.bytes" read_ahead_bytes: usize [0..=1 << 40] = "16777216",
        "Memory for the next pages of consumers that are behind, read from the store while they take in the last; 0: none";
    "partition.idle.ms" partition_idle_ms: u64 [1_000..=86_400_000] = "300000",
        "After how long without requests or due entries a partition's task is put away";

    "produce.commit.max.bytes" produce_commit_max_bytes: usize [1 << 16..=1 << 30] = "4194304",
        "Most bytes of produce requests that are committed together in one partition";
    "produce.queue.max.requests" produce_queue_max_requests: usize [1..=1_000_000] = "1024",
        "Produce requests that wait for one partition; more hold their connection up";

    "relay.max.records" relay_max_records: usize [1..=1_000_000] = "2000",
        "Most outbox and timer entries that are moved into a log in one commit";
    "relay.max.bytes" relay_max_bytes: usize [1 << 10..=8 << 20] = "1048576",
        "Most bytes of outbox and timer entries that are moved into a log in one commit";
    "relay.sweep.min.ms" relay_sweep_min_ms: u64 [10..=3_600_000] = "1000",
        "How soon a partition looks for entries that nobody announced, after it was busy";
    "relay.sweep.max.ms" relay_sweep_max_ms: u64 [10..=3_600_000] = "60000",
        "How seldom it looks once it has been idle";

    "group.initial.rebalance.delay.ms" group_initial_rebalance_delay_ms: i32 [0..=3_600_000] = "3000",
        "How long the first rebalance of an empty group waits for more members";
    "group.min.session.timeout.ms" group_min_session_timeout_ms: i32 [1..=i32::MAX] = "6000",
        "Shortest session time-out that a member may ask for";
    "group.max.session.timeout.ms" group_max_session_timeout_ms: i32 [1..=i32::MAX] = "1800000",
        "Longest session time-out that a member may ask for";
    "group.max.size" group_max_size: usize [1..=100_000] = "10000",
        "Most members of one group";
    "offset.metadata.max.bytes" offset_metadata_max_bytes: usize [0..=1 << 20] = "4096",
        "Longest metadata that may go with a committed offset";
    "offsets.retention.minutes" offsets_retention_minutes: i64 [1..=i64::MAX / 60_000] = "10080",
        "How long committed offsets of a group without members are kept";
    "offsets.retention.check.interval.ms" offsets_retention_check_interval_ms: u64 [100..=86_400_000] = "600000",
        "How often committed offsets are looked at for ones past their retention";

    "backup.max.ms" backup_max_ms: u64 [1_000..=2_592_000_000] = "21600000",
        "How long one backup may take, in milliseconds: its snapshot keeps space from being given back";
    "backup.stall.max.ms" backup_stall_max_ms: u64 [100..=3_600_000] = "60000",
        "A backup whose client reads nothing for this long is ended";
    "extension.enable" extension_enable: ExtensionEnable = "loopback",
        "Whether applications can use the store through `listen`: `loopback` (if that is a loopback address), `always` or `never`";
    "extension.sessions.max" extension_sessions_max: usize [1..=1_000_000] = "4096",
        "Most snapshots that are held for applications at a time";
    "extension.session.connection.max" extension_session_connection_max: usize [1..=100_000] = "256",
        "Most snapshots that are held for one connection";
    "extension.session.max.ms" extension_session_max_ms: u64 [1_000..=86_400_000] = "600000",
        "How long a snapshot is held for an application, in milliseconds";
    "extension.session.idle.ms" extension_session_idle_ms: u64 [1_000..=86_400_000] = "60000",
        "How long one is held that is not read from, in milliseconds";
    "extension.answer.max.bytes" extension_answer_max_bytes: usize [1 << 16..=1 << 26] = "4194304",
        "After how many bytes of values an answer to a read ends; the application asks for the rest";
    "extension.attempt.retention.ms" extension_attempt_retention_ms: u64 [600_000..=31_536_000_000] = "604800000",
        "For how long it is known what became of a commit whose answer was lost, in milliseconds";

    "metrics.series.max" metrics_series_max: usize [100..=10_000_000] = "20000",
        "Most series that one metric has at /metrics; tidegate_metrics_truncated says whether more exist";

    "log.filter" log_filter: String = "info,tikv_client=warn",
        "What is logged to standard error, as `tracing` filters are written: `info`, `tidegate_broker=debug`";
    "log.format" log_format: String = "text",
        "How it is logged: `text` or `json`";
}

impl Settings {
    /// Where the data is, for people: a directory, or the address of a store.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.store {
            StoreAddress::Embedded => self.data_dir.display().to_string(),
            StoreAddress::Tikv(address) => address.to_string(),
        }
    }

    /// Checks what no single setting can tell.
    ///
    /// # Errors
    /// If two settings do not go together, with the remedy.
    pub fn check(&self) -> Result<(), SettingError> {
        let together = |first, second, remedy| Err(SettingError::Together { first, second, remedy });
        let open =
            "there is no TLS and no authentication yet: listen on 127.0.0.1 or [::1], or give --insecure";
        if !self.insecure && !self.listen.ip().is_loopback() {
            return together("listen", "insecure", open);
        }
        if !self.insecure && !self.admin.ip().is_loopback() {
            return together("admin", "insecure", open);
        }
        if self.group_min_session_timeout_ms > self.group_max_session_timeout_ms {
            let remedy = "the shortest must not be longer than the longest";
            return together("group.min.session.timeout.ms", "group.max.session.timeout.ms", remedy);
        }
        let tls = [&self.tikv_tls_ca, &self.tikv_tls_cert, &self.tikv_tls_key];
        if tls.iter().any(|file| file.is_some()) && !tls.iter().all(|file| file.is_some()) {
            let (first, second) = match tls {
                [None, _, _] => ("tikv.tls.ca", "tikv.tls.cert"),
                [_, None, _] => ("tikv.tls.cert", "tikv.tls.key"),
                _ => ("tikv.tls.key", "tikv.tls.cert"),
            };
            return together(first, second, "give tikv.tls.ca, tikv.tls.cert and tikv.tls.key together");
        }
        if self.relay_sweep_min_ms > self.relay_sweep_max_ms {
            return together("relay.sweep.min.ms", "relay.sweep.max.ms", "the first must not be longer");
        }
        if self.queued_max_request_bytes < self.socket_request_max_bytes.min(self.message_max_bytes) {
            let remedy = "at least one request of the largest batch must fit";
            return together("queued.max.request.bytes", "message.max.bytes", remedy);
        }
        Ok(())
    }
}
