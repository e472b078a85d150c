//! What all tasks of a worker share: the database, the handler, and how a handler is called.
//!
//! A handler is called in a task of its own, so that one that panics, or never returns, takes nobody along, whether it does so
//! before its future is there or in it: after the time-out its event goes the way of all that fail, whatever the handler still
//! does or holds, and its transaction comes to nothing.
//!
//! One that blocks its thread (`std::thread::sleep`, long computations, a client that is not async) holds that thread of the
//! runtime. Where the runtime has others, events of other keys, heartbeats and the time-out go on with these, until as many
//! handlers block as there are threads: a try after the time-out may block another. Then, and on a current-thread runtime at
//! once, all stands still until one comes back; the group may take the member for dead meanwhile, and what it did is done once
//! all the same. [`WorkerBuilder::may_block`](super::WorkerBuilder::may_block) gives handlers threads of their own.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use rand::Rng;
use tidegate_store::{ReadError, Store};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::event::Event;
use super::figures::Counters;
use super::outcome::{Failure, HandlerError, Outcome};
use super::retry::{RetryPolicy, put_off_until};
use crate::model::Error;
use crate::{Db, Tx};

/// What a handler has returned.
pub(super) type Returned = BoxFuture<'static, Result<Outcome, HandlerError>>;

/// An application's handler.
pub(crate) enum Handler<S: Store> {
    /// Of events, side by side.
    Each(Arc<dyn Fn(Event, Tx<S>) -> Returned + Send + Sync>),
    /// Of batches, in order.
    Batch(Arc<dyn Fn(Vec<Event>, Tx<S>) -> Returned + Send + Sync>),
}

/// What a handler is called with.
#[derive(Clone)]
pub(crate) enum Called {
    Event(Event),
    Batch(Vec<Event>),
}

pub(crate) struct Context<S: Store> {
    pub(crate) db: Db<S>,
    pub(crate) group: String,
    pub(crate) handler: Handler<S>,
    pub(crate) policy: RetryPolicy,
    pub(crate) handler_timeout: Duration,
    pub(crate) counters: Arc<Counters>,
}

/// How often in a row a record is given back before that counts as a failure of its event: ten minutes, about. Else an event
/// that can never be committed, as it always loses against others or has what a broker does not admit, would hold its key up
/// for ever.
const PATIENCE: u32 = 120;

/// Why a transaction of a worker was not committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// The event's fault, or the handler's.
    #[error("{0:?}")]
    Failure(Failure),
    /// Something that is needed is away, says the handler.
    #[error("{0}")]
    Away(String),
    /// The store's.
    #[error(transparent)]
    Store(Error),
}

impl Stop {
    /// What it is of a record that was given back so often in a row before.
    pub(crate) fn after(self, rests: u32) -> Self {
        match self {
            Self::Away(cause) if rests >= PATIENCE => Self::Failure(Failure::Failed(cause)),
            Self::Store(error) if rests >= PATIENCE => Self::Failure(Failure::Failed(error.to_string())),
            other => other,
        }
    }
}

impl From<Error> for Stop {
    /// What the store answers while it is away, or damaged, or others come first, is no fault of the event.
    fn from(error: Error) -> Self {
        match error {
            Error::Read(ReadError::Damaged { .. }) | Error::Format(_) => Self::Store(error),
            error if error.is_transient() => Self::Store(error),
            other => Self::Failure(Failure::Failed(other.to_string())),
        }
    }
}

impl<S: Store> Context<S> {
    pub(crate) fn now_ms(&self) -> i64 {
        self.db.now_ms()
    }

    pub(crate) fn random() -> u128 {
        rand::rng().random()
    }

    /// Calls the handler within a transaction. If it fails, however, and the store was away in its midst, that was it.
    pub(crate) async fn call(&self, what: Called, tx: Tx<S>) -> Result<(), Stop> {
        let (trouble, seal) = (tx.store_trouble(), tx.seal());
        let called_ms = tx.now_ms().await?;
        let task = match (&self.handler, what) {
            (Handler::Each(handler), Called::Event(event)) => {
                let handler = handler.clone();
                tokio::spawn(async move { handler(event, tx).await })
            }
            (Handler::Batch(handler), Called::Batch(events)) => {
                let handler = handler.clone();
                tokio::spawn(async move { handler(events, tx).await })
            }
            _ => unreachable!("a worker calls its handler with what that handles"),
        };
        let task = AbortOnDropHandle::new(task);
        let failed = |cause: String| match trouble.get() {
            Some(error) => Err(Stop::Store(error.clone())),
            None => Err(Stop::Failure(Failure::Failed(cause))),
        };
        let deadline = Instant::now() + self.handler_timeout;
        match timeout_at(deadline, task).await {
            Err(_) => failed(format!("the handler took longer than {:?}", self.handler_timeout)),
            Ok(Err(error)) => failed(panic_text(error)),
            Ok(Ok(Err(HandlerError { cause, is_transient: true }))) => Err(Stop::Away(cause)),
            Ok(Ok(Err(HandlerError { cause, .. }))) => failed(cause),
            // The commit would wait for whoever else has the transaction, for as long as they have it.
            Ok(Ok(Ok(Outcome::Ack))) => match timeout_at(deadline, seal.close()).await {
                Ok(()) => Ok(()),
                Err(_) => failed("the handler's transaction was in use after its end".to_owned()),
            },
            Ok(Ok(Ok(Outcome::RetryAt(due_ms)))) => {
                Err(Stop::Failure(Failure::NotBefore(put_off_until(due_ms, called_ms))))
            }
            Ok(Ok(Ok(Outcome::Reject(reason)))) => Err(Stop::Failure(Failure::Rejected(reason))),
        }
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "the handler was cancelled".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the handler panicked: {}", text.unwrap_or_default())
}
