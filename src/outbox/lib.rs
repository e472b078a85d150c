//! Events in a caller's transaction, and their way into the log when they are due.
//!
//! What it is: [`Publisher`] writes events beside whatever else the caller's transaction writes; [`relay::Relay`] moves
//! what is due into the partition's log, and removes it where it waited, in one transaction; [`hold`] does the same
//! service for records that stock clients produce with a timestamp in the future; [`schedule`] cancels, moves and
//! lists what waits.
//!
//! What it refuses to do: it knows no socket, no task and no clock. Times, random ids and limits are arguments; a
//! transaction that the caller began is committed by the caller.
//!
//! What always holds: a committed event is in exactly one place, waiting or in the log, until it was moved once or
//! cancelled; none enters the log before its due time by the store's clock; events that are due at commit enter it in
//! commit order; the memory in use does not grow with the number of events that wait.

mod catalogue;
mod cloudevents;
mod entry;
mod error;
mod event;
pub mod hold;
mod pending;
mod publish;
mod record_size;
pub mod relay;
pub mod schedule;
mod sweep;
mod topic;
mod wakeup;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod proofs;

pub use catalogue::{register_event_type, topic_of_event_type};
pub use cloudevents::{
    HEADER_CONTENT_TYPE, HEADER_ID, HEADER_SOURCE, HEADER_SPEC_VERSION, HEADER_SUBJECT, HEADER_TIME,
    HEADER_TYPE,
};
pub use entry::EntryIds;
pub use error::{LoadError, PublishError};
pub use event::{Event, EventLimits};
pub use pending::{Pending, Waiting, count_pending, find_waiting};
pub use publish::{PublishSettings, Published, Publisher};
pub use record_size::batch_bytes_alone;
pub use sweep::{SweepError, sweep_gone_topics};
pub use topic::{TopicDefaults, ensure_topic, load_topic};
pub use wakeup::{NoWakeup, Wakeup};
