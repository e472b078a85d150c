//! Frames, heads, and the versions that are answered.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, TopicName};
use proptest::prelude::*;
use tokio_util::codec::Decoder;

use super::*;
use crate::versions::{self, SERVED};

fn framed(length: u32, bytes: &[u8]) -> BytesMut {
    let mut buf = BytesMut::new();
    buf.put_u32(length);
    buf.put_slice(bytes);
    buf
}

#[test]
fn a_frame_over_the_maximum_is_refused_by_its_length_alone() {
    let decode = |length, bytes| codec(100).decode(&mut framed(length, bytes));
    assert_eq!(decode(3, b"abc").expect("it is small"), Some(BytesMut::from("abc")));
    assert_eq!(decode(100, b"abc").expect("it is the maximum"), None);
    decode(101, b"abc").expect_err("over the maximum");
    decode(0xffff_ffff, b"").expect_err("a negative length");
    codec(usize::MAX).decode(&mut framed(0x8000_0000, b"")).expect_err("a negative length");
}

#[test]
fn a_request_survives_the_round_trip() {
    let topic = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("flights"))));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    let client = StrBytes::from_static_str("tower");
    for version in 0..=13 {
        let frame = encode_request(version, 77, Some(&client), &request).expect("it encodes");
        let inner = codec(1000).decode(&mut BytesMut::from(frame)).expect("a frame").expect("all of it");
        let head = RequestHead::decode(inner.freeze()).expect("a head");
        assert_eq!((head.api_key, head.api_version, head.correlation_id), (3, version, 77));
        assert_eq!(head.client_id.as_ref(), Some(&client));
        assert_eq!(decode_request::<MetadataRequest>(version, head.body).expect("a body"), request);
    }
}

#[test]
fn bytes_after_a_request_are_passed_over() {
    // As librdkafka 2.16 sends it for all topics in version 13: null, both flags false, no tags, three bytes more.
    let sent = Bytes::from_static(&[0, 0, 0, 0, 1, 0, 0]);
    let request = decode_request::<MetadataRequest>(13, sent).expect("the request is whole");
    let all_topics = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
    assert_eq!(request, all_topics);
    decode_request::<MetadataRequest>(13, Bytes::from_static(&[0, 0, 0])).expect_err("cut short");
}

#[test]
fn a_response_survives_the_round_trip() {
    for version in 0..=4 {
        let response = versions::api_versions_response();
        let frame = encode_response(ApiKey::ApiVersions, version, 5, &response).expect("it encodes");
        let decoded =
            decode_response::<ApiVersionsRequest>(version, frame.slice(LENGTH_LEN..)).expect("it decodes");
        assert_eq!(decoded, (5, response));
    }
}

#[test]
fn an_unknown_api_still_has_a_correlation_id() {
    let head =
        RequestHead::decode(Bytes::from_static(&[0x7f, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3])).expect("a head");
    assert_eq!((head.api_key, head.correlation_id, head.client_id), (0x7f00, 9, None));
}

#[test]
fn an_api_versions_request_of_the_future_is_answered_in_version_0() {
    // Version 5: a client id of 3 bytes, no tagged fields, and a body that only the future knows.
    let frame = Bytes::from_static(&[0, 18, 0, 5, 0, 0, 0, 1, 0, 3, b'f', b'g', b'o', 0, 0xca, 0xfe]);
    let head = RequestHead::decode(frame).expect("a head");
    assert!(!versions::is_served(head.api_key, head.api_version));
    let answer = versions::unsupported_api_versions_response();
    let frame = encode_response(ApiKey::ApiVersions, 0, head.correlation_id, &answer).expect("it encodes");
    // What Apache Kafka 4.3.1 says, byte for byte: error 35, one entry, key 18, 0 to 4.
    assert_eq!(frame.as_ref(), [0, 0, 0, 16, 0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    let (_, decoded) =
        decode_response::<ApiVersionsRequest>(0, frame.slice(LENGTH_LEN..)).expect("it decodes");
    let own = ApiVersion::default().with_api_key(18).with_min_version(0).with_max_version(4);
    let expected = ApiVersionsResponse::default().with_error_code(ResponseError::UnsupportedVersion.code());
    assert_eq!(decoded, expected.with_api_keys(vec![own]));
}

#[test]
fn the_table_names_each_api_once_and_in_order() {
    assert!(SERVED.is_sorted_by_key(|range| range.key as i16));
    for range in SERVED {
        assert!(
            versions::is_served(range.key as i16, range.min)
                && versions::is_served(range.key as i16, range.max)
        );
        assert!(!versions::is_served(range.key as i16, range.max + 1));
        assert!(!versions::is_served(range.key as i16, range.min - 1));
        let advertised = if range.key == ApiKey::Produce { 0 } else { range.min };
        assert_eq!(range.advertised_min, advertised);
    }
    assert_eq!(versions::served(1000), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_heads_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), key in 0..80_u8) {
        let mut frame = BytesMut::from(&[0, key][..]);
        frame.put_slice(&bytes);
        let _ = RequestHead::decode(frame.freeze());
    }
}
