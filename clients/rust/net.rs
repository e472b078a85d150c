//! Connections to brokers: one stream each, requests pipelined, versions agreed on.

pub(crate) mod backoff;
pub(crate) mod connection;
pub(crate) mod pool;
pub(crate) mod transport;
pub(crate) mod versions;

#[cfg(test)]
mod connection_tests;

pub use connection::{Connection, Reply};
pub use transport::Transport;
pub use versions::Versions;
