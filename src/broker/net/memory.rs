//! The memory that requests may take over all connections, and who waits for it.
//!
//! Two pools. Small requests draw from one of them, and only when all of their bytes are there; large ones draw from the
//! other, before they are read. So a peer that announces a large request and does not send it can hold up no more than
//! other large ones, and not for long: while anybody waits for memory, those who hold some for a request that does not
//! come are told so, again and again.
//!
//! What was read is held until it is answered, and answers leave in order: behind a long poll that may take minutes. So
//! no connection gets more than a share of its own, however many of its requests wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Requests of up to so many bytes are small.
pub(super) const SMALL_REQUEST_BYTES: usize = 64 << 10;

/// Bytes that one permit stands for: a semaphore counts in 32 bits.
const PERMIT_BYTES: usize = 1024;
/// The part of all memory that is kept for small requests.
const SMALL_SHARE: usize = 4;
/// How often those who wait say so.
const SHORT_EVERY: Duration = Duration::from_secs(1);

/// The memory that requests may take over all connections.
pub(crate) struct RequestMemory {
    small: Pool,
    large: Pool,
    short: Notify,
}

/// The part of that memory that one connection may have.
pub(super) struct ConnectionMemory {
    all: Arc<RequestMemory>,
    share: Pool,
}

/// Memory that is given back when this is dropped.
pub(super) struct Granted {
    #[expect(dead_code, reason = "it is held, and given back by dropping it")]
    permits: [OwnedSemaphorePermit; 2],
}

struct Pool {
    permits: Arc<Semaphore>,
    total: u32,
}

impl Pool {
    fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX >> 3).max(1);
        Self { permits: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// One that is larger than all of it gets all of it.
    async fn acquire(&self, bytes: usize) -> OwnedSemaphorePermit {
        let wanted = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(self.total).min(self.total);
        let permit = self.permits.clone().acquire_many_owned(wanted).await;
        permit.expect("the semaphore is never closed")
    }
}

impl RequestMemory {
    pub(super) fn new(bytes: usize) -> Self {
        let small = bytes / SMALL_SHARE;
        Self { small: Pool::new(small), large: Pool::new(bytes - small), short: Notify::new() }
    }

    /// Waits until there is room for a request of so many bytes.
    async fn acquire(&self, bytes: usize) -> OwnedSemaphorePermit {
        if bytes <= SMALL_REQUEST_BYTES {
            return self.small.acquire(bytes).await;
        }
        let mut granted = std::pin::pin!(self.large.acquire(bytes));
        loop {
            tokio::select! {
                granted = &mut granted => return granted,
                () = tokio::time::sleep(SHORT_EVERY) => self.short.notify_waiters(),
            }
        }
    }
}

impl ConnectionMemory {
    /// The memory of a connection that may have so many bytes of all there is.
    pub(super) fn new(all: Arc<RequestMemory>, share_bytes: usize) -> Self {
        Self { all, share: Pool::new(share_bytes) }
    }

    /// Waits until there is room for a request of so many bytes: first among the connection's own, so that one whose
    /// requests pile up waits for them and holds nothing that others could have. A request that is larger than the
    /// whole share comes alone.
    pub(super) async fn acquire(&self, bytes: usize) -> Granted {
        let own = self.share.acquire(bytes).await;
        Granted { permits: [own, self.all.acquire(bytes).await] }
    }

    /// Ends when somebody says that they wait for memory of large requests.
    pub(super) async fn is_short(&self) {
        self.all.short.notified().await;
    }
}
