//! Kafka's protocol by hand, in old versions whose layout is plain: for what no well-behaved client would ever send.
//!
//! It refuses to interpret more than a test needs. Layouts are those of Kafka's protocol guide: big-endian integers,
//! strings behind a 16-bit length, bytes and arrays behind a 32-bit one, frames behind a 32-bit length.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::deadline::HANG_AFTER;

/// Numbers of the APIs that these tests speak by hand.
pub mod api {
    /// Produce
    pub const PRODUCE: i16 = 0;
    /// Fetch
    pub const FETCH: i16 = 1;
    /// ListOffsets
    pub const LIST_OFFSETS: i16 = 2;
    /// Metadata
    pub const METADATA: i16 = 3;
    /// OffsetCommit
    pub const OFFSET_COMMIT: i16 = 8;
    /// FindCoordinator
    pub const FIND_COORDINATOR: i16 = 10;
    /// JoinGroup
    pub const JOIN_GROUP: i16 = 11;
    /// Heartbeat
    pub const HEARTBEAT: i16 = 12;
    /// SyncGroup
    pub const SYNC_GROUP: i16 = 14;
    /// ApiVersions
    pub const API_VERSIONS: i16 = 18;
    /// CreateTopics
    pub const CREATE_TOPICS: i16 = 19;
    /// DeleteTopics
    pub const DELETE_TOPICS: i16 = 20;
    /// InitProducerId
    pub const INIT_PRODUCER_ID: i16 = 22;
}

/// Where a batch says how many records come after its first.
const LAST_OFFSET_DELTA: usize = 23;

/// A message body under construction.
#[derive(Clone, Debug, Default)]
pub struct Body(Vec<u8>);

impl Body {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends an INT8.
    #[must_use]
    pub fn int8(self, value: i8) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends an INT16.
    #[must_use]
    pub fn int16(self, value: i16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends an INT32; also the length that opens an array.
    #[must_use]
    pub fn int32(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends an INT64.
    #[must_use]
    pub fn int64(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends a STRING.
    ///
    /// # Panics
    /// When it is too long for one.
    #[must_use]
    pub fn string(self, value: &str) -> Self {
        let length = i16::try_from(value.len()).expect("a STRING holds at most 32767 bytes");
        self.int16(length).raw(value.as_bytes())
    }

    /// Appends BYTES.
    ///
    /// # Panics
    /// When they are too long.
    #[must_use]
    pub fn bytes(self, value: &[u8]) -> Self {
        let length = i32::try_from(value.len()).expect("BYTES hold at most 2 GiB");
        self.int32(length).raw(value)
    }

    /// Appends a null STRING.
    #[must_use]
    pub fn null_string(self) -> Self {
        self.int16(-1)
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A request without its length: header version 1 and the body.
#[must_use]
pub fn request(api_key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    Body::new().int16(api_key).int16(version).int32(correlation).string("wire").raw(body).into_bytes()
}

/// Reads a message body from its start.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// At the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Takes the next bytes.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("the answer is complete");
        self.0 = rest;
        *taken
    }

    /// Takes an INT16.
    pub fn int16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    /// Takes an INT32.
    pub fn int32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    /// Takes an INT64.
    pub fn int64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }

    /// Takes BYTES; null ones are empty.
    ///
    /// # Panics
    /// When they are cut off.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::try_from(self.int32()).unwrap_or(0);
        let (taken, rest) = self.0.split_at_checked(length).expect("the answer is complete");
        self.0 = rest;
        taken
    }

    /// Passes over a STRING, null or not.
    ///
    /// # Panics
    /// When it is cut off.
    pub fn skip_string(&mut self) {
        let length = usize::try_from(self.int16()).unwrap_or(0);
        self.0 = self.0.get(length..).expect("the answer is complete");
    }
}

/// A raw connection.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn open(address: &str) -> Self {
        let stream =
            TcpStream::connect(address).unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
        stream.set_nodelay(true).expect("the option is known");
        stream.set_read_timeout(Some(HANG_AFTER)).expect("the option is known");
        stream.set_write_timeout(Some(HANG_AFTER)).expect("the option is known");
        Self(stream)
    }

    /// The socket itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the broker has closed the connection.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the broker has closed the connection.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let framed = Body::new().bytes(frame).into_bytes();
        self.send_raw(&framed)
    }

    /// Receives a frame; `None` when the broker has closed the connection instead.
    ///
    /// # Panics
    /// When neither happens.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length counts from 0")];
        self.read_exact(&mut frame)?;
        Some(frame)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.0.read_exact(buffer) {
            Ok(()) => Some(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("hung: neither an answer nor a closed connection for {HANG_AFTER:?}")
            }
            Err(_) => None,
        }
    }

    /// Asks and returns the answer's body; `None` when the broker closes the connection instead.
    ///
    /// # Panics
    /// When the answer is to another request.
    pub fn ask(&mut self, api_key: i16, version: i16, body: &[u8]) -> Option<Vec<u8>> {
        const CORRELATION: i32 = 4711;
        self.send(&request(api_key, version, CORRELATION, body)).ok()?;
        let answer = self.receive()?;
        assert_eq!(Reader::new(&answer).int32(), CORRELATION, "answers come in order");
        Some(answer[4..].to_vec())
    }

    /// Asks for the supported APIs: (key, lowest version, highest version).
    ///
    /// # Panics
    /// When the broker does not answer this as it must.
    pub fn api_versions(&mut self) -> Vec<(i16, i16, i16)> {
        let answer = self.ask(api::API_VERSIONS, 0, &[]).expect("ApiVersions is answered");
        let mut reader = Reader::new(&answer);
        assert_eq!(reader.int16(), 0, "no error");
        (0..reader.int32()).map(|_| (reader.int16(), reader.int16(), reader.int16())).collect()
    }
}

/// A record batch (version 2) of one record without key, as a producer without idempotence sends it.
#[must_use]
pub fn batch(value: &[u8], timestamp_ms: i64) -> Vec<u8> {
    batch_of(1, value, timestamp_ms)
}

/// As [`batch`], of so many records that are all alike.
///
/// # Panics
/// When it is asked for none, or for more than a batch can have.
#[must_use]
pub fn batch_of(count: usize, value: &[u8], timestamp_ms: i64) -> Vec<u8> {
    batch_by(-1, -1, count, value, timestamp_ms)
}

/// As [`batch_of`], of an idempotent producer in its first epoch, from `base_sequence` on.
///
/// # Panics
/// As [`batch_of`].
#[must_use]
pub fn idempotent_batch_of(
    producer_id: i64,
    base_sequence: i32,
    count: usize,
    value: &[u8],
    timestamp_ms: i64,
) -> Vec<u8> {
    batch_by(producer_id, base_sequence, count, value, timestamp_ms)
}

/// A batch of a producer that is idempotent if it has an id.
fn batch_by(producer_id: i64, base_sequence: i32, count: usize, value: &[u8], timestamp_ms: i64) -> Vec<u8> {
    let producer_epoch = if producer_id < 0 { -1 } else { 0 };
    let mut records = Vec::new();
    for offset in 0..count {
        let mut record = vec![0, 0];
        variable_length(&mut record, offset);
        // No key.
        record.push(1);
        variable_length(&mut record, value.len());
        record.extend_from_slice(value);
        record.push(0);
        variable_length(&mut records, record.len());
        records.extend_from_slice(&record);
    }

    // From the attributes to the end: what the checksum covers.
    let count = i32::try_from(count).expect("a batch counts with 32 bits");
    let covered = Body::new()
        .int16(0)
        .int32(count - 1)
        .int64(timestamp_ms)
        .int64(timestamp_ms)
        .int64(producer_id)
        .int16(producer_epoch)
        .int32(base_sequence)
        .int32(count)
        .raw(&records)
        .into_bytes();
    let checksum = crc32c::crc32c(&covered);
    let rest = Body::new().int32(-1).int8(2).raw(&checksum.to_be_bytes()).raw(&covered).into_bytes();
    Body::new().int64(0).bytes(&rest).into_bytes()
}

/// Kafka's VARINT of a length: zigzag, seven bits a byte.
fn variable_length(target: &mut Vec<u8>, length: usize) {
    let mut rest = length << 1;
    while rest >= 0x80 {
        target.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    target.push(u8::try_from(rest).expect("seven bits"));
}

/// The body of a Produce request (v3) of one batch to one partition.
#[must_use]
pub fn produce_body(topic: &str, partition: i32, acks: i16, batch: &[u8]) -> Vec<u8> {
    let head = Body::new().null_string().int16(acks).int32(30_000);
    head.int32(1).string(topic).int32(1).int32(partition).bytes(batch).into_bytes()
}

/// Produces (v3) and returns error code and base offset; `None` when the broker closes the connection instead.
pub fn produce(connection: &mut Connection, topic: &str, batch: &[u8]) -> Option<(i16, i64)> {
    let answer = connection.ask(api::PRODUCE, 3, &produce_body(topic, 0, -1, batch))?;
    let mut reader = Reader::new(&answer);
    assert_eq!(reader.int32(), 1, "one topic");
    reader.skip_string();
    assert_eq!((reader.int32(), reader.int32()), (1, 0), "one partition, number 0");
    Some((reader.int16(), reader.int64()))
}

/// Sends a Produce request (v3) without waiting for its answer.
///
/// # Panics
/// When the broker has closed the connection.
pub fn send_produce(connection: &mut Connection, topic: &str, batch: &[u8]) {
    let request = request(api::PRODUCE, 3, 1, &produce_body(topic, 0, -1, batch));
    connection.send(&request).expect("the connection is open");
}

/// Asks for a producer id (v0).
///
/// # Panics
/// When it is refused.
pub fn init_producer_id(connection: &mut Connection) -> i64 {
    let body = Body::new().null_string().int32(60_000).into_bytes();
    let answer = connection.ask(api::INIT_PRODUCER_ID, 0, &body).expect("it is answered");
    let mut reader = Reader::new(&answer);
    reader.int32();
    assert_eq!(reader.int16(), 0, "no error");
    let producer_id = reader.int64();
    assert_eq!(reader.int16(), 0, "its first epoch");
    producer_id
}

/// The batches of partition 0 of a topic from its first record to its end, as they come over the wire, by base offset.
///
/// # Panics
/// When the broker does not deliver them.
pub fn read_batches(connection: &mut Connection, topic: &str) -> BTreeMap<i64, Vec<u8>> {
    let (mut batches, mut offset) = (BTreeMap::new(), 0);
    loop {
        let answer = connection.ask(api::FETCH, 4, &fetch_body(topic, 0, offset, 0)).expect("it is answered");
        let mut reader = Reader::new(&answer);
        reader.int32();
        assert_eq!(reader.int32(), 1, "one topic");
        reader.skip_string();
        assert_eq!((reader.int32(), reader.int32()), (1, 0), "one partition, number 0");
        assert_eq!(reader.int16(), 0, "no error at offset {offset}");
        let end = reader.int64();
        reader.int64();
        assert!(reader.int32() <= 0, "no transactions");
        let mut rest = reader.bytes();
        while !rest.is_empty() {
            let mut head = Reader::new(rest);
            let base = head.int64();
            let length = 12 + usize::try_from(head.int32()).expect("a length counts from 0");
            let (batch, after) = rest.split_at(length);
            offset = base + i64::from(Reader::new(&batch[LAST_OFFSET_DELTA..]).int32()) + 1;
            batches.insert(base, batch.to_vec());
            rest = after;
        }
        if offset >= end {
            return batches;
        }
    }
}

/// The body of a Fetch request (v4) of one partition.
#[must_use]
pub fn fetch_body(topic: &str, partition: i32, offset: i64, max_wait_ms: i32) -> Vec<u8> {
    let head = Body::new().int32(-1).int32(max_wait_ms).int32(1).int32(1 << 20).int8(0);
    head.int32(1).string(topic).int32(1).int32(partition).int64(offset).int32(1 << 20).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_encoded_as_kafka_does() {
        for (length, expected) in
            [(0, vec![0]), (1, vec![2]), (63, vec![126]), (64, vec![0x80, 1]), (300, vec![0xd8, 4])]
        {
            let mut bytes = Vec::new();
            variable_length(&mut bytes, length);
            assert_eq!(bytes, expected, "{length}");
        }
    }
}
