//! Connections: take them, over TCP and from this process, read frames within limits, answer each connection's requests in their order.
//!
//! Refuses to know any API: a frame goes to [`crate::dispatch`], what comes back goes out. What always holds: a
//! connection's requests are begun and answered in the order they came; memory for requests is bounded over all
//! connections by `queued.max.request.bytes`.

mod answer_frame;
mod complaints;
mod connection;
mod connection_places;
#[cfg(test)]
mod connection_tests;
mod connections;
mod entry;
mod frame;
mod listener;
#[cfg(test)]
mod listener_tests;
mod memory;

pub(crate) use answer_frame::{AnswerFrame, AnswerFrameBuilder};
pub(crate) use complaints::Complaints;
pub(crate) use connection_places::ConnectionPlaces;
pub(crate) use connections::Connections;
pub use entry::Entry;
pub(crate) use entry::THIS_PROCESS;
pub(crate) use listener::accept;
