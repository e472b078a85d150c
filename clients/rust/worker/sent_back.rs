//! Which dead letters of a partition were sent back: all before an offset, and single ones after it.
//!
//! Pure. It lies in what the group `{group}.redrive` has committed: the offset, and the single ones in what is noted beside
//! it, as text (`sent back: 7 9-12`). What somebody else has noted there says nothing.

use std::collections::BTreeSet;

use crate::Error;
use crate::offsets::Committed;

/// What the text begins with.
const NOTE: &str = "sent back:";
/// The longest text, in bytes: what brokers take by default (`offset.metadata.max.bytes`).
const NOTE_MAX_BYTES: usize = 4096;
/// The longest range that is believed: more dead letters in a row would have been sent back one by one.
const RANGE_MAX: i64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SentBack {
    /// All before it were.
    next: i64,
    /// Those after it that were.
    single: BTreeSet<i64>,
}

impl SentBack {
    /// As it was committed, in a partition whose first dead letter is at `first`.
    pub(super) fn read(committed: Option<&Committed>, first: i64) -> Self {
        let mut sent = Self { next: first, single: BTreeSet::new() };
        if let Some(committed) = committed {
            sent.next = committed.offset.max(first);
            sent.single = single_ones(&committed.metadata).unwrap_or_default();
            sent.tidy();
        }
        sent
    }

    /// Where those begin that were not sent back.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    pub(super) fn contains(&self, offset: i64) -> bool {
        offset < self.next || self.single.contains(&offset)
    }

    /// One was sent back.
    pub(super) fn add(&mut self, offset: i64) {
        self.single.insert(offset);
        self.tidy();
    }

    /// All before an offset were, or are not to be.
    pub(super) fn add_before(&mut self, offset: i64) {
        self.next = self.next.max(offset);
        self.tidy();
    }

    fn tidy(&mut self) {
        self.single = self.single.split_off(&self.next);
        while self.single.remove(&self.next) {
            self.next += 1;
        }
    }

    /// What is to be committed.
    ///
    /// # Errors
    /// `Invalid` if too many single ones were sent back to be noted.
    pub(super) fn to_committed(&self) -> Result<Committed, Error> {
        let mut note = String::new();
        let mut rest = self.single.iter().copied().peekable();
        while let Some(first) = rest.next() {
            let mut last = first;
            while rest.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            note.push_str(if note.is_empty() { NOTE } else { "" });
            note.push_str(&if first == last { format!(" {first}") } else { format!(" {first}-{last}") });
        }
        if note.len() > NOTE_MAX_BYTES {
            let (count, next) = (self.single.len(), self.next);
            return Err(Error::Invalid(format!(
                "{count} single dead letters after offset {next} would have been sent back, which are more than can be noted: \
                 send all back, or those from offset {next} on"
            )));
        }
        Ok(Committed { metadata: note, ..Committed::at(self.next) })
    }
}

/// The single ones of a text; none if it is not of this kind.
fn single_ones(note: &str) -> Option<BTreeSet<i64>> {
    if note.len() > NOTE_MAX_BYTES {
        return None;
    }
    let mut single = BTreeSet::new();
    let mut after = -1;
    for range in note.strip_prefix(NOTE)?.split_whitespace() {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (i64, i64) = (first.parse().ok()?, last.parse().ok()?);
        // Ranges come in order, so that no text stands for more than a partition has.
        if first <= after || last < first || last - first > RANGE_MAX {
            return None;
        }
        single.extend(first..=last);
        after = last;
    }
    Some(single)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(next: i64, single: &[i64]) -> SentBack {
        SentBack { next, single: single.iter().copied().collect() }
    }

    #[test]
    fn single_ones_are_noted_in_ranges_until_all_before_them_were_sent_back() {
        let mut back = sent(3, &[]);
        [7, 9, 10, 11, 5].into_iter().for_each(|offset| back.add(offset));
        let committed = back.to_committed().expect("short");
        assert_eq!((committed.offset, committed.metadata.as_str()), (3, "sent back: 5 7 9-11"));
        assert_eq!(SentBack::read(Some(&committed), 0), back);
        assert!(back.contains(2) && back.contains(10) && !back.contains(3) && !back.contains(8));
        [3, 4].into_iter().for_each(|offset| back.add(offset));
        assert_eq!(back, sent(6, &[7, 9, 10, 11]));
        back.add_before(9);
        assert_eq!((&back, back.to_committed()), (&sent(12, &[]), Ok(Committed::at(12))));
        assert_eq!(SentBack::read(Some(&committed), 8), sent(8, &[9, 10, 11]), "the log begins later");
        assert_eq!(SentBack::read(None, 8), sent(8, &[]));
    }

    #[test]
    fn what_others_have_noted_says_nothing() {
        for note in
            ["", "7", "sent back: 9-7", "sent back: 7 7", "sent back: x", "sent back: 0-9000000000000000000"]
        {
            let committed = Committed { metadata: note.to_owned(), ..Committed::at(3) };
            assert_eq!(SentBack::read(Some(&committed), 0), sent(3, &[]), "{note}");
        }
    }

    #[test]
    fn more_than_can_be_noted_is_refused_with_what_to_do() {
        let many: Vec<i64> = (0..2_000).map(|number| 1_000 + 2 * number).collect();
        let refused = sent(10, &many).to_committed().expect_err("too many").to_string();
        assert!(refused.contains("send all back") && refused.contains("offset 10"), "{refused}");
    }

    proptest! {
        #[test]
        fn what_is_noted_comes_back(next in 0..50_i64, single in prop::collection::btree_set(0..200_i64, 0..60)) {
            let mut back = sent(next, &[]);
            single.iter().for_each(|offset| back.add(*offset));
            for offset in 0..200 {
                prop_assert_eq!(back.contains(offset), offset < next || single.contains(&offset));
            }
            prop_assert_eq!(SentBack::read(Some(&back.to_committed().expect("short")), 0), back);
        }
    }
}
