//! How snapshots are shown: ids and digests.

use std::fmt::Write;

use tidegate_backup::Summary;
use tidegate_broker::kafka_uuid;
use uuid::Uuid;

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
