//! Sessions: the snapshots that are held for connections.
//!
//! What always holds: a connection has at most `extension.session.connection.max` sessions and all together at most
//! `extension.sessions.max`; one that nobody has used for `extension.session.idle.ms`, or that is older than
//! `extension.session.max.ms`, ends by itself, as do all of a connection that is gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use metrics::counter;
use tidegate_protocol::extension::Failure;
use tidegate_protocol::extension::session::{Begin, Begun};
use tidegate_store::{AnyTxn, Store, Txn, Version};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::read_failure;
use crate::Broker;
use crate::metrics::names;
use crate::settings::Settings;

/// What all connections have in common: whether there are sessions here, and how many more.
pub(crate) struct SessionPlaces {
    is_enabled: bool,
    places: Arc<Semaphore>,
    max: usize,
}

impl SessionPlaces {
    pub(crate) fn new(settings: &Settings, is_enabled: bool) -> Self {
        let max = settings.extension_sessions_max;
        Self { is_enabled, places: Arc::new(Semaphore::new(max)), max }
    }

    /// How many are taken: the snapshots that are held.
    pub(crate) fn taken(&self) -> usize {
        self.max - self.places.available_permits()
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.is_enabled
    }
}

/// A snapshot.
pub(crate) struct OpenSession {
    /// None once it is being committed.
    txn: tokio::sync::Mutex<Option<AnyTxn>>,
    pub(crate) start_version: Version,
    /// It was begun to be read from, and is never committed.
    pub(crate) is_reading: bool,
    /// By the store's clock, a little before it began.
    pub(crate) began_ms: i64,
    began: Instant,
    last_used: Mutex<Instant>,
    _place: OwnedSemaphorePermit,
}

impl OpenSession {
    /// Its transaction, for one read; an error if it was committed.
    pub(crate) async fn txn(&self) -> Result<impl std::ops::DerefMut<Target = AnyTxn> + '_, Failure> {
        let txn = self.txn.lock().await;
        tokio::sync::MutexGuard::try_map(txn, Option::as_mut).map_err(|_| ended(0))
    }

    /// Its transaction, to be committed; none if it was.
    pub(crate) async fn into_txn(self: Arc<Self>) -> Option<AnyTxn> {
        self.txn.lock().await.take()
    }

    fn used(&self) -> MutexGuard<'_, Instant> {
        self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sessions of one connection. Clones are handles on the same.
#[derive(Clone, Default)]
pub(crate) struct ConnectionSessions {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    open: Mutex<BTreeMap<u64, Arc<OpenSession>>>,
    last_number: AtomicU64,
    /// A session was opened where there was none.
    opened: Arc<Notify>,
    upkeep: OnceLock<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.upkeep.get().inspect(|task| task.abort());
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<OpenSession>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for ConnectionSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionSessions").field("open", &self.inner.open().len()).finish()
    }
}

impl ConnectionSessions {
    /// Opens a snapshot.
    pub(super) async fn open(&self, broker: &Broker, request: Begin) -> Result<Begun, Failure> {
        let settings = &broker.settings;
        let too_many = |setting: &str, limit: usize| {
            Err(Failure::TooManySessions { setting: setting.to_owned(), limit: limit as u64 })
        };
        let per_connection = settings.extension_session_connection_max;
        if self.inner.open().len() >= per_connection {
            return too_many("extension.session.connection.max", per_connection);
        }
        let Ok(place) = broker.extension_sessions.places.clone().try_acquire_owned() else {
            return too_many("extension.sessions.max", settings.extension_sessions_max);
        };
        let began_ms = broker.store.now_ms();
        let store = &broker.store;
        let txn = if request.reading { store.begin_reading().await } else { store.begin().await };
        let txn = txn.map_err(read_failure)?;
        let start_version = txn.start_version();
        let now = Instant::now();
        let session = OpenSession {
            txn: tokio::sync::Mutex::new(Some(txn)),
            start_version,
            is_reading: request.reading,
            began_ms,
            began: now,
            last_used: Mutex::new(now),
            _place: place,
        };
        let number = self.inner.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        let first = {
            let mut open = self.inner.open();
            if open.len() >= per_connection {
                // Others were opened meanwhile.
                return too_many("extension.session.connection.max", per_connection);
            }
            open.insert(number, Arc::new(session));
            open.len() == 1
        };
        self.inner.upkeep.get_or_init(|| {
            let limits = Limits::of(settings);
            tokio::spawn(end_in_time(Arc::downgrade(&self.inner), limits)).abort_handle()
        });
        if first {
            self.inner.opened.notify_one();
        }
        Ok(Begun { session: number, start_version: start_version.0 })
    }

    /// An open session, to be read from.
    pub(super) fn get(&self, number: u64, broker: &Broker) -> Result<Arc<OpenSession>, Failure> {
        let session = self.inner.open().get(&number).cloned();
        let session = session.ok_or_else(|| ended(broker.settings.extension_session_max_ms))?;
        *session.used() = Instant::now();
        Ok(session)
    }

    /// An open session, which is none any more.
    pub(super) fn take(&self, number: u64, broker: &Broker) -> Result<Arc<OpenSession>, Failure> {
        let session = self.inner.open().remove(&number);
        session.ok_or_else(|| ended(broker.settings.extension_session_max_ms))
    }

    /// Ends a session, if it is open.
    pub(super) fn end(&self, number: u64) {
        let ended = self.inner.open().remove(&number);
        drop(ended);
    }
}

fn ended(max_ms: u64) -> Failure {
    Failure::Expired { max_ms }
}

#[derive(Clone, Copy)]
struct Limits {
    max: Duration,
    idle: Duration,
}

impl Limits {
    fn of(settings: &Settings) -> Self {
        Self {
            max: Duration::from_millis(settings.extension_session_max_ms),
            idle: Duration::from_millis(settings.extension_session_idle_ms),
        }
    }

    fn end_of(&self, session: &OpenSession) -> Instant {
        (session.began + self.max).min(*session.used() + self.idle)
    }
}

/// Ends sessions whose time has come, as long as the connection is there.
async fn end_in_time(sessions: Weak<Inner>, limits: Limits) {
    loop {
        let Some(inner) = sessions.upgrade() else { return };
        let now = Instant::now();
        let mut over = Vec::new();
        let next = {
            let mut open = inner.open();
            open.retain(|_, session| {
                let stays = limits.end_of(session) > now;
                if !stays {
                    over.push(session.clone());
                }
                stays
            });
            open.values().map(|session| limits.end_of(session)).min()
        };
        counter!(names::EXTENSION_SESSIONS_EXPIRED).increment(over.len() as u64);
        drop(over);
        let opened = inner.opened.clone();
        // Nothing of the connection is held while nothing is to be done.
        drop(inner);
        match next {
            Some(at) => sleep_until(at).await,
            None => opened.notified().await,
        }
    }
}
