//! A broker in memory, and how it is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;
use tidegate_protocol::WireLayout;
use tidegate_protocol::batch::{BatchOptions, Record, encode_batch};
use tidegate_protocol::frame::{LENGTH_LEN, decode_response, encode_request};
use tidegate_store::{MemoryStore, SystemClock};
use uuid::Uuid;

use crate::dispatch::{self, RequestError, Session};
use crate::settings::Settings;
use crate::{Broker, RunningBroker};

/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(120);

/// A topic of two partitions that exists, and one that does not.
pub(super) const FLIGHTS: &str = "flights";
pub(super) const MISSING: &str = "missing";
/// An id that no topic has.
pub(super) const NOBODYS_ID: Uuid = Uuid::from_u128(7);

pub(super) struct Fixture {
    running: RunningBroker,
    pub(super) flights_id: Uuid,
    answered: Mutex<BTreeSet<(i16, i16)>>,
}

impl Fixture {
    pub(super) async fn start() -> Self {
        let any_port: SocketAddr = ([127, 0, 0, 1], 0).into();
        let settings = Settings {
            listen: any_port,
            admin: any_port,
            data_dir: "/".into(),
            group_initial_rebalance_delay_ms: 0,
            ..Settings::default()
        };
        let store = MemoryStore::new(Arc::new(SystemClock));
        let running = RunningBroker::start(settings, store.into()).await.expect("free ports, an empty store");
        let created = running.broker().catalogue.create(FLIGHTS, 2, BTreeMap::new(), false).await;
        let flights_id = created.expect("a new topic").id.0;
        Self { running, flights_id, answered: Mutex::default() }
    }

    pub(super) async fn stop(self) {
        self.running.stop().await;
    }

    pub(super) fn broker(&self) -> &Arc<Broker> {
        self.running.broker()
    }

    pub(super) fn versions_answered(&self) -> usize {
        self.answered.lock().expect("nothing panics with the lock held").len()
    }

    /// Sends a request and gives the answer, which was decoded to its end.
    pub(super) async fn ask<R: WireLayout>(&self, version: i16, request: &R) -> R::Response {
        let answer = self.send(version, request).await;
        let answer = answer.unwrap_or_else(|| panic!("key {} v{version} was not answered", R::KEY));
        let (correlation_id, response) = decode_response::<R>(version, answer.slice(LENGTH_LEN..))
            .unwrap_or_else(|error| panic!("key {} v{version}: {error}", R::KEY));
        assert_eq!(correlation_id, 42);
        self.answered.lock().expect("nothing panics with the lock held").insert((R::KEY, version));
        response
    }

    /// Sends a request that may have no answer.
    async fn send<R: WireLayout>(&self, version: i16, request: &R) -> Option<Bytes> {
        let answered = self.try_send(version, request).await;
        answered.unwrap_or_else(|error| panic!("key {} v{version}: {error}", R::KEY))
    }

    /// Sends a request that may have no answer, or end its connection.
    pub(super) async fn try_send<R: WireLayout>(
        &self,
        version: i16,
        request: &R,
    ) -> Result<Option<Bytes>, RequestError> {
        let client = text("a client");
        let frame = encode_request(version, 42, Some(&client), request)
            .unwrap_or_else(|error| panic!("the request with key {} v{version}: {error}", R::KEY));
        let session = Session::new(([127, 0, 0, 1], 4_000).into());
        let answer = async {
            let begun = dispatch::begin(self.broker(), &session, frame.slice(LENGTH_LEN..)).await?;
            begun.answer().await
        };
        let answer = tokio::time::timeout(HANG_AFTER, answer).await.expect("it does not hang")?;
        Ok(answer.map(|mut frame| frame.copy_to_bytes(frame.remaining())))
    }

    /// Creates a topic of one partition whose name nobody has used.
    pub(super) async fn new_topic(&self) -> (TopicName, Uuid) {
        let name = format!("made-{}", Uuid::new_v4());
        let created = self.broker().catalogue.create(&name, 1, BTreeMap::new(), false).await;
        (topic(&name), created.expect("a new topic").id.0)
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(super) fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

/// A batch of two records, as a producer sends it.
pub(super) fn batch() -> Bytes {
    let record = |offset_delta| Record {
        offset_delta,
        timestamp_ms: 1_700_000_000_000,
        key: Some(Bytes::from_static(b"LH400")),
        value: Some(Bytes::from_static(b"boarding")),
        headers: Vec::new(),
    };
    encode_batch(&[record(0), record(1)], &BatchOptions::default()).expect("it is small")
}
