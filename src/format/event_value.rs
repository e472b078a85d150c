//! One record on its way into a log: what outbox and timer keys hold.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
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
        let payload = self.value.as_ref().map_or(0, Bytes::len);
        FieldWriter::new(VERSION, payload + 256)
            .opt_str(self.schedule.as_deref())
            .opt_i64(self.timestamp_ms)
            .opt_bytes(self.key.as_deref())
            .opt_bytes(self.value.as_deref())
            .each(&self.headers, |writer, (name, value)| writer.str(name).opt_bytes(value.as_deref()))
            .finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let event = Self {
            schedule: reader.opt_str("schedule")?,
            timestamp_ms: reader.opt_i64("timestamp")?,
            key: reader.opt_bytes("key")?,
            value: reader.opt_bytes("value")?,
            headers: reader
                .each("headers", |reader| Ok((reader.str("header")?, reader.opt_bytes("header value")?)))?,
        };
        reader.finish()?;
        Ok(event)
    }
}
