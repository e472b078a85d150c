//! The clients of one store.
//!
//! A client has one connection to each TiKV, and a connection is a bottleneck: so there are several, taken in turn. One
//! that hangs or panics is given up, and another one is made in its place as soon as the cluster lets it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::{Client, ClientSettings};

/// How long to wait before connecting is tried again, at first and at most.
const RECONNECT_MIN: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// The clients.
pub(super) struct Pool {
    settings: ClientSettings,
    connect_timeout: Duration,
    clients: Mutex<Vec<Option<Arc<Client>>>>,
    connected: Notify,
    next: AtomicUsize,
    replaced: AtomicU64,
    is_closed: AtomicBool,
}

impl Pool {
    /// Connects so many clients, or says why not.
    pub(super) async fn connect(
        settings: ClientSettings,
        clients: usize,
        connect_timeout: Duration,
    ) -> Result<Arc<Self>, String> {
        let connecting = (0..clients).map(|_| {
            let settings = settings.clone();
            tokio::spawn(async move { Client::connect(&settings, connect_timeout).await })
        });
        let mut connected = Vec::with_capacity(clients);
        for client in connecting.collect::<Vec<_>>() {
            let client = client.await.map_err(|error| format!("connecting ended: {error}"))?;
            connected.push(Some(Arc::new(client?)));
        }
        Ok(Arc::new(Self {
            settings,
            connect_timeout,
            clients: Mutex::new(connected),
            connected: Notify::new(),
            next: AtomicUsize::new(0),
            replaced: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        }))
    }

    /// How the clients are made.
    pub(super) fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// The next client that is connected; waits for one until `deadline`.
    pub(super) async fn client(&self, deadline: Instant) -> Result<Arc<Client>, String> {
        loop {
            let connected = self.connected.notified();
            if self.is_closed.load(Ordering::Acquire) {
                return Err("the store is closed".to_owned());
            }
            if let Some(client) = self.next_connected() {
                return Ok(client);
            }
            if tokio::time::timeout_at(deadline, connected).await.is_err() {
                return Err("no connection to the Placement Driver".to_owned());
            }
        }
    }

    fn next_connected(&self) -> Option<Arc<Client>> {
        let clients = self.clients();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..clients.len()).find_map(|step| clients[first.wrapping_add(step) % clients.len()].clone())
    }

    /// Gives a client up, and connects another one in its place.
    pub(super) fn replace(self: &Arc<Self>, broken: &Arc<Client>) {
        let position = {
            let mut clients = self.clients();
            let is_it = |slot: &Option<Arc<Client>>| slot.as_ref().is_some_and(|c| Arc::ptr_eq(c, broken));
            let position = clients.iter().position(is_it);
            if let Some(position) = position {
                clients[position] = None;
            }
            position
        };
        broken.give_up();
        let Some(position) = position else { return };
        self.replaced.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("a connection to TiKV is given up and made anew");
        let (pool, settings, limit) = (Arc::downgrade(self), self.settings.clone(), self.connect_timeout);
        tokio::spawn(async move {
            let mut wait = RECONNECT_MIN;
            loop {
                let connected = Client::connect(&settings, limit).await;
                let Some(pool) = pool.upgrade() else { return };
                if pool.is_closed.load(Ordering::Acquire) {
                    return;
                }
                match connected {
                    Ok(client) => {
                        pool.clients()[position] = Some(Arc::new(client));
                        pool.connected.notify_waiters();
                        return;
                    }
                    Err(reason) => tracing::warn!(reason, "no connection to the Placement Driver"),
                }
                drop(pool);
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RECONNECT_MAX);
            }
        });
    }

    /// How many clients were given up since the opening.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    /// How many clients are connected.
    pub(super) fn connected(&self) -> usize {
        self.clients().iter().flatten().count()
    }

    /// Ends all clients. Calls fail from then on.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for client in self.clients().iter_mut().filter_map(Option::take) {
            client.give_up();
        }
        self.connected.notify_waiters();
    }

    fn clients(&self) -> MutexGuard<'_, Vec<Option<Arc<Client>>>> {
        self.clients.lock().expect("nothing panics with the lock held")
    }
}
