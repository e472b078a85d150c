//! The one table of the APIs and versions that Tidegate serves.
//!
//! ApiVersions answers with it, dispatch checks against it, and nothing else lists versions. Each range is capped by
//! what `kafka-protocol` encodes and decodes, which the compiler checks.
//!
//! One range is advertised wider than it is served, as Apache Kafka 4 does it: **Produce from 0**, served from 3.
//! librdkafka before 2.11.1 (so kcat 1.7 with librdkafka 2.0.2, and most bindings of before August 2025) sends every
//! batch uncompressed to a broker whose Produce does not begin at 0, whatever codec it was told to use; zstd wants Produce
//! 7 and Fetch 10 within the ranges besides. No client that speaks record batches v2 then chooses Produce 0 to 2, as
//! each takes the highest version that both sides have; the connection of one that does is closed. librdkafka's other
//! features look at ranges that are served: message format 2 at Produce 3 and Fetch 4, balanced groups at OffsetCommit
//! 1 to 2 and OffsetFetch 1, look-up by time at ListOffsets 1, idempotence at InitProducerId 0, lz4 at FindCoordinator 0.
//!
//! A version that is not served is answered with an error code for ApiVersions alone, which is how clients find out what
//! is served. For every other API there is no form of answer that its client could be sure to read, so the connection is
//! closed, as Apache Kafka does it (`SocketServer.parseRequestHeader`).
//!
//! Sources: librdkafka's `rdkafka_feature.c` and its issue 4956; KAFKA-18659; KIP-896.

use kafka_protocol::ResponseError;
use kafka_protocol::messages as m;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};
use kafka_protocol::protocol::Message;

use crate::layout::WireLayout;

/// The versions of one API that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiRange {
    /// The API.
    pub key: ApiKey,
    /// The oldest version that is served.
    pub min: i16,
    /// The newest version that is served.
    pub max: i16,
    /// The oldest version that ApiVersions names: [`ApiRange::min`] but for Produce.
    pub advertised_min: i16,
}

/// The range, if `kafka-protocol` has all of it for both directions; it does not compile otherwise.
const fn range<R: WireLayout>(key: ApiKey, min: i16, max: i16) -> ApiRange {
    assert!(key as i16 == R::KEY, "the key is that of the request");
    assert!(min <= max);
    assert!(
        R::VERSIONS.min <= min && max <= R::VERSIONS.max,
        "kafka-protocol has the request in these versions"
    );
    assert!(
        <R::Response as Message>::VERSIONS.min <= min && max <= <R::Response as Message>::VERSIONS.max,
        "kafka-protocol has the response in these versions"
    );
    ApiRange { key, min, max, advertised_min: min }
}

const fn advertised_from(min: i16, range: ApiRange) -> ApiRange {
    ApiRange { advertised_min: min, ..range }
}

/// Every API that is served, by its key.
pub const SERVED: &[ApiRange] = &[
    advertised_from(0, range::<m::ProduceRequest>(ApiKey::Produce, 3, 13)),
    range::<m::FetchRequest>(ApiKey::Fetch, 4, 18),
    // Kafka 4 has 11 too; kafka-protocol 0.18 ends at 10.
    range::<m::ListOffsetsRequest>(ApiKey::ListOffsets, 1, 10),
    range::<m::MetadataRequest>(ApiKey::Metadata, 0, 13),
    range::<m::OffsetCommitRequest>(ApiKey::OffsetCommit, 2, 9),
    range::<m::OffsetFetchRequest>(ApiKey::OffsetFetch, 1, 9),
    range::<m::FindCoordinatorRequest>(ApiKey::FindCoordinator, 0, 6),
    range::<m::JoinGroupRequest>(ApiKey::JoinGroup, 0, 9),
    range::<m::HeartbeatRequest>(ApiKey::Heartbeat, 0, 4),
    range::<m::LeaveGroupRequest>(ApiKey::LeaveGroup, 0, 5),
    range::<m::SyncGroupRequest>(ApiKey::SyncGroup, 0, 5),
    range::<m::DescribeGroupsRequest>(ApiKey::DescribeGroups, 0, 6),
    range::<m::ListGroupsRequest>(ApiKey::ListGroups, 0, 5),
    range::<m::ApiVersionsRequest>(ApiKey::ApiVersions, 0, 4),
    range::<m::CreateTopicsRequest>(ApiKey::CreateTopics, 2, 7),
    range::<m::DeleteTopicsRequest>(ApiKey::DeleteTopics, 1, 6),
    range::<m::DeleteRecordsRequest>(ApiKey::DeleteRecords, 0, 2),
    range::<m::InitProducerIdRequest>(ApiKey::InitProducerId, 0, 5),
    range::<m::OffsetForLeaderEpochRequest>(ApiKey::OffsetForLeaderEpoch, 2, 4),
    range::<m::DescribeConfigsRequest>(ApiKey::DescribeConfigs, 1, 4),
    range::<m::AlterConfigsRequest>(ApiKey::AlterConfigs, 0, 2),
    // Kafka 4 has 5 too; kafka-protocol 0.18 ends at 4.
    range::<m::DescribeLogDirsRequest>(ApiKey::DescribeLogDirs, 1, 4),
    range::<m::CreatePartitionsRequest>(ApiKey::CreatePartitions, 0, 3),
    range::<m::DeleteGroupsRequest>(ApiKey::DeleteGroups, 0, 2),
    range::<m::IncrementalAlterConfigsRequest>(ApiKey::IncrementalAlterConfigs, 0, 1),
    range::<m::OffsetDeleteRequest>(ApiKey::OffsetDelete, 0, 0),
    range::<m::DescribeClusterRequest>(ApiKey::DescribeCluster, 0, 2),
];

/// The versions of the API with this key on the wire that are served; `None` if it is not.
#[must_use]
pub fn served(api_key: i16) -> Option<&'static ApiRange> {
    SERVED.iter().find(|range| range.key as i16 == api_key)
}

/// Whether this version of this API is served.
#[must_use]
pub fn is_served(api_key: i16, api_version: i16) -> bool {
    served(api_key).is_some_and(|range| (range.min..=range.max).contains(&api_version))
}

/// The body of a good answer to ApiVersions.
#[must_use]
pub fn api_versions_response() -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_api_keys(SERVED.iter().map(wire).collect())
}

/// The body, to be encoded in version 0, of the answer to an ApiVersions request of a version that is not served:
/// error 35 and ApiVersions' own range, so that the client asks again in one that is.
///
/// Source: KIP-511, and Kafka's `ApiVersionsRequest.getErrorResponse`.
#[must_use]
pub fn unsupported_api_versions_response() -> ApiVersionsResponse {
    let own = SERVED.iter().filter(|range| range.key == ApiKey::ApiVersions).map(wire).collect();
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(own)
}

fn wire(range: &ApiRange) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(range.key as i16)
        .with_min_version(range.advertised_min)
        .with_max_version(range.max)
}
