//! A client of a broker of its own, and the batches that it sends.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tidegate_protocol::batch::{BatchHeader, BatchOptions, Record, check, encode_batch, split};
use tidegate_protocol::frame::{decode_response, encode_request};
use tidegate_protocol::layout::WireLayout;
use tidegate_store::{MemoryStore, SystemClock};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use uuid::Uuid;

use crate::RunningBroker;
use crate::settings::Settings;

pub(super) const TOPIC: &str = "topic";
pub(super) const NOW_MS: i64 = 1_790_000_000_000;

/// A connection to a broker of its own that has a topic of two partitions.
pub(super) struct Client {
    pub(super) broker: RunningBroker,
    frames: Framed<TcpStream, LengthDelimitedCodec>,
    topic_id: Uuid,
}

pub(super) fn name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

impl Client {
    pub(super) async fn start(configs: &[(&'static str, &'static str)]) -> Self {
        let any_port: SocketAddr = ([127, 0, 0, 1], 0).into();
        let settings = Settings { listen: any_port, admin: any_port, ..Settings::default() };
        let store = MemoryStore::new(Arc::new(SystemClock));
        let broker = RunningBroker::start(settings, store.into()).await.expect("free ports");
        let frames = connect(&broker).await;
        let mut client = Self { broker, frames, topic_id: Uuid::nil() };
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_static_str(value)))
        });
        let anytime = CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str("message.timestamp.after.max.ms"))
            .with_value(Some(StrBytes::from_static_str("9223372036854775807")));
        let topic = CreatableTopic::default()
            .with_name(name())
            .with_num_partitions(2)
            .with_replication_factor(1)
            .with_configs(std::iter::once(anytime).chain(configs).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
        let response = client.ask(7, request).await;
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
        client.topic_id = response.topics[0].topic_id;
        client
    }

    pub(super) async fn send<R: WireLayout>(&mut self, version: i16, request: R) {
        let frame = encode_request(version, 7, None, &request).expect("a request of that version");
        self.frames.send(frame.slice(4..)).await.expect("it reads");
    }

    pub(super) async fn receive<R: WireLayout>(&mut self, version: i16) -> R::Response {
        let frame: BytesMut = self.frames.next().await.expect("it answers").expect("a frame");
        let (correlation_id, response) =
            decode_response::<R>(version, frame.freeze()).expect("of that version");
        assert_eq!(correlation_id, 7);
        response
    }

    pub(super) async fn ask<R: WireLayout>(&mut self, version: i16, request: R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await
    }

    pub(super) fn produce_request(&self, version: i16, index: i32, records: Bytes) -> ProduceRequest {
        let partition = PartitionProduceData::default().with_index(index).with_records(Some(records));
        let topic = TopicProduceData::default().with_partition_data(vec![partition]);
        let topic = if version >= 13 { topic.with_topic_id(self.topic_id) } else { topic.with_name(name()) };
        ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic])
    }

    pub(super) async fn produce(&mut self, version: i16, records: Bytes) -> PartitionProduceResponse {
        let request = self.produce_request(version, 0, records);
        let mut response = self.ask(version, request).await;
        response.responses.remove(0).partition_responses.remove(0)
    }

    pub(super) fn fetch_request(&self, version: i16, partition: FetchPartition) -> FetchRequest {
        let topic = FetchTopic::default().with_partitions(vec![partition]);
        let topic = if version >= 13 { topic.with_topic_id(self.topic_id) } else { topic.with_topic(name()) };
        let request = FetchRequest::default().with_max_wait_ms(0).with_min_bytes(1).with_topics(vec![topic]);
        if version >= 7 { request.with_session_epoch(-1) } else { request }
    }

    pub(super) async fn fetch(&mut self, version: i16, partition: FetchPartition) -> PartitionData {
        let request = self.fetch_request(version, partition);
        let mut response = self.ask(version, request).await;
        assert_eq!(response.error_code, 0);
        response.responses.remove(0).partitions.remove(0)
    }

    pub(super) async fn list(&mut self, version: i16, timestamp: i64) -> ListOffsetsPartitionResponse {
        self.list_partition(version, ListOffsetsPartition::default().with_timestamp(timestamp)).await
    }

    pub(super) async fn list_partition(
        &mut self,
        version: i16,
        partition: ListOffsetsPartition,
    ) -> ListOffsetsPartitionResponse {
        let partition = if version >= 4 { partition } else { partition.with_current_leader_epoch(-1) };
        let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let mut response = self.ask(version, request).await;
        response.topics.remove(0).partitions.remove(0)
    }
}

pub(super) async fn connect(broker: &RunningBroker) -> Framed<TcpStream, LengthDelimitedCodec> {
    let stream = TcpStream::connect(broker.listen()).await.expect("it listens");
    LengthDelimitedCodec::builder().max_frame_length(64 << 20).new_framed(stream)
}

/// Everything of partition 0 from an offset on.
pub(super) fn from(offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
        .with_current_leader_epoch(-1)
        .with_last_fetched_epoch(-1)
        .with_log_start_offset(-1)
}

pub(super) fn records(timestamps_ms: &[i64], options: &BatchOptions) -> Bytes {
    let record = |(offset_delta, timestamp_ms): (i32, &i64)| Record {
        offset_delta,
        timestamp_ms: *timestamp_ms,
        value: Some(Bytes::from(format!("at {timestamp_ms}"))),
        ..Record::default()
    };
    let records: Vec<Record> = (0..).zip(timestamps_ms).map(record).collect();
    encode_batch(&records, options).expect("small")
}

pub(super) fn plain(timestamps_ms: &[i64]) -> Bytes {
    records(timestamps_ms, &BatchOptions::default())
}

pub(super) fn idempotent(producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Bytes {
    let options = BatchOptions { producer_id, producer_epoch, base_sequence, ..BatchOptions::default() };
    records(&[NOW_MS, NOW_MS], &options)
}

pub(super) fn headers(data: &PartitionData) -> Vec<BatchHeader> {
    let batches = split(data.records.clone().expect("never null")).expect("whole batches");
    batches.iter().map(|batch| check(batch).expect("intact")).collect()
}
