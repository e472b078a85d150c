//! The book that a test keeps of what was produced, acknowledged, delivered and committed, and the rules it must obey:
//! nothing lost, nothing delivered again once committed, nothing out of order, nothing owned by two members.
//!
//! Pure: it knows no client, no thread and no clock; the proofs feed it and ask it. A broken rule is noted as a
//! violation and never forgotten, so that a test fails even if the broker recovers afterwards. Its own tests show that
//! it notices each kind of fault.

use std::collections::BTreeMap;
use std::fmt;

/// The identity of a produced record: its key, and its place among the records of that key (from 0, without gaps).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RecordId {
    /// The number of the key.
    pub key: u32,
    /// The place among the records of the key.
    pub sequence: u32,
}

impl RecordId {
    /// The record's key on the wire.
    #[must_use]
    pub fn key_text(&self) -> String {
        format!("key-{}", self.key)
    }

    /// The record's value on the wire: the identity and some bytes that compress.
    #[must_use]
    pub fn value_text(&self) -> String {
        format!("{} {} the quick brown fox jumps over the lazy dog, again and again", self.key, self.sequence)
    }

    /// Reads the identity back; `None` if key or value are not what [`RecordId::key_text`] and
    /// [`RecordId::value_text`] made.
    #[must_use]
    pub fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Self> {
        let value = std::str::from_utf8(value?).ok()?;
        let mut words = value.split(' ');
        let id = Self { key: words.next()?.parse().ok()?, sequence: words.next()?.parse().ok()? };
        (id.value_text() == value && key? == id.key_text().as_bytes()).then_some(id)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "record {} of key {}", self.sequence, self.key)
    }
}

/// What is known of one partition.
#[derive(Clone, Debug, Default)]
struct Partition {
    acknowledged: BTreeMap<i64, RecordId>,
    delivered: BTreeMap<i64, RecordId>,
    /// The member that was told that it owns it.
    owner: Option<String>,
    /// The offset that the owner must be given next; unknown until its first record.
    position: Option<i64>,
    /// The highest offset whose commit was acknowledged.
    committed: i64,
    /// The highest offset whose commit was sent.
    attempted: i64,
}

/// The book. Offsets are Kafka's: a committed offset is the next one to read.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    partitions: BTreeMap<i32, Partition>,
    acknowledged: usize,
    assignments: usize,
    violations: Vec<String>,
}

impl Ledger {
    /// A book for a topic of `partitions` partitions in which nothing has happened.
    #[must_use]
    pub fn new(partitions: i32) -> Self {
        Self {
            partitions: (0..partitions).map(|index| (index, Partition::default())).collect(),
            ..Self::default()
        }
    }

    /// The broker acknowledged a produced record.
    pub fn acknowledge(&mut self, partition: i32, offset: i64, id: RecordId) {
        self.acknowledged += 1;
        let Some(entry) = self.known(partition) else { return };
        if let Some(other) = entry.acknowledged.insert(offset, id) {
            self.violate(format!("{id} and {other} were both acknowledged at {partition}@{offset}"));
        }
    }

    /// Something happened that must never happen.
    pub fn violate(&mut self, what: String) {
        self.violations.push(what);
    }

    /// A member was given partitions.
    pub fn assign(&mut self, member: &str, partitions: &[i32]) {
        self.assignments += 1;
        for &index in partitions {
            let Some(entry) = self.known(index) else { continue };
            let previous = entry.owner.replace(member.to_owned());
            entry.position = None;
            if let Some(previous) = previous {
                self.violate(format!("partition {index} was given to {member} while {previous} owned it"));
            }
        }
    }

    /// A member was told to give partitions back, and has committed what it wanted to.
    pub fn revoke(&mut self, member: &str, partitions: &[i32]) {
        for &index in partitions {
            let Some(entry) = self.known(index) else { continue };
            if entry.owner.as_deref() == Some(member) {
                entry.owner = None;
                entry.position = None;
            }
        }
    }

    /// A member was given a record.
    pub fn deliver(&mut self, member: &str, partition: i32, offset: i64, id: RecordId) {
        let Some(entry) = self.known(partition) else { return };
        let mut faults = Vec::new();
        if entry.owner.as_deref() != Some(member) {
            faults.push(format!("{member} was given {partition}@{offset} but {:?} owns it", entry.owner));
        }
        if offset < entry.committed {
            faults
                .push(format!("{partition}@{offset} came again although {} was committed", entry.committed));
        }
        match entry.position {
            Some(expected) if expected != offset => {
                faults.push(format!("{member} was given {partition}@{offset} in place of {expected}"));
            }
            None if offset < entry.committed || offset > entry.attempted => faults.push(format!(
                "{member} began partition {partition} at {offset}, but {} was committed (at most {})",
                entry.committed, entry.attempted
            )),
            _ => {}
        }
        entry.position = Some(offset + 1);
        if let Some(other) = entry.delivered.insert(offset, id)
            && other != id
        {
            faults.push(format!("{partition}@{offset} was {other} and is now {id}"));
        }
        self.violations.extend(faults);
    }

    /// The offsets that a member should commit: of the given partitions, or of all it owns, where it went on since.
    #[must_use]
    pub fn uncommitted(&self, member: &str, among: Option<&[i32]>) -> Vec<(i32, i64)> {
        let owned = self.partitions.iter().filter(|(index, entry)| {
            entry.owner.as_deref() == Some(member) && among.is_none_or(|among| among.contains(index))
        });
        owned
            .filter_map(|(&index, entry)| entry.position.map(|position| (index, position, entry.committed)))
            .filter(|(_, position, committed)| position > committed)
            .map(|(index, position, _)| (index, position))
            .collect()
    }

    /// A commit is about to be sent: until it is answered, its offsets may or may not hold.
    pub fn attempt_commit(&mut self, offsets: &[(i32, i64)]) {
        for &(index, offset) in offsets {
            let Some(entry) = self.known(index) else { continue };
            entry.attempted = entry.attempted.max(offset);
        }
    }

    /// A commit was acknowledged.
    pub fn commit(&mut self, offsets: &[(i32, i64)]) {
        for &(index, offset) in offsets {
            let Some(entry) = self.known(index) else { continue };
            entry.committed = entry.committed.max(offset);
        }
    }

    /// How many records were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// How many records lie below the committed offsets (logs begin at 0).
    #[must_use]
    pub fn committed(&self) -> usize {
        self.partitions
            .values()
            .map(|entry| usize::try_from(entry.committed).expect("offsets count from 0"))
            .sum()
    }

    /// The committed offsets by partition, as far as they were acknowledged.
    #[must_use]
    pub fn committed_offsets(&self) -> BTreeMap<i32, i64> {
        self.partitions.iter().map(|(&index, entry)| (index, entry.committed)).collect()
    }

    /// How many partitions each member owns now, sorted; members without any do not count.
    #[must_use]
    pub fn ownership(&self) -> Vec<usize> {
        let mut owned: BTreeMap<&str, usize> = BTreeMap::new();
        for owner in self.partitions.values().filter_map(|entry| entry.owner.as_deref()) {
            *owned.entry(owner).or_default() += 1;
        }
        let mut counts: Vec<usize> = owned.into_values().collect();
        counts.sort_unstable();
        counts
    }

    /// How often any member was given partitions.
    #[must_use]
    pub fn assignments(&self) -> usize {
        self.assignments
    }

    /// What went wrong so far.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The final account, against the log itself as it was read from its start: `log[partition][offset]`, and how many
    /// records of each key were produced. Returns everything that is wrong.
    #[must_use]
    pub fn audit(&self, log: &BTreeMap<i32, Vec<RecordId>>, produced: &BTreeMap<u32, u32>) -> Vec<String> {
        let mut faults = self.violations.clone();
        faults.extend(audit_log(log, produced));
        for (&index, entry) in &self.partitions {
            let records = log.get(&index).map_or(&[][..], Vec::as_slice);
            let at = |offset: i64| usize::try_from(offset).ok().and_then(|offset| records.get(offset));
            for (&offset, id) in &entry.acknowledged {
                if at(offset) != Some(id) {
                    faults.push(format!(
                        "{id} was acknowledged at {index}@{offset}, which is {:?}",
                        at(offset)
                    ));
                }
            }
            let delivered: Vec<RecordId> = entry.delivered.values().copied().collect();
            if delivered != records {
                faults.push(format!(
                    "of the {} records of partition {index} the group got {}",
                    records.len(),
                    delivered.len()
                ));
            }
            if entry.committed != i64::try_from(records.len()).expect("a log fits into its offsets") {
                faults.push(format!(
                    "partition {index} has {} records, committed is {}",
                    records.len(),
                    entry.committed
                ));
            }
        }
        faults
    }

    fn known(&mut self, partition: i32) -> Option<&mut Partition> {
        if !self.partitions.contains_key(&partition) {
            self.violate(format!("there is no partition {partition}"));
        }
        self.partitions.get_mut(&partition)
    }
}

/// Checks a log on its own: each key's records once, in order, all in one partition, none missing.
#[must_use]
pub fn audit_log(log: &BTreeMap<i32, Vec<RecordId>>, produced: &BTreeMap<u32, u32>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen: BTreeMap<u32, (i32, u32)> = BTreeMap::new();
    for (&partition, records) in log {
        for (offset, id) in records.iter().enumerate() {
            let (home, next) = seen.entry(id.key).or_insert((partition, 0));
            if (*home, *next) != (partition, id.sequence) {
                faults.push(format!(
                    "{id} lies at {partition}@{offset}; expected was {next} in partition {home}"
                ));
            }
            *next = id.sequence + 1;
        }
    }
    for (&key, &count) in produced {
        let found = seen.get(&key).map_or(0, |&(_, next)| next);
        if found != count {
            faults.push(format!("{count} records of key {key} were produced, the log ends after {found}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const A0: RecordId = RecordId { key: 1, sequence: 0 };
    const A1: RecordId = RecordId { key: 1, sequence: 1 };
    const B0: RecordId = RecordId { key: 2, sequence: 0 };

    fn produced() -> BTreeMap<u32, u32> {
        BTreeMap::from([(1, 2), (2, 1)])
    }

    fn log() -> BTreeMap<i32, Vec<RecordId>> {
        BTreeMap::from([(0, vec![A0, A1]), (1, vec![B0])])
    }

    /// Two partitions, three records, read and committed by one member: all is well.
    fn good() -> Ledger {
        let mut ledger = Ledger::new(2);
        for (partition, offset, id) in [(0, 0, A0), (0, 1, A1), (1, 0, B0)] {
            ledger.acknowledge(partition, offset, id);
        }
        ledger.assign("m", &[0, 1]);
        for (partition, offset, id) in [(0, 0, A0), (0, 1, A1), (1, 0, B0)] {
            ledger.deliver("m", partition, offset, id);
        }
        let offsets = ledger.uncommitted("m", None);
        ledger.attempt_commit(&offsets);
        ledger.commit(&offsets);
        ledger
    }

    fn one_fault(ledger: &Ledger, expected: &str) {
        assert_eq!(ledger.violations().len(), 1, "{:?}", ledger.violations());
        assert!(ledger.violations()[0].contains(expected), "{:?}", ledger.violations());
    }

    #[test]
    fn a_faultless_run_passes_the_audit() {
        let ledger = good();
        assert_eq!(ledger.audit(&log(), &produced()), Vec::<String>::new());
        assert_eq!((ledger.acknowledged(), ledger.committed(), ledger.ownership()), (3, 3, vec![2]));
    }

    #[test]
    fn a_record_that_comes_again_after_its_commit_is_noticed() {
        let mut ledger = good();
        ledger.revoke("m", &[0]);
        ledger.assign("n", &[0]);
        ledger.deliver("n", 0, 1, A1);
        assert!(ledger.violations().iter().any(|v| v.contains("came again")), "{:?}", ledger.violations());
    }

    #[test]
    fn a_record_that_comes_again_before_its_commit_is_allowed() {
        let mut ledger = Ledger::new(1);
        ledger.assign("m", &[0]);
        ledger.deliver("m", 0, 0, A0);
        ledger.attempt_commit(&[(0, 1)]);
        ledger.revoke("m", &[0]);
        ledger.assign("n", &[0]);
        ledger.deliver("n", 0, 0, A0);
        ledger.deliver("n", 0, 1, A1);
        assert_eq!(ledger.violations(), Vec::<String>::new());
    }

    #[test]
    fn a_skipped_record_is_noticed_within_and_at_the_start_of_an_assignment() {
        let mut ledger = Ledger::new(1);
        ledger.assign("m", &[0]);
        ledger.deliver("m", 0, 0, A0);
        ledger.deliver("m", 0, 2, A1);
        one_fault(&ledger, "in place of 1");
        let mut ledger = Ledger::new(1);
        ledger.assign("m", &[0]);
        ledger.deliver("m", 0, 1, A1);
        one_fault(&ledger, "began partition 0 at 1");
    }

    #[test]
    fn two_owners_and_a_stranger_are_noticed() {
        let mut ledger = Ledger::new(1);
        ledger.assign("m", &[0]);
        ledger.assign("n", &[0]);
        one_fault(&ledger, "while m owned it");
        ledger.deliver("m", 0, 0, A0);
        assert_eq!(ledger.violations().len(), 2);
    }

    #[test]
    fn an_offset_that_changes_its_record_is_noticed() {
        let mut ledger = Ledger::new(1);
        ledger.assign("m", &[0]);
        ledger.deliver("m", 0, 0, A0);
        ledger.revoke("m", &[0]);
        ledger.assign("m", &[0]);
        ledger.deliver("m", 0, 0, B0);
        one_fault(&ledger, "is now");
        let mut ledger = Ledger::new(1);
        ledger.acknowledge(0, 0, A0);
        ledger.acknowledge(0, 0, A1);
        one_fault(&ledger, "both acknowledged");
    }

    #[test]
    fn the_audit_notices_what_the_log_lacks_repeats_or_swaps() {
        let ledger = good();
        let lost = BTreeMap::from([(0, vec![A0]), (1, vec![B0])]);
        let twice = BTreeMap::from([(0, vec![A0, A1, A1]), (1, vec![B0])]);
        let swapped = BTreeMap::from([(0, vec![A1, A0]), (1, vec![B0])]);
        let scattered = BTreeMap::from([(0, vec![A0]), (1, vec![B0, A1])]);
        for wrong in [lost, twice, swapped, scattered] {
            assert_ne!(audit_log(&wrong, &produced()), Vec::<String>::new(), "{wrong:?}");
            assert_ne!(ledger.audit(&wrong, &produced()), Vec::<String>::new(), "{wrong:?}");
        }
    }

    #[test]
    fn the_audit_notices_what_the_group_lacks() {
        let mut ledger = Ledger::new(2);
        ledger.assign("m", &[0, 1]);
        ledger.deliver("m", 0, 0, A0);
        ledger.deliver("m", 0, 1, A1);
        ledger.commit(&[(0, 2), (1, 1)]);
        assert_eq!(ledger.audit(&log(), &produced()).len(), 1);
    }

    #[test]
    fn only_an_untouched_value_is_a_record() {
        let value = A1.value_text();
        assert_eq!(RecordId::parse(Some(b"key-1"), Some(value.as_bytes())), Some(A1));
        assert_eq!(RecordId::parse(Some(b"key-2"), Some(value.as_bytes())), None);
        assert_eq!(RecordId::parse(Some(b"key-1"), Some(&value.as_bytes()[..20])), None);
        assert_eq!(RecordId::parse(None, Some(value.as_bytes())), None);
        assert_eq!(RecordId::parse(Some(b"key-1"), None), None);
    }
}
