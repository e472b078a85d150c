//! Topics, configurations, groups and offsets, as an administrator sees them.
//!
//! [`Admin`] asks the broker that can answer and turns error codes into [`Error`]s. A call about several things gives an
//! outcome for each, in the order they were asked for. It refuses nothing itself: what is right is the broker's to say.

mod cluster;
mod groups;
mod offsets;
mod topics;

pub use cluster::{ClusterBroker, ClusterDescription};
pub use groups::{DescribedGroup, GroupMember, ListedGroup};
pub use offsets::CommittedOffset;
pub use topics::{ConfigEntry, NewTopic};

use crate::{Client, ClientOptions, Error};

/// An administrator's handle on a cluster; clones share its connections.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// Reaches the cluster. Asking for a topic does not create it.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(options: ClientOptions) -> Result<Self, Error> {
        let options = ClientOptions { allow_auto_create_topics: false, ..options };
        Ok(Self::new(Client::connect(options).await?))
    }

    /// An administrator on a client that is there already.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client underneath.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How long a broker may take over a change: as long as the request may.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.client.options().request_timeout_ms).unwrap_or(i32::MAX)
    }
}
