//! Get, Scan and ScanKeys: from the session's snapshot, in answers of bounded size.

use bytes::Bytes;
use tidegate_protocol::extension::Failure;
use tidegate_protocol::extension::read::{By, Entries, Get, Keys, Range, Scan, ScanKeys, Values};
use tidegate_store::{Direction, KeyRange, ScanLimit, Store, Txn};

use super::sessions::{ConnectionSessions, OpenSession};
use super::{admission, read_failure};
use crate::Broker;

/// Most entries of one answer.
const ANSWER_MAX_ENTRIES: usize = 10_000;
/// Keys that are read from the store at a time.
const GET_ROUND_KEYS: usize = 128;

pub(super) async fn get(
    broker: &Broker,
    sessions: &ConnectionSessions,
    request: Get,
) -> Result<Values, Failure> {
    request.keys.iter().try_for_each(|key| admission::check_read(key))?;
    let session = sessions.get(request.by.session, broker)?;
    check_age(broker, &session, request.by)?;
    let mut txn = session.txn().await?;
    let mut values = Vec::with_capacity(request.keys.len().min(ANSWER_MAX_ENTRIES));
    let mut bytes = 0;
    for keys in request.keys[..request.keys.len().min(ANSWER_MAX_ENTRIES)].chunks(GET_ROUND_KEYS) {
        let found = match keys {
            [key] => vec![txn.get(key).await.map_err(read_failure)?],
            keys => txn.get_many(keys).await.map_err(read_failure)?,
        };
        for value in found {
            bytes += value.as_ref().map_or(0, Bytes::len);
            values.push(value);
            if bytes >= broker.settings.extension_answer_max_bytes {
                return Ok(Values { values });
            }
        }
    }
    Ok(Values { values })
}

pub(super) async fn scan(
    broker: &Broker,
    sessions: &ConnectionSessions,
    request: Scan,
) -> Result<Entries, Failure> {
    let Some((range, count, direction)) = checked(request.range)? else {
        return Ok(Entries { entries: vec![], exhausted: true });
    };
    let session = sessions.get(request.by.session, broker)?;
    check_age(broker, &session, request.by)?;
    let asked = usize::try_from(request.value_bytes).unwrap_or(usize::MAX);
    let value_bytes = asked.min(broker.settings.extension_answer_max_bytes);
    let limit = ScanLimit { count, value_bytes };
    let entries = session.txn().await?.scan(&range, limit, direction).await.map_err(read_failure)?;
    let bytes: usize = entries.iter().map(|(_, value)| value.len()).sum();
    let exhausted = entries.len() < count && (bytes < value_bytes || entries.is_empty());
    Ok(Entries { entries, exhausted })
}

pub(super) async fn scan_keys(
    broker: &Broker,
    sessions: &ConnectionSessions,
    request: ScanKeys,
) -> Result<Keys, Failure> {
    let Some((range, count, direction)) = checked(request.range)? else {
        return Ok(Keys { keys: vec![], exhausted: true });
    };
    let session = sessions.get(request.by.session, broker)?;
    check_age(broker, &session, request.by)?;
    let keys = session.txn().await?.scan_keys(&range, count, direction).await.map_err(read_failure)?;
    let exhausted = keys.len() < count;
    Ok(Keys { keys, exhausted })
}

/// What a scan reads, once it is known to be admitted; none if it reads nothing.
fn checked(range: Range) -> Result<Option<(KeyRange, usize, Direction)>, Failure> {
    let Range { start, end, backward, count } = range;
    let range = KeyRange::new(start, end);
    if range.is_empty() || count == 0 {
        return Ok(None);
    }
    admission::check_scan(&range)?;
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(ANSWER_MAX_ENTRIES);
    let direction = if backward { Direction::Backward } else { Direction::Forward };
    Ok(Some((range, count, direction)))
}

/// A transaction that writes hears of its end with its next read, as in process: its writes are not here yet.
fn check_age(broker: &Broker, session: &OpenSession, by: By) -> Result<(), Failure> {
    let max_ms = broker.settings.transaction_max_ms;
    let age_ms = u64::try_from(broker.store.now_ms().saturating_sub(session.began_ms)).unwrap_or(0);
    if by.writes && age_ms > max_ms { Err(Failure::Expired { max_ms }) } else { Ok(()) }
}
