//! Scans: pages of the broker's snapshot, with the transaction's own writes laid over each.

use bytes::Bytes;
use tidegate_protocol::extension::read::{Range, Scan, ScanKeys};
use tidegate_store::{Direction, KeyRange, ReadError, ScanLimit};

use super::{RemoteTxn, unavailable};

impl RemoteTxn {
    pub(super) async fn scan_entries(
        &self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let (mut rest, mut found, mut value_bytes) = (range.clone(), Vec::new(), 0);
        while !rest.is_empty() && found.len() < limit.count {
            let left = ScanLimit {
                count: limit.count - found.len(),
                value_bytes: limit.value_bytes.saturating_sub(value_bytes),
            };
            let request = Scan {
                by: self.by(),
                range: asked(&rest, left.count, direction),
                value_bytes: left.value_bytes as u64,
            };
            let page = self.ask(&request).await?;
            let last = page.entries.last().map(|(key, _)| key.clone());
            let covered = covered(&mut rest, last.as_ref(), page.exhausted, direction)?;
            let base = page.entries.into_iter().map(Ok::<_, ReadError>);
            let merged = self.write_set.scan(&covered, left, direction, base, Ok)?;
            value_bytes += merged.iter().map(|(_, value)| value.len()).sum::<usize>();
            let is_any = !merged.is_empty();
            found.extend(merged);
            if is_any && value_bytes >= limit.value_bytes {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn scan_only_keys(
        &self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
    ) -> Result<Vec<Bytes>, ReadError> {
        let (mut rest, mut found) = (range.clone(), Vec::new());
        while !rest.is_empty() && found.len() < count {
            let left = count - found.len();
            let request = ScanKeys { by: self.by(), range: asked(&rest, left, direction) };
            let page = self.ask(&request).await?;
            let last = page.keys.last().cloned();
            let covered = covered(&mut rest, last.as_ref(), page.exhausted, direction)?;
            let base = page.keys.into_iter().map(|key| Ok::<_, ReadError>((key, ())));
            found.extend(self.write_set.scan_keys(&covered, left, direction, base)?);
        }
        Ok(found)
    }
}

fn asked(range: &KeyRange, count: usize, direction: Direction) -> Range {
    Range {
        start: range.start.clone(),
        end: range.end.clone(),
        backward: direction == Direction::Backward,
        count: u32::try_from(count).unwrap_or(u32::MAX),
    }
}

/// The part of `rest` that a page which ends with `last` has told all of; `rest` is what is left then.
fn covered(
    rest: &mut KeyRange,
    last: Option<&Bytes>,
    exhausted: bool,
    direction: Direction,
) -> Result<KeyRange, ReadError> {
    let whole = rest.clone();
    if exhausted {
        rest.end = rest.start.clone();
        return Ok(whole);
    }
    let Some(last) = last.filter(|last| whole.contains(last)) else {
        return Err(unavailable("the broker has not answered what it was asked".to_owned()));
    };
    Ok(match direction {
        Direction::Forward => {
            rest.start = KeyRange::successor(last);
            KeyRange::new(whole.start, rest.start.clone())
        }
        Direction::Backward => {
            rest.end = last.clone();
            KeyRange::new(last.clone(), whole.end)
        }
    })
}
