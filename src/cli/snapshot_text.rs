//! How snapshots are shown: times, ids and digests.

use std::fmt::Write;

use tidegate_backup::Summary;
use tidegate_broker::kafka_uuid;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// A time as RFC 3339.
pub(crate) fn time_text(unix_ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{unix_ms} ms"))
}

/// A cluster's id as Kafka's tools show it.
pub(crate) fn cluster_text(cluster: Option<Uuid>) -> String {
    cluster.map_or_else(|| "none yet".to_owned(), kafka_uuid)
}

/// A digest in hexadecimal.
pub(crate) fn digest_text(summary: &Summary) -> String {
    summary.digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
