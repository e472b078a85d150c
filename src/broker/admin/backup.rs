//! `/v1/backup`: one snapshot of everything as a file, sent while the broker serves.
//!
//! What always holds: one at a time. What is read waits for what is sent, so that memory is bounded by a few pieces. A
//! client that goes away, or does not read for long, ends it; so do `backup.max.ms`, the broker's end, and a disk that
//! comes down to its reserve meanwhile, since a snapshot keeps space that was given up after it. One that ended early
//! says why in its last piece, and its answer breaks off.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tidegate_backup::{Compression, Export, ExportError};
use tidegate_store::{AnyStore, AnyTxn};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::{info, warn};

use super::Admin;
use crate::Broker;

/// Pieces of about 1 MiB that are read ahead of what is sent.
const PIECES_AHEAD: usize = 2;
/// What the answer is called.
const CONTENT_TYPE: &str = "application/octet-stream";

/// The right to take a backup.
#[derive(Clone, Debug)]
pub(crate) struct Backups(Arc<Semaphore>);

impl Default for Backups {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    compression: AskedCompression,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AskedCompression {
    #[default]
    Zstd,
    None,
}

/// Why a backup ended early.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("the client has gone away")]
    ClientGone,
    #[error("the client has read nothing for {stall_ms} ms (backup.stall.max.ms)")]
    ClientStalled { stall_ms: u64 },
    #[error("it took longer than {max_ms} ms (backup.max.ms)")]
    TooLong { max_ms: u64 },
    #[error(
        "the disk came down to its reserve (store.reserve.bytes), and a backup keeps space from being given back"
    )]
    DiskLow,
    #[error("the broker stops")]
    Stopping,
}

pub(super) async fn backup(State(admin): State<Admin>, Query(asked): Query<Asked>) -> Response {
    let Ok(permit) = admin.backups.0.clone().try_acquire_owned() else {
        let reason = "a backup is under way: wait until it has ended\n";
        return (StatusCode::CONFLICT, reason).into_response();
    };
    let compression = match asked.compression {
        AskedCompression::Zstd => Compression::Zstd,
        AskedCompression::None => Compression::None,
    };
    let store = &admin.broker.store;
    let export = match Export::begin(store, compression, env!("CARGO_PKG_VERSION")).await {
        Ok(export) => export,
        Err(error) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    };
    let (pieces, sent) = mpsc::channel(PIECES_AHEAD);
    let (end, ended) = oneshot::channel();
    let broker = admin.broker.clone();
    // The embedded store is read where that is awaited, and pieces are compressed there: not on the others' threads.
    tokio::task::spawn_blocking(move || {
        Handle::current().block_on(run(&broker, export, pieces, end, permit));
    });
    let body = Body::from_stream(futures::stream::unfold(Answer::Pieces(sent, ended), Answer::next));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
}

/// The answer as it is sent.
enum Answer {
    /// Pieces, and what comes after the last if it is not the end of the file.
    Pieces(mpsc::Receiver<Bytes>, oneshot::Receiver<BrokenOff>),
    /// It ended early: so does the connection, lest half an answer be taken for all of it.
    BrokenOff(String),
    /// That was all.
    Done,
}

impl Answer {
    async fn next(self) -> Option<(io::Result<Bytes>, Self)> {
        match self {
            Self::Pieces(mut sent, ended) => {
                if let Some(piece) = sent.recv().await {
                    return Some((Ok(piece), Self::Pieces(sent, ended)));
                }
                let BrokenOff { last, reason } = ended.await.ok()?;
                Some((Ok(last), Self::BrokenOff(reason)))
            }
            Self::BrokenOff(reason) => Some((Err(io::Error::other(reason)), Self::Done)),
            Self::Done => None,
        }
    }
}

/// How a file ends that cannot become whole.
struct BrokenOff {
    last: Bytes,
    reason: String,
}

/// Sends a whole backup, or ends it with the reason.
async fn run(
    broker: &Broker,
    mut export: Export<AnyTxn>,
    pieces: mpsc::Sender<Bytes>,
    end: oneshot::Sender<BrokenOff>,
    permit: OwnedSemaphorePermit,
) {
    let began = Instant::now();
    let snapshot_ms = export.header().snapshot.unix_ms();
    info!(snapshot_ms, "a backup has begun");
    let sent = send_all(broker, &mut export, &pieces).await;
    let elapsed = began.elapsed();
    match sent {
        Ok(bytes) => info!(bytes, ?elapsed, "a backup was sent"),
        Err(ended) => {
            warn!(%ended, ?elapsed, "a backup has ended early");
            let reason = ended.to_string();
            // The snapshot ends here, whether or not anybody reads the rest.
            let last = export.broken_off(&reason);
            // Who has gone away is not told.
            let _ = end.send(BrokenOff { last, reason });
        }
    }
    drop(permit);
}

async fn send_all(
    broker: &Broker,
    export: &mut Export<AnyTxn>,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<u64, Ended> {
    let (max_ms, stall_ms) = (broker.settings.backup_max_ms, broker.settings.backup_stall_max_ms);
    let began = Instant::now();
    let was_low = is_disk_low(&broker.store);
    let mut bytes = 0;
    while let Some(piece) = export.next_bytes().await? {
        if began.elapsed() > Duration::from_millis(max_ms) {
            return Err(Ended::TooLong { max_ms });
        }
        if !was_low && is_disk_low(&broker.store) {
            return Err(Ended::DiskLow);
        }
        bytes += piece.len() as u64;
        let sending = pieces.send_timeout(piece, Duration::from_millis(stall_ms));
        let sent = broker.shutdown.run_until_cancelled(sending).await.ok_or(Ended::Stopping)?;
        sent.map_err(|refused| match refused {
            mpsc::error::SendTimeoutError::Timeout(_) => Ended::ClientStalled { stall_ms },
            mpsc::error::SendTimeoutError::Closed(_) => Ended::ClientGone,
        })?;
    }
    Ok(bytes)
}

fn is_disk_low(store: &AnyStore) -> bool {
    match store {
        AnyStore::Embedded(store) => store.metrics().is_disk_low != 0,
        _ => false,
    }
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
