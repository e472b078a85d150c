//! Kafka's error codes.
//!
//! Source: Kafka's `org.apache.kafka.common.protocol.Errors`. Which of them are worth another try is
//! [`ResponseError::is_retriable`].

pub use kafka_protocol::ResponseError;

/// The code on the wire that says that nothing went wrong.
pub const NONE: i16 = 0;

/// The error that a code on the wire stands for; `None` if the code says that all went well.
///
/// A code that is unknown here is `Unknown`, with that code, as Kafka's clients have it.
#[must_use]
pub fn from_code(code: i16) -> Option<ResponseError> {
    ResponseError::try_from_code(code)
}
