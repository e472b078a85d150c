//! What becomes of each record of a batch. Pure.

use tidegate_format::{EventValue, check_schedule_id};
use tidegate_log::{AdmittedBatch, BatchRejection};
use tidegate_protocol::batch::{BatchBuilder, BatchOptions, NO_TIMESTAMP, Record, Records, records};

use super::{HEADER_SCHEDULE_ID, HoldRejection, HoldRules};
use crate::record_size::batch_bytes_alone;

/// What becomes of a batch.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Nothing of it is held and nothing cancelled: it is appended as it came.
    AsItCame(AdmittedBatch),
    /// Some of it is held, or cancels or replaces what is.
    Held {
        /// The batch as it came, with its producer's sequence.
        whole: AdmittedBatch,
        /// What of it is appended now, in order and without producer fields; none if nothing is.
        rest: Option<AdmittedBatch>,
        /// What else is done, in order.
        operations: Vec<Operation>,
    },
}

/// One change of what a topic holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Hold a record until `due_ms`, in place of what waits under its schedule's name.
    Hold {
        /// When it may enter the log, in milliseconds since the Unix epoch: its timestamp.
        due_ms: i64,
        /// The record.
        value: EventValue,
    },
    /// Nothing is to wait under this name any more.
    Clear {
        /// The schedule's name.
        schedule: String,
    },
}

/// Reads a batch for a scheduled topic and plans what becomes of its records at `now_ms`.
///
/// # Errors
/// The first thing that is wrong with it, in the order of its records.
pub fn plan(batch: AdmittedBatch, rules: &HoldRules, now_ms: i64) -> Result<Plan, HoldRejection> {
    let records = records(batch.bytes(), rules.decompressed_max_bytes).map_err(BatchRejection::from)?;
    let mut opaque = true;
    for (index, record) in records.clone().enumerate() {
        let record = record.map_err(BatchRejection::from)?;
        let schedule = schedule_of(&record, index)?;
        check_timestamp(&record, rules, now_ms)?;
        opaque &= schedule.is_none() && record.timestamp_ms <= now_ms;
    }
    if opaque { Ok(Plan::AsItCame(batch)) } else { split(batch, records, rules, now_ms) }
}

/// Takes a batch apart whose records were all looked at.
fn split(
    whole: AdmittedBatch,
    records: Records,
    rules: &HoldRules,
    now_ms: i64,
) -> Result<Plan, HoldRejection> {
    let mut rest = BatchBuilder::new();
    let mut operations = Vec::new();
    for (index, record) in records.enumerate() {
        let record = record.map_err(BatchRejection::from)?;
        let schedule = schedule_of(&record, index)?;
        let cancels = schedule.is_some() && record.value.is_none();
        let held = record.timestamp_ms > now_ms && !cancels;
        if !held && !cancels {
            rest.push(record.timestamp_ms, record.key.as_deref(), record.value.as_deref(), &record.headers)
                .map_err(BatchRejection::from)?;
        }
        match (held, schedule) {
            (true, schedule) => operations.push(hold(record, schedule, index, rules)?),
            (false, Some(schedule)) => operations.push(Operation::Clear { schedule }),
            (false, None) => {}
        }
    }
    let rest = if rest.is_empty() { None } else { Some(rebuild(rest, &whole)?) };
    Ok(Plan::Held { whole, rest, operations })
}

/// The batch of the records that are appended now, in the codec of the batch that they came in.
fn rebuild(rest: BatchBuilder, whole: &AdmittedBatch) -> Result<AdmittedBatch, BatchRejection> {
    let options = BatchOptions { compression: whole.header().compression()?, ..BatchOptions::default() };
    AdmittedBatch::built(rest.finish(&options)?, whole.admitted_at_ms())
}

/// The schedule that a record names, if any.
fn schedule_of(record: &Record, index: usize) -> Result<Option<String>, HoldRejection> {
    let last = record.headers.iter().rev().find(|(name, _)| name == HEADER_SCHEDULE_ID);
    let Some((_, value)) = last else { return Ok(None) };
    let name = std::str::from_utf8(value.as_deref().unwrap_or_default())
        .map_err(|_| HoldRejection::ScheduleNotText { index })?;
    check_schedule_id(name).map_err(|cause| HoldRejection::ScheduleName { index, cause })?;
    Ok(Some(name.to_owned()))
}

/// The batch's header was judged when it was admitted, but need not tell the truth about the records.
fn check_timestamp(record: &Record, rules: &HoldRules, now_ms: i64) -> Result<(), BatchRejection> {
    let timestamp_ms = record.timestamp_ms;
    let earliest_ms = now_ms.saturating_sub(rules.timestamp_before_max_ms);
    let latest_ms = now_ms.saturating_add(rules.timestamp_after_max_ms);
    if timestamp_ms == NO_TIMESTAMP || (earliest_ms..=latest_ms).contains(&timestamp_ms) {
        return Ok(());
    }
    Err(BatchRejection::TimestampOutOfRange { timestamp_ms, earliest_ms, latest_ms })
}

fn hold(
    record: Record,
    schedule: Option<String>,
    index: usize,
    rules: &HoldRules,
) -> Result<Operation, HoldRejection> {
    let value = EventValue {
        schedule,
        timestamp_ms: Some(record.timestamp_ms),
        key: record.key,
        value: record.value,
        headers: record.headers,
    };
    let (actual, limit) = (batch_bytes_alone(&value), rules.max_message_bytes);
    if actual > limit {
        return Err(HoldRejection::TooLarge { index, actual, limit });
    }
    Ok(Operation::Hold { due_ms: record.timestamp_ms, value })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
