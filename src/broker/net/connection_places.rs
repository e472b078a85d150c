//! The places for connections of one broker: `max.connections` of them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places for connections.
pub(crate) struct ConnectionPlaces {
    free: Arc<Semaphore>,
    max: usize,
}

impl ConnectionPlaces {
    /// All of them free.
    pub(crate) fn new(max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max }
    }

    /// One of them, until what is returned is dropped; none if all are taken.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// How many are taken: the connections that are open.
    pub(crate) fn taken(&self) -> usize {
        self.max - self.free.available_permits()
    }
}
