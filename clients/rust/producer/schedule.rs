//! Scheduled records: events that enter the log when they are due.
//!
//! On a topic with `tidegate.delivery=scheduled`, a record whose timestamp lies in the future is held until then. A
//! schedule has an id, unique in its topic, by which it can be replaced or cancelled as long as it is held.

use bytes::Bytes;

use super::Producer;
use super::record::{Delivery, ProducerRecord};
use crate::Error;

/// The record header that names a schedule.
pub const SCHEDULE_ID_HEADER: &str = "tidegate-schedule-id";

impl Producer {
    /// Schedules a record under this id for `due_ms`, in milliseconds since the Unix epoch. It is held, durably, when this
    /// returns; the offset is none, or where it went if it was due already. A schedule with this id is replaced.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn schedule(&self, id: &str, due_ms: i64, record: ProducerRecord) -> Result<Delivery, Error> {
        self.send(record.timestamp_ms(due_ms).schedule_id(id)).await
    }

    /// Replaces the schedule with this id: its record, and when it is due.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn reschedule(&self, id: &str, due_ms: i64, record: ProducerRecord) -> Result<Delivery, Error> {
        self.schedule(id, due_ms, record).await
    }

    /// Cancels the schedule with this id. It succeeds too if there is none, or if it has entered the log already.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn cancel(&self, topic: &str, id: &str) -> Result<(), Error> {
        // The key keeps what is said about one schedule in one partition, and so in order.
        let record = ProducerRecord::to(topic).key(Bytes::copy_from_slice(id.as_bytes()));
        self.send(record.schedule_id(id)).await.map(|_| ())
    }
}

impl ProducerRecord {
    /// With the header that names its schedule.
    #[must_use]
    pub fn schedule_id(mut self, id: &str) -> Self {
        self.headers.retain(|(name, _)| name != SCHEDULE_ID_HEADER);
        self.header(SCHEDULE_ID_HEADER, Bytes::copy_from_slice(id.as_bytes()))
    }
}
