//! Reads of a snapshot: single keys, many keys, and pages of a range.
//!
//! The client asks for whole pages and knows no bytes: how many entries a page has is bounded, follows the bytes that a
//! caller still wants, and is halved where an answer would be larger than the client takes. Rows of attempts are left out.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use tikv_client::{Key, KvPair};

use super::attempts;
use super::metrics::add;
use super::shared::{AskError, Shared};
use crate::{Direction, KeyRange, ReadError, Version};

/// How many keys are asked for at once.
const KEYS_MAX: usize = 256;
/// How many entries a page has: at first, and at most.
const PAGE_MIN: usize = 32;
const PAGE_MAX: usize = 1_024;
/// How many keys a page of keys has at most.
const KEYS_PAGE_MAX: usize = 4_096;
/// How many bytes of values a page aims at.
const PAGE_BYTES: usize = 4 << 20;

/// The value of a key.
pub(super) async fn get(shared: &Shared, version: Version, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
    add(&shared.counters.gets, 1);
    let key = shared.namespace.key(key);
    let got = shared.ask_snapshot(version, |mut snapshot| {
        let key = key.clone();
        async move { snapshot.get(key).await }
    });
    Ok(got.await?.map(Bytes::from))
}

/// The values of those of the keys that are there.
pub(super) async fn get_many(
    shared: &Shared,
    version: Version,
    keys: &[Bytes],
) -> Result<HashMap<Bytes, Bytes>, ReadError> {
    let mut found = HashMap::with_capacity(keys.len());
    let (mut rest, mut step) = (keys, KEYS_MAX);
    while !rest.is_empty() {
        add(&shared.counters.gets, 1);
        let some = &rest[..rest.len().min(step)];
        let physical: Vec<Vec<u8>> = some.iter().map(|key| shared.namespace.key(key)).collect();
        let got = shared.ask_snapshot(version, |mut snapshot| {
            let keys = physical.clone();
            async move { Ok(snapshot.batch_get(keys).await?.collect::<Vec<KvPair>>()) }
        });
        match got.await {
            Ok(pairs) => {
                found.extend(pairs.into_iter().map(|pair| entry(shared, pair)));
                rest = &rest[some.len()..];
            }
            Err(AskError::AnswerTooLarge) if step > 1 => step = some.len().div_ceil(2),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// A page of a range.
pub(super) struct Page<E> {
    /// The entries that were found, in the order of the direction.
    pub(super) entries: Vec<E>,
    /// The part of the range that they are all entries of.
    pub(super) covered: KeyRange,
    /// The part of the range that comes next, if there is one.
    pub(super) rest: Option<KeyRange>,
}

/// Reads a range page by page, entries or keys alone.
pub(super) struct Pages {
    version: Version,
    direction: Direction,
    rest: Option<KeyRange>,
    size: usize,
}

impl Pages {
    /// The pages of a range in the snapshot of `version`, of which about `wanted` entries are wanted.
    pub(super) fn new(version: Version, range: &KeyRange, direction: Direction, wanted: usize) -> Self {
        let rest = (!range.is_empty()).then(|| range.clone());
        Self { version, direction, rest, size: wanted.clamp(1, PAGE_MIN) }
    }

    /// The next page of entries; `None` if there is none. What is wanted of it is about so many entries, and so many
    /// bytes of values.
    pub(super) async fn next(
        &mut self,
        shared: &Shared,
        wanted: usize,
        wanted_bytes: usize,
    ) -> Result<Option<Page<(Bytes, Bytes)>>, ReadError> {
        let Some(range) = self.rest.take() else { return Ok(None) };
        loop {
            let size = self.size;
            match self.ask(shared, &range, size, false).await {
                Ok(pairs) => {
                    let bytes: usize = pairs.iter().map(|pair| pair.1.len()).sum();
                    let per_entry = bytes.div_ceil(pairs.len().max(1)).max(1);
                    let fitting = wanted_bytes.min(PAGE_BYTES).div_ceil(per_entry);
                    self.size = wanted.min(fitting).min(2 * size).clamp(1, PAGE_MAX);
                    let entries = pairs.into_iter().map(|pair| entry(shared, pair)).collect();
                    let page = self.page(shared, range, entries, size, |(key, _)| key);
                    return Ok(Some(page));
                }
                Err(AskError::AnswerTooLarge) if size > 1 => self.size = size.div_ceil(2),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next page of keys; `None` if there is none.
    pub(super) async fn next_keys(
        &mut self,
        shared: &Shared,
        wanted: usize,
    ) -> Result<Option<Page<Bytes>>, ReadError> {
        let Some(range) = self.rest.take() else { return Ok(None) };
        let size = wanted.clamp(1, KEYS_PAGE_MAX);
        let pairs = self.ask(shared, &range, size, true).await?;
        let keys = pairs.into_iter().map(|pair| shared.namespace.user_key(pair.0.into())).collect();
        Ok(Some(self.page(shared, range, keys, size, |key| key)))
    }

    /// Cuts the page off the range, and leaves the rows of attempts out.
    fn page<E>(
        &mut self,
        shared: &Shared,
        range: KeyRange,
        mut entries: Vec<E>,
        asked: usize,
        key: impl Fn(&E) -> &Bytes,
    ) -> Page<E> {
        let last = entries.last().filter(|_| entries.len() >= asked).map(|entry| key(entry).clone());
        shared.note_rows(entries.iter().map(&key).filter(|key| attempts::is_row(key)));
        entries.retain(|entry| !attempts::is_row(key(entry)));
        let (covered, rest) = match (last, self.direction) {
            (None, _) => (range, None),
            (Some(last), Direction::Forward) => {
                let next = KeyRange::successor(&last);
                (KeyRange::new(range.start, next.clone()), Some(KeyRange::new(next, range.end)))
            }
            (Some(last), Direction::Backward) => {
                (KeyRange::new(last.clone(), range.end), Some(KeyRange::new(range.start, last)))
            }
        };
        self.rest = rest.clone().filter(|rest| !rest.is_empty());
        Page { entries, covered, rest }
    }

    async fn ask(
        &self,
        shared: &Shared,
        range: &KeyRange,
        size: usize,
        keys_only: bool,
    ) -> Result<Vec<KvPair>, AskError> {
        let range = shared.namespace.range(range);
        scan_cluster(shared, self.version, range, size, self.direction, keys_only).await
    }
}

/// At most `size` entries of a range of the cluster's keys, with their values unless the keys alone are asked for.
pub(super) async fn scan_cluster(
    shared: &Shared,
    version: Version,
    range: Range<Vec<u8>>,
    size: usize,
    direction: Direction,
    keys_only: bool,
) -> Result<Vec<KvPair>, AskError> {
    add(&shared.counters.scans, 1);
    let limit = u32::try_from(size).expect("pages are small");
    let scanning = shared.ask_snapshot(version, |mut snapshot| {
        let range = range.clone();
        async move {
            let without_value = |key: Key| KvPair::new(key, Vec::new());
            Ok(match (direction, keys_only) {
                (Direction::Forward, false) => snapshot.scan(range, limit).await?.collect(),
                (Direction::Backward, false) => snapshot.scan_reverse(range, limit).await?.collect(),
                (Direction::Forward, true) => {
                    snapshot.scan_keys(range, limit).await?.map(without_value).collect()
                }
                (Direction::Backward, true) => {
                    snapshot.scan_keys_reverse(range, limit).await?.map(without_value).collect()
                }
            })
        }
    });
    scanning.await
}

fn entry(shared: &Shared, pair: KvPair) -> (Bytes, Bytes) {
    let KvPair(key, value) = pair;
    (shared.namespace.user_key(key.into()), value.into())
}
