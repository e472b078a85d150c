//! What a handler says of an event.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Display};

use crate::model;

/// How many sources of an error are looked at.
const SOURCES_MAX: usize = 32;

/// What is to become of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is handled: what the handler did in its transaction and that the event is done are committed together.
    Ack,
    /// Not now: again at that time, in milliseconds since the Unix epoch. It does not count as a failure, and what the handler
    /// did in its transaction is undone. Later events with the same key wait. A time that is over is half a second from now.
    RetryAt(i64),
    /// Never: the event becomes a dead letter, with this reason. What the handler did in its transaction is undone.
    Reject(String),
}

/// What a handler may return: an [`Outcome`], or a `Result` whose error takes the retry path.
pub trait IntoOutcome {
    /// The outcome, or why handling failed.
    ///
    /// # Errors
    /// The reason of a failure.
    fn into_outcome(self) -> Result<Outcome, HandlerError>;
}

/// Why a handler failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerError {
    pub(crate) cause: String,
    /// Whether it was the store, and says nothing of the event.
    pub(crate) is_transient: bool,
}

impl HandlerError {
    /// A failure that counts.
    pub fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), is_transient: false }
    }

    /// A failure that says nothing of the event: something that the handler needs is away. It is tried again soon, and does
    /// not count; see [`RetryPolicy`](crate::RetryPolicy).
    pub fn transient(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), is_transient: true }
    }

    /// A failure that counts unless it comes of a [transient](model::Error::is_transient) error of a store, by the error's type:
    /// [`model::Error`], [`HandlerError`], or a box of an error that one of these is the source of.
    fn of<E: Display + 'static>(error: &E) -> Self {
        // Some errors say in this form what has caused them (`anyhow`'s).
        Self { cause: format!("{error:#}"), is_transient: is_transient(error) }
    }
}

impl Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl Error for HandlerError {}

fn is_transient(error: &dyn Any) -> bool {
    if let Some(error) = error.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        return chain_is_transient(error.as_ref());
    }
    let of_store = error.downcast_ref().map(model::Error::is_transient);
    of_store.or(error.downcast_ref().map(|own: &HandlerError| own.is_transient)).unwrap_or(false)
}

fn chain_is_transient(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    for _ in 0..SOURCES_MAX {
        let Some(error) = next else { break };
        if let Some(error) = error.downcast_ref::<model::Error>() {
            return error.is_transient();
        }
        if let Some(error) = error.downcast_ref::<HandlerError>() {
            return error.is_transient;
        }
        next = error.source();
    }
    false
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Result<Outcome, HandlerError> {
        Ok(self)
    }
}

impl<E: Display + 'static> IntoOutcome for Result<Outcome, E> {
    fn into_outcome(self) -> Result<Outcome, HandlerError> {
        self.map_err(|error| HandlerError::of(&error))
    }
}

impl<E: Display + 'static> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Result<Outcome, HandlerError> {
        self.map(|()| Outcome::Ack).map_err(|error| HandlerError::of(&error))
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

#[cfg(test)]
mod tests {
    use tidegate_store::ReadError;

    use super::*;

    /// An application's error that has ours as its source.
    #[derive(Debug, thiserror::Error)]
    #[error("the order cannot be billed")]
    struct Billing(#[source] model::Error);

    fn away() -> model::Error {
        ReadError::Unavailable { reason: "gone".into() }.into()
    }

    fn counts<E: Display + 'static>(error: E) -> bool {
        !Err::<(), E>(error).into_outcome().expect_err("it failed").is_transient
    }

    /// As `anyhow`'s: in its long form it says what has caused it.
    #[derive(Debug)]
    struct WithCauses;

    impl Display for WithCauses {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(if f.alternate() { "not billed: no such customer" } else { "not billed" })
        }
    }

    #[test]
    fn the_cause_of_a_failure_says_what_the_error_knows_of_its_causes() {
        let failed = Err::<(), _>(WithCauses).into_outcome().expect_err("it failed");
        assert_eq!(failed.to_string(), "not billed: no such customer");
    }

    #[test]
    fn a_store_that_is_away_is_no_failure_of_the_event_in_whatever_the_handler_returns_it() {
        let boxed = |error: Billing| -> Box<dyn Error + Send + Sync> { error.into() };
        assert!(!counts(away()));
        assert!(!counts(boxed(Billing(away()))));
        assert!(!counts(HandlerError::transient("no mail server")));
        assert!(counts(model::Error::Over));
        assert!(counts(boxed(Billing(model::Error::Over))));
        assert!(counts(HandlerError::new("no such customer")));
        assert!(counts("text".to_owned()));
    }
}
