//! What is fetched: versions, sessions, limits, isolation levels, waiting.

use bytes::Bytes;
use futures::SinkExt;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use tidegate_protocol::frame::encode_request;

use super::fixture::{Client, NOW_MS, connect, from, headers, plain};

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
