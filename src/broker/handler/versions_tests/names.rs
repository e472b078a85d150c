//! Names that are longer than any key: each is refused in an answer.

use kafka_protocol::ResponseError as E;
use kafka_protocol::messages as m;
use kafka_protocol::messages::alter_configs_request as alter;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;

use super::fixture::{FLIGHTS, Fixture, group, text, topic};
use super::groups::{committing, joining, stable};

/// As long as a name can be on the wire, and over [`tidegate_format::KEY_MAX_BYTES`].
fn longest() -> String {
    "x".repeat(i16::MAX as usize)
}

pub(super) async fn of_topics(fixture: &Fixture) {
    let name = longest();
    let invalid = E::InvalidTopicException.code();
    let unknown = E::UnknownTopicOrPartition.code();
    let asked = MetadataRequestTopic::default().with_name(Some(topic(&name)));
    let request = m::MetadataRequest::default().with_topics(Some(vec![asked]));
    assert_eq!(fixture.ask(9, &request).await.topics[0].error_code, invalid);
    let created = CreatableTopic::default().with_name(topic(&name)).with_num_partitions(1);
    let request = m::CreateTopicsRequest::default().with_topics(vec![created.with_replication_factor(1)]);
    assert_eq!(fixture.ask(7, &request).await.topics[0].error_code, invalid);
    let grown = CreatePartitionsTopic::default().with_name(topic(&name)).with_count(2);
    let request = m::CreatePartitionsRequest::default().with_topics(vec![grown.with_assignments(None)]);
    assert_eq!(fixture.ask(3, &request).await.results[0].error_code, unknown);
    let request = m::DeleteTopicsRequest::default().with_topic_names(vec![topic(&name)]);
    assert_eq!(fixture.ask(5, &request).await.responses[0].error_code, unknown);
    let state = DeleteTopicState::default().with_name(Some(topic(&name)));
    let request = m::DeleteTopicsRequest::default().with_topics(vec![state]);
    assert_eq!(fixture.ask(6, &request).await.responses[0].error_code, unknown);
    let records = DeleteRecordsTopic::default()
        .with_name(topic(&name))
        .with_partitions(vec![DeleteRecordsPartition::default()]);
    let request = m::DeleteRecordsRequest::default().with_topics(vec![records]);
    assert_eq!(fixture.ask(2, &request).await.topics[0].partitions[0].error_code, unknown);
}

pub(super) async fn of_configured_topics(fixture: &Fixture) {
    let name = longest();
    let described = DescribeConfigsResource::default().with_resource_type(2).with_resource_name(text(&name));
    let request = m::DescribeConfigsRequest::default().with_resources(vec![described]);
    assert_eq!(fixture.ask(4, &request).await.results[0].error_code, E::InvalidTopicException.code());
    for validate_only in [true, false] {
        let altered =
            alter::AlterConfigsResource::default().with_resource_type(2).with_resource_name(text(&name));
        let request = m::AlterConfigsRequest::default().with_resources(vec![altered]);
        let answer = fixture.ask(2, &request.with_validate_only(validate_only)).await;
        assert_eq!(answer.responses[0].error_code, E::InvalidTopicException.code());
        let altered = incremental::AlterConfigsResource::default();
        let altered = altered.with_resource_type(2).with_resource_name(text(&name));
        let request = m::IncrementalAlterConfigsRequest::default().with_resources(vec![altered]);
        let answer = fixture.ask(1, &request.with_validate_only(validate_only)).await;
        assert_eq!(answer.responses[0].error_code, E::InvalidTopicException.code());
    }
}

pub(super) async fn of_groups_and_members(fixture: &Fixture) {
    let name = longest();
    let invalid = E::InvalidGroupId.code();
    assert_eq!(fixture.ask(9, &joining(&name, 9)).await.error_code, invalid);
    let answer = fixture.ask(8, &committing(&name, FLIGHTS, &[(0, 1)])).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, invalid);
    let request = m::DescribeGroupsRequest::default().with_groups(vec![group(&name)]);
    assert_eq!(fixture.ask(6, &request).await.groups[0].error_code, invalid);
    let request = m::DeleteGroupsRequest::default().with_groups_names(vec![group(&name)]);
    assert_eq!(fixture.ask(2, &request).await.results[0].error_code, invalid);

    let id = "names-of-members";
    stable(fixture, id).await;
    let unknown = E::UnknownMemberId.code();
    let heartbeat = m::HeartbeatRequest::default().with_group_id(group(id)).with_generation_id(1);
    let heartbeat = heartbeat.with_member_id(text(&name));
    assert_eq!(fixture.ask(4, &heartbeat).await.error_code, unknown);
    let answer = fixture.ask(9, &joining(id, 9).with_member_id(text(&name))).await;
    assert_eq!(answer.error_code, unknown);
    let leaving = MemberIdentity::default().with_member_id(text(&name)).with_group_instance_id(None);
    let request = m::LeaveGroupRequest::default().with_group_id(group(id)).with_members(vec![leaving]);
    assert_eq!(fixture.ask(5, &request).await.members[0].error_code, unknown);
    let commit = committing(id, FLIGHTS, &[(0, 1)]).with_member_id(text(&name));
    let answer = fixture.ask(8, &commit.with_generation_id_or_member_epoch(1)).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, unknown);

    let id = "names-of-instances";
    let answer = fixture.ask(9, &joining(id, 9).with_group_instance_id(Some(text(&name)))).await;
    assert_eq!((answer.error_code, answer.generation_id), (0, 1), "an instance id may be that long");
    let (member, long) = (answer.member_id, Some(text(&name)));
    let heartbeat = m::HeartbeatRequest::default().with_group_id(group(id)).with_generation_id(1);
    let heartbeat = heartbeat.with_member_id(member).with_group_instance_id(long);
    assert_eq!(fixture.ask(4, &heartbeat).await.error_code, 0);
}
