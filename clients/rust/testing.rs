//! A broker for tests: a socket that answers as a closure says, and a small one-broker cluster on top of it.

mod cluster;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tidegate_protocol::frame::{self, RequestHead};
use tidegate_protocol::messages::ApiKey;
use tidegate_protocol::{Encodable, HeaderVersion, WireLayout, versions};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_util::codec::FramedRead;

pub(crate) use cluster::{FakeCluster, TOPIC, answer};

/// What the broker does with one request.
pub(crate) enum Answer {
    /// Sends this frame.
    Frame(Bytes),
    /// Sends this frame at the end of a short long poll.
    Later(Bytes),
    /// Leaves it unanswered.
    Nothing,
    /// Closes the connection.
    Close,
}

/// How long a fetch waits at the broker for what is not there.
const LONG_POLL: std::time::Duration = std::time::Duration::from_millis(2);

pub(crate) struct FakeBroker {
    pub(crate) address: SocketAddr,
    task: AbortHandle,
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeBroker {
    /// Listens; each connection answers in order.
    pub(crate) async fn start(answer: impl Fn(&RequestHead) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_knowing(move |_, head| answer(head)).await
    }

    /// [`FakeBroker::start`], of one that has to say where it listens.
    pub(crate) async fn start_knowing(
        answer: impl Fn(SocketAddr, &RequestHead) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let answer = Arc::new(move |head: &RequestHead| answer(address, head));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone()));
            }
        });
        Self { address, task: task.abort_handle() }
    }

    pub(crate) fn options(&self) -> crate::ClientOptions {
        crate::ClientOptions {
            backoff_first_ms: 1,
            backoff_max_ms: 2,
            // For as long as a test may pause.
            call_timeout_ms: 600_000,
            ..crate::ClientOptions::new(&self.address.to_string())
        }
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<impl Fn(&RequestHead) -> Answer>) {
    let (read_half, mut write_half) = stream.split();
    let mut frames = FramedRead::new(read_half, frame::codec(1 << 24));
    while let Some(Ok(frame)) = frames.next().await {
        let head = RequestHead::decode(frame.freeze()).expect("clients send requests");
        match answer(&head) {
            Answer::Frame(frame) => {
                if write_half.write_all(&frame).await.is_err() {
                    return;
                }
            }
            Answer::Later(frame) => {
                tokio::time::sleep(LONG_POLL).await;
                if write_half.write_all(&frame).await.is_err() {
                    return;
                }
            }
            Answer::Nothing => {}
            Answer::Close => return,
        }
    }
}

/// The body of a request of this kind.
pub(crate) fn body<R: WireLayout>(head: &RequestHead) -> R {
    frame::decode_request(head.api_version, head.body.clone()).expect("clients send good requests")
}

/// The answer to this request with this body.
pub(crate) fn reply<T: Encodable + HeaderVersion>(head: &RequestHead, body: &T) -> Answer {
    let api = ApiKey::try_from(head.api_key).expect("clients send known requests");
    Answer::Frame(
        frame::encode_response(api, head.api_version, head.correlation_id, body).expect("it encodes"),
    )
}

/// A good answer to ApiVersions, in whatever version it was asked.
pub(crate) fn reply_versions(head: &RequestHead) -> Answer {
    reply(head, &versions::api_versions_response())
}
