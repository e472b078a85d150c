//! One table: API key to handler. Decodes a request, begins it, encodes its answer.
//!
//! Refuses what the version table does not list. What always holds: a request is *begun* (everything whose order
//! matters has happened) before the next of its connection is looked at; its answer may come later.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use tidegate_protocol::extension::ExtensionApi;
use tidegate_protocol::frame::{FrameError, RequestHead, decode_request, encode_response};
use tidegate_protocol::messages::ApiKey;
use tidegate_protocol::{Encodable, HeaderVersion, versions};

use crate::Broker;
use crate::extension::{self, ConnectionSessions};
use crate::handler;
use crate::metrics::{ErrorCodes, record_request};
use crate::net::AnswerFrame;

/// What a connection has told of itself.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Its address, without the port, as Kafka's tools show it: `/127.0.0.1`.
    pub(crate) client_host: String,
    /// The snapshots that it holds.
    pub(crate) extension: ConnectionSessions,
}

impl Session {
    pub(crate) fn new(peer: SocketAddr) -> Self {
        Self { client_host: format!("/{}", peer.ip()), extension: ConnectionSessions::default() }
    }
}

/// Who asks, in which version.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The version of the request, within what the version table lists.
    pub(crate) version: i16,
    /// The client's name for itself; empty if it gave none.
    pub(crate) client_id: String,
    /// Where it calls from, as Kafka's tools show it.
    pub(crate) client_host: String,
}

/// What a handler gives back once the request is begun.
pub(crate) enum Answer<R> {
    /// The answer is there.
    Now(R),
    /// The answer comes when something has happened (a commit, new records, the others of a group).
    Later(BoxFuture<'static, R>),
    /// The client wants none (produce with acks = 0). An error in what it would have been ends the connection: to a client
    /// that waits for no answer nothing else can be said, and it asks for metadata when it comes again, as with Kafka.
    Unsent(BoxFuture<'static, R>),
}

/// Why a connection cannot go on: what it sent is no request that an error code could answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("API key {api_key} is not served")]
    UnknownApi { api_key: i16 },
    #[error("{api:?} is not served in version {version}")]
    UnknownVersion { api: ApiKey, version: i16 },
    #[error("{} is not served in version {version}, or switched off here", api.name())]
    Extension { api: ExtensionApi, version: i16 },
    #[error("{api:?} failed with error {code}, and its client waits for no answer")]
    Unsent { api: ApiKey, code: i16 },
    #[error("the broker stops without a lease to answer under")]
    NoLease,
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A request that was begun.
pub(crate) enum Begun {
    Ready(AnswerFrame),
    Waiting(BoxFuture<'static, Result<Option<AnswerFrame>, RequestError>>),
}

impl Begun {
    /// Whether the answer is there already.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// The framed answer, if the client wants one.
    pub(crate) async fn answer(self) -> Result<Option<AnswerFrame>, RequestError> {
        match self {
            Self::Ready(answer) => Ok(Some(answer)),
            Self::Waiting(answer) => answer.await,
        }
    }
}

/// What every answer needs from its request.
#[derive(Clone, Copy)]
struct Envelope {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    begun: Instant,
}

/// Begins one request.
///
/// # Errors
/// If the connection cannot go on.
pub(crate) async fn begin(
    broker: &Arc<Broker>,
    session: &Session,
    request: Bytes,
) -> Result<Begun, RequestError> {
    let begun = Instant::now();
    check_lease(broker).await?;
    let head = RequestHead::decode(request)?;
    if let Some(api) = ExtensionApi::of_key(head.api_key) {
        return extension::begin(broker, session, api, head).await;
    }
    let served = versions::served(head.api_key).ok_or(RequestError::UnknownApi { api_key: head.api_key })?;
    let envelope =
        Envelope { api: served.key, version: head.api_version, correlation_id: head.correlation_id, begun };
    if !versions::is_served(head.api_key, head.api_version) {
        if envelope.api == ApiKey::ApiVersions {
            let answer = Answer::Now(versions::unsupported_api_versions_response());
            return finish(broker, Envelope { version: 0, ..envelope }, answer);
        }
        return Err(RequestError::UnknownVersion { api: envelope.api, version: envelope.version });
    }
    let caller = Caller {
        version: envelope.version,
        client_id: head.client_id.map(|id| id.to_string()).unwrap_or_default(),
        client_host: session.client_host.clone(),
    };
    macro_rules! handle {
        ($($api:ident => $handler:ident,)*) => {
            match envelope.api {
                $( ApiKey::$api => {
                    let request = decode_request(envelope.version, head.body)?;
                    finish(broker, envelope, handler::$handler::handle(broker, &caller, request).await)
                } )*
                other => Err(RequestError::UnknownApi { api_key: other as i16 }),
            }
        };
    }
    handle! {
        ApiVersions => api_versions,
        Metadata => metadata,
        DescribeCluster => describe_cluster,
        CreateTopics => create_topics,
        DeleteTopics => delete_topics,
        CreatePartitions => create_partitions,
        DescribeConfigs => describe_configs,
        AlterConfigs => alter_configs,
        IncrementalAlterConfigs => incremental_alter_configs,
        DescribeLogDirs => describe_log_dirs,
        Produce => produce,
        Fetch => fetch,
        ListOffsets => list_offsets,
        OffsetForLeaderEpoch => offset_for_leader_epoch,
        DeleteRecords => delete_records,
        InitProducerId => init_producer_id,
        FindCoordinator => find_coordinator,
        JoinGroup => join_group,
        SyncGroup => sync_group,
        Heartbeat => heartbeat,
        LeaveGroup => leave_group,
        OffsetCommit => offset_commit,
        OffsetFetch => offset_fetch,
        OffsetDelete => offset_delete,
        ListGroups => list_groups,
        DescribeGroups => describe_groups,
        DeleteGroups => delete_groups,
    }
}

/// Waits until the broker's lease lives: until then another may be the one to answer. What was found out before is still
/// so when it lives again, as nobody came in between.
///
/// # Errors
/// If the broker stops first.
async fn check_lease(broker: &Broker) -> Result<(), RequestError> {
    if broker.lease.is_live() {
        return Ok(());
    }
    tokio::select! {
        biased;
        () = broker.lease.live() => Ok(()),
        () = broker.shutdown.cancelled() => Err(RequestError::NoLease),
    }
}

/// Turns a handler's answer into one that can be sent.
fn finish<R>(broker: &Arc<Broker>, envelope: Envelope, answer: Answer<R>) -> Result<Begun, RequestError>
where
    R: WireAnswer + Send + 'static,
{
    let broker = broker.clone();
    Ok(match answer {
        Answer::Now(response) if broker.lease.is_live() => Begun::Ready(encode(envelope, &response)?),
        Answer::Now(response) => Begun::Waiting(Box::pin(async move {
            check_lease(&broker).await?;
            encode(envelope, &response).map(Some)
        })),
        Answer::Later(response) => Begun::Waiting(Box::pin(async move {
            let response = response.await;
            check_lease(&broker).await?;
            encode(envelope, &response).map(Some)
        })),
        Answer::Unsent(response) => {
            Begun::Waiting(Box::pin(async move { check_unsent(envelope, &response.await).map(|()| None) }))
        }
    })
}

/// Encodes an answer as a frame, and counts it.
fn encode(envelope: Envelope, response: &impl WireAnswer) -> Result<AnswerFrame, RequestError> {
    let frame = response.frame(envelope)?;
    record_request(envelope.api, envelope.begun.elapsed(), response);
    Ok(frame)
}

/// Counts an answer that is not sent, and finds the first error in it.
fn check_unsent(envelope: Envelope, response: &impl ErrorCodes) -> Result<(), RequestError> {
    record_request(envelope.api, envelope.begun.elapsed(), response);
    let mut first = Ok(());
    response.each_error(&mut |code| {
        if first.is_ok() && code != 0 {
            first = Err(RequestError::Unsent { api: envelope.api, code });
        }
    });
    first
}

/// An answer that can be sent and counted.
trait WireAnswer: ErrorCodes {
    /// The whole frame, length included.
    fn frame(&self, envelope: Envelope) -> Result<AnswerFrame, FrameError>;
}

impl<R: Encodable + HeaderVersion + ErrorCodes> WireAnswer for R {
    fn frame(&self, envelope: Envelope) -> Result<AnswerFrame, FrameError> {
        encode_response(envelope.api, envelope.version, envelope.correlation_id, self).map(AnswerFrame::from)
    }
}

impl WireAnswer for handler::FetchAnswer {
    fn frame(&self, envelope: Envelope) -> Result<AnswerFrame, FrameError> {
        Self::frame(self, envelope.version, envelope.correlation_id)
    }
}
