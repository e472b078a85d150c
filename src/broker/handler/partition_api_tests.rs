//! The APIs about a partition's records, over a socket, in every version that is served.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteRecordsRequest, FetchRequest, InitProducerIdRequest,
    InitProducerIdResponse, ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest, TopicName,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use tidegate_protocol::batch::{
    BatchHeader, BatchOptions, Compression, Record, TimestampType, check, decode_records, encode_batch, split,
};
use tidegate_protocol::frame::{decode_response, encode_request};
use tidegate_protocol::layout::WireLayout;
use tidegate_store::{MemoryStore, SystemClock};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use uuid::Uuid;

use crate::RunningBroker;
use crate::settings::Settings;

const TOPIC: &str = "topic";
const NOW_MS: i64 = 1_790_000_000_000;

/// A connection to a broker of its own that has a topic of two partitions.
struct Client {
    broker: RunningBroker,
    frames: Framed<TcpStream, LengthDelimitedCodec>,
    topic_id: Uuid,
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

impl Client {
    async fn start(configs: &[(&'static str, &'static str)]) -> Self {
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

    async fn send<R: WireLayout>(&mut self, version: i16, request: R) {
        let frame = encode_request(version, 7, None, &request).expect("a request of that version");
        self.frames.send(frame.slice(4..)).await.expect("it reads");
    }

    async fn receive<R: WireLayout>(&mut self, version: i16) -> R::Response {
        let frame: BytesMut = self.frames.next().await.expect("it answers").expect("a frame");
        let (correlation_id, response) =
            decode_response::<R>(version, frame.freeze()).expect("of that version");
        assert_eq!(correlation_id, 7);
        response
    }

    async fn ask<R: WireLayout>(&mut self, version: i16, request: R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await
    }

    fn produce_request(&self, version: i16, index: i32, records: Bytes) -> ProduceRequest {
        let partition = PartitionProduceData::default().with_index(index).with_records(Some(records));
        let topic = TopicProduceData::default().with_partition_data(vec![partition]);
        let topic = if version >= 13 { topic.with_topic_id(self.topic_id) } else { topic.with_name(name()) };
        ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic])
    }

    async fn produce(&mut self, version: i16, records: Bytes) -> PartitionProduceResponse {
        let request = self.produce_request(version, 0, records);
        let mut response = self.ask(version, request).await;
        response.responses.remove(0).partition_responses.remove(0)
    }

    fn fetch_request(&self, version: i16, partition: FetchPartition) -> FetchRequest {
        let topic = FetchTopic::default().with_partitions(vec![partition]);
        let topic = if version >= 13 { topic.with_topic_id(self.topic_id) } else { topic.with_topic(name()) };
        let request = FetchRequest::default().with_max_wait_ms(0).with_min_bytes(1).with_topics(vec![topic]);
        if version >= 7 { request.with_session_epoch(-1) } else { request }
    }

    async fn fetch(&mut self, version: i16, partition: FetchPartition) -> PartitionData {
        let request = self.fetch_request(version, partition);
        let mut response = self.ask(version, request).await;
        assert_eq!(response.error_code, 0);
        response.responses.remove(0).partitions.remove(0)
    }

    async fn list(&mut self, version: i16, timestamp: i64) -> ListOffsetsPartitionResponse {
        self.list_partition(version, ListOffsetsPartition::default().with_timestamp(timestamp)).await
    }

    async fn list_partition(
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

async fn connect(broker: &RunningBroker) -> Framed<TcpStream, LengthDelimitedCodec> {
    let stream = TcpStream::connect(broker.listen()).await.expect("it listens");
    LengthDelimitedCodec::builder().max_frame_length(64 << 20).new_framed(stream)
}

/// Everything of partition 0 from an offset on.
fn from(offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
        .with_current_leader_epoch(-1)
        .with_last_fetched_epoch(-1)
        .with_log_start_offset(-1)
}

fn records(timestamps_ms: &[i64], options: &BatchOptions) -> Bytes {
    let record = |(offset_delta, timestamp_ms): (i32, &i64)| Record {
        offset_delta,
        timestamp_ms: *timestamp_ms,
        value: Some(Bytes::from(format!("at {timestamp_ms}"))),
        ..Record::default()
    };
    let records: Vec<Record> = (0..).zip(timestamps_ms).map(record).collect();
    encode_batch(&records, options).expect("small")
}

fn plain(timestamps_ms: &[i64]) -> Bytes {
    records(timestamps_ms, &BatchOptions::default())
}

fn idempotent(producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Bytes {
    let options = BatchOptions { producer_id, producer_epoch, base_sequence, ..BatchOptions::default() };
    records(&[NOW_MS, NOW_MS], &options)
}

fn headers(data: &PartitionData) -> Vec<BatchHeader> {
    let batches = split(data.records.clone().expect("never null")).expect("whole batches");
    batches.iter().map(|batch| check(batch).expect("intact")).collect()
}

#[tokio::test]
async fn what_is_produced_in_any_version_is_fetched_in_any_version() {
    let mut client = Client::start(&[]).await;
    for (version, offset) in (3..=13).zip(0..) {
        let produced = client.produce(version, plain(&[NOW_MS])).await;
        assert_eq!((produced.error_code, produced.base_offset), (0, offset), "Produce {version}");
        assert_eq!(produced.log_append_time_ms, -1);
    }
    for version in 4..=18 {
        let data = client.fetch(version, from(3)).await;
        assert_eq!(
            (data.error_code, data.high_watermark, data.last_stable_offset),
            (0, 11, 11),
            "Fetch {version}"
        );
        let offsets: Vec<i64> = headers(&data).iter().map(|header| header.base_offset).collect();
        assert_eq!(offsets, (3..11).collect::<Vec<_>>());
        let empty = client.fetch(version, from(11)).await;
        assert_eq!((empty.error_code, empty.records), (0, Some(Bytes::new())));
    }
}

#[tokio::test]
async fn a_batch_comes_back_byte_for_byte_but_for_its_offset_and_epoch() {
    let mut client = Client::start(&[]).await;
    for compression in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let sent = records(&[NOW_MS, NOW_MS + 1], &BatchOptions { compression, ..BatchOptions::default() });
        let base_offset = client.produce(9, sent.clone()).await.base_offset;
        let got = client.fetch(12, from(base_offset)).await.records.expect("never null");
        assert_eq!(got[16..], sent[16..], "{compression}");
        assert_eq!(got[..8], base_offset.to_be_bytes());
        assert_eq!(decode_records(&got, 1 << 20).expect("intact").len(), 2);
    }
}

#[tokio::test]
async fn topics_and_partitions_that_do_not_exist_are_named_as_such() {
    let mut client = Client::start(&[]).await;
    let unknown_id = Uuid::from_u128(99);
    for (version, code) in [(12, ResponseError::UnknownTopicOrPartition), (13, ResponseError::UnknownTopicId)]
    {
        let mut request = client.produce_request(version, 0, plain(&[NOW_MS]));
        request.topic_data[0].topic_id = if version >= 13 { unknown_id } else { Uuid::nil() };
        request.topic_data[0].name =
            if version >= 13 { TopicName::default() } else { TopicName("gone".into()) };
        let response = client.ask(version, request).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, code.code());
        let mut request = client.fetch_request(version, from(0)).with_max_wait_ms(60_000);
        request.topics[0].topic_id = if version >= 13 { unknown_id } else { Uuid::nil() };
        request.topics[0].topic = if version >= 13 { TopicName::default() } else { TopicName("gone".into()) };
        let response = client.ask(version, request).await;
        assert_eq!(response.responses[0].partitions[0].error_code, code.code());
    }
    let request = client.produce_request(9, 2, plain(&[NOW_MS]));
    let response = client.ask(9, request).await;
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(response.responses[0].partition_responses[0].error_code, unknown);
    assert_eq!(client.fetch(12, from(0).with_partition(2)).await.error_code, unknown);
}

#[tokio::test]
async fn a_batch_that_is_refused_has_kafkas_code_and_says_why_from_version_8_on() {
    let mut client =
        Client::start(&[("max.message.bytes", "300"), ("message.timestamp.before.max.ms", "1000")]).await;
    let with = |options| records(&[i64::MAX / 2], &options);
    let good = with(BatchOptions::default());
    let mut corrupt = good.to_vec();
    corrupt[70] ^= 1;
    let cases = [
        (Bytes::from(corrupt), ResponseError::CorruptMessage),
        (good.slice(..good.len() - 1), ResponseError::CorruptMessage),
        (Bytes::new(), ResponseError::InvalidRecord),
        (Bytes::from([good.clone(), good.clone()].concat()), ResponseError::InvalidRecord),
        (plain(&[i64::MAX / 2; 30]), ResponseError::MessageTooLarge),
        (plain(&[NOW_MS / 2]), ResponseError::InvalidTimestamp),
        (with(BatchOptions { base_offset: 5, ..BatchOptions::default() }), ResponseError::InvalidRecord),
        (with(BatchOptions { control: true, ..BatchOptions::default() }), ResponseError::InvalidRecord),
        (
            with(BatchOptions { transactional: true, ..BatchOptions::default() }),
            ResponseError::InvalidTxnState,
        ),
    ];
    for version in [7, 8, 13] {
        for (batch, expected) in &cases {
            let refused = client.produce(version, batch.clone()).await;
            assert_eq!((refused.error_code, refused.base_offset), (expected.code(), -1), "{expected}");
            assert_eq!(refused.error_message.is_some(), version >= 8);
        }
        assert_eq!(client.produce(version, good.clone()).await.error_code, 0, "and the others are served");
    }
    let zstd = with(BatchOptions { compression: Compression::Zstd, ..BatchOptions::default() });
    let refused = client.produce(6, zstd.clone()).await;
    assert_eq!(refused.error_code, ResponseError::UnsupportedCompressionType.code());
    assert_eq!(client.produce(7, zstd).await.error_code, 0);
    let request = client.produce_request(9, 0, good).with_acks(2);
    let response = client.ask(9, request).await;
    let code = ResponseError::InvalidRequiredAcks.code();
    assert_eq!(response.responses[0].partition_responses[0].error_code, code);
}

#[tokio::test]
async fn an_idempotent_producer_gets_an_id_and_its_repeats_their_first_answer() {
    let mut client = Client::start(&[]).await;
    let mut ids = Vec::new();
    for version in 0..=5 {
        let response: InitProducerIdResponse =
            client.ask(version, InitProducerIdRequest::default().with_transactional_id(None)).await;
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        ids.push(response.producer_id.0);
    }
    assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
    for (epoch, sequence, code, offset) in [
        (1, 0, 0, 0),
        (1, 2, 0, 2),
        (1, 0, 0, 0),
        (1, 6, ResponseError::OutOfOrderSequenceNumber.code(), -1),
        (0, 4, ResponseError::InvalidProducerEpoch.code(), -1),
        (1, 4, 0, 4),
        (1, 2, 0, 2),
    ] {
        let answer = client.produce(11, idempotent(3, epoch, sequence)).await;
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (code, offset),
            "epoch {epoch}, sequence {sequence}"
        );
    }
    let transactional =
        InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId("t".into())));
    let refused = client.ask(4, transactional).await;
    assert_eq!((refused.error_code, refused.producer_id.0), (ResponseError::InvalidRequest.code(), -1));
}

#[tokio::test]
async fn with_acks_0_there_is_no_answer_and_the_next_request_gets_its_own() {
    let mut client = Client::start(&[]).await;
    let request = client.produce_request(9, 0, plain(&[NOW_MS])).with_acks(0);
    client.send(9, request).await;
    assert_eq!(client.produce(9, plain(&[NOW_MS])).await.base_offset, 1);
}

#[tokio::test]
async fn on_a_log_append_time_topic_the_answer_has_the_brokers_time_also_for_a_repeat() {
    let mut client = Client::start(&[("message.timestamp.type", "LogAppendTime")]).await;
    let first = client.produce(9, idempotent(1, 0, 0)).await;
    assert!(first.log_append_time_ms > NOW_MS / 2 && first.log_append_time_ms != NOW_MS);
    assert_eq!(client.produce(9, idempotent(1, 0, 0)).await, first);
    let header = headers(&client.fetch(12, from(0)).await)[0];
    assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(header.max_timestamp, first.log_append_time_ms);
}

#[tokio::test]
async fn sessions_are_not_given_and_what_belongs_to_one_is_refused() {
    let mut client = Client::start(&[]).await;
    for (session_id, session_epoch, code) in [
        (0, 0, 0),
        (0, -1, 0),
        (5, 0, 0),
        (5, -1, 0),
        (0, 1, ResponseError::FetchSessionIdNotFound.code()),
        (5, 3, ResponseError::FetchSessionIdNotFound.code()),
    ] {
        for version in [7, 12, 18] {
            let request = client.fetch_request(version, from(0));
            let request = request.with_session_id(session_id).with_session_epoch(session_epoch);
            let response = client.ask(version, request).await;
            assert_eq!(
                (response.error_code, response.session_id),
                (code, 0),
                "{session_id}, {session_epoch}"
            );
        }
    }
}

#[tokio::test]
async fn the_first_batch_is_always_given_and_limits_hold_for_the_rest() {
    let mut client = Client::start(&[]).await;
    for _ in 0..3 {
        client.produce(9, plain(&[NOW_MS])).await;
    }
    let size = i32::try_from(plain(&[NOW_MS]).len()).expect("small");
    for (partition_max_bytes, max_bytes, count) in [
        (1, i32::MAX, 1),
        (0, 0, 1),
        (size * 2, i32::MAX, 2),
        (i32::MAX, size * 2 + 1, 2),
        (i32::MAX, i32::MAX, 3),
    ] {
        let partition = from(0).with_partition_max_bytes(partition_max_bytes);
        let request = client.fetch_request(12, partition).with_max_bytes(max_bytes);
        let response = client.ask(12, request).await;
        assert_eq!(headers(&response.responses[0].partitions[0]).len(), count);
    }
}

#[tokio::test]
async fn both_isolation_levels_read_the_same() {
    let mut client = Client::start(&[]).await;
    client.produce(9, plain(&[NOW_MS])).await;
    let mut answers = Vec::new();
    for isolation_level in [0, 1] {
        let request = client.fetch_request(12, from(0)).with_isolation_level(isolation_level);
        let mut response = client.ask(12, request).await;
        answers.push(response.responses.remove(0).partitions.remove(0));
    }
    assert_eq!(answers[0].records, answers[1].records);
    assert_eq!((&answers[0].aborted_transactions, &answers[1].aborted_transactions), (&None, &Some(vec![])));
}

#[tokio::test]
async fn an_offset_outside_of_the_log_and_an_epoch_of_another_owner_are_refused() {
    let mut client = Client::start(&[]).await;
    client.produce(9, plain(&[NOW_MS])).await;
    for offset in [-1, 2, i64::MAX] {
        let refused = client.fetch(12, from(offset)).await;
        assert_eq!(refused.error_code, ResponseError::OffsetOutOfRange.code(), "{offset}");
        assert_eq!((refused.high_watermark, refused.records), (-1, Some(Bytes::new())));
    }
    let epochs = [(-1, 0), (0, 0), (1, ResponseError::UnknownLeaderEpoch.code())];
    for (epoch, code) in epochs {
        assert_eq!(client.fetch(12, from(0).with_current_leader_epoch(epoch)).await.error_code, code);
        let partition = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(epoch);
        assert_eq!(client.list_partition(7, partition).await.error_code, code);
        assert_eq!(epoch_end(&mut client, 4, epoch, 0).await.0, code);
    }
    let id = client.broker.broker().catalogue.topics().by_name(TOPIC).expect("it exists").partition(0);
    let store = client.broker.broker().store.clone();
    for broker in [8, 9] {
        let taken =
            tidegate_log::take_ownership(&store, id.expect("it exists"), tidegate_format::BrokerId(broker));
        taken.await.expect("a store that works");
    }
    let fenced = client.produce(9, plain(&[NOW_MS])).await;
    assert_eq!(fenced.error_code, ResponseError::NotLeaderOrFollower.code());
    assert_eq!(client.produce(9, plain(&[NOW_MS])).await.base_offset, 1);
    let refused = client.fetch(12, from(0).with_current_leader_epoch(0)).await;
    assert_eq!(refused.error_code, ResponseError::FencedLeaderEpoch.code());
}

#[tokio::test]
async fn offsets_are_listed_by_time_and_by_place_in_every_version() {
    let mut client = Client::start(&[]).await;
    for timestamps in [&[10, 12][..], &[11, 40, 15], &[30]] {
        client.produce(9, plain(timestamps)).await;
    }
    let unsupported = (ResponseError::UnsupportedVersion.code(), -1, -1);
    for version in 1..=10 {
        let since = |first: i16, answer| if version >= first { answer } else { unsupported };
        for (asked, expected) in [
            (-1, (0, 6, -1)),
            (-2, (0, 0, -1)),
            (-3, since(7, (0, 3, 40))),
            (-4, since(8, (0, 0, -1))),
            (-5, since(9, (0, -1, -1))),
            (-9, unsupported),
            (0, (0, 0, 10)),
            (13, (0, 3, 40)),
            (41, (0, -1, -1)),
        ] {
            let listed = client.list(version, asked).await;
            assert_eq!(
                (listed.error_code, listed.offset, listed.timestamp),
                expected,
                "{asked} in {version}"
            );
            let epoch = if version >= 4 && listed.offset >= 0 { 0 } else { -1 };
            assert_eq!(listed.leader_epoch, epoch, "{asked} in {version}");
        }
    }
}

async fn epoch_end(client: &mut Client, version: i16, current: i32, asked: i32) -> (i16, i32, i64) {
    let partition =
        OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(asked);
    let topic = OffsetForLeaderTopic::default().with_topic(name()).with_partitions(vec![partition]);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
    let request = if version >= 3 { request.with_replica_id(BrokerId(-1)) } else { request };
    let response = client.ask(version, request).await;
    let end = &response.topics[0].partitions[0];
    (end.error_code, end.leader_epoch, end.end_offset)
}

#[tokio::test]
async fn the_end_of_an_epoch_is_told_in_every_version() {
    let mut client = Client::start(&[]).await;
    client.produce(9, plain(&[NOW_MS; 3])).await;
    for version in 2..=4 {
        assert_eq!(epoch_end(&mut client, version, -1, 0).await, (0, 0, 3));
        assert_eq!(epoch_end(&mut client, version, -1, 1).await, (0, -1, -1), "no such epoch yet");
        assert_eq!(epoch_end(&mut client, version, -1, -1).await, (0, -1, -1));
    }
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_or_to_the_end() {
    let mut client = Client::start(&[]).await;
    client.produce(9, plain(&[NOW_MS; 5])).await;
    let out_of_range = ResponseError::OffsetOutOfRange.code();
    for (version, offset, expected) in [
        (0, 3, (0, 3)),
        (1, 2, (0, 3)),
        (2, 6, (out_of_range, -1)),
        (2, -2, (out_of_range, -1)),
        (2, -1, (0, 5)),
    ] {
        let partition = DeleteRecordsPartition::default().with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(name()).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
        let response = client.ask(version, request).await;
        let result = &response.topics[0].partitions[0];
        assert_eq!((result.error_code, result.low_watermark), expected, "to {offset}");
    }
    assert_eq!(client.list(5, -2).await.offset, 5);
    assert_eq!(client.fetch(12, from(4)).await.error_code, ResponseError::OffsetOutOfRange.code());
    assert_eq!(client.produce(9, plain(&[NOW_MS])).await.log_start_offset, 5);
}

#[tokio::test]
async fn a_fetch_that_waits_is_answered_when_another_client_produces() {
    let mut client = Client::start(&[]).await;
    let mut producer = connect(&client.broker).await;
    let request = client.fetch_request(12, from(0)).with_max_wait_ms(600_000);
    client.send(12, request).await;
    let request = client.produce_request(9, 0, plain(&[NOW_MS]));
    let frame = encode_request(9, 1, None, &request).expect("a request");
    producer.send(frame.slice(4..)).await.expect("it reads");
    let response = client.receive::<FetchRequest>(12).await;
    assert_eq!(headers(&response.responses[0].partitions[0]).len(), 1);
}
