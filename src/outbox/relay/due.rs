//! What is due: outbox and timer entries, merged by the time at which they became due.

use bytes::Bytes;
use tidegate_format::{EventValue, OrderVersion, OutboxKey, PartitionId, ScheduleKey, TimerKey, TopicId};
use tidegate_store::{Direction, KeyRange, ScanLimit, Txn};

use crate::LoadError;

/// One entry that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its due time, if it waited for one.
    pub(super) due_ms: Option<i64>,
    /// The order version of its transaction, if it was due at commit.
    pub(super) version: Option<OrderVersion>,
    /// The record.
    pub(super) value: EventValue,
    key: Bytes,
    stored_bytes: usize,
}

impl Entry {
    /// When it became due, to order entries of both kinds by.
    fn since_ms(&self) -> i64 {
        self.due_ms.or(self.version.map(OrderVersion::unix_ms)).unwrap_or_default()
    }

    /// Removes the entry, and its schedule's row with it.
    pub(super) fn remove(&self, txn: &mut impl Txn, topic: TopicId) {
        if let Some(schedule) = &self.value.schedule {
            txn.delete(ScheduleKey { topic, schedule: schedule.clone() }.encode());
        }
        txn.delete(self.key.clone());
    }
}

/// The entries that one turn takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// The entries, in the order in which they enter the log.
    pub(super) entries: Vec<Entry>,
    /// The bytes of their values.
    pub(super) bytes: usize,
    /// Whether the outbox holds more than was taken.
    pub(super) outbox_has_more: bool,
    /// The version of the last outbox entry that was taken.
    pub(super) last_outbox_version: Option<OrderVersion>,
}

impl Due {
    /// Loads what is due at `now_ms`: at most `records_max` entries, and no further one after `bytes_max` bytes; of
    /// the outbox those from version `from` on.
    pub(super) async fn load(
        txn: &mut impl Txn,
        id: PartitionId,
        from: Option<OrderVersion>,
        now_ms: i64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Self, LoadError> {
        let limit = ScanLimit { count: records_max, value_bytes: bytes_max };
        let (start, end) = from.map_or_else(|| OutboxKey::range(id), |from| OutboxKey::range_from(id, from));
        let outbox = txn.scan(&KeyRange::new(start, end), limit, Direction::Forward).await?;
        let (start, end) = TimerKey::range_until(id, now_ms);
        let timers = txn.scan(&KeyRange::new(start, end), limit, Direction::Forward).await?;
        let outbox_scan_cut = was_cut(&outbox, limit);
        let outbox: Vec<Entry> =
            outbox.into_iter().map(|(key, row)| decode_outbox(key, row)).collect::<Result<_, _>>()?;
        let timers: Vec<Entry> =
            timers.into_iter().map(|(key, row)| decode_timer(key, row)).collect::<Result<_, _>>()?;
        Ok(Self::take(outbox, timers, outbox_scan_cut, limit))
    }

    /// Merges both, oldest first, up to the limit. What was due at commit comes after what was due in that millisecond.
    fn take(outbox: Vec<Entry>, timers: Vec<Entry>, outbox_scan_cut: bool, limit: ScanLimit) -> Self {
        let mut due = Self::default();
        let mut outbox = outbox.into_iter().peekable();
        let mut timers = timers.into_iter().peekable();
        while due.entries.len() < limit.count && due.bytes < limit.value_bytes {
            let timer_first = match (timers.peek(), outbox.peek()) {
                (Some(timer), Some(event)) => timer.since_ms() <= event.since_ms(),
                (timer, _) => timer.is_some(),
            };
            let Some(entry) = (if timer_first { timers.next() } else { outbox.next() }) else { break };
            due.bytes += entry.stored_bytes;
            due.last_outbox_version = entry.version.or(due.last_outbox_version);
            due.entries.push(entry);
        }
        due.outbox_has_more = outbox_scan_cut || outbox.peek().is_some();
        due
    }
}

/// Whether a scan ended at its limit, so that there may be more.
fn was_cut(rows: &[(Bytes, Bytes)], limit: ScanLimit) -> bool {
    rows.len() >= limit.count || rows.iter().map(|(_, row)| row.len()).sum::<usize>() >= limit.value_bytes
}

fn decode_outbox(key: Bytes, row: Bytes) -> Result<Entry, LoadError> {
    let version = OutboxKey::decode(&key)?.version;
    let stored_bytes = row.len();
    Ok(Entry { due_ms: None, version: Some(version), value: EventValue::decode(row)?, key, stored_bytes })
}

fn decode_timer(key: Bytes, row: Bytes) -> Result<Entry, LoadError> {
    let due_ms = TimerKey::decode(&key)?.due_ms;
    let stored_bytes = row.len();
    Ok(Entry { due_ms: Some(due_ms), version: None, value: EventValue::decode(row)?, key, stored_bytes })
}
