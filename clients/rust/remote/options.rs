//! What a remote store is told.

use crate::ClientOptions;

/// Requests under way on one connection: as many as a broker handles of one by default.
const MAX_IN_FLIGHT: usize = 64;

/// The settings of a [`RemoteStore`](super::RemoteStore).
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// Where the brokers are, and how long to wait for them. Any one of them will do.
    pub client: ClientOptions,
    /// Connections over which transactions are spread.
    pub connections: usize,
    /// How long the answer to a commit may take: longer than the broker's `store.commit.max.ms`, so that the broker says
    /// what became of it, if it can.
    pub commit_timeout_ms: u64,
}

impl RemoteOptions {
    /// The defaults, for brokers at these addresses (host:port, separated by commas).
    #[must_use]
    pub fn new(brokers: &str) -> Self {
        let client = ClientOptions { max_in_flight: MAX_IN_FLIGHT, ..ClientOptions::new(brokers) };
        Self { client, connections: 4, commit_timeout_ms: 45_000 }
    }
}
