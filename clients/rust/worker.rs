//! Handles events exactly once: what a handler writes, the events that it publishes and that it is done with its event are one
//! transaction.
//!
//! A [`Worker`] reads topics as a member of a consumer group, or partitions that it is told, and hands each record to a handler
//! together with a transaction of the application's [`Db`](crate::Db). Events with one key are handled in order, others side by
//! side. An event whose handling fails is *parked*, in the store, and tried again later ([`RetryPolicy`]); later events of its
//! key wait behind it, all others go on. What is given up becomes a *dead letter* in `{topic}.{group}.dlq`, from where
//! [`redrive`] sends it back, [`redrive_only`] some. [`WorkerBuilder::start_batches`] handles the events of a partition in order
//! instead, several in one transaction; how often the event that holds its partition up has failed is noted beside the committed
//! offset.
//!
//! No event holds its partition up for its size. What is too large to be parked becomes a dead letter at once, and a dead letter
//! that would be too large for its topic's `max.message.bytes` has no value, or its place alone: its headers say so
//! ([`DEAD_LETTER_LEFT_OUT`]). A batch of records that cannot be read, as it takes more than `max_decompressed_bytes` or its
//! producer is broken, is one dead letter with its place ([`DEAD_LETTER_LAST_OFFSET`]), an error in the log and a figure
//! ([`WorkerFigures::unreadable`]). The originals are where they were, as long as their topic keeps them.
//!
//! That the store is away counts as no event's failure ([`RetryPolicy`]).
//!
//! What it refuses to do: it commits no progress without the handler's writes, nor these without it; it takes nothing as done
//! because it was a moment ago.
//!
//! What always holds: each event has its effect once, also across `kill -9` of worker or broker, a rebalance in the middle, and
//! a worker that lost its partitions without knowing it. Nothing of a handler that failed, panicked or took too long is kept.
//! Effects outside the transaction (a mail that was sent) happen as often as the handler runs.
//!
//! A group's offsets are reset, and a group is deleted, when none of its workers runs: what it has parked is dropped then.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tidegate::{AppStore, Event, Model, Outcome, Tidegate, Tx};
//!
//! #[derive(Serialize, Deserialize, Model)]
//! #[model(table = "orders", events(insert = "order.placed"))]
//! struct Order {
//!     id: String,
//!     cents: u64,
//! }
//!
//! #[derive(Serialize, Deserialize, Model)]
//! #[model(table = "invoices", events(insert = "invoice.written"))]
//! struct Invoice {
//!     id: String,
//!     cents: u64,
//! }
//!
//! // The invoice, its event and that the order's event is dealt with are committed together.
//! async fn bill(event: Event, tx: Tx<AppStore>) -> Result<Outcome, Box<dyn std::error::Error + Send + Sync>> {
//!     let order: Order = event.json()?;
//!     if order.cents == 0 {
//!         return Ok(Outcome::Reject("nothing to pay".into()));
//!     }
//!     tx.insert(&Invoice { id: order.id, cents: order.cents }).await?;
//!     Ok(Outcome::Ack)
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let mut options = tidegate::OpenOptions::new(directory.path());
//! # options.settings.group_initial_rebalance_delay_ms = 0;
//! # let tidegate = Tidegate::open_with(options).await?;
//! // `tidegate` is a `Tidegate`, however it reaches its store.
//! let db = tidegate.db();
//! let order = &Order { id: "1".into(), cents: 990 };
//! db.transaction(|tx| async move { tx.insert(order).await }).await?;
//!
//! let worker = tidegate.worker()?.group("billing").topics(["orders"]).start(bill).await?;
//! while db.snapshot().await?.find::<Invoice>("1").await?.is_none() {
//!     tokio::task::yield_now().await;
//! }
//! worker.stop().await?;
//! # tidegate.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod attempt;
#[cfg(test)]
mod attempt_tests;
mod batch;
mod blocking;
mod builder;
mod context;
mod dead_letter;
mod error;
mod event;
mod failed;
mod figures;
mod held;
mod lane;
mod load;
mod options;
mod ordered;
mod outcome;
mod parked;
mod partition;
#[cfg(test)]
mod partition_tests;
mod progress;
#[cfg(test)]
mod proofs;
mod rebalance;
mod redrive;
mod retry;
mod run;
mod sent_back;
mod settle;
mod skip;
mod unreadable;

pub use builder::{Worker, WorkerBuilder, run_worker};
pub use dead_letter::{
    DEAD_LETTER_ATTEMPTS, DEAD_LETTER_BYTES, DEAD_LETTER_CAUSE, DEAD_LETTER_GROUP, DEAD_LETTER_LAST_OFFSET,
    DEAD_LETTER_LEFT_OUT, DEAD_LETTER_OFFSET, DEAD_LETTER_PARTITION, DEAD_LETTER_TIME, DEAD_LETTER_TIMESTAMP,
    DEAD_LETTER_TOPIC, dead_letter_topic,
};
pub use error::WorkerError;
pub use event::Event;
pub use figures::WorkerFigures;
pub use outcome::{HandlerError, IntoOutcome, Outcome};
pub use redrive::{DeadLetters, REDRIVEN, redrive, redrive_only};
pub use retry::RetryPolicy;
