//! One connection to one broker.
//!
//! Requests are pipelined: [`Connection::start`] returns as soon as a request is on its way, and its answer is matched
//! by correlation id. At most `max_in_flight` are under way; more wait. Requests leave in the order in which they were
//! started. A request whose answer does not come in time closes the connection, as whatever follows it on the stream is
//! late too. Everything that is under way then fails with the first error.
//!
//! It never reconnects and never sends a request twice: that is for its owner.

use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use tidegate_protocol::error::ResponseError;
use tidegate_protocol::extension::{self, ExtensionRequest, Response};
use tidegate_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use tidegate_protocol::{StrBytes, WireLayout, frame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::FramedRead;

use super::{Transport, Versions};
use crate::remote::greeting::{Extension, greet};
use crate::{ClientOptions, Error};

/// Frames that are written with one call, at most.
const MAX_FRAMES_PER_WRITE: usize = 16;
/// ApiVersions is asked in this version first.
const API_VERSIONS_FIRST: i16 = 4;

/// A connection. Clones share it; it closes when the last one goes.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client_id: StrBytes,
    request_timeout: Duration,
    frames: mpsc::Sender<Bytes>,
    in_flight: Arc<Semaphore>,
    next_correlation_id: AtomicI32,
    versions: OnceLock<Versions>,
    waiting: Arc<Waiting>,
    tasks: [AbortHandle; 2],
    /// What the broker said when it was asked for its store.
    extension: tokio::sync::OnceCell<Extension>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// The requests under way, by correlation id, and why the connection is closed if it is.
#[derive(Debug)]
struct Waiting {
    address: String,
    state: Mutex<WaitingState>,
}

#[derive(Debug, Default)]
struct WaitingState {
    replies: HashMap<i32, (oneshot::Sender<Bytes>, OwnedSemaphorePermit)>,
    failed: Option<Error>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, WaitingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything that is under way. The first error stays.
    fn fail(&self, error: Error) {
        let mut state = self.lock();
        state.failed.get_or_insert(error);
        state.replies.clear();
    }

    fn failure(&self) -> Error {
        self.lock().failed.clone().unwrap_or_else(|| self.lost(io::ErrorKind::ConnectionAborted))
    }

    fn lost(&self, kind: io::ErrorKind) -> Error {
        Error::Disconnected { address: self.address.clone(), kind }
    }
}

impl Connection {
    /// Connects to `address` (host:port) and agrees on versions.
    ///
    /// # Errors
    /// `Disconnected`, `TimedOut`, or `Protocol` if something else than a broker answers.
    pub async fn connect(address: &str, options: &ClientOptions) -> Result<Self, Error> {
        let after = Duration::from_millis(options.connect_timeout_ms);
        let connection = timeout(after, Self::open(address, options))
            .await
            .map_err(|_| Error::TimedOut { what: "connecting", after })?
            .map_err(|error| Error::Disconnected { address: address.to_owned(), kind: error.kind() })?;
        let versions = connection.agree_on_versions().await?;
        connection.inner.versions.get_or_init(|| versions);
        Ok(connection)
    }

    /// What the broker's store allows on this connection: asked for once.
    ///
    /// # Errors
    /// As a call; `Invalid` if the broker does not serve its store here.
    pub(crate) async fn extension(&self) -> Result<&Extension, Error> {
        self.inner.extension.get_or_try_init(|| greet(self)).await
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.inner.request_timeout
    }

    /// Opens a stream to the broker, on which nothing was said yet.
    async fn open(address: &str, options: &ClientOptions) -> io::Result<Self> {
        match &options.transport {
            Transport::Tcp => {
                // The system's own error of a name that is not known has no kind.
                let found =
                    lookup_host(address).await.map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
                let stream = TcpStream::connect(&found.collect::<Vec<_>>()[..]).await?;
                stream.set_nodelay(true)?;
                let (read_half, write_half) = stream.into_split();
                Ok(Self::over(read_half, write_half, address, options))
            }
            #[cfg(feature = "embedded")]
            Transport::InProcess(entry) => {
                let (read_half, write_half) = tokio::io::split(entry.connect()?);
                Ok(Self::over(read_half, write_half, address, options))
            }
        }
    }

    /// A connection over a stream whose two halves these are.
    fn over(
        read_half: impl AsyncRead + Unpin + Send + 'static,
        write_half: impl AsyncWrite + Unpin + Send + 'static,
        address: &str,
        options: &ClientOptions,
    ) -> Self {
        let max_in_flight = options.max_in_flight.max(1);
        let (frames, queue) = mpsc::channel(max_in_flight);
        let waiting = Arc::new(Waiting { address: address.to_owned(), state: Mutex::default() });
        let reader = tokio::spawn(read_frames(read_half, options.max_frame_bytes, waiting.clone()));
        let writer = tokio::spawn(write_frames(write_half, queue, waiting.clone()));
        let inner = Inner {
            client_id: StrBytes::from_string(options.client_id.clone()),
            request_timeout: Duration::from_millis(options.request_timeout_ms),
            frames,
            in_flight: Arc::new(Semaphore::new(max_in_flight)),
            next_correlation_id: AtomicI32::new(0),
            versions: OnceLock::new(),
            waiting,
            tasks: [reader.abort_handle(), writer.abort_handle()],
            extension: tokio::sync::OnceCell::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Asks for the broker's versions: in the newest version, then, if the broker does not know that, in its own.
    async fn agree_on_versions(&self) -> Result<Versions, Error> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("tidegate-rust"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let response = self.ask_versions(API_VERSIONS_FIRST, &request).await?;
        let response = if response.error_code == ResponseError::UnsupportedVersion.code() {
            // The answer is in version 0 whatever was asked, and names the broker's range of this API at best (KIP-511).
            let own = response.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions as i16);
            let version = own.map_or(0, |api| api.max_version).clamp(0, API_VERSIONS_FIRST - 1);
            let request = if version >= 3 { request } else { ApiVersionsRequest::default() };
            self.ask_versions(version, &request).await?
        } else {
            response
        };
        crate::error::accepted(ApiKey::ApiVersions, response.error_code, None)?;
        Ok(Versions::from_response(&response))
    }

    async fn ask_versions(
        &self,
        version: i16,
        request: &ApiVersionsRequest,
    ) -> Result<ApiVersionsResponse, Error> {
        let reply = self.start(version, request, Duration::ZERO).await?;
        let frame = reply.frame().await?;
        let refused = frame.get(4..6) == Some(&ResponseError::UnsupportedVersion.code().to_be_bytes()[..]);
        let version = if refused { 0 } else { version };
        Ok(frame::decode_response::<ApiVersionsRequest>(version, frame)?.1)
    }

    /// The broker, as host:port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.inner.waiting.address
    }

    /// What the broker speaks.
    #[must_use]
    pub fn versions(&self) -> &Versions {
        static NONE: Versions = Versions::none();
        self.inner.versions.get().unwrap_or(&NONE)
    }

    /// Whether it is of no more use.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.waiting.lock().failed.is_some()
    }

    /// The newest version of this request that both sides speak.
    ///
    /// # Errors
    /// `Unsupported` if there is none.
    pub fn version<R: WireLayout>(&self) -> Result<i16, Error> {
        let api = ApiKey::try_from(R::KEY).expect("a request's key is an API's");
        self.versions()
            .pick::<R>()
            .ok_or_else(|| Error::Unsupported { address: self.address().to_owned(), api })
    }

    /// Sends the request that `make` builds for the version that both sides speak, and waits for the answer.
    ///
    /// # Errors
    /// As [`Connection::start`] and [`Reply::wait`], or `Unsupported`.
    pub async fn call<R: WireLayout>(&self, make: impl FnOnce(i16) -> R) -> Result<R::Response, Error> {
        let version = self.version::<R>()?;
        self.start(version, &make(version), Duration::ZERO).await?.wait().await
    }

    /// Puts a request on its way. `broker_waits` is how long the request itself asks the broker to take.
    ///
    /// Once this has returned, the request leaves whether or not its reply is waited for.
    ///
    /// # Errors
    /// `Disconnected` or what else closed the connection; `Protocol` if the request cannot be said in this version.
    pub async fn start<R: WireLayout>(
        &self,
        version: i16,
        request: &R,
        broker_waits: Duration,
    ) -> Result<Reply<R>, Error> {
        let inner = &self.inner;
        let correlation_id = self.next_correlation_id();
        let frame = frame::encode_request(version, correlation_id, Some(&inner.client_id), request)?;
        let permit = inner.in_flight.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let pending = self.send(correlation_id, frame, permit, inner.request_timeout + broker_waits)?;
        Ok(Reply { version, pending, of: PhantomData })
    }

    /// Puts a request of the extension on its way, to be answered within `after`.
    ///
    /// # Errors
    /// As [`Connection::start`]: after an error nothing has left.
    pub(crate) async fn start_extension<R: ExtensionRequest>(
        &self,
        version: i16,
        request: &R,
        after: Duration,
    ) -> Result<ExtensionReply<R>, Error> {
        let correlation_id = self.next_correlation_id();
        let frame = extension::encode_request(version, correlation_id, &self.inner.client_id, request)?;
        let permit = self.inner.in_flight.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        Ok(ExtensionReply { pending: self.send(correlation_id, frame, permit, after)?, of: PhantomData })
    }

    /// Sends a request of the extension whose answer nobody wants; false if there is no room for it now.
    pub(crate) fn try_send_extension<R: ExtensionRequest>(&self, version: i16, request: &R) -> bool {
        let Ok(permit) = self.inner.in_flight.clone().try_acquire_owned() else { return false };
        let correlation_id = self.next_correlation_id();
        let frame = extension::encode_request(version, correlation_id, &self.inner.client_id, request);
        // If the connection is lost, so is what the request was for.
        drop(frame.map(|frame| self.send(correlation_id, frame, permit, self.inner.request_timeout)));
        true
    }

    fn next_correlation_id(&self) -> i32 {
        self.inner.next_correlation_id.fetch_add(1, Ordering::Relaxed) & i32::MAX
    }

    /// Hands a frame to the writer.
    fn send(
        &self,
        correlation_id: i32,
        frame: Bytes,
        permit: OwnedSemaphorePermit,
        after: Duration,
    ) -> Result<PendingFrame, Error> {
        let inner = &self.inner;
        let (sender, receiver) = oneshot::channel();
        // Nothing is awaited from here on: requests leave in the order of their permits.
        {
            let mut state = inner.waiting.lock();
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            state.replies.insert(correlation_id, (sender, permit));
        }
        // There is room for as many frames as there are permits, until the writer is gone or stuck.
        if inner.frames.try_send(frame).is_err() {
            inner.waiting.fail(inner.waiting.lost(io::ErrorKind::BrokenPipe));
            return Err(inner.waiting.failure());
        }
        let deadline = Instant::now() + after;
        Ok(PendingFrame { receiver, deadline, after, waiting: inner.waiting.clone() })
    }
}

/// An answer that has not come yet.
#[derive(Debug)]
struct PendingFrame {
    receiver: oneshot::Receiver<Bytes>,
    deadline: Instant,
    after: Duration,
    waiting: Arc<Waiting>,
}

/// The answer to a request that is on its way.
#[derive(Debug)]
pub struct Reply<R> {
    version: i16,
    pending: PendingFrame,
    of: PhantomData<fn() -> R>,
}

/// The answer to a request of the extension.
#[derive(Debug)]
pub(crate) struct ExtensionReply<R> {
    pending: PendingFrame,
    of: PhantomData<fn() -> R>,
}

impl<R: ExtensionRequest> ExtensionReply<R> {
    /// Waits for it.
    ///
    /// # Errors
    /// As [`Reply::wait`].
    pub(crate) async fn wait(&mut self) -> Result<Response<R::Answer>, Error> {
        Ok(extension::decode_response(self.pending.frame().await?)?.1)
    }
}

impl<R: WireLayout> Reply<R> {
    /// Waits for it.
    ///
    /// # Errors
    /// What closed the connection; `TimedOut`, which closes it too; `Protocol` if the answer does not parse.
    pub async fn wait(self) -> Result<R::Response, Error> {
        let version = self.version;
        let frame = self.frame().await?;
        Ok(frame::decode_response::<R>(version, frame)?.1)
    }

    async fn frame(mut self) -> Result<Bytes, Error> {
        self.pending.frame().await
    }
}

impl PendingFrame {
    async fn frame(&mut self) -> Result<Bytes, Error> {
        match timeout_at(self.deadline, &mut self.receiver).await {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(_)) => Err(self.waiting.failure()),
            Err(_) => {
                let error = Error::TimedOut { what: "an answer", after: self.after };
                self.waiting.fail(error.clone());
                Err(error)
            }
        }
    }
}

async fn read_frames(half: impl AsyncRead + Unpin, max_frame_bytes: usize, waiting: Arc<Waiting>) {
    let mut frames = FramedRead::new(half, frame::codec(max_frame_bytes));
    loop {
        let error = match frames.next().await {
            Some(Ok(frame)) => match deliver(frame.freeze(), &waiting) {
                Ok(()) => continue,
                Err(error) => error,
            },
            Some(Err(error)) => waiting.lost(error.kind()),
            None => waiting.lost(io::ErrorKind::UnexpectedEof),
        };
        waiting.fail(error);
        return;
    }
}

fn deliver(frame: Bytes, waiting: &Waiting) -> Result<(), Error> {
    let malformed = || Error::Protocol(frame::FrameError::Malformed { field: "correlation_id" });
    let correlation_id = frame.as_ref().try_get_i32().map_err(|_| malformed())?;
    let (reply, _permit) = waiting.lock().replies.remove(&correlation_id).ok_or_else(malformed)?;
    // Whoever asked may have gone.
    let _ = reply.send(frame);
    Ok(())
}

async fn write_frames(
    mut half: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Bytes>,
    waiting: Arc<Waiting>,
) {
    let mut frames = Vec::with_capacity(MAX_FRAMES_PER_WRITE);
    while queue.recv_many(&mut frames, MAX_FRAMES_PER_WRITE).await > 0 {
        for frame in frames.drain(..) {
            if let Err(error) = half.write_all(&frame).await {
                waiting.fail(waiting.lost(error.kind()));
                return;
            }
        }
    }
}
