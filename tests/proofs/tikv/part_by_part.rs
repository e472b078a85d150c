//! A transaction on TiKV whose parts are sent one by one: what a client leaves that is killed in between.
//!
//! It speaks the few messages of TiKV's protocol that this needs itself, as the client sends all parts or none. It knows one
//! region, so it is for a cluster of this test's own, which is too young to have split.

use prost::Message;
use tidegate_tests::admin_http;
use tidegate_tests::tikv_cluster::OwnCluster;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

/// How long others take the transaction for one that lives: what the client says of small ones.
const LOCK_TTL_MS: u64 = 3_000;

#[derive(Clone, PartialEq, Message)]
struct Context {
    #[prost(uint64, tag = "1")]
    region_id: u64,
    #[prost(message, optional, tag = "2")]
    region_epoch: Option<RegionEpoch>,
    #[prost(message, optional, tag = "3")]
    peer: Option<Peer>,
}

#[derive(Clone, PartialEq, Message)]
struct RegionEpoch {
    #[prost(uint64, tag = "1")]
    conf_ver: u64,
    #[prost(uint64, tag = "2")]
    version: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Peer {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    store_id: u64,
}

/// What puts a value: that is the operation of number 0.
#[derive(Clone, PartialEq, Message)]
struct Mutation {
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PrewriteRequest {
    #[prost(message, optional, tag = "1")]
    context: Option<Context>,
    #[prost(message, repeated, tag = "2")]
    mutations: Vec<Mutation>,
    #[prost(bytes = "vec", tag = "3")]
    primary_lock: Vec<u8>,
    #[prost(uint64, tag = "4")]
    start_version: u64,
    #[prost(uint64, tag = "5")]
    lock_ttl: u64,
}

#[derive(Clone, PartialEq, Message)]
struct CommitRequest {
    #[prost(message, optional, tag = "1")]
    context: Option<Context>,
    #[prost(uint64, tag = "2")]
    start_version: u64,
    #[prost(bytes = "vec", repeated, tag = "3")]
    keys: Vec<Vec<u8>>,
    #[prost(uint64, tag = "4")]
    commit_version: u64,
}

/// An answer to either: whether there was an error, of the region or of keys.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    region_error: Option<Failure>,
    #[prost(message, repeated, tag = "2")]
    errors: Vec<Failure>,
}

/// Something that is there; what it says is not read.
#[derive(Clone, PartialEq, Message)]
struct Failure {}

/// The store refused a part for what became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// A transaction that is under way.
pub(crate) struct PartByPart {
    channel: Channel,
    context: Context,
    namespace: String,
    start_version: u64,
    primary: Vec<u8>,
}

impl PartByPart {
    /// A transaction of that version in a namespace of the cluster. Its primary key is to be `primary`: a key of the
    /// store's user, as all are here.
    pub(crate) async fn begin(
        cluster: &OwnCluster,
        namespace: &str,
        start_version: u64,
        primary: &str,
    ) -> Self {
        let store =
            Endpoint::from_shared(format!("http://{}", cluster.proxy().address())).expect("an address");
        let mut txn = Self {
            channel: store.connect().await.expect("the store listens"),
            context: first_region(cluster),
            namespace: namespace.to_owned(),
            start_version,
            primary: Vec::new(),
        };
        txn.primary = txn.key(primary);
        txn
    }

    /// Locks a key, and says what it is to be.
    pub(crate) async fn prewrite(&self, key: &str, value: &str) -> Result<(), Refused> {
        let request = PrewriteRequest {
            context: Some(self.context.clone()),
            mutations: vec![Mutation { key: self.key(key), value: value.into() }],
            primary_lock: self.primary.clone(),
            start_version: self.start_version,
            lock_ttl: LOCK_TTL_MS,
        };
        self.call("/tikvpb.Tikv/KvPrewrite", request).await
    }

    /// Commits a key that is locked.
    pub(crate) async fn commit(&self, key: &str, version: u64) -> Result<(), Refused> {
        let request = CommitRequest {
            context: Some(self.context.clone()),
            start_version: self.start_version,
            keys: vec![self.key(key)],
            commit_version: version,
        };
        self.call("/tikvpb.Tikv/KvCommit", request).await
    }

    /// As the store lays its keys out.
    fn key(&self, key: &str) -> Vec<u8> {
        format!("_tidegate/{}\0d{key}", self.namespace).into()
    }

    async fn call<Q: Message + 'static>(&self, path: &'static str, request: Q) -> Result<(), Refused> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.expect("the store is connected");
        let codec = tonic::codec::ProstCodec::<Q, Answer>::default();
        let answer = grpc.unary(tonic::Request::new(request), PathAndQuery::from_static(path), codec).await;
        let answer = answer.expect("an answer").into_inner();
        assert_eq!(answer.region_error, None, "the region is the one that the Placement Driver told of");
        if answer.errors.is_empty() { Ok(()) } else { Err(Refused) }
    }
}

/// Where the keys of namespaces lie: new clusters only divide what comes behind them.
fn first_region(cluster: &OwnCluster) -> Context {
    let (status, body) = admin_http::get(&cluster.pd_address(), "/pd/api/v1/regions");
    assert_eq!(status, 200, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let regions = answer["regions"].as_array().expect("regions");
    let region = regions.iter().find(|region| region["start_key"] == "").expect("a first region");
    let number =
        |of: &serde_json::Value, name: &str| of[name].as_u64().unwrap_or_else(|| panic!("{name}: {body}"));
    let (epoch, leader) = (&region["epoch"], &region["leader"]);
    Context {
        region_id: number(region, "id"),
        region_epoch: Some(RegionEpoch {
            conf_ver: number(epoch, "conf_ver"),
            version: number(epoch, "version"),
        }),
        peer: Some(Peer { id: number(leader, "id"), store_id: number(leader, "store_id") }),
    }
}
