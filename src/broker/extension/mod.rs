//! The store through the port: the requests of `tidegate_protocol::extension`, for applications elsewhere.
//!
//! What it is: a session is a snapshot that is held for a connection; reads go to it; a commit brings all that its
//! transaction writes, is checked ([`admission`]), written together with the row of its attempt ([`attempts`]), and the
//! relays of the partitions that it touches are woken.
//!
//! What it refuses to do: it keeps no writes between requests; it admits only keys that belong to applications, and
//! nothing under them that it cannot decode; on a listener where it is switched off it answers Hello with how to switch
//! it on, and nothing else.
//!
//! What always holds: sessions are bounded in number and age, answers in bytes; a lost connection ends its sessions; a
//! session commits at most once, and a commit that was begun goes on to its end though its connection is gone.

mod admission;
mod attempts;
mod commit;
mod read;
mod rows;
mod sessions;

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use tidegate_format::{PartitionId, PartitionIndex, TopicId};
use tidegate_outbox::Wakeup;
use tidegate_protocol::extension::delete_range::DeleteRange;
use tidegate_protocol::extension::hello::{Hello, Welcome};
use tidegate_protocol::extension::hint::Hint;
use tidegate_protocol::extension::{
    self, Done, ExtensionApi, ExtensionRequest, Failure, Limited, Response, StoreTime,
};
use tidegate_protocol::frame::{FrameError, RequestHead};
use tidegate_store::{AnyStore, CommitError, KeyRange, ReadError, Store, TransactionLimits, tikv};
use uuid::Uuid;

pub(crate) use attempts::expire_attempts;
pub(crate) use sessions::{ConnectionSessions, SessionPlaces};

use crate::Broker;
use crate::dispatch::{Begun, RequestError, Session};
use crate::metrics::record_extension;
use crate::net::AnswerFrame;

/// The setting that switches it on.
const ENABLE: &str = "extension.enable";

/// Begins one request.
///
/// # Errors
/// If the connection cannot go on: the bytes are no such request, or it is not served here.
pub(crate) async fn begin(
    broker: &Arc<Broker>,
    session: &Session,
    api: ExtensionApi,
    head: RequestHead,
) -> Result<Begun, RequestError> {
    let answering =
        Answering { broker: broker.clone(), api, correlation_id: head.correlation_id, begun: Instant::now() };
    if api == ExtensionApi::Hello {
        let hello: Hello = decode(head)?;
        return answering.now(greet(broker, hello));
    }
    let unsupported = !(extension::VERSION_MIN..=extension::VERSION_MAX).contains(&head.api_version);
    if unsupported || !broker.extension_sessions.is_enabled() {
        return Err(RequestError::Extension { api, version: head.api_version });
    }
    let (broker, sessions) = (broker.clone(), session.extension.clone());
    match api {
        ExtensionApi::Hello => unreachable!("it is answered above"),
        ExtensionApi::Begin => {
            let request: extension::session::Begin = decode(head)?;
            answering.soon(async move { sessions.open(&broker, request).await })
        }
        ExtensionApi::End => {
            let request: extension::session::End = decode(head)?;
            sessions.end(request.session);
            answering.now(Ok(Done))
        }
        ExtensionApi::Get => {
            let request = decode(head)?;
            answering.soon(async move { read::get(&broker, &sessions, request).await })
        }
        ExtensionApi::Scan => {
            let request = decode(head)?;
            answering.soon(async move { read::scan(&broker, &sessions, request).await })
        }
        ExtensionApi::ScanKeys => {
            let request = decode(head)?;
            answering.soon(async move { read::scan_keys(&broker, &sessions, request).await })
        }
        ExtensionApi::Commit => {
            let request: extension::commit::Commit = decode(head)?;
            let session = sessions.take(request.session, &broker);
            answering.soon(async move { commit::commit(&broker, session?, request).await })
        }
        ExtensionApi::Outcome => {
            let request = decode(head)?;
            answering.soon(async move { attempts::outcome(&broker, &request).await })
        }
        ExtensionApi::DeleteRange => {
            let request = decode(head)?;
            answering.soon(async move { delete_range(&broker, request).await })
        }
        ExtensionApi::Hint => {
            let request = decode(head)?;
            answering.now(Ok(hint(&broker, &request)))
        }
    }
}

fn decode<R: ExtensionRequest>(head: RequestHead) -> Result<R, FrameError> {
    extension::decode_request(head.body)
}

/// What every answer needs from its request.
struct Answering {
    broker: Arc<Broker>,
    api: ExtensionApi,
    correlation_id: i32,
    begun: Instant,
}

impl Answering {
    fn now<T: extension::Message>(self, outcome: Result<T, Failure>) -> Result<Begun, RequestError> {
        Ok(Begun::Ready(self.encode(outcome)?))
    }

    /// Goes on with the answer beside what comes next on the connection, unless it is there at once.
    fn soon<T: extension::Message + Send + 'static>(
        self,
        answer: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<Begun, RequestError> {
        let mut answer = Box::pin(answer);
        if let Some(outcome) = answer.as_mut().now_or_never() {
            return self.now(outcome);
        }
        let answer = tokio::spawn(answer);
        Ok(Begun::Waiting(Box::pin(async move {
            let outcome = answer.await.unwrap_or_else(|_| {
                Err(Failure::Unavailable { reason: "the broker failed over this request".to_owned() })
            });
            self.encode(outcome).map(Some)
        })))
    }

    fn encode<T: extension::Message>(
        &self,
        outcome: Result<T, Failure>,
    ) -> Result<AnswerFrame, RequestError> {
        record_extension(self.api, self.begun.elapsed(), outcome.as_ref().err());
        let store = &self.broker.store;
        let time = StoreTime {
            now_ms: store.now_ms(),
            oldest_open_ms: store.oldest_open_ms(),
            steps_back: store.clock_steps_back(),
        };
        Ok(extension::encode_response(self.correlation_id, &Response { time, outcome })?.into())
    }
}

fn greet(broker: &Broker, hello: Hello) -> Result<Welcome, Failure> {
    if !broker.extension_sessions.is_enabled() {
        return Err(Failure::SwitchedOff { setting: ENABLE.to_owned() });
    }
    let (min, max) = (extension::VERSION_MIN, extension::VERSION_MAX);
    let version = hello.version_max.min(max);
    if version < hello.version_min.max(min) {
        return Err(Failure::UnsupportedVersion { min, max });
    }
    let settings = &broker.settings;
    let per_connection = settings.extension_session_connection_max;
    let (value_max_bytes, store_max_bytes) = match &broker.store {
        AnyStore::Tikv(_) => (tikv::VALUE_MAX_BYTES, tikv::TRANSACTION_MAX_BYTES),
        _ => (TransactionLimits::default().max_value_bytes, usize::MAX),
    };
    Ok(Welcome {
        version,
        cluster_id: broker.cluster_id.clone(),
        transaction_max_ms: settings.transaction_max_ms,
        transaction_max_bytes: settings.transaction_max_bytes.min(store_max_bytes) as u64,
        value_max_bytes: value_max_bytes as u64,
        sessions_max: u32::try_from(per_connection).unwrap_or(u32::MAX),
    })
}

async fn delete_range(broker: &Broker, request: DeleteRange) -> Result<Done, Failure> {
    let range = KeyRange::new(request.start, request.end);
    admission::check_delete_range(&range)?;
    broker.store.delete_range(range).await.map_err(commit_failure)?;
    Ok(Done)
}

fn hint(broker: &Broker, request: &Hint) -> Done {
    let id = |topic: u128, partition: i32| PartitionId {
        topic: TopicId(Uuid::from_u128(topic)),
        partition: PartitionIndex(partition),
    };
    let partitions: Vec<PartitionId> =
        request.partitions.iter().map(|hinted| id(hinted.topic, hinted.partition)).collect();
    broker.wakeup.committed(&partitions);
    Done
}

fn read_failure(error: ReadError) -> Failure {
    match error {
        ReadError::Unavailable { reason } => Failure::Unavailable { reason },
        ReadError::Expired { max_ms } => Failure::Expired { max_ms },
        ReadError::Damaged { place } => Failure::Damaged { place },
    }
}

fn commit_failure(error: CommitError) -> Failure {
    match error {
        CommitError::Conflict => Failure::Conflict,
        CommitError::Unknown { token } => Failure::Unknown { key: token.key, nonce: token.nonce },
        CommitError::Unavailable { reason } => Failure::Unavailable { reason },
        CommitError::Expired { max_ms } => Failure::Expired { max_ms },
        CommitError::TooLarge { what, actual, limit } => {
            let is_it = |limited: &Limited| limited.name() == what;
            let what = Limited::ALL.into_iter().find(is_it).unwrap_or(Limited::TransactionBytes);
            Failure::TooLarge { what, actual: actual as u64, limit: limit as u64 }
        }
        CommitError::DiskFull { reserve_bytes } => Failure::DiskFull { reserve_bytes },
    }
}
