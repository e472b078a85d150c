//! Going through a range page by page.
//!
//! What always holds: every entry of the range is given once, in order, whatever the size of a page and of the values; a
//! page is never empty. All pages read in one transaction are of one snapshot; pages may as well be read in a transaction
//! each, which then sees what changed behind the last page.

use bytes::Bytes;

use crate::{Direction, KeyRange, ReadError, ScanLimit, Txn};

/// What is still to be read of a range, forward.
#[derive(Clone, Debug)]
pub struct Pages {
    /// None once the range has ended.
    rest: Option<KeyRange>,
    limit: ScanLimit,
}

impl Pages {
    /// The entries from `start` up to, not including, `end`, so many at a time and no more of them than
    /// [`ScanLimit::count`] allows in bytes.
    ///
    /// # Panics
    /// If a page has no entries.
    #[must_use]
    pub fn new((start, end): (Bytes, Bytes), count: usize) -> Self {
        assert!(count > 0, "a page has entries");
        Self { rest: Some(KeyRange::new(start, end)), limit: ScanLimit::count(count) }
    }

    /// The next page; none at the end of the range.
    ///
    /// # Errors
    /// If the store cannot be read. The same page is next then.
    pub async fn next(&mut self, txn: &mut impl Txn) -> Result<Option<Vec<(Bytes, Bytes)>>, ReadError> {
        let Some(rest) = &self.rest else { return Ok(None) };
        let page = txn.scan(rest, self.limit, Direction::Forward).await?;
        let bytes: usize = page.iter().map(|(_, value)| value.len()).sum();
        let is_last = page.len() < self.limit.count && bytes < self.limit.value_bytes;
        self.go_on(page.last().map(|(key, _)| key), is_last);
        Ok(Some(page).filter(|page| !page.is_empty()))
    }

    /// The keys of the next page; none at the end of the range.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_keys(&mut self, txn: &mut impl Txn) -> Result<Option<Vec<Bytes>>, ReadError> {
        let Some(rest) = &self.rest else { return Ok(None) };
        let page = txn.scan_keys(rest, self.limit.count, Direction::Forward).await?;
        self.go_on(page.last(), page.len() < self.limit.count);
        Ok(Some(page).filter(|page| !page.is_empty()))
    }

    fn go_on(&mut self, last: Option<&Bytes>, is_last: bool) {
        match (last, &mut self.rest) {
            (Some(last), Some(rest)) if !is_last => rest.start = KeyRange::successor(last),
            _ => self.rest = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{ManualClock, MemoryStore, Store};

    fn key(at: usize) -> Bytes {
        Bytes::from(format!("key/{at:03}"))
    }

    async fn store_of(lengths: &[usize]) -> MemoryStore {
        let store = MemoryStore::new(Arc::new(ManualClock::at(1)));
        let mut txn = store.begin().await.expect("a store that works");
        for (at, length) in lengths.iter().enumerate() {
            txn.put(key(at), Bytes::from(vec![7; *length]));
        }
        txn.put(Bytes::from_static(b"beyond"), Bytes::from_static(b"1"));
        txn.put(Bytes::from_static(b"z"), Bytes::from_static(b"1"));
        txn.commit().await.expect("a store that works");
        store
    }

    fn all() -> (Bytes, Bytes) {
        (Bytes::from_static(b"key/"), Bytes::from_static(b"key0"))
    }

    proptest! {
        #[test]
        fn every_entry_is_given_once_and_no_page_is_empty_or_too_large(
            lengths in prop::collection::vec(1..50_usize, 0..30),
            count in 1..12_usize,
            value_bytes in 1..200_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let store = store_of(&lengths).await;
                let mut txn = store.begin().await.expect("a store that works");
                let mut pages = Pages { limit: ScanLimit { count, value_bytes }, ..Pages::new(all(), count) };
                let mut found = Vec::new();
                while let Some(page) = pages.next(&mut txn).await.expect("a store that works") {
                    assert!((1..=count).contains(&page.len()));
                    found.extend(page.into_iter().map(|(key, value)| (key, value.len())));
                }
                let expected: Vec<_> = lengths.iter().enumerate().map(|(at, length)| (key(at), *length)).collect();
                assert_eq!(found, expected);
                assert_eq!(pages.next(&mut txn).await, Ok(None), "the end stays the end");
                let mut keys = Vec::new();
                let mut pages = Pages::new(all(), count);
                while let Some(page) = pages.next_keys(&mut txn).await.expect("a store that works") {
                    assert!((1..=count).contains(&page.len()));
                    keys.extend(page);
                }
                assert_eq!(keys, expected.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
            });
        }
    }

    #[tokio::test]
    async fn pages_of_a_transaction_each_go_on_behind_the_last_one_whatever_was_removed() {
        let store = store_of(&[1; 10]).await;
        let mut pages = Pages::new(all(), 4);
        let mut found = 0;
        loop {
            let mut txn = store.begin().await.expect("a store that works");
            let Some(page) = pages.next_keys(&mut txn).await.expect("a store that works") else { break };
            found += page.len();
            page.into_iter().for_each(|key| txn.delete(key));
            txn.commit().await.expect("a store that works");
        }
        assert_eq!(found, 10);
    }
}
