//! One connection: a reader that begins its requests in order, and a writer that answers them in the same order.
//!
//! The reader waits for memory before it takes a large request in, of all connections' and of its own share of it, and
//! for a place among `max.in.flight.requests.per.connection`; a request that only waits (a long poll, a join, a commit)
//! does not keep the next one from being begun. When either side ends, the other does; after bytes that are no request, what was begun
//! before them is still answered.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Buf;
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::FramedRead;
use tracing::{debug, warn};

use super::frame::{Frame, FrameDecoder, FrameError};
use super::memory::{ConnectionMemory, Granted, RequestMemory, SMALL_REQUEST_BYTES};
use crate::Broker;
use crate::dispatch::{self, Begun, RequestError};

/// How long a peer may take to read anything of its answer before it is given up.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
/// How long what was begun before bytes that are no request may take to be answered.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(5);
/// How long the rest of a large request may take to come while others wait for memory.
const LARGE_REQUEST_GRACE: Duration = Duration::from_secs(5);

/// Why a connection ended, if not by its peer.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("no request for connections.max.idle.ms")]
    Idle,
    #[error("the rest of a large request did not come while others waited for memory")]
    HoldsUp,
    #[error("the peer does not read its answers")]
    NotRead,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Ended {
    /// Whether the peer is told nothing of the reason, and only the log can say why it has no connection.
    fn is_to_be_said(&self) -> bool {
        match self {
            Self::Frame(FrameError::TooLong { .. }) => true,
            Self::Request(reason) => !matches!(reason, RequestError::NoLease),
            Self::HoldsUp | Self::NotRead => true,
            Self::Frame(FrameError::Io(_)) | Self::Idle | Self::Io(_) => false,
        }
    }
}

/// A request that was begun, with what it holds until it is answered.
struct InFlight {
    begun: Begun,
    memory: Granted,
    place: OwnedSemaphorePermit,
}

/// What a connection is doing, seen by both of its sides.
struct Traffic {
    /// One for each request that may be in flight.
    places: Arc<Semaphore>,
    places_max: usize,
    last_answer: Mutex<Instant>,
}

impl Traffic {
    fn new(places_max: usize) -> Self {
        let places = Arc::new(Semaphore::new(places_max));
        Self { places, places_max, last_answer: Mutex::new(Instant::now()) }
    }

    fn answered(&self) {
        *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Ends once nothing is in flight and nothing was answered for so long. A long poll or a join keeps a connection
    /// quiet; only one that waits for nothing is idle.
    async fn idle(&self, max: Duration) {
        let mut at = Instant::now() + max;
        loop {
            sleep_until(at).await;
            let is_waiting = self.places.available_permits() < self.places_max;
            let last_answer = *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            at = if is_waiting { now + max } else { last_answer + max };
            if at <= now {
                return;
            }
        }
    }
}

/// Why no more requests are read, if nothing went wrong.
enum LastRead {
    /// The broker stops.
    Shutdown,
    /// The peer has closed.
    Closed,
}

/// Serves one connection, whose two halves these are, until either side ends it.
pub(crate) async fn serve(
    broker: Arc<Broker>,
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    memory: Arc<RequestMemory>,
) {
    let traffic = Arc::new(Traffic::new(broker.settings.max_in_flight_requests_per_connection));
    let memory = ConnectionMemory::new(memory, broker.settings.queued_max_connection_bytes);
    // Bounded by the places of `traffic`.
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut writer = tokio::spawn(write_answers(write, receiver, traffic.clone()));
    let read = read_requests(&broker, read, peer, &memory, &traffic, sender);
    let ended = tokio::select! {
        ended = read => match ended {
            // What was read is answered before the connection closes.
            Ok(LastRead::Shutdown) => (&mut writer).await.unwrap_or(Ok(())),
            Ok(LastRead::Closed) => Ok(()),
            Err(ended @ (Ended::Request(_) | Ended::Frame(FrameError::TooLong { .. }))) => {
                // Whoever does not wait for them loses them.
                let _answered = timeout(LAST_ANSWERS_MAX, &mut writer).await;
                Err(ended)
            }
            Err(ended) => Err(ended),
        },
        ended = &mut writer => ended.unwrap_or(Ok(())),
    };
    writer.abort();
    if let Err(ended) = ended {
        match ended.is_to_be_said().then(|| broker.complaints.admit(Instant::now())).flatten() {
            Some(left_out) => warn!(%peer, reason = %ended, left_out, "connection closed"),
            None => debug!(%peer, reason = %ended, "connection closed"),
        }
    }
}

/// Reads and begins requests.
async fn read_requests(
    broker: &Arc<Broker>,
    read: impl AsyncRead + Unpin,
    peer: SocketAddr,
    memory: &ConnectionMemory,
    traffic: &Traffic,
    sender: mpsc::UnboundedSender<InFlight>,
) -> Result<LastRead, Ended> {
    let mut frames = FramedRead::new(read, FrameDecoder::new(broker.settings.socket_request_max_bytes));
    let idle = Duration::from_millis(broker.settings.connections_max_idle_ms);
    let session = dispatch::Session::new(peer);
    loop {
        let next = tokio::select! {
            () = broker.shutdown.cancelled() => return Ok(LastRead::Shutdown),
            next = frames.next() => next,
            () = traffic.idle(idle) => return Err(Ended::Idle),
        };
        let Some(announced) = next else { return Ok(LastRead::Closed) };
        let Frame::Announced(length) = announced? else {
            unreachable!("a frame is announced before it is complete")
        };
        let frame = tokio::select! {
            () = broker.shutdown.cancelled() => return Ok(LastRead::Shutdown),
            frame = read_frame(&mut frames, length, memory, idle) => frame?,
        };
        let Some((request, granted)) = frame else { return Ok(LastRead::Closed) };
        let place = traffic.places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let begun = dispatch::begin(broker, &session, request).await?;
        if sender.send(InFlight { begun, memory: granted, place }).is_err() {
            return Ok(LastRead::Closed);
        }
    }
}

/// Reads what was announced, with memory for it: a large request waits for that before it is read, so that it is there
/// only once; a small one after it, so that nobody has any before it has sent all of its request.
async fn read_frame<R: AsyncRead + Unpin>(
    frames: &mut FramedRead<R, FrameDecoder>,
    length: usize,
    memory: &ConnectionMemory,
    idle: Duration,
) -> Result<Option<(bytes::Bytes, Granted)>, Ended> {
    let is_large = length > SMALL_REQUEST_BYTES;
    let mut granted = if is_large { Some(memory.acquire(length).await) } else { None };
    let began = Instant::now();
    let frame = loop {
        tokio::select! {
            frame = frames.next() => break frame,
            () = memory.is_short(), if is_large => {
                if began.elapsed() >= LARGE_REQUEST_GRACE {
                    return Err(Ended::HoldsUp);
                }
            }
            () = sleep_until(began + idle) => return Err(Ended::Idle),
        }
    };
    let Some(complete) = frame else { return Ok(None) };
    let Frame::Complete(request) = complete? else { unreachable!("one frame is announced at a time") };
    let granted = match granted.take() {
        Some(granted) => granted,
        None => memory.acquire(length).await,
    };
    Ok(Some((request, granted)))
}

/// Answers requests in the order in which they were begun, several in one write where they are ready together.
async fn write_answers(
    write: impl AsyncWrite + Unpin,
    mut receiver: mpsc::UnboundedReceiver<InFlight>,
    traffic: Arc<Traffic>,
) -> Result<(), Ended> {
    let mut write = BufWriter::new(write);
    let mut next = receiver.recv().await;
    while let Some(InFlight { begun, memory, place }) = next {
        let answer = begun.answer().await?;
        drop(memory);
        if let Some(answer) = answer {
            write_all(&mut write, answer).await?;
        }
        traffic.answered();
        drop(place);
        next = match receiver.try_recv() {
            Ok(in_flight) if in_flight.begun.is_ready() => Some(in_flight),
            other => {
                timeout(WRITE_STALL_MAX, write.flush()).await.map_err(|_| Ended::NotRead)??;
                match other {
                    Ok(in_flight) => Some(in_flight),
                    Err(_) => receiver.recv().await,
                }
            }
        };
    }
    Ok(())
}

/// Writes an answer, however long it takes as long as the peer goes on reading.
async fn write_all(write: &mut (impl AsyncWrite + Unpin), mut answer: impl Buf) -> Result<(), Ended> {
    while answer.has_remaining() {
        let written = timeout(WRITE_STALL_MAX, write.write_buf(&mut answer)).await;
        if written.map_err(|_| Ended::NotRead)?? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
        }
    }
    Ok(())
}
