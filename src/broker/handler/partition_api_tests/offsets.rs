//! Where a log begins and ends, whose epochs it has, and what is deleted of it.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{BrokerId, DeleteRecordsRequest, OffsetForLeaderEpochRequest};

use super::fixture::{Client, NOW_MS, TOPIC, from, name, plain};

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
