//! What can go wrong between a client and its brokers.

use std::io;
use std::time::Duration;

use tidegate_protocol::batch::BatchError;
use tidegate_protocol::error::ResponseError;
use tidegate_protocol::frame::FrameError;
use tidegate_protocol::messages::ApiKey;

/// Why a call failed. [`Error::is_retriable`] says whether the same call may succeed later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A connection could not be made, or was lost; whether the broker acted on what was under way is not known.
    #[error("no connection to {address}: {}", reason(*kind))]
    Disconnected {
        /// The broker, as host:port.
        address: String,
        /// What the operating system says.
        kind: io::ErrorKind,
    },
    /// Nobody answered in time; whether the broker acted is not known.
    #[error("{what} took longer than {after:?}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The broker answered with an error.
    #[error("{}", refusal(*api, *error, detail.as_deref()))]
    Refused {
        /// The request.
        api: ApiKey,
        /// The broker's error code.
        error: ResponseError,
        /// The broker's words, if it has any.
        detail: Option<String>,
    },
    /// The broker has no version of this request that this client speaks: upgrade the older of the two.
    #[error("the broker at {address} has no version of {api:?} that this client speaks")]
    Unsupported {
        /// The broker, as host:port.
        address: String,
        /// The request.
        api: ApiKey,
    },
    /// What came is not the Kafka protocol: another service listens there, or the bytes were damaged.
    #[error("not the Kafka protocol: {0}")]
    Protocol(#[from] FrameError),
    /// Records that came are damaged, or those to be sent do not fit the format.
    #[error("a record batch is unusable: {0}")]
    Batch(#[from] BatchError),
    /// The caller asks for what cannot be; the text says what, and what would be right.
    #[error("{0}")]
    Invalid(String),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

/// The broker's words, if it has any, before its code.
fn refusal(api: ApiKey, error: ResponseError, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("{detail} ({api:?}: {error})"),
        None => format!("{api:?}: {error}"),
    }
}

/// Why there is no connection, in words that fit what was tried.
fn reason(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::NotFound => "its name is not known".to_owned(),
        io::ErrorKind::InvalidData => "what answers there does not speak the Kafka protocol".to_owned(),
        other => other.to_string(),
    }
}

impl Error {
    /// Whether the same call may succeed later: connections, time-outs, and what the broker calls retriable.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Disconnected { .. } | Self::TimedOut { .. } => true,
            Self::Refused { error, .. } => error.is_retriable(),
            Self::Unsupported { .. }
            | Self::Protocol(_)
            | Self::Batch(_)
            | Self::Invalid(_)
            | Self::Closed => false,
        }
    }

    /// The broker's error code, if that is what it is.
    #[must_use]
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Refused { error, .. } => Some(*error),
            _ => None,
        }
    }
}

/// `Ok` if the code says that all went well.
pub(crate) fn accepted(api: ApiKey, code: i16, detail: Option<&str>) -> Result<(), Error> {
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(error) => Err(Error::Refused { api, error, detail: detail.map(str::to_owned) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_is_wrong_before_the_code_that_it_has() {
        let (api, error) = (ApiKey::DeleteTopics, ResponseError::UnknownTopicOrPartition);
        let refused = |detail: Option<&str>| Error::Refused { api, error, detail: detail.map(str::to_owned) };
        let told = refused(Some("there is no topic `x`")).to_string();
        assert_eq!(told, "there is no topic `x` (DeleteTopics: UnknownTopicOrPartition)");
        assert_eq!(refused(None).to_string(), "DeleteTopics: UnknownTopicOrPartition");
        let lost = |kind| Error::Disconnected { address: "broker:9092".to_owned(), kind }.to_string();
        assert_eq!(lost(io::ErrorKind::NotFound), "no connection to broker:9092: its name is not known");
        assert_eq!(
            lost(io::ErrorKind::ConnectionRefused),
            "no connection to broker:9092: connection refused"
        );
    }
}
