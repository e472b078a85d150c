//! What a handler says of an event.

use std::fmt::Display;

/// What is to become of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is handled: what the handler did in its transaction and that the event is done are committed together.
    Ack,
    /// Not now: again at that time, in milliseconds since the Unix epoch. It does not count as a failure, and what the handler
    /// did in its transaction is undone. Later events with the same key wait.
    RetryAt(i64),
    /// Never: the event becomes a dead letter, with this reason. What the handler did in its transaction is undone.
    Reject(String),
}

/// What a handler may return: an [`Outcome`], or a `Result` whose error takes the retry path.
pub trait IntoOutcome {
    /// The outcome, or why handling failed.
    ///
    /// # Errors
    /// The reason of a failure, in words.
    fn into_outcome(self) -> Result<Outcome, String>;
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Result<Outcome, String> {
        Ok(self)
    }
}

impl<E: Display> IntoOutcome for Result<Outcome, E> {
    fn into_outcome(self) -> Result<Outcome, String> {
        self.map_err(|error| error.to_string())
    }
}

impl<E: Display> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Result<Outcome, String> {
        self.map(|()| Outcome::Ack).map_err(|error| error.to_string())
    }
}

/// Why an event was not handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The handler asks for a later time.
    NotBefore(i64),
    /// The handler failed, panicked or took too long, or what it did could not be committed.
    Failed(String),
    /// The handler wants no other try.
    Rejected(String),
}
