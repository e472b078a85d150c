//! Entries as record batches: one for many events.

use tidegate_log::{AdmittedBatch, BatchRejection};
use tidegate_protocol::batch::{BatchBuilder, BatchOptions, TimestampType, rewrite_log_append_time};

use super::RelaySettings;
use super::due::Entry;
use crate::record_size::record_bytes_max;

/// The entries in batches, in order. An entry without a timestamp gets `now_ms`.
pub(super) fn build(
    entries: &[Entry],
    now_ms: i64,
    settings: &RelaySettings,
) -> Result<Vec<AdmittedBatch>, BatchRejection> {
    let mut batches = Vec::new();
    let mut open = BatchBuilder::new();
    for entry in entries {
        let value = &entry.value;
        if !open.is_empty() && open.size_bytes() + record_bytes_max(value) > settings.limits.batch_bytes_max {
            batches.push(close(std::mem::replace(&mut open, BatchBuilder::new()), now_ms, settings)?);
        }
        open.push(
            value.timestamp_ms.unwrap_or(now_ms),
            value.key.as_deref(),
            value.value.as_deref(),
            &value.headers,
        )?;
    }
    if !open.is_empty() {
        batches.push(close(open, now_ms, settings)?);
    }
    Ok(batches)
}

fn close(
    batch: BatchBuilder,
    now_ms: i64,
    settings: &RelaySettings,
) -> Result<AdmittedBatch, BatchRejection> {
    let options = BatchOptions { compression: settings.compression, ..BatchOptions::default() };
    let bytes = batch.finish(&options)?;
    let bytes = match settings.timestamp_type {
        TimestampType::CreateTime => bytes,
        TimestampType::LogAppendTime => rewrite_log_append_time(bytes, now_ms),
    };
    AdmittedBatch::built(bytes, now_ms)
}
