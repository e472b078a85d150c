//! Where each answer keeps its error codes.

use kafka_protocol::messages as m;

/// An answer whose error codes can be counted.
pub(crate) trait ErrorCodes {
    /// Calls `count` with every error code in the answer, 0 among them.
    fn each_error(&self, count: &mut dyn FnMut(i16));
}

/// Each row: an answer, and the paths through its lists to its error codes.
macro_rules! error_codes {
    ($( $response:ident: $( [$( $path:ident )+] ),+; )*) => {$(
        impl ErrorCodes for m::$response {
            fn each_error(&self, count: &mut dyn FnMut(i16)) {
                $( error_codes!(@walk self, count, $( $path )+); )+
            }
        }
    )*};
    (@walk $at:expr, $count:ident, $code:ident) => { $count($at.$code) };
    (@walk $at:expr, $count:ident, $list:ident $( $rest:ident )+) => {
        for inner in &$at.$list {
            error_codes!(@walk inner, $count, $( $rest )+);
        }
    };
}

error_codes! {
    AlterConfigsResponse: [responses error_code];
    ApiVersionsResponse: [error_code];
    CreatePartitionsResponse: [results error_code];
    CreateTopicsResponse: [topics error_code];
    DeleteGroupsResponse: [results error_code];
    DeleteRecordsResponse: [topics partitions error_code];
    DeleteTopicsResponse: [responses error_code];
    DescribeClusterResponse: [error_code];
    DescribeConfigsResponse: [results error_code];
    DescribeGroupsResponse: [groups error_code];
    DescribeLogDirsResponse: [error_code], [results error_code];
    FetchResponse: [error_code], [responses partitions error_code];
    FindCoordinatorResponse: [error_code], [coordinators error_code];
    HeartbeatResponse: [error_code];
    IncrementalAlterConfigsResponse: [responses error_code];
    InitProducerIdResponse: [error_code];
    JoinGroupResponse: [error_code];
    LeaveGroupResponse: [error_code], [members error_code];
    ListGroupsResponse: [error_code];
    ListOffsetsResponse: [topics partitions error_code];
    MetadataResponse: [error_code], [topics error_code], [topics partitions error_code];
    OffsetCommitResponse: [topics partitions error_code];
    OffsetDeleteResponse: [error_code], [topics partitions error_code];
    OffsetFetchResponse: [error_code], [topics partitions error_code], [groups error_code], [groups topics partitions error_code];
    OffsetForLeaderEpochResponse: [topics partitions error_code];
    ProduceResponse: [responses partition_responses error_code];
    SyncGroupResponse: [error_code];
}
