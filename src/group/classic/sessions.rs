//! When each member's, or handed-out id's, time is up.

use std::collections::{BTreeMap, BTreeSet};

/// One deadline per id, in the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_time: BTreeSet<(i64, String)>,
    by_id: BTreeMap<String, i64>,
}

impl Sessions {
    /// Sets or moves a deadline.
    pub(super) fn set(&mut self, member_id: &str, deadline_ms: i64) {
        self.cancel(member_id);
        self.by_id.insert(member_id.to_owned(), deadline_ms);
        self.by_time.insert((deadline_ms, member_id.to_owned()));
    }

    pub(super) fn cancel(&mut self, member_id: &str) {
        if let Some(deadline_ms) = self.by_id.remove(member_id) {
            self.by_time.remove(&(deadline_ms, member_id.to_owned()));
        }
    }

    pub(super) fn next_ms(&self) -> Option<i64> {
        self.by_time.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Takes the first deadline that has come.
    pub(super) fn take_due(&mut self, now_ms: i64) -> Option<String> {
        if self.next_ms()? > now_ms {
            return None;
        }
        let (_, member_id) = self.by_time.pop_first()?;
        self.by_id.remove(&member_id);
        Some(member_id)
    }

    #[cfg(test)]
    pub(super) fn contains(&self, member_id: &str) -> bool {
        self.by_id.contains_key(member_id)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.by_id.len(), self.by_time.len());
        self.by_id.len()
    }
}
