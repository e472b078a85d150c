//! What is produced: batches as they come back or are refused, idempotence, acknowledgements, the broker's time.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, TopicName, TransactionalId};
use tidegate_protocol::batch::{BatchOptions, Compression, TimestampType, decode_records};
use uuid::Uuid;

use super::fixture::{Client, NOW_MS, from, headers, idempotent, plain, records};

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
