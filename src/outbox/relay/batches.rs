//! Entries as record batches: one for many events.

use bytes::Bytes;
use tidegate_format::EventValue;
use tidegate_log::{AdmittedBatch, BatchRejection};
use tidegate_protocol::batch::{BatchBuilder, BatchOptions, TimestampType, rewrite_log_append_time};

use super::RelaySettings;
use super::due::Entry;

/// The longest varint of a length or delta in a record, in bytes.
const VARINT_BYTES_MAX: usize = 10;
/// Length, attributes, timestamp, offset, key length, value length and header count.
const RECORD_FIELDS: usize = 7;

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

/// The most bytes that a record takes in a batch.
fn record_bytes_max(value: &EventValue) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize =
        value.headers.iter().map(|(name, value)| 2 * VARINT_BYTES_MAX + name.len() + length(value)).sum();
    RECORD_FIELDS * VARINT_BYTES_MAX + length(&value.key) + length(&value.value) + headers
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
