//! One record on its way into a log: what outbox and timer keys hold.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::payload::{self, Payload};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::Outbox;
const VERSION: u8 = 1;

/// A record before it has an offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventValue {
    /// The schedule that it belongs to, whose row goes when it enters the log.
    pub schedule: Option<String>,
    /// The record's timestamp in milliseconds; none: the time it enters the log.
    pub timestamp_ms: Option<i64>,
    /// The record's key.
    pub key: Option<Bytes>,
    /// The record's value.
    pub value: Option<Bytes>,
    /// The record's headers, in order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl EventValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let before = FieldWriter::new(VERSION, payload::capacity(self.value.as_ref()))
            .opt_str(self.schedule.as_deref())
            .opt_i64(self.timestamp_ms);
        payload::write(before, self.key.as_ref(), self.value.as_ref(), &self.headers).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let (schedule, timestamp_ms) = (reader.opt_str("schedule")?, reader.opt_i64("timestamp")?);
        let Payload { key, value, headers } = payload::read(&mut reader)?;
        reader.finish()?;
        Ok(Self { schedule, timestamp_ms, key, value, headers })
    }
}
