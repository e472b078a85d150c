//! Why a cluster cannot be used, found out before the client is asked: it waits for long, and tells little.
//!
//! Each Placement Driver is asked for its members and for its stores, by the two calls that this needs of its protocol.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Status;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::options::{TikvOpenError, TikvOptions, TikvTls};

/// The states of a store in which it can be used.
const STORE_UP: i32 = 0;
/// What a Placement Driver says that no store has ever registered with.
const NOT_BOOTSTRAPPED: i32 = 2;
/// How long to wait for a leader before asking again.
const LEADER_WAIT: Duration = Duration::from_millis(100);

#[derive(Clone, PartialEq, Message)]
struct RequestHeader {
    #[prost(uint64, tag = "1")]
    cluster_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Failure {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "1")]
    cluster_id: u64,
    #[prost(message, optional, tag = "2")]
    error: Option<Failure>,
}

#[derive(Clone, PartialEq, Message)]
struct GetMembersRequest {
    #[prost(message, optional, tag = "1")]
    header: Option<RequestHeader>,
}

#[derive(Clone, PartialEq, Message)]
struct GetMembersResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(message, optional, tag = "3")]
    leader: Option<Member>,
}

#[derive(Clone, PartialEq, Message)]
struct Member {
    #[prost(string, repeated, tag = "4")]
    client_urls: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct GetAllStoresRequest {
    #[prost(message, optional, tag = "1")]
    header: Option<RequestHeader>,
}

#[derive(Clone, PartialEq, Message)]
struct Store {
    #[prost(int32, tag = "3")]
    state: i32,
}

#[derive(Clone, PartialEq, Message)]
struct GetAllStoresResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = "2")]
    stores: Vec<Store>,
}

/// The certificates, read once.
struct Pems {
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// Looks whether the cluster can be used, for at most `limit`.
pub(super) async fn probe(options: &TikvOptions, limit: Duration) -> Result<(), TikvOpenError> {
    let endpoints = &options.address.pd_endpoints;
    match first_that_answers(endpoints, options.tls.as_ref(), limit).await? {
        Ok(_) => Ok(()),
        Err(Refusal::NoStores(reason)) => {
            Err(TikvOpenError::NoStores { address: options.address.clone(), reason })
        }
        Err(Refusal::Useless(reason)) => {
            Err(TikvOpenError::PlacementDriver { address: options.address.clone(), reason })
        }
    }
}

/// Which of several Placement Drivers to go by: the client asks one after the other, and waits for each without a limit.
pub(super) async fn choose(
    endpoints: &[String],
    tls: Option<&TikvTls>,
    limit: Duration,
) -> Result<String, String> {
    match first_that_answers(endpoints, tls, limit).await.map_err(|error| error.to_string())? {
        Ok(endpoint) => Ok(endpoint),
        Err(Refusal::NoStores(reason) | Refusal::Useless(reason)) => Err(reason),
    }
}

/// Asks all of them at once, for at most `limit`.
async fn first_that_answers(
    endpoints: &[String],
    tls: Option<&TikvTls>,
    limit: Duration,
) -> Result<Result<String, Refusal>, TikvOpenError> {
    let pems = Arc::new(tls.map(read_pems).transpose()?);
    let mut asked = JoinSet::new();
    for endpoint in endpoints {
        let (endpoint, pems) = (endpoint.clone(), pems.clone());
        asked.spawn(async move {
            let asking = tokio::time::timeout(limit, ask(&endpoint, pems.as_ref().as_ref(), limit));
            let answer =
                asking.await.unwrap_or_else(|_| Err(Refusal::Useless("no answer in time".to_owned())));
            (endpoint, answer)
        });
    }
    let mut reasons = Vec::new();
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok((endpoint, Ok(()))) => return Ok(Ok(endpoint)),
            Ok((_, Err(no_stores @ Refusal::NoStores(_)))) => return Ok(Err(no_stores)),
            Ok((endpoint, Err(Refusal::Useless(reason)))) => reasons.push(format!("{endpoint}: {reason}")),
            Err(error) => reasons.push(format!("asking ended: {error}")),
        }
    }
    Ok(Err(Refusal::Useless(reasons.join("; "))))
}

enum Refusal {
    Useless(String),
    NoStores(String),
}

async fn ask(endpoint: &str, pems: Option<&Pems>, limit: Duration) -> Result<(), Refusal> {
    let until = Instant::now() + limit;
    loop {
        let (cluster_id, leader) = members(endpoint, pems, limit).await.map_err(Refusal::Useless)?;
        // The leader alone knows of stores. A cluster that has just started has none for a moment.
        let reason = match leader {
            Some(leader) => match stores(&leader, cluster_id, pems, limit).await? {
                None => return Ok(()),
                Some(reason) => reason,
            },
            None => "it has no leader".to_owned(),
        };
        if Instant::now() + LEADER_WAIT >= until {
            return Err(Refusal::Useless(reason));
        }
        tokio::time::sleep(LEADER_WAIT).await;
    }
}

/// The cluster's id and the `HOST:PORT` of its leader.
async fn members(
    endpoint: &str,
    pems: Option<&Pems>,
    limit: Duration,
) -> Result<(u64, Option<String>), String> {
    let channel = connect(endpoint, pems, limit).await?;
    let answer: Result<GetMembersResponse, Status> =
        call(&channel, "/pdpb.PD/GetMembers", GetMembersRequest::default()).await;
    let members = answer.map_err(|status| {
        let reason = describe(&status);
        match (status.source(), pems) {
            // With TLS 1.3 the other side looks at the certificate when the handshake is over here.
            (Some(_), Some(_)) => format!(
                "it ended the connection, as it does when it refuses the certificate of tikv.tls.cert ({reason})"
            ),
            _ => format!("does not answer as a Placement Driver ({reason})"),
        }
    })?;
    let urls = members.leader.into_iter().flat_map(|leader| leader.client_urls);
    let leader =
        urls.map(|url| url.trim_start_matches("http://").trim_start_matches("https://").to_owned()).next();
    Ok((members.header.map_or(0, |header| header.cluster_id), leader))
}

/// Whether a store is up; `Some` if the one who was asked is not the leader any more.
async fn stores(
    leader: &str,
    cluster_id: u64,
    pems: Option<&Pems>,
    limit: Duration,
) -> Result<Option<String>, Refusal> {
    let channel = connect(leader, pems, limit)
        .await
        .map_err(|reason| Refusal::Useless(format!("its leader {leader} cannot be reached: {reason}")))?;
    let request = GetAllStoresRequest { header: Some(RequestHeader { cluster_id }) };
    let answer: Result<GetAllStoresResponse, Status> = call(&channel, "/pdpb.PD/GetAllStores", request).await;
    let stores = match answer {
        Ok(stores) => stores,
        Err(status) => return Ok(Some(describe(&status))),
    };
    match stores.header.and_then(|header| header.error) {
        Some(failure) if failure.kind == NOT_BOOTSTRAPPED => {
            return Err(Refusal::NoStores("none has ever registered".to_owned()));
        }
        Some(failure) => return Ok(Some(failure.message)),
        None => {}
    }
    if stores.stores.iter().any(|store| store.state == STORE_UP) {
        return Ok(None);
    }
    Err(Refusal::NoStores(format!("{} are down or leaving", stores.stores.len())))
}

async fn connect(endpoint: &str, pems: Option<&Pems>, limit: Duration) -> Result<Channel, String> {
    let scheme = if pems.is_some() { "https" } else { "http" };
    let mut connecting =
        Endpoint::from_shared(format!("{scheme}://{endpoint}")).map_err(|error| describe(&error))?;
    if let Some(pems) = pems {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&pems.ca))
            .identity(Identity::from_pem(&pems.cert, &pems.key));
        connecting = connecting.tls_config(tls).map_err(|error| describe(&error))?;
    }
    connecting.connect_timeout(limit).connect().await.map_err(|error| describe(&error))
}

async fn call<Q, A>(channel: &Channel, path: &'static str, request: Q) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let codec = tonic::codec::ProstCodec::<Q, A>::default();
    let answer = grpc.unary(tonic::Request::new(request), PathAndQuery::from_static(path), codec).await;
    Ok(answer?.into_inner())
}

/// An error with what lies behind it: the client's own messages leave the cause out.
fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<Status>() {
        Some(status) => format!("{}: {}", status.code().description(), status.message()),
        None => error.to_string(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn read_pems(tls: &TikvTls) -> Result<Pems, TikvOpenError> {
    let read = |setting, path: &std::path::Path, kind: &str| {
        let refuse = |reason: String| TikvOpenError::Tls { setting, path: path.to_owned(), reason };
        let pem = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let text = String::from_utf8_lossy(&pem);
        let has_one = text.contains("-----BEGIN ") && text.contains(kind);
        if has_one { Ok(pem) } else { Err(refuse(format!("it has no {kind} in PEM"))) }
    };
    Ok(Pems {
        ca: read("tikv.tls.ca", &tls.ca, "CERTIFICATE")?,
        cert: read("tikv.tls.cert", &tls.cert, "CERTIFICATE")?,
        key: read("tikv.tls.key", &tls.key, "PRIVATE KEY")?,
    })
}
