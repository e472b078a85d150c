//! Stands between a client and a broker, and loses answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// The API key of Commit.
pub(crate) const COMMIT: i16 = 21_581;

/// A proxy that passes everything on until it is told otherwise.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    faults: Arc<Faults>,
    cut: CancellationToken,
    task: AbortHandle,
}

#[derive(Default)]
struct Faults {
    /// The next commit is passed on, and nothing that comes back; then both sides are cut off.
    lose_answer: AtomicBool,
    /// The next commit is not passed on, and both sides are cut off.
    lose_request: AtomicBool,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn to(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let faults = Arc::<Faults>::default();
        let (of_task, cut) = (faults.clone(), CancellationToken::new());
        let cut_all = cut.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(broker) = TcpStream::connect(broker).await else { continue };
                let passing = pass(client, broker, of_task.clone());
                tokio::spawn(cut_all.clone().run_until_cancelled_owned(passing));
            }
        });
        Self { address, faults, cut, task: task.abort_handle() }
    }

    /// Cuts all connections off, those that come as well.
    pub(crate) fn cut_off(&self) {
        self.cut.cancel();
    }

    pub(crate) fn lose_next_answer(&self) {
        self.faults.lose_answer.store(true, Ordering::SeqCst);
    }

    pub(crate) fn lose_next_request(&self) {
        self.faults.lose_request.store(true, Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, broker: TcpStream, faults: Arc<Faults>) {
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let cut = CancellationToken::new();
    tokio::select! {
        _ended = requests(from_client, to_broker, &faults, &cut) => {}
        () = answers(from_broker, to_client, &cut) => {}
    }
}

/// Frame by frame, so that a commit is known as one.
async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    faults: &Faults,
    cut: &CancellationToken,
) -> std::io::Result<()> {
    loop {
        let length = from.read_u32().await?;
        let mut frame = vec![0; usize::try_from(length).expect("a length")];
        from.read_exact(&mut frame).await?;
        let is_commit = frame[..2] == COMMIT.to_be_bytes();
        if is_commit && faults.lose_request.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let is_last = is_commit && faults.lose_answer.swap(false, Ordering::SeqCst);
        if is_last {
            cut.cancel();
        }
        to.write_u32(length).await?;
        to.write_all(&frame).await?;
        if is_last {
            // The broker is to have read it before it sees that nobody is there.
            to.shutdown().await?;
            return Ok(());
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, cut: &CancellationToken) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = tokio::select! {
            biased;
            () = cut.cancelled() => return std::future::pending().await,
            read = from.read(&mut buffer) => read,
        };
        match read {
            Ok(read) if read > 0 => {
                if to.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}
