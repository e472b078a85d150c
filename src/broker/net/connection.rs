//! One connection: a reader that begins its requests in order, and a writer that answers them in the same order.
//!
//! The reader waits for memory before it takes a request in, and for a place among
//! `max.in.flight.requests.per.connection`; a request that only waits (a long poll, a join, a commit) does not keep the
//! next one from being begun. When either side ends, the other does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::codec::FramedRead;
use tracing::debug;

use super::frame::{Frame, FrameDecoder, FrameError};
use crate::Broker;
use crate::dispatch::{self, Begun, RequestError};

/// How long a peer may take to read its answer before it is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes that one permit of [`RequestMemory`] stands for: a semaphore counts in 32 bits.
const PERMIT_BYTES: usize = 1024;

/// The memory that requests may take over all connections.
pub(crate) struct RequestMemory {
    permits: Arc<Semaphore>,
    total: u32,
}

impl RequestMemory {
    pub(crate) fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX >> 3).max(1);
        Self { permits: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits until there is room for a request of so many bytes. One that is larger than all of it gets all of it.
    async fn acquire(&self, bytes: usize) -> OwnedSemaphorePermit {
        let wanted = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(self.total).min(self.total);
        self.permits.clone().acquire_many_owned(wanted).await.expect("the semaphore is never closed")
    }
}

/// Why a connection ended, if not by its peer.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("no request for connections.max.idle.ms")]
    Idle,
    #[error("the peer does not read its answers")]
    NotRead,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A request that was begun, with the memory that it holds until it is answered.
struct InFlight {
    begun: Begun,
    memory: OwnedSemaphorePermit,
}

/// Serves one connection until either side ends it.
pub(crate) async fn serve(
    broker: Arc<Broker>,
    socket: TcpStream,
    peer: SocketAddr,
    memory: Arc<RequestMemory>,
) {
    let (read, write) = socket.into_split();
    let (sender, receiver) = mpsc::channel(broker.settings.max_in_flight_requests_per_connection);
    let mut writer = tokio::spawn(write_answers(write, receiver));
    let read = read_requests(&broker, read, peer, &memory, sender);
    let ended = tokio::select! {
        ended = read => match ended {
            // A shutdown: what was read is answered before the connection closes.
            Ok(true) => (&mut writer).await.unwrap_or(Ok(())),
            Ok(false) => Ok(()),
            Err(ended) => Err(ended),
        },
        ended = &mut writer => ended.unwrap_or(Ok(())),
    };
    writer.abort();
    if let Err(ended) = ended {
        debug!(%peer, reason = %ended, "connection closed");
    }
}

/// Reads and begins requests. `Ok(true)` if the broker shuts down, `Ok(false)` if the peer closed.
async fn read_requests(
    broker: &Arc<Broker>,
    read: OwnedReadHalf,
    peer: SocketAddr,
    memory: &RequestMemory,
    sender: mpsc::Sender<InFlight>,
) -> Result<bool, Ended> {
    let mut frames = FramedRead::new(read, FrameDecoder::new(broker.settings.socket_request_max_bytes));
    let idle = Duration::from_millis(broker.settings.connections_max_idle_ms);
    let session = dispatch::Session::new(peer);
    loop {
        let next = tokio::select! {
            () = broker.shutdown.cancelled() => return Ok(true),
            next = tokio::time::timeout(idle, frames.next()) => next,
        };
        let length = match next {
            // A long poll or a join may keep a connection quiet; only one that waits for nothing is idle.
            Err(_) if sender.capacity() < sender.max_capacity() => continue,
            Err(_) => return Err(Ended::Idle),
            Ok(None) => return Ok(false),
            Ok(Some(frame)) => match frame? {
                Frame::Announced(length) => length,
                Frame::Complete(_) => unreachable!("a frame is announced before it is complete"),
            },
        };
        let permit = memory.acquire(length).await;
        let frame = tokio::select! {
            () = broker.shutdown.cancelled() => return Ok(true),
            frame = tokio::time::timeout(idle, frames.next()) => frame.map_err(|_| Ended::Idle)?,
        };
        let Some(frame) = frame else { return Ok(false) };
        let Frame::Complete(request) = frame? else { unreachable!("one frame is announced at a time") };
        let Ok(place) = sender.reserve().await else { return Ok(false) };
        let begun = dispatch::begin(broker, &session, request).await?;
        place.send(InFlight { begun, memory: permit });
    }
}

/// Answers requests in the order in which they were begun, several in one write where they are ready together.
async fn write_answers(write: OwnedWriteHalf, mut receiver: mpsc::Receiver<InFlight>) -> Result<(), Ended> {
    let mut write = BufWriter::new(write);
    let mut next = receiver.recv().await;
    while let Some(InFlight { begun, memory }) = next {
        let answer = begun.answer().await?;
        drop(memory);
        if let Some(answer) = answer {
            let written = tokio::time::timeout(WRITE_TIMEOUT, write.write_all(&answer)).await;
            written.map_err(|_| Ended::NotRead)??;
        }
        next = match receiver.try_recv() {
            Ok(in_flight) if in_flight.begun.is_ready() => Some(in_flight),
            other => {
                tokio::time::timeout(WRITE_TIMEOUT, write.flush()).await.map_err(|_| Ended::NotRead)??;
                match other {
                    Ok(in_flight) => Some(in_flight),
                    Err(_) => receiver.recv().await,
                }
            }
        };
    }
    Ok(())
}
