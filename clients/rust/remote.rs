//! The store of a broker, through its port: the same isolation, conflicts and errors as in the broker's process.
//!
//! What it is: a [`Store`] whose snapshots are held by the broker. A transaction's writes are kept here until its commit,
//! which is one request; reads lay them over what the broker has. Begin, each read and commit cost a round trip.
//!
//! What it refuses to do: it reads and writes only what belongs to applications (the broker names the kind of key that it
//! does not admit); it never sends a commit twice.
//!
//! What always holds: a commit whose answer is lost is [`CommitError::Unknown`], and [`Store::outcome`] settles it, also
//! over another connection and after the broker was killed and started again; every call has a time-out; a connection
//! that is lost is made again, and ends the transactions that were open on it.

pub(crate) mod greeting;
mod lanes;
mod options;
mod scan;
mod session;
mod time;
mod txn;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_protocol::extension::delete_range::DeleteRange;
use tidegate_protocol::extension::outcome::Outcome as AskOutcome;
use tidegate_protocol::extension::session::Begin;
use tidegate_protocol::extension::{Done, ExtensionRequest, Failure};
use tidegate_store::{CommitError, CommitToken, KeyRange, Outcome, ReadError, Store, TransactionLimits};
use tokio::time::{Instant, sleep, timeout_at};

use lanes::Lanes;
pub use options::RemoteOptions;
use session::{AskedSession, SessionHandle};
use time::BrokerTime;
pub use txn::RemoteTxn;

use crate::net::backoff::Backoff;
use crate::net::pool::{Pool, Purpose};
use crate::{Connection, Error};

/// The store of a broker. Clones share its connections.
#[derive(Clone, Debug)]
pub struct RemoteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: RemoteOptions,
    pool: Pool,
    backoff: Backoff,
    /// The next of the connections that a transaction begins on.
    next: AtomicUsize,
    /// The broker that answered last.
    broker: AtomicUsize,
    lanes: Lanes,
    time: BrokerTime,
    limits: TransactionLimits,
}

/// A session that was opened, with what it holds here.
struct OpenedSession {
    session: SessionHandle,
    start_version: u64,
    began_ms: i64,
    is_reading: bool,
}

impl RemoteStore {
    /// Reaches a broker and learns its limits.
    ///
    /// # Errors
    /// The last attempt's error if no broker answers within `call_timeout_ms`; `Invalid` if it does not serve its store
    /// to this client, with the setting that makes it.
    pub async fn connect(options: RemoteOptions) -> Result<Self, Error> {
        let client = &options.client;
        if client.bootstrap.is_empty() {
            return Err(Error::Invalid("no broker is given: name at least one as host:port".into()));
        }
        let pool = Pool::new(Arc::new(client.clone()));
        let backoff = Backoff::new(client.backoff_first_ms, client.backoff_max_ms);
        let mut shared = Shared {
            pool,
            backoff,
            next: AtomicUsize::new(0),
            broker: AtomicUsize::new(0),
            lanes: Lanes::new(rand::random()),
            time: BrokerTime::default(),
            limits: TransactionLimits::default(),
            options,
        };
        let connection = shared.retry(|| shared.connection(0)).await?;
        let welcome = &connection.extension().await?.welcome;
        shared.limits = TransactionLimits {
            max_ms: welcome.transaction_max_ms,
            max_bytes: usize::try_from(welcome.transaction_max_bytes).unwrap_or(usize::MAX),
            max_value_bytes: usize::try_from(welcome.value_max_bytes).unwrap_or(usize::MAX),
        };
        let store = Self { shared: Arc::new(shared) };
        // A first answer says what the broker takes for now.
        drop(store.begin().await.map_err(|error| Error::Invalid(error.to_string()))?);
        Ok(store)
    }

    /// What it was told.
    #[must_use]
    pub fn options(&self) -> &RemoteOptions {
        &self.shared.options
    }

    /// The limits of one transaction, as the broker has them.
    #[must_use]
    pub fn limits(&self) -> TransactionLimits {
        self.shared.limits
    }

    async fn open(&self, begin: Begin) -> Result<RemoteTxn, ReadError> {
        // Before the session: its snapshot has all that the lane has committed.
        let lane = self.shared.lanes.take();
        match self.shared.open_session(begin).await {
            Ok(opened) => Ok(RemoteTxn::new(self.shared.clone(), opened, lane)),
            Err(error) => {
                self.shared.lanes.give_back(lane);
                Err(error)
            }
        }
    }
}

impl Shared {
    /// The connection of a number, made now if there is none that works, to the broker that answered last or another.
    async fn connection(&self, number: usize) -> Result<Connection, Error> {
        let brokers = &self.options.client.bootstrap;
        let first = self.broker.load(Ordering::Relaxed);
        let mut last = Error::Closed;
        for turn in 0..brokers.len() {
            let broker = (first + turn) % brokers.len();
            let connected = async {
                let connection = self.pool.get(&brokers[broker], Purpose::Store(number)).await?;
                connection.extension().await?;
                Ok(connection)
            };
            match connected.await {
                Ok(connection) => {
                    self.broker.store(broker, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn next_connection(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.options.connections.max(1)
    }

    /// Sends a request that may be sent twice, until it is answered or `call_timeout_ms` is over.
    async fn call<R: ExtensionRequest>(&self, request: &R) -> Result<Result<R::Answer, Failure>, Error> {
        self.retry(|| async {
            let connection = self.connection(self.next_connection()).await?;
            let version = connection.extension().await?.welcome.version;
            let after = connection.request_timeout();
            let response = connection.start_extension(version, request, after).await?.wait().await?;
            self.time.learn(response.time, Instant::now());
            Ok(response.outcome)
        })
        .await
    }

    async fn open_session(&self, begin: Begin) -> Result<OpenedSession, ReadError> {
        let deadline = Instant::now() + self.call_timeout();
        let mut failures = 0;
        loop {
            let error = match self.try_open_session(begin, deadline).await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(failure @ Failure::TooManySessions { .. })) => unavailable(describe(failure)),
                Ok(Err(failure)) => return Err(read_error(failure)),
                Err(error) if !error.is_retriable() => return Err(unavailable(error.to_string())),
                Err(error) => unavailable(error.to_string()),
            };
            failures += 1;
            let wait = self.backoff.random_delay(failures);
            if Instant::now() + wait >= deadline {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    async fn try_open_session(
        &self,
        begin: Begin,
        deadline: Instant,
    ) -> Result<Result<OpenedSession, Failure>, Error> {
        let connection = self.connection(self.next_connection()).await?;
        let extension = connection.extension().await?;
        let place = timeout_at(deadline, extension.sessions.clone().acquire_owned()).await;
        let place = place.map_err(|_| Error::TimedOut {
            what: "a place for one more transaction",
            after: self.call_timeout(),
        })?;
        let place = place.expect("the semaphore is never closed");
        let version = extension.welcome.version;
        let response = AskedSession::ask(connection.clone(), version, begin, place).await?.answered().await?;
        self.time.learn(response.time, Instant::now());
        let began_ms = response.time.now_ms;
        let is_reading = begin.reading;
        Ok(response.outcome.map(|(session, start_version)| OpenedSession {
            session,
            start_version,
            began_ms,
            is_reading,
        }))
    }

    /// Tries until it succeeds, fails for good, or `call_timeout_ms` is over.
    async fn retry<T, F: Future<Output = Result<T, Error>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.call_timeout();
        let mut failures = 0;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            failures += 1;
            let wait = self.backoff.random_delay(failures);
            if !error.is_retriable() || Instant::now() + wait >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, failures, "the store is asked again");
            sleep(wait).await;
        }
    }

    fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.options.client.call_timeout_ms)
    }
}

impl Store for RemoteStore {
    type Txn = RemoteTxn;

    async fn begin(&self) -> Result<RemoteTxn, ReadError> {
        self.open(Begin { reading: false }).await
    }

    async fn begin_reading(&self) -> Result<RemoteTxn, ReadError> {
        self.open(Begin { reading: true }).await
    }

    async fn delete_range(&self, range: KeyRange) -> Result<(), CommitError> {
        let request = DeleteRange { start: range.start, end: range.end };
        match self.shared.call(&request).await {
            Ok(Ok(Done)) => Ok(()),
            Ok(Err(failure)) => Err(commit_error(failure)),
            Err(error) => Err(CommitError::Unavailable {
                reason: format!(
                    "{error}; part of the range may be gone, and to remove it again does no harm"
                ),
            }),
        }
    }

    async fn outcome(&self, token: &CommitToken) -> Result<Outcome, ReadError> {
        let request = AskOutcome { key: token.key.clone(), nonce: token.nonce };
        match self.shared.call(&request).await {
            Ok(Ok(settled)) => Ok(if settled.applied { Outcome::Applied } else { Outcome::NotApplied }),
            Ok(Err(failure)) => Err(read_error(failure)),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }

    fn now_ms(&self) -> i64 {
        self.shared.time.now_ms(Instant::now())
    }

    fn oldest_open_ms(&self) -> i64 {
        self.shared.time.oldest_open_ms()
    }

    fn clock_steps_back(&self) -> u64 {
        self.shared.time.steps_back()
    }
}

fn unavailable(reason: String) -> ReadError {
    ReadError::Unavailable { reason }
}

fn read_error(failure: Failure) -> ReadError {
    match failure {
        Failure::Expired { max_ms } => ReadError::Expired { max_ms },
        Failure::Damaged { place } => ReadError::Damaged { place },
        other => unavailable(describe(other)),
    }
}

/// What the broker said to a commit, but for an unknown outcome, which goes by the attempt's own token.
fn commit_error(failure: Failure) -> CommitError {
    match failure {
        Failure::Conflict => CommitError::Conflict,
        Failure::Unknown { key, nonce } => CommitError::Unknown { token: CommitToken { key, nonce } },
        Failure::Expired { max_ms } => CommitError::Expired { max_ms },
        Failure::TooLarge { what, actual, limit } => {
            let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
            CommitError::TooLarge { what: what.name(), actual: size(actual), limit: size(limit) }
        }
        Failure::DiskFull { reserve_bytes } => CommitError::DiskFull { reserve_bytes },
        other => CommitError::Unavailable { reason: describe(other) },
    }
}

pub(crate) fn describe(failure: Failure) -> String {
    match failure {
        Failure::Conflict => "another transaction came first".to_owned(),
        Failure::Unknown { .. } => "the broker does not know what became of it".to_owned(),
        Failure::Unavailable { reason } => reason,
        Failure::Expired { max_ms } => format!("older than {max_ms} ms"),
        Failure::TooLarge { what, actual, limit } => {
            format!("{} of {actual} is over the limit of {limit}", what.name())
        }
        Failure::DiskFull { reserve_bytes } => {
            format!("the disk is down to its reserve of {reserve_bytes} bytes")
        }
        Failure::Damaged { place } => format!("damaged data at {place}"),
        Failure::Refused { kind, reason } => {
            format!("the broker does not admit a key of kind {kind}: {reason}")
        }
        Failure::TooManySessions { setting, limit } => {
            format!("the broker holds no more snapshots (setting `{setting}` is {limit})")
        }
        Failure::SwitchedOff { setting } => {
            format!("the broker does not serve its store on this listener: set `{setting}` to `always`")
        }
        Failure::UnsupportedVersion { min, max } => {
            format!(
                "the broker speaks versions {min} to {max} of the extension: upgrade the older of the two"
            )
        }
    }
}
