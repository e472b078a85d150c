//! What entries are to become, as plainly as it can be said.

use std::collections::BTreeMap;

/// What one transaction of an application does.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Publish { key: u8, delay_ms: Option<i64>, schedule: Option<u8> },
    Cancel { schedule: u8 },
    Reschedule { schedule: u8, delay_ms: i64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Moved,
    Cancelled,
}

/// One entry, by the value of its record.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    key: u8,
    due_ms: Option<i64>,
    /// When its transaction began and committed, in steps of the model.
    began: usize,
    committed: usize,
    rescheduled: bool,
    fate: Fate,
}

/// What a transaction will have done if it commits. Entries are named by the values of their records.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) cancels: Option<String>,
    pub(super) publishes: Option<(String, Entry, Option<u8>)>,
    pub(super) reschedules: Option<(String, i64)>,
}

/// All entries, and what waits under which schedule's name.
#[derive(Default)]
pub(super) struct Model {
    entries: BTreeMap<String, Entry>,
    schedules: BTreeMap<u8, String>,
    steps: usize,
}

impl Model {
    fn step(&mut self) -> usize {
        self.steps += 1;
        self.steps
    }

    /// What a transaction that begins now does.
    pub(super) fn plan(&mut self, work: &Work, now_ms: i64) -> Plan {
        let began = self.step();
        let under = |schedule: &u8| self.schedules.get(schedule).cloned();
        match work {
            Work::Publish { key, delay_ms, schedule } => {
                let due_ms = delay_ms.map(|delay_ms| now_ms + delay_ms).filter(|due_ms| *due_ms > now_ms);
                let fate = Fate::Waiting;
                let entry = Entry { key: *key, due_ms, began, committed: 0, rescheduled: false, fate };
                let publishes =
                    Some((format!("event {began}"), entry, schedule.filter(|_| due_ms.is_some())));
                Plan { cancels: schedule.as_ref().and_then(under), publishes, reschedules: None }
            }
            Work::Cancel { schedule } => Plan { cancels: under(schedule), ..Plan::default() },
            Work::Reschedule { schedule, delay_ms } => {
                let reschedules = under(schedule).map(|entry| (entry, now_ms + delay_ms));
                Plan { reschedules, ..Plan::default() }
            }
        }
    }

    /// Takes in that a transaction was committed.
    pub(super) fn commit(&mut self, plan: Plan) {
        let committed = self.step();
        if let Some(cancelled) = plan.cancels {
            let entry = self.entry(&cancelled);
            assert_eq!(entry.fate, Fate::Waiting, "a cancel of what is gone conflicts");
            entry.fate = Fate::Cancelled;
            self.schedules.retain(|_, entry| *entry != cancelled);
        }
        if let Some((name, entry, schedule)) = plan.publishes {
            if let Some(schedule) = schedule {
                let before = self.schedules.insert(schedule, name.clone());
                assert_eq!(before, None, "two schedules of one name conflict");
            }
            self.entries.insert(name, Entry { committed, ..entry });
        }
        if let Some((entry, due_ms)) = plan.reschedules {
            let entry = self.entry(&entry);
            assert_eq!(entry.fate, Fate::Waiting, "moving what is gone conflicts");
            (entry.due_ms, entry.rescheduled) = (Some(due_ms), true);
        }
    }

    /// Takes in that an entry was moved into the log.
    pub(super) fn moved(&mut self, name: &str, now_ms: i64) {
        let entry = self.entry(name);
        assert_eq!(entry.fate, Fate::Waiting, "{name} is moved once, and not after a cancel");
        assert!(entry.due_ms.is_none_or(|due_ms| due_ms <= now_ms), "{name} is early");
        entry.fate = Fate::Moved;
        self.schedules.retain(|_, entry| entry != name);
    }

    /// Checks that the logs, once nothing waits any more, hold what was moved, each entry once.
    pub(super) fn check_logs(&self, logs: &[Vec<String>]) {
        let mut logged: Vec<&String> = logs.iter().flatten().collect();
        logged.sort_unstable();
        let moved = |entry: &Entry| {
            assert_ne!(entry.fate, Fate::Waiting, "{entry:?}");
            entry.fate == Fate::Moved
        };
        let expected: Vec<&String> =
            self.entries.iter().filter(|(_, entry)| moved(entry)).map(|(name, _)| name).collect();
        assert_eq!(logged, expected);
        for log in logs {
            self.check_order(log);
        }
    }

    /// Per key: what was due at commit is in commit order; what was due in one millisecond is in the order of
    /// transactions of which one began after the other was committed.
    fn check_order(&self, log: &[String]) {
        let log: Vec<&Entry> = log.iter().map(|name| &self.entries[name]).collect();
        for (position, later) in log.iter().enumerate() {
            for earlier in &log[..position] {
                if earlier.key != later.key || earlier.rescheduled || later.rescheduled {
                    continue;
                }
                if earlier.due_ms.is_none() && later.due_ms.is_none() {
                    assert!(earlier.committed < later.committed, "{earlier:?} before {later:?}");
                }
                if earlier.due_ms.is_some() && earlier.due_ms == later.due_ms {
                    assert!(earlier.began < later.committed, "{earlier:?} before {later:?}");
                }
            }
        }
    }

    fn entry(&mut self, name: &str) -> &mut Entry {
        self.entries.get_mut(name).expect("an entry that was published")
    }
}
