//! How far a relay has come, so that a turn does not walk over what earlier ones have moved. Pure.
//!
//! What always holds: behind the outbox's watermark, and before the time from which the timer is read, nothing waits that
//! was committed in order. A transaction writes no timer entry that is due before it began, so nothing comes there but
//! from transactions that are still open; when the clock has gone back, which can put an entry where nobody looks, the
//! next turn reads from the start.

use tidegate_format::OrderVersion;
use tidegate_store::Version;

use super::due::Due;

/// How often the timer is read from the start, in milliseconds.
const TIMER_SWEEP_INTERVAL_MS: i64 = 60_000;
/// How much earlier than the oldest open transaction the timer is read, in milliseconds: a transaction may have looked
/// at the clock a little before it began.
const TIMER_MARGIN_MS: i64 = 100;

/// Where a turn begins to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct From {
    /// The outbox, by version; none: from its start.
    pub(super) outbox: Option<OrderVersion>,
    /// The timer, by due time in milliseconds; none: from its start.
    pub(super) timer_ms: Option<i64>,
}

/// When a turn begins, by the store's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// What is due by then is moved.
    pub(super) now_ms: i64,
    /// No transaction that is open was begun before it.
    pub(super) oldest_open_ms: i64,
    /// How often the clock has gone back.
    pub(super) steps_back: u64,
}

/// How far a relay has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Every outbox entry below it was moved; none before the first pass.
    watermark: Option<OrderVersion>,
    /// Every timer entry due before it was moved; none before the first pass.
    timer_from_ms: Option<i64>,
    /// When the timer was last read from the start.
    timer_swept_at_ms: i64,
    /// How often the clock had gone back by then.
    steps_back: u64,
    /// Whether to read the outbox and the timer from the start until both were seen whole.
    sweeping: bool,
}

impl Progress {
    /// Reads everything from the start, until it was seen whole.
    pub(super) fn sweep(&mut self) {
        self.sweeping = true;
    }

    /// Where the next turn begins to read.
    pub(super) fn from(&self, moment: Moment, overlap_ms: i64) -> From {
        if self.sweeping {
            return From::default();
        }
        let since_sweep_ms = moment.now_ms.saturating_sub(self.timer_swept_at_ms);
        let timer_is_fresh =
            (0..TIMER_SWEEP_INTERVAL_MS).contains(&since_sweep_ms) && self.steps_back == moment.steps_back;
        From {
            outbox: self.watermark.map(|watermark| earlier(watermark, overlap_ms)),
            timer_ms: self.timer_from_ms.filter(|_| timer_is_fresh),
        }
    }

    /// How many of the entries should have been found by an earlier turn.
    pub(super) fn count_late(&self, due: &Due, moment: Moment, overlap_ms: i64) -> usize {
        let outbox_from = self.watermark.map(|watermark| earlier(watermark, overlap_ms));
        // What a clock that went back has put there, nobody could have found.
        let timer_from_ms = self.timer_from_ms.filter(|_| self.steps_back == moment.steps_back);
        let is_late = |version: Option<OrderVersion>, due_ms: Option<i64>| {
            version.zip(outbox_from).is_some_and(|(version, from)| version < from)
                || due_ms.zip(timer_from_ms).is_some_and(|(due_ms, from_ms)| due_ms < from_ms)
        };
        due.entries.iter().filter(|entry| is_late(entry.version, entry.due_ms)).count()
    }

    /// How far a turn comes that began to read at `from`, in a snapshot of version `snapshot` that was taken after
    /// `moment`, and takes `due`.
    pub(super) fn after(&self, due: &Due, from: From, snapshot: Version, moment: Moment) -> Self {
        let Moment { now_ms, oldest_open_ms, steps_back } = moment;
        let seen =
            if due.outbox_has_more { due.last_outbox_version } else { Some(OrderVersion(snapshot.next().0)) };
        let settled_ms = now_ms.min(oldest_open_ms).saturating_sub(TIMER_MARGIN_MS);
        let timer_from_ms = if due.timer_has_more {
            due.last_due_ms.map(|last_ms| last_ms.min(settled_ms)).or(self.timer_from_ms)
        } else {
            Some(settled_ms)
        };
        // What is left of a pass from the start goes on where this turn ends.
        let swept_timer = from.timer_ms.is_none() && timer_from_ms.is_some();
        Self {
            watermark: seen.max(self.watermark),
            timer_from_ms,
            timer_swept_at_ms: if swept_timer { now_ms } else { self.timer_swept_at_ms },
            steps_back: if swept_timer { steps_back } else { self.steps_back },
            sweeping: self.sweeping && (due.outbox_has_more || due.timer_has_more),
        }
    }
}

/// The first version that is `ms` milliseconds earlier.
fn earlier(version: OrderVersion, ms: i64) -> OrderVersion {
    if ms == 0 { version } else { OrderVersion(Version::first_of_ms(version.unix_ms().saturating_sub(ms)).0) }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
