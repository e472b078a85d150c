//! A connection against a socket that answers as the test says.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tidegate_protocol::error::ResponseError;
use tidegate_protocol::frame::{self, FrameError, RequestHead};
use tidegate_protocol::messages::{
    ApiKey, HeartbeatRequest, HeartbeatResponse, ListGroupsRequest, ProduceRequest,
};
use tidegate_protocol::{StrBytes, versions};

use super::Connection;
use crate::testing::{Answer, FakeBroker, reply, reply_versions};
use crate::{ClientOptions, Error};

/// Answers ApiVersions, and heartbeats with their generation as the throttle time, after `others` had its say.
async fn broker(others: impl Fn(&RequestHead) -> Option<Answer> + Send + Sync + 'static) -> FakeBroker {
    FakeBroker::start(move |head| {
        others(head).unwrap_or_else(|| match head.api_key {
            18 => reply_versions(head),
            12 => {
                let request: HeartbeatRequest =
                    frame::decode_request(head.api_version, head.body.clone()).expect("a heartbeat");
                reply(head, &HeartbeatResponse::default().with_throttle_time_ms(request.generation_id))
            }
            other => panic!("nobody asks for {other}"),
        })
    })
    .await
}

async fn connect(broker: &FakeBroker, options: ClientOptions) -> Result<Connection, Error> {
    Connection::connect(&broker.address.to_string(), &options).await
}

fn heartbeat(number: i32) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(StrBytes::from_static_str("g").into())
        .with_member_id(StrBytes::from_static_str("m"))
        .with_generation_id(number)
}

#[tokio::test]
async fn versions_are_agreed_on() {
    let broker = broker(|_| None).await;
    let connection = connect(&broker, broker.options()).await.expect("it connects");
    assert_eq!(connection.version::<ProduceRequest>(), Ok(13));
    assert_eq!(connection.versions().of(ApiKey::ApiVersions), Some((0, 4)));
    assert_eq!(connection.address(), broker.address.to_string());
}

#[tokio::test]
async fn an_old_broker_is_asked_again_in_its_own_version() {
    let asked = std::sync::Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let broker = broker(move |head| {
        seen.lock().expect("no panic").push(head.api_version);
        // Answers as a broker that knows ApiVersions up to 2, and has no Produce.
        let own = tidegate_protocol::messages::api_versions_response::ApiVersion::default().with_api_key(18);
        let known = tidegate_protocol::messages::ApiVersionsResponse::default()
            .with_api_keys(vec![own.with_max_version(2)]);
        if head.api_version > 2 {
            let refused = known.with_error_code(ResponseError::UnsupportedVersion.code());
            let frame = frame::encode_response(ApiKey::ApiVersions, 0, head.correlation_id, &refused);
            return Some(Answer::Frame(frame.expect("it encodes")));
        }
        Some(reply(head, &known))
    })
    .await;
    let connection = connect(&broker, broker.options()).await.expect("it connects");
    assert_eq!(*asked.lock().expect("no panic"), [4, 2]);
    let error = connection.version::<ProduceRequest>().expect_err("there is no Produce");
    assert!(matches!(error, Error::Unsupported { api: ApiKey::Produce, .. }), "{error}");
}

#[tokio::test]
async fn answers_find_their_requests() {
    let broker = broker(|_| None).await;
    let connection = connect(&broker, broker.options()).await.expect("it connects");
    let mut replies = Vec::new();
    for number in 0..10 {
        replies.push(connection.start(4, &heartbeat(number), Duration::ZERO).await.expect("it starts"));
    }
    // Whoever loses interest disturbs nobody.
    drop(replies.remove(3));
    for (reply, number) in replies.into_iter().zip([0, 1, 2, 4, 5, 6, 7, 8, 9]).rev() {
        assert_eq!(reply.wait().await.expect("an answer").throttle_time_ms, number);
    }
}

#[tokio::test]
async fn answers_in_another_order_find_their_requests_too() {
    let held = Mutex::new(Vec::new());
    let broker = broker(move |head| {
        if head.api_key != 12 {
            return None;
        }
        let request: HeartbeatRequest = frame::decode_request(4, head.body.clone()).expect("a heartbeat");
        let Answer::Frame(answer) =
            reply(head, &HeartbeatResponse::default().with_throttle_time_ms(request.generation_id))
        else {
            unreachable!("reply gives a frame")
        };
        let mut held = held.lock().expect("no panic");
        held.push(answer);
        if held.len() < 3 {
            return Some(Answer::Nothing);
        }
        let reversed: Vec<u8> = held.drain(..).rev().flatten().collect();
        Some(Answer::Frame(reversed.into()))
    })
    .await;
    let connection = connect(&broker, broker.options()).await.expect("it connects");
    let ask = |number| {
        let connection = connection.clone();
        async move { connection.call(|_| heartbeat(number)).await.expect("an answer").throttle_time_ms }
    };
    assert_eq!(tokio::join!(ask(1), ask(2), ask(3)), (1, 2, 3));
}

#[tokio::test]
async fn no_more_than_the_maximum_is_under_way() {
    let broker = broker(|head| (head.api_key == 12).then_some(Answer::Nothing)).await;
    let options = ClientOptions { max_in_flight: 2, ..broker.options() };
    let connection = connect(&broker, options).await.expect("it connects");
    let _first = connection.start(4, &heartbeat(1), Duration::ZERO).await.expect("it starts");
    let _second = connection.start(4, &heartbeat(2), Duration::ZERO).await.expect("it starts");
    let request = heartbeat(3);
    let third = connection.start(4, &request, Duration::ZERO);
    tokio::pin!(third);
    assert!(futures::poll!(&mut third).is_pending(), "it waits for an answer to the others");
}

#[tokio::test]
async fn a_late_answer_closes_the_connection() {
    let broker = broker(|head| (head.api_key == 12).then_some(Answer::Nothing)).await;
    let connection = connect(&broker, broker.options()).await.expect("it connects");
    let after = Duration::from_millis(broker.options().request_timeout_ms);
    let other = connection.start(4, &heartbeat(1), Duration::from_secs(60)).await.expect("it starts");
    // From here on time goes on by itself: nothing but a time-out can come.
    tokio::time::pause();
    let error = connection.call(|_| heartbeat(2)).await.expect_err("nobody answers");
    assert_eq!(error, Error::TimedOut { what: "an answer", after });
    assert!(connection.is_closed());
    assert_eq!(other.wait().await.expect_err("the connection is closed"), error, "with what closed it");
    assert_eq!(connection.call(|_| heartbeat(3)).await.expect_err("the connection is closed"), error);
}

#[tokio::test]
async fn a_lost_connection_fails_what_is_under_way() {
    let broker = broker(|head| (head.api_key == 12).then_some(Answer::Close)).await;
    let connection = connect(&broker, broker.options()).await.expect("it connects");
    let error = connection.call(|_| heartbeat(1)).await.expect_err("the broker hangs up");
    let Error::Disconnected { address, kind } = &error else { panic!("{error}") };
    assert_eq!(*address, broker.address.to_string());
    assert!(matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{kind}");
    assert!(error.is_retriable());
}

#[tokio::test]
async fn an_answer_over_the_maximum_closes_the_connection() {
    let broker = broker(|head| {
        (head.api_key == 12).then(|| Answer::Frame(bytes::Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff])))
    })
    .await;
    let options = ClientOptions { max_frame_bytes: 10_000, ..broker.options() };
    let connection = connect(&broker, options).await.expect("it connects");
    let error = connection.call(|_| heartbeat(1)).await.expect_err("two gigabytes");
    assert!(matches!(error, Error::Disconnected { kind: io::ErrorKind::InvalidData, .. }), "{error}");
}

#[tokio::test]
async fn an_answer_to_nothing_is_not_the_protocol() {
    let broker = broker(|head| {
        (head.api_key == 12).then(|| Answer::Frame(bytes::Bytes::from_static(&[0, 0, 0, 4, 0x7f, 0, 0, 0])))
    })
    .await;
    let connection = connect(&broker, broker.options()).await.expect("it connects");
    let error = connection.call(|_| heartbeat(1)).await.expect_err("an answer to nothing");
    assert_eq!(error, Error::Protocol(FrameError::Malformed { field: "correlation_id" }));
}

#[tokio::test]
async fn another_service_is_told_from_a_broker() {
    let broker =
        FakeBroker::start(|_| Answer::Frame(bytes::Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
            .await;
    let error = connect(&broker, broker.options()).await.expect_err("no broker");
    assert!(matches!(error, Error::Disconnected { kind: io::ErrorKind::InvalidData, .. }), "{error}");
}

#[tokio::test]
async fn nobody_listens_there() {
    // An address of its own: a port of 127.0.0.1 may be another test's as soon as it is free.
    let listener = std::net::TcpListener::bind("127.0.0.2:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let error = Connection::connect(&address, &ClientOptions::new(&address)).await.expect_err("nobody");
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
}

#[tokio::test]
async fn a_request_that_cannot_be_said_in_a_version_is_refused_before_it_is_sent() {
    let broker = broker(|_| None).await;
    let connection = connect(&broker, broker.options()).await.expect("it connects");
    let request = ListGroupsRequest::default().with_states_filter(vec![StrBytes::from_static_str("Stable")]);
    let error = connection.start(0, &request, Duration::ZERO).await.expect_err("version 0 has no filter");
    assert!(matches!(error, Error::Protocol(FrameError::Encode { .. })), "{error}");
    assert!(!connection.is_closed());
    assert!(versions::is_served(16, 0));
}
