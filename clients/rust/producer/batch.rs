//! A batch on its way, and the receipts of its records.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_protocol::batch::{
    self, BatchBuilder, BatchError, BatchOptions, Compression, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE,
};
use tokio::sync::SetOnce;
use tokio::time::Instant;

use super::record::{Delivery, ProducerRecord};
use super::sequence::{Numbered, ProducerId};
use crate::Error;

/// What became of a batch, once it is known.
pub(crate) type Outcome = SetOnce<Result<Appended, Error>>;

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// The first record's offset, if the broker says.
    pub(crate) base_offset: Option<i64>,
    /// The records' timestamp, if it is the broker's.
    pub(crate) append_time_ms: Option<i64>,
}

/// The claim to one record's delivery: see [`Receipt::wait`]. Dropping it does not take the record back.
#[derive(Clone, Debug)]
pub struct Receipt {
    outcome: Arc<Outcome>,
    partition: i32,
    offset_delta: i32,
    timestamp_ms: i64,
}

impl Receipt {
    /// Waits until the record is in the log, on disk, as the broker promises it, or will never be.
    ///
    /// # Errors
    /// `Refused` if the broker will not have it; `TimedOut` if `delivery_timeout_ms` is over, and then it may or may not
    /// be in the log; `Closed` if the producer went first.
    pub async fn wait(self) -> Result<Delivery, Error> {
        let appended = self.outcome.wait().await.clone()?;
        Ok(Delivery {
            partition: self.partition,
            offset: appended.base_offset.map(|base| base + i64::from(self.offset_delta)),
            timestamp_ms: appended.append_time_ms.unwrap_or(self.timestamp_ms),
        })
    }
}

/// Records that travel together.
#[derive(Debug)]
pub(crate) struct Batch {
    content: Content,
    records: i32,
    /// When the first record came.
    pub(crate) created: Instant,
    /// Memory that its records are counted with.
    pub(crate) bytes: usize,
    pub(crate) outcome: Arc<Outcome>,
    /// Attempts that failed.
    pub(crate) failures: u32,
    /// Whether an attempt was made whose outcome is not known.
    pub(crate) uncertain: bool,
    /// Its place in the partition's sequence, once it was sent.
    pub(crate) numbered: Option<Numbered>,
}

#[derive(Debug)]
enum Content {
    Open(BatchBuilder),
    Encoded { bytes: Bytes, numbered: Option<Numbered> },
}

impl Batch {
    pub(crate) fn new(created: Instant) -> Self {
        Self {
            content: Content::Open(BatchBuilder::new()),
            records: 0,
            created,
            bytes: 0,
            outcome: Arc::new(SetOnce::new()),
            failures: 0,
            uncertain: false,
            numbered: None,
        }
    }

    pub(crate) fn record_count(&self) -> i32 {
        self.records
    }

    /// Adds a record that is counted with `bytes`.
    pub(crate) fn push(
        &mut self,
        record: &ProducerRecord,
        partition: i32,
        timestamp_ms: i64,
        bytes: usize,
    ) -> Result<Receipt, Error> {
        let Content::Open(builder) = &mut self.content else {
            unreachable!("a batch that was sent takes no records")
        };
        let offset_delta =
            builder.push(timestamp_ms, record.key.as_deref(), record.value.as_deref(), &record.headers)?;
        self.records = builder.record_count();
        self.bytes += bytes;
        Ok(Receipt { outcome: self.outcome.clone(), partition, offset_delta, timestamp_ms })
    }

    /// Makes its bytes on the wire, with the numbers that it has now. They are kept for the next attempt.
    pub(crate) fn encode(&mut self, compression: Compression) -> Result<(), BatchError> {
        let numbers = self.numbered.unwrap_or(Numbered {
            producer: ProducerId { id: NO_PRODUCER_ID, epoch: NO_PRODUCER_EPOCH },
            base_sequence: NO_SEQUENCE,
        });
        let bytes = match std::mem::replace(&mut self.content, Content::Open(BatchBuilder::new())) {
            Content::Open(builder) => builder.finish(&BatchOptions {
                compression,
                producer_id: numbers.producer.id,
                producer_epoch: numbers.producer.epoch,
                base_sequence: numbers.base_sequence,
                ..BatchOptions::default()
            })?,
            Content::Encoded { bytes, numbered } if numbered == self.numbered => bytes,
            Content::Encoded { bytes, .. } => {
                let ProducerId { id, epoch } = numbers.producer;
                batch::rewrite_producer(bytes, id, epoch, numbers.base_sequence)
            }
        };
        self.content = Content::Encoded { bytes, numbered: self.numbered };
        Ok(())
    }

    /// What [`Batch::encode`] made.
    pub(crate) fn encoded(&self) -> &Bytes {
        let Content::Encoded { bytes, .. } = &self.content else {
            unreachable!("it is encoded before it is sent")
        };
        bytes
    }

    /// Tells everybody who waits. The first outcome stays.
    pub(crate) fn settle(&self, result: Result<Appended, Error>) {
        let _ = self.outcome.set(result);
    }
}
