//! The records inside a batch, read.

use bytes::Bytes;

use super::{BatchError, BatchHeader, HEADER_LEN, TimestampType, check, decompress, varint};

/// One record of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its offset less the batch's base offset.
    pub offset_delta: i32,
    /// Milliseconds since the Unix epoch; read from a log-append-time batch, the time of the append.
    pub timestamp_ms: i64,
    /// The key; null and empty differ.
    pub key: Option<Bytes>,
    /// The value; null (a tombstone) and empty differ.
    pub value: Option<Bytes>,
    /// Name and value, in order; a name may come more than once. Names that are not UTF-8 are read as Java's
    /// client does, with replacement characters.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Bytes of the smallest record: a length, attributes, two deltas, two null lengths and a header count.
const MIN_RECORD_LEN: usize = 7;
/// Bytes of the smallest header: an empty name and a null value.
const MIN_HEADER_LEN: usize = 2;

/// The records of one batch, one after the other: see [`records`].
///
/// Keys and values share the memory of the batch, or of its decompressed bytes. After an error it ends.
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    body: Bytes,
    index: i32,
    failed: bool,
}

/// Checks one batch and reads its records one by one, so that a caller who looks at each once holds none of them.
///
/// The body is decompressed at once, to at most `max_decompressed_bytes`.
///
/// # Errors
/// As [`check`], `Decompress` or `TooLarge`. What is wrong with a record comes from the iterator.
pub fn records(batch: &Bytes, max_decompressed_bytes: usize) -> Result<Records, BatchError> {
    let header = check(batch)?;
    let body = decompress(header.compression()?, batch.slice(HEADER_LEN..), max_decompressed_bytes)?;
    Ok(Records { header, body, index: 0, failed: false })
}

/// Checks one batch and reads all its records.
///
/// They take up to twenty times `max_decompressed_bytes` if they are all empty: [`records`] does not.
///
/// # Errors
/// As [`records`], or `Record` for one that does not parse.
pub fn decode_records(batch: &Bytes, max_decompressed_bytes: usize) -> Result<Vec<Record>, BatchError> {
    let records = records(batch, max_decompressed_bytes)?;
    let mut all = Vec::with_capacity(records.size_hint().0);
    for record in records {
        all.push(record?);
    }
    Ok(all)
}

impl Records {
    /// The batch's header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    fn read(&mut self) -> Result<Record, BatchError> {
        let index = self.index;
        let bad = |field| BatchError::Record { index, field };
        let mut rest = self.body.as_ref();
        let length = varint::take_i32(&mut rest).and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= rest.len()).ok_or(bad("length"))?;
        let start = self.body.len() - rest.len();
        let after = self.body.split_off(start + length);
        let record = std::mem::replace(&mut self.body, after).slice(start..);
        decode_record(&record, &self.header).map_err(bad)
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let record = if self.index < self.header.record_count {
            self.read()
        } else if self.body.is_empty() {
            return None;
        } else {
            Err(BatchError::Record { index: self.index, field: "count" })
        };
        self.failed = record.is_err();
        self.index = self.index.saturating_add(1);
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let announced = usize::try_from(self.header.record_count - self.index).unwrap_or(0);
        (announced.min(self.body.len() / MIN_RECORD_LEN), None)
    }
}

/// One record's bytes, without the length in front; the error is the name of the field that is wrong.
fn decode_record(bytes: &Bytes, header: &BatchHeader) -> Result<Record, &'static str> {
    // The record's attributes are unused so far, and ignored as Kafka ignores them.
    let mut rest = bytes.get(1..).ok_or("attributes")?;
    let timestamp_delta = varint::take(&mut rest).ok_or("timestamp")?;
    let offset_delta = varint::take_i32(&mut rest).ok_or("offset")?;
    let key = take_bytes(bytes, &mut rest).ok_or("key")?;
    let value = take_bytes(bytes, &mut rest).ok_or("value")?;
    let count = varint::take_i32(&mut rest).and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count <= rest.len() / MIN_HEADER_LEN).ok_or("header count")?;
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let name = take_bytes(bytes, &mut rest).flatten().ok_or("header name")?;
        let value = take_bytes(bytes, &mut rest).ok_or("header value")?;
        headers.push((String::from_utf8_lossy(&name).into_owned(), value));
    }
    if !rest.is_empty() {
        return Err("length");
    }
    let timestamp_ms = match header.timestamp_type() {
        TimestampType::CreateTime => header.base_timestamp.wrapping_add(timestamp_delta),
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    Ok(Record { offset_delta, timestamp_ms, key, value, headers })
}

/// A nullable byte string off the front of `rest`, which is the end of `bytes`; the outer `None` if it is broken.
#[expect(clippy::option_option, reason = "broken, null, there")]
fn take_bytes(bytes: &Bytes, rest: &mut &[u8]) -> Option<Option<Bytes>> {
    let length = varint::take_i32(rest)?;
    if length < 0 {
        return (length == -1).then_some(None);
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.len())?;
    let start = bytes.len() - rest.len();
    *rest = &rest[length..];
    Some(Some(bytes.slice(start..start + length)))
}
