//! An idempotent producer (librdkafka) that writes what is acknowledged into the ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use crate::admin::client;
use crate::deadline::{Deadline, HANG_AFTER};
use crate::ledger::RecordId;
use crate::shared_ledger::SharedLedger;

/// Produces records `key-0 .. key-N` in turn, numbered by key, and keeps count.
pub struct LedgerProducer {
    inner: ThreadedProducer<Deliveries>,
    topic: String,
    keys: u32,
    produced: BTreeMap<u32, u32>,
    sent: u32,
}

struct Deliveries(SharedLedger);

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        // Broken connections are the point of these tests; a fatal error means that idempotence was given up.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.0.update(|ledger| ledger.violate(format!("the producer gave up: {error}: {reason}")));
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        self.0.update(|ledger| match result {
            Ok(message) => match RecordId::parse(message.key(), message.payload()) {
                Some(id) => ledger.acknowledge(message.partition(), message.offset(), id),
                None => ledger.violate("an acknowledged record is not one of ours".to_owned()),
            },
            Err((error, _)) => ledger.violate(format!("a record was not acknowledged: {error}")),
        });
    }
}

impl LedgerProducer {
    /// A producer with `enable.idempotence` and the given codec (`none`, `gzip`, `snappy`, `lz4`, `zstd`).
    ///
    /// # Panics
    /// When librdkafka refuses its configuration.
    #[must_use]
    pub fn new(bootstrap: &str, topic: &str, codec: &str, keys: u32, ledger: &SharedLedger) -> Self {
        let inner = client(bootstrap)
            .set("enable.idempotence", "true")
            .set("compression.codec", codec)
            .set("linger.ms", "5")
            .set("message.timeout.ms", "0")
            .create_with_context(Deliveries(ledger.clone()))
            .expect("a producer");
        Self { inner, topic: topic.to_owned(), keys, produced: BTreeMap::new(), sent: 0 }
    }

    /// Hands the next `count` records to the client; waits for room in its queue, not for their acknowledgement.
    ///
    /// # Panics
    /// When the client refuses a record for another reason than a full queue.
    pub fn send(&mut self, count: u32) {
        for _ in 0..count {
            let key = self.sent % self.keys;
            let sequence = self.produced.entry(key).or_default();
            let id = RecordId { key, sequence: *sequence };
            *sequence += 1;
            self.sent += 1;
            let (key, value) = (id.key_text(), id.value_text());
            let mut record = BaseRecord::to(&self.topic).key(&key).payload(&value);
            let deadline = Deadline::start();
            while let Err((error, returned)) = self.inner.send(record) {
                assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
                deadline.check("room in the producer's queue");
                self.inner.poll(Duration::from_millis(20));
                record = returned;
            }
        }
    }

    /// Waits until all records are answered.
    ///
    /// # Panics
    /// When they never are.
    pub fn flush(&self) {
        self.inner.flush(HANG_AFTER).expect("all records are acknowledged");
    }

    /// How many records were sent, by key.
    #[must_use]
    pub fn produced(&self) -> &BTreeMap<u32, u32> {
        &self.produced
    }

    /// How many records were sent.
    #[must_use]
    pub fn sent(&self) -> usize {
        usize::try_from(self.sent).expect("fits")
    }
}
