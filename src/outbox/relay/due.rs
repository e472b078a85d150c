//! What is due: outbox and timer entries, merged by the time at which they became due.

use bytes::Bytes;
use tidegate_format::{EventValue, OrderVersion, OutboxKey, PartitionId, ScheduleKey, TimerKey, TopicId};
use tidegate_store::{Direction, KeyRange, ScanLimit, Txn};
use uuid::Uuid;

use super::progress::From;
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
    /// Whether the outbox may hold more than was taken.
    pub(super) outbox_has_more: bool,
    /// The version of the last outbox entry that was taken.
    pub(super) last_outbox_version: Option<OrderVersion>,
    /// Whether the timer may hold more that is due than was taken.
    pub(super) timer_has_more: bool,
    /// When the last timer entry that was taken was due.
    pub(super) last_due_ms: Option<i64>,
    /// When the first timer entry that was not taken is due.
    pub(super) next_due_ms: Option<i64>,
}

impl Due {
    /// Loads what is due at `now_ms`, of what lies at `from` and later, up to the limit.
    pub(super) async fn load(
        txn: &mut impl Txn,
        id: PartitionId,
        from: From,
        now_ms: i64,
        limit: ScanLimit,
    ) -> Result<Self, LoadError> {
        let (start, end) =
            from.outbox.map_or_else(|| OutboxKey::range(id), |version| OutboxKey::range_from(id, version));
        let outbox = txn.scan(&KeyRange::new(start, end), limit, Direction::Forward).await?;
        let (start, end) = TimerKey::range_until(id, now_ms);
        let start = from.timer_ms.map_or(start, |from_ms| first_timer_key(id, from_ms));
        let timer = txn.scan(&KeyRange::new(start, end.clone()), limit, Direction::Forward).await?;
        let outbox_was_cut = was_cut(&outbox, limit);
        let timer_was_cut = was_cut(&timer, limit);
        // What was moved lies before what is read next: it is not walked over again.
        let timer_read_to = match timer.last() {
            Some((last, _)) if timer_was_cut => KeyRange::successor(last),
            _ => end,
        };
        let outbox: Vec<Entry> =
            outbox.into_iter().map(|(key, row)| decode_outbox(key, row)).collect::<Result<_, _>>()?;
        let timer: Vec<Entry> =
            timer.into_iter().map(|(key, row)| decode_timer(key, row)).collect::<Result<_, _>>()?;
        let mut due = Self::take(outbox, timer, limit);
        due.outbox_has_more |= outbox_was_cut;
        due.timer_has_more |= timer_was_cut;
        if due.next_due_ms.is_none() {
            let rest = KeyRange::new(timer_read_to, TimerKey::range(id).1);
            let next = txn.scan_keys(&rest, 1, Direction::Forward).await?;
            due.next_due_ms =
                next.first().map(|key| TimerKey::decode(key)).transpose()?.map(|key| key.due_ms);
        }
        Ok(due)
    }

    /// Merges both, oldest first, up to the limit. What was due at commit comes after what was due in that millisecond.
    fn take(outbox: Vec<Entry>, timer: Vec<Entry>, limit: ScanLimit) -> Self {
        let mut due = Self::default();
        let mut outbox = outbox.into_iter().peekable();
        let mut timer = timer.into_iter().peekable();
        while due.entries.len() < limit.count && due.bytes < limit.value_bytes {
            let timer_first = match (timer.peek(), outbox.peek()) {
                (Some(timer), Some(event)) => timer.since_ms() <= event.since_ms(),
                (timer, _) => timer.is_some(),
            };
            let Some(entry) = (if timer_first { timer.next() } else { outbox.next() }) else { break };
            due.bytes += entry.stored_bytes;
            due.last_outbox_version = entry.version.or(due.last_outbox_version);
            due.last_due_ms = entry.due_ms.or(due.last_due_ms);
            due.entries.push(entry);
        }
        due.outbox_has_more = outbox.peek().is_some();
        due.timer_has_more = timer.peek().is_some();
        due.next_due_ms = timer.peek().and_then(|entry| entry.due_ms);
        due
    }
}

/// The first key that a timer entry can have that is due at `due_ms`.
fn first_timer_key(id: PartitionId, due_ms: i64) -> Bytes {
    TimerKey { id, due_ms, entry: Uuid::nil() }.encode()
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
