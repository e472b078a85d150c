//! What a producer is told.

use tidegate_protocol::batch::Compression;

/// Settings of a [`Producer`](super::Producer).
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// How long a record may wait for others to share its batch. Records that come while the batch before is under way
    /// share one whatever this says.
    pub linger_ms: u64,
    /// The size at which a batch is sent at once, before compression. It must not exceed the topic's `max.message.bytes`.
    pub batch_bytes: usize,
    /// The largest record.
    pub max_record_bytes: usize,
    /// The most that one request carries, over all its partitions.
    pub max_request_bytes: usize,
    /// Requests under way to one broker.
    pub max_in_flight_requests: usize,
    /// Memory for records that have not been delivered; when it is used up, sending waits.
    pub buffer_bytes: usize,
    /// The codec of the batches.
    pub compression: Compression,
    /// How long a record may take from being sent to being delivered, over all attempts.
    pub delivery_timeout_ms: u64,
    /// Whether the brokers drop what is sent twice. Without it a retry may append a record a second time.
    pub idempotent: bool,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            linger_ms: 0,
            batch_bytes: 256 << 10,
            max_record_bytes: 1_000_000,
            max_request_bytes: 8 << 20,
            max_in_flight_requests: 5,
            buffer_bytes: 64 << 20,
            compression: Compression::None,
            delivery_timeout_ms: 120_000,
            idempotent: true,
        }
    }
}
