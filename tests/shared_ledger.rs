//! A [`Ledger`] that client threads write and a test waits on.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::deadline::Deadline;
use crate::ledger::{Ledger, RecordId};

/// A handle on one ledger; clones share it.
#[derive(Clone, Debug)]
pub struct SharedLedger(Arc<(Mutex<Ledger>, Condvar)>);

impl SharedLedger {
    /// An empty ledger for a topic of `partitions` partitions.
    #[must_use]
    pub fn new(partitions: i32) -> Self {
        Self(Arc::new((Mutex::new(Ledger::new(partitions)), Condvar::new())))
    }

    /// Reads the ledger.
    pub fn read<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.lock())
    }

    /// Changes the ledger and wakes who waits on it.
    pub fn update<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let result = change(&mut self.lock());
        self.0.1.notify_all();
        result
    }

    /// Waits until `reached` says so.
    ///
    /// # Panics
    /// At the first violation, or when it is never reached; `what` says what was waited for.
    pub fn wait_until(&self, what: &str, reached: impl Fn(&Ledger) -> bool) {
        let deadline = Deadline::start();
        let mut ledger = self.lock();
        loop {
            assert!(
                ledger.violations().is_empty(),
                "while waiting until {what}: {}",
                listed(ledger.violations())
            );
            if reached(&ledger) {
                return;
            }
            assert!(
                !deadline.has_passed(),
                "hung: {what}; acknowledged {}, committed {:?}, ownership {:?}, assignments {}",
                ledger.acknowledged(),
                ledger.committed_offsets(),
                ledger.ownership(),
                ledger.assignments()
            );
            ledger =
                self.0.1.wait_timeout(ledger, deadline.remaining()).expect("no client thread panicked").0;
        }
    }

    /// The final account; see [`Ledger::audit`].
    ///
    /// # Panics
    /// When anything is wrong.
    pub fn audit(&self, log: &BTreeMap<i32, Vec<RecordId>>, produced: &BTreeMap<u32, u32>) {
        let faults = self.lock().audit(log, produced);
        assert!(faults.is_empty(), "{}", listed(&faults));
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A test that fails while it holds the lock must not drown its message in those of its client threads.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first faults, and how many there are.
#[must_use]
pub fn listed(faults: &[String]) -> String {
    let shown: Vec<&str> = faults.iter().take(10).map(String::as_str).collect();
    format!("{} faults, the first of them:\n{}", faults.len(), shown.join("\n"))
}
