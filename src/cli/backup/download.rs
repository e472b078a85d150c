//! An answer of the admin port that may have any length.
//!
//! What always holds: whoever does not answer, or stops in the middle, is waited for only so long.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bootstrap::ADMIN_REMEDY;

/// How long connecting, and the head of the answer, may take.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// How long nothing may come in the middle of it.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How much of a refusal is shown.
const REFUSAL_MAX_BYTES: usize = 4 << 10;

/// An answer that is being read.
pub(super) struct Download {
    admin: String,
    body: Incoming,
}

impl Download {
    /// Asks for a path and waits for the head of the answer.
    pub(super) async fn begin(admin: &str, path: &str) -> anyhow::Result<Self> {
        let no_answer = || format!("the admin server at {admin} does not answer ({ADMIN_REMEDY})");
        let response = timeout(ANSWER_MAX, ask(admin, path)).await.with_context(no_answer)?;
        let response = response.with_context(no_answer)?;
        let status = response.status();
        let mut download = Self { admin: admin.to_owned(), body: response.into_body() };
        if status == StatusCode::OK {
            return Ok(download);
        }
        let mut reason = Vec::new();
        while reason.len() < REFUSAL_MAX_BYTES
            && let Some(bytes) = download.next_bytes().await?
        {
            reason.extend_from_slice(&bytes);
        }
        anyhow::bail!("{} ({status})", String::from_utf8_lossy(&reason).trim())
    }

    /// The next bytes; none after the last.
    pub(super) async fn next_bytes(&mut self) -> anyhow::Result<Option<Bytes>> {
        let admin = &self.admin;
        loop {
            let frame = timeout(STALL_MAX, self.body.frame()).await;
            let frame = frame.with_context(|| {
                format!("nothing came from the admin server at {admin} for {} s", STALL_MAX.as_secs())
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame =
                frame.with_context(|| format!("the answer of the admin server at {admin} broke off"))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }
}

async fn ask(admin: &str, path: &str) -> anyhow::Result<hyper::Response<Incoming>> {
    let stream = TcpStream::connect(admin).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer, or with whoever reads it.
    tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, admin).header(header::CONNECTION, "close");
    Ok(sender.send_request(request.body(Empty::<Bytes>::new())?).await?)
}
