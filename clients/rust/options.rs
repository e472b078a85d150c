//! What every client of a cluster is told: where it is, how long to wait, how much to hold.

use crate::Transport;

/// Settings of the connections to a cluster; producers, consumers and admins all begin with them.
///
/// ```
/// let options = tidegate::ClientOptions { client_id: "billing".into(), ..tidegate::ClientOptions::new("127.0.0.1:9092") };
/// assert_eq!(options.bootstrap, ["127.0.0.1:9092"]);
/// ```
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Brokers to ask first, as host:port; one that answers is enough.
    pub bootstrap: Vec<String>,
    /// How they are reached.
    pub transport: Transport,
    /// What this client calls itself in the brokers' logs.
    pub client_id: String,
    /// How long making a connection may take.
    pub connect_timeout_ms: u64,
    /// How long one answer may take, beyond what the request itself asks the broker to wait.
    pub request_timeout_ms: u64,
    /// How long a call may go on trying, over all its attempts.
    pub call_timeout_ms: u64,
    /// Requests that may be under way on one connection.
    pub max_in_flight: usize,
    /// The largest answer that is accepted.
    pub max_frame_bytes: usize,
    /// The first wait between attempts; it doubles from one to the next.
    pub backoff_first_ms: u64,
    /// The longest wait between attempts.
    pub backoff_max_ms: u64,
    /// After how long what is known of brokers and topics is asked again.
    pub metadata_max_age_ms: u64,
    /// Whether asking for a topic that is not there may create it, if the brokers allow that too.
    pub allow_auto_create_topics: bool,
}

impl ClientOptions {
    /// The defaults, for a cluster of which these brokers (host:port, separated by commas) are members.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        let bootstrap = bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty());
        Self {
            bootstrap: bootstrap.map(str::to_owned).collect(),
            transport: Transport::Tcp,
            client_id: "tidegate".to_owned(),
            connect_timeout_ms: 5_000,
            request_timeout_ms: 30_000,
            call_timeout_ms: 60_000,
            max_in_flight: 16,
            max_frame_bytes: 128 << 20,
            backoff_first_ms: 50,
            backoff_max_ms: 1_000,
            metadata_max_age_ms: 300_000,
            allow_auto_create_topics: true,
        }
    }
}
