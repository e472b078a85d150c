//! Every API in every version that is served: a well-formed request gets an answer that decodes completely in that
//! version, with the error codes that Kafka gives.
//!
//! Each API has one function that asks what there is to ask in one version; the table below is checked against the
//! versions that are served, so that none is left out.

mod fixture;
mod groups;
mod names;
mod partitions;
mod topics;

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_protocol::messages::ApiKey;
use tidegate_protocol::versions::SERVED;

use fixture::Fixture;

type Case = for<'a> fn(&'a Fixture, i16) -> BoxFuture<'a, ()>;

macro_rules! cases {
    ($( $api:ident => $module:ident::$function:ident, )*) => {
        const CASES: &[(ApiKey, Case)] =
            &[$( (ApiKey::$api, |fixture, version| $module::$function(fixture, version).boxed()) ),*];
    };
}

cases! {
    ApiVersions => topics::api_versions,
    Metadata => topics::metadata,
    DescribeCluster => topics::describe_cluster,
    CreateTopics => topics::create_topics,
    DeleteTopics => topics::delete_topics,
    CreatePartitions => topics::create_partitions,
    DescribeConfigs => topics::describe_configs,
    AlterConfigs => topics::alter_configs,
    IncrementalAlterConfigs => topics::incremental_alter_configs,
    DescribeLogDirs => topics::describe_log_dirs,
    Produce => partitions::produce,
    Fetch => partitions::fetch,
    ListOffsets => partitions::list_offsets,
    OffsetForLeaderEpoch => partitions::offset_for_leader_epoch,
    DeleteRecords => partitions::delete_records,
    InitProducerId => partitions::init_producer_id,
    FindCoordinator => groups::find_coordinator,
    JoinGroup => groups::join_group,
    SyncGroup => groups::sync_group,
    Heartbeat => groups::heartbeat,
    LeaveGroup => groups::leave_group,
    OffsetCommit => groups::offset_commit,
    OffsetFetch => groups::offset_fetch,
    OffsetDelete => groups::offset_delete,
    ListGroups => groups::list_groups,
    DescribeGroups => groups::describe_groups,
    DeleteGroups => groups::delete_groups,
}

/// In virtual time, as sessions and time-outs would be over on a machine that pauses: nothing here waits for a socket.
#[tokio::test(start_paused = true)]
async fn every_api_answers_in_every_version_with_kafkas_error_codes() {
    let fixture = Fixture::start().await;
    let mut versions = 0;
    for served in SERVED {
        let case = CASES.iter().find(|(api, _)| *api == served.key);
        let (_, case) = case.unwrap_or_else(|| panic!("{:?} is served and not tried", served.key));
        for version in served.min..=served.max {
            case(&fixture, version).await;
            versions += 1;
        }
    }
    assert_eq!(CASES.len(), SERVED.len(), "what is tried is served");
    assert_eq!(fixture.versions_answered(), versions, "every version of every API was answered");
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_many_times_is_answered_once() {
    let fixture = Fixture::start().await;
    topics::repeated(&fixture).await;
    groups::repeated(&fixture).await;
    fixture.stop().await;
}

/// Where a name became a key before anybody had looked at it, the task of its connection panicked.
#[tokio::test]
async fn a_name_that_no_key_has_room_for_is_refused_in_an_answer() {
    let fixture = Fixture::start().await;
    names::of_topics(&fixture).await;
    names::of_configured_topics(&fixture).await;
    names::of_groups_and_members(&fixture).await;
    fixture.stop().await;
}
