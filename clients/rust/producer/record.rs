//! What is sent, and what comes of it.

use bytes::Bytes;

/// A record to be sent.
///
/// ```
/// let record = tidegate::ProducerRecord::to("flights").key("BA117").value("departed").header("trace", "abc");
/// assert_eq!(record.topic, "flights");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// The topic.
    pub topic: String,
    /// The partition; by the key's hash if none is given, and if there is no key either, one that is filled for a while.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Names and values, in order; a name may come more than once.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Milliseconds since the Unix epoch; now if none is given. On a topic with scheduled delivery, a time to come is
    /// when the record enters the log.
    pub timestamp_ms: Option<i64>,
}

impl ProducerRecord {
    /// An empty record for this topic.
    pub fn to(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), ..Self::default() }
    }

    /// With this key.
    #[must_use]
    pub fn key(self, key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// With this value.
    #[must_use]
    pub fn value(self, value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..self }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// For this partition.
    #[must_use]
    pub fn partition(self, partition: i32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// With this timestamp, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp_ms(self, timestamp_ms: i64) -> Self {
        Self { timestamp_ms: Some(timestamp_ms), ..self }
    }

    /// Bytes that it is counted with in memory and against limits.
    pub(crate) fn size_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len() + length(value) + HEADER_OVERHEAD).sum();
        length(&self.key) + length(&self.value) + headers + RECORD_OVERHEAD
    }
}

/// Bytes that a record takes in a batch besides what it carries, at most.
const RECORD_OVERHEAD: usize = 36;
/// Bytes that a header takes besides what it carries, at most.
const HEADER_OVERHEAD: usize = 10;

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The partition.
    pub partition: i32,
    /// Its offset there; none if the broker does not say: the record is held until it is due, or shares its batch with one
    /// that is.
    pub offset: Option<i64>,
    /// The record's timestamp: the producer's, or the broker's if the topic has it so.
    pub timestamp_ms: i64,
}
