//! Groups, their members and offsets.

use bytes::Bytes;
use kafka_protocol::ResponseError as E;
use kafka_protocol::messages as m;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::fixture::{FLIGHTS, Fixture, MISSING, group, text, topic};

/// A group that does not exist.
const NOBODY: &str = "nobody";

fn new_group() -> String {
    format!("group-{}", Uuid::new_v4())
}

/// The request of a member without an id.
pub(super) fn joining(id: &str, version: i16) -> m::JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"subscription"));
    let mut request = m::JoinGroupRequest::default()
        .with_group_id(group(id))
        .with_session_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    if version >= 1 {
        request.rebalance_timeout_ms = 10_000;
    }
    if version >= 8 {
        request.reason = Some(text("it starts"));
    }
    request
}

/// Joins a group alone; gives its member id.
async fn join(fixture: &Fixture, id: &str, version: i16) -> StrBytes {
    let mut request = joining(id, version);
    if version >= 4 {
        let answer = fixture.ask(version, &request).await;
        assert_eq!(answer.error_code, E::MemberIdRequired.code(), "v{version}");
        request.member_id = answer.member_id;
    }
    let answer = fixture.ask(version, &request).await;
    assert_eq!((answer.error_code, answer.generation_id), (0, 1), "v{version}");
    assert_eq!((&answer.leader, answer.members.len()), (&answer.member_id, 1), "v{version}");
    assert_eq!(answer.protocol_name, Some(text("range")), "v{version}");
    assert_eq!(answer.protocol_type, (version >= 7).then(|| text("consumer")), "v{version}");
    answer.member_id
}

/// Joins a group alone and gets its assignment, so that the group is stable.
pub(super) async fn stable(fixture: &Fixture, id: &str) -> StrBytes {
    let member = join(fixture, id, 5).await;
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(member.clone())
        .with_assignment(Bytes::from_static(b"assignment"));
    let request = m::SyncGroupRequest::default()
        .with_group_id(group(id))
        .with_generation_id(1)
        .with_member_id(member.clone())
        .with_assignments(vec![assignment]);
    assert_eq!(fixture.ask(3, &request).await.error_code, 0);
    member
}

/// A group without members that has committed offset 1 of the first partition.
async fn with_offset(fixture: &Fixture) -> String {
    let id = new_group();
    let request = committing(&id, FLIGHTS, &[(0, 1)]);
    let answer = fixture.ask(7, &request).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    id
}

pub(super) fn committing(id: &str, name: &str, offsets: &[(i32, i64)]) -> m::OffsetCommitRequest {
    let partition = |(index, offset): &(i32, i64)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*index)
            .with_committed_offset(*offset)
            .with_committed_metadata(Some(text("so far")))
    };
    let partitions = offsets.iter().map(partition).collect();
    m::OffsetCommitRequest::default()
        .with_group_id(group(id))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![
            OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(partitions),
        ])
}

pub(super) async fn find_coordinator(fixture: &Fixture, version: i16) {
    let port = i32::from(fixture.broker().advertised.port);
    let long = "x".repeat(513);
    let cases = [
        ("crew", 0, 0),
        ("", 0, 0),
        (&long, 0, E::InvalidGroupId.code()),
        // librdkafka knows no version from 4 on, and takes only this for final.
        (
            "crew",
            1,
            if version < 4 { E::TransactionalIdAuthorizationFailed } else { E::InvalidRequest }.code(),
        ),
        ("crew", 2, E::InvalidRequest.code()),
    ];
    for (key, kind, code) in cases {
        let mut request = m::FindCoordinatorRequest::default();
        if version >= 1 {
            request.key_type = kind;
        } else if kind != 0 {
            continue;
        }
        if version < 4 {
            let answer = fixture.ask(version, &request.with_key(text(key))).await;
            let expected = (code, if code == 0 { port } else { -1 });
            assert_eq!((answer.error_code, answer.port), expected, "v{version}");
            continue;
        }
        let answer = fixture.ask(version, &request.with_coordinator_keys(vec![text(key), text("b")])).await;
        assert_eq!(answer.coordinators.len(), 2);
        let first = &answer.coordinators[0];
        assert_eq!((first.error_code, first.key.as_str()), (code, key), "v{version}");
        assert_eq!(first.port, if code == 0 { port } else { -1 }, "v{version}");
    }
    if version >= 4 {
        assert!(fixture.ask(version, &m::FindCoordinatorRequest::default()).await.coordinators.is_empty());
    }
}

pub(super) async fn join_group(fixture: &Fixture, version: i16) {
    let id = new_group();
    let member = join(fixture, &id, version).await;
    // Alone, and at once again: the next generation.
    let again = fixture.ask(version, &joining(&id, version).with_member_id(member)).await;
    assert_eq!(again.error_code, 0, "v{version}");
    let stranger = joining(&id, version).with_member_id(text("stranger"));
    let cases = [
        (stranger, E::UnknownMemberId),
        (joining("", version), E::InvalidGroupId),
        (joining(&id, version).with_session_timeout_ms(1), E::InvalidSessionTimeout),
        (joining(&id, version).with_protocol_type(text("other")), E::InconsistentGroupProtocol),
        (joining(&id, version).with_protocols(Vec::new()), E::InconsistentGroupProtocol),
    ];
    for (request, error) in cases {
        let answer = fixture.ask(version, &request).await;
        assert_eq!((answer.error_code, answer.generation_id), (error.code(), -1), "v{version}");
        assert_eq!(answer.protocol_name, (version < 7).then(StrBytes::default), "v{version}");
    }
    if version >= 5 {
        // As for Kafka an empty instance id is one as well: some clients send what they were given.
        for instance in ["seat 1A", ""] {
            let member = joining(&new_group(), version).with_group_instance_id(Some(text(instance)));
            let answer = fixture.ask(version, &member).await;
            assert_eq!(answer.error_code, 0, "v{version}: a static member needs no id");
            assert_eq!(answer.members[0].group_instance_id, Some(text(instance)));
            let fenced = fixture.ask(version, &member.with_member_id(text("another"))).await;
            assert_eq!(fenced.error_code, E::FencedInstanceId.code(), "v{version}");
        }
    }
}

pub(super) async fn sync_group(fixture: &Fixture, version: i16) {
    let id = new_group();
    let member = join(fixture, &id, 5).await;
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(member.clone())
        .with_assignment(Bytes::from_static(b"assignment"));
    let mut good = m::SyncGroupRequest::default()
        .with_group_id(group(&id))
        .with_generation_id(1)
        .with_member_id(member)
        .with_assignments(vec![assignment]);
    if version >= 5 {
        good = good.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")));
    }
    let answer = fixture.ask(version, &good).await;
    assert_eq!((answer.error_code, answer.assignment.as_ref()), (0, b"assignment".as_slice()), "v{version}");
    assert_eq!(answer.protocol_name, (version >= 5).then(|| text("range")), "v{version}");
    let mut cases = vec![
        (good.clone().with_generation_id(9), E::IllegalGeneration),
        (good.clone().with_member_id(text("stranger")), E::UnknownMemberId),
        (good.clone().with_group_id(group(NOBODY)), E::UnknownMemberId),
        (good.clone().with_group_id(group("")), E::InvalidGroupId),
    ];
    if version >= 5 {
        cases.push((good.clone().with_protocol_name(None), E::InconsistentGroupProtocol));
        cases.push((good.with_protocol_name(Some(text("other"))), E::InconsistentGroupProtocol));
    }
    for (request, error) in cases {
        assert_eq!(fixture.ask(version, &request).await.error_code, error.code(), "v{version}");
    }
}

pub(super) async fn heartbeat(fixture: &Fixture, version: i16) {
    let id = new_group();
    let member = stable(fixture, &id).await;
    let good =
        m::HeartbeatRequest::default().with_group_id(group(&id)).with_generation_id(1).with_member_id(member);
    let mut cases = vec![
        (good.clone(), 0),
        (good.clone().with_generation_id(9), E::IllegalGeneration.code()),
        (good.clone().with_member_id(text("stranger")), E::UnknownMemberId.code()),
        (good.clone().with_group_id(group(NOBODY)), E::UnknownMemberId.code()),
        (good.clone().with_group_id(group("")), E::InvalidGroupId.code()),
    ];
    if version >= 3 {
        cases.push((good.with_group_instance_id(Some(text("seat 9"))), E::UnknownMemberId.code()));
    }
    for (request, code) in cases {
        assert_eq!(fixture.ask(version, &request).await.error_code, code, "v{version}");
    }
}

pub(super) async fn leave_group(fixture: &Fixture, version: i16) {
    let id = new_group();
    let member = stable(fixture, &id).await;
    for (of, code) in
        [(id.as_str(), 0), (&id, E::UnknownMemberId.code()), (NOBODY, E::UnknownMemberId.code())]
    {
        let request = m::LeaveGroupRequest::default().with_group_id(group(of));
        if version < 3 {
            let answer = fixture.ask(version, &request.with_member_id(member.clone())).await;
            assert_eq!(answer.error_code, code, "v{version}");
            continue;
        }
        let mut leaving = MemberIdentity::default().with_member_id(member.clone());
        leaving.reason = (version >= 5).then(|| text("it ends"));
        let answer = fixture.ask(version, &request.with_members(vec![leaving])).await;
        assert_eq!((answer.error_code, answer.members.len()), (0, 1), "v{version}");
        assert_eq!((answer.members[0].error_code, &answer.members[0].member_id), (code, &member));
    }
    let request = m::LeaveGroupRequest::default().with_group_id(group(""));
    assert_eq!(fixture.ask(version, &request).await.error_code, E::InvalidGroupId.code(), "v{version}");
}

pub(super) async fn offset_commit(fixture: &Fixture, version: i16) {
    let code = async |request: &m::OffsetCommitRequest| {
        let answer = fixture.ask(version, request).await;
        answer.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code).collect::<Vec<_>>()
    };
    let id = new_group();
    let member = stable(fixture, &id).await;
    let mut good = committing(&id, FLIGHTS, &[(0, 5), (1, 6), (7, 1)]).with_member_id(member);
    good.generation_id_or_member_epoch = 1;
    if version >= 6 {
        good.topics[0].partitions[0].committed_leader_epoch = 0;
    }
    if version <= 4 {
        good.retention_time_ms = 60_000;
    }
    let not_there = E::UnknownTopicOrPartition.code();
    assert_eq!(code(&good).await, [0, 0, not_there], "v{version}");
    let mut long = good.clone();
    long.topics[0].partitions[1].committed_metadata = Some(text(&"x".repeat(5_000)));
    assert_eq!(code(&long).await, [0, E::OffsetMetadataTooLarge.code(), not_there], "v{version}");
    long.topics[0].partitions[1].committed_metadata = None;
    assert_eq!(code(&long).await, [0, 0, not_there], "v{version}: no metadata is as good as empty");
    assert_eq!(code(&committing(&new_group(), MISSING, &[(0, 1)])).await, [not_there], "v{version}");
    assert_eq!(code(&committing(&new_group(), FLIGHTS, &[(0, 1)])).await, [0], "v{version}: a simple group");
    assert_eq!(code(&committing("", FLIGHTS, &[(0, 1)])).await, [0], "v{version}: offsets without a group");
    let long = committing(&"x".repeat(513), FLIGHTS, &[(0, 1)]);
    assert_eq!(code(&long).await, [E::InvalidGroupId.code()], "v{version}");
    let mut much = good.clone();
    much.topics = committing(&id, FLIGHTS, &[(1, 6); 600]).topics;
    for partition in &mut much.topics[0].partitions {
        partition.committed_metadata = Some(text(&"x".repeat(4_000)));
    }
    assert_eq!(code(&much).await, [E::InvalidCommitOffsetSize.code(); 600], "v{version}");
    let gone = if version >= 9 { E::GroupIdNotFound } else { E::IllegalGeneration };
    for (request, error) in [
        (good.clone().with_generation_id_or_member_epoch(9), E::IllegalGeneration),
        (good.clone().with_member_id(text("stranger")), E::UnknownMemberId),
        (good.clone().with_group_id(group(NOBODY)), gone),
    ] {
        assert_eq!(code(&request).await, [error.code(), error.code(), not_there], "v{version}");
    }
    assert!(code(&good.with_topics(Vec::new())).await.is_empty());
}

pub(super) async fn offset_fetch(fixture: &Fixture, version: i16) {
    let id = with_offset(fixture).await;
    fixture.ask(2, &committing("", FLIGHTS, &[(0, 4)])).await;
    let long = "x".repeat(513);
    let topics = [(FLIGHTS, vec![1, 0, 7]), (MISSING, vec![0])];
    if version >= 8 {
        let named = |(name, indexes): &(&str, Vec<i32>)| {
            OffsetFetchRequestTopics::default().with_name(topic(name)).with_partition_indexes(indexes.clone())
        };
        let of = |id: &str| OffsetFetchRequestGroup::default().with_group_id(group(id));
        let some = of(&id).with_topics(Some(topics.iter().map(named).collect()));
        let none = of(NOBODY).with_topics(some.topics.clone());
        let unnamed = of("").with_topics(some.topics.clone());
        let nobody = of(NOBODY).with_topics(None);
        let groups = vec![some, of(&id).with_topics(None), none, nobody, of(&long), unnamed];
        let request = m::OffsetFetchRequest::default().with_groups(groups).with_require_stable(true);
        let answer = fixture.ask(version, &request).await;
        let codes: Vec<_> = answer.groups.iter().map(|group| group.error_code).collect();
        assert_eq!(codes, [0, 0, 0, 0, E::InvalidGroupId.code(), 0], "v{version}");
        let offsets = |place: usize| -> Vec<(i16, i64)> {
            let found = answer.groups[place].topics.iter().flat_map(|topic| &topic.partitions);
            found.map(|found| (found.error_code, found.committed_offset)).collect()
        };
        assert_eq!(offsets(0), [(0, -1), (0, 1), (0, -1), (0, -1)], "v{version}");
        assert_eq!(offsets(1), [(0, 1)], "v{version}: all there are");
        assert_eq!(offsets(2), [(0, -1); 4], "v{version}");
        assert!(offsets(3).is_empty() && offsets(4).is_empty(), "v{version}");
        assert_eq!(offsets(5), [(0, -1), (0, 4), (0, -1), (0, -1)], "v{version}");
        assert!(fixture.ask(version, &m::OffsetFetchRequest::default()).await.groups.is_empty());
        return;
    }
    let named = |(name, indexes): &(&str, Vec<i32>)| {
        OffsetFetchRequestTopic::default().with_name(topic(name)).with_partition_indexes(indexes.clone())
    };
    let ask = async |id: &str, topics: Option<Vec<OffsetFetchRequestTopic>>| {
        let request = m::OffsetFetchRequest::default().with_group_id(group(id)).with_topics(topics);
        let answer = fixture.ask(version, &request).await;
        let found = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let found: Vec<_> = found.map(|found| (found.error_code, found.committed_offset)).collect();
        (answer.error_code, found)
    };
    let some = || Some(topics.iter().map(named).collect());
    assert_eq!(ask(&id, some()).await, (0, vec![(0, -1), (0, 1), (0, -1), (0, -1)]), "v{version}");
    assert_eq!(ask(NOBODY, some()).await, (0, vec![(0, -1); 4]), "v{version}");
    assert_eq!(ask(&id, Some(Vec::new())).await, (0, Vec::new()), "v{version}");
    let refused = E::InvalidGroupId.code();
    // In 1 there is no place for an error but at the partitions.
    let expected = if version >= 2 { (refused, Vec::new()) } else { (0, vec![(refused, -1); 4]) };
    assert_eq!(ask(&long, some()).await, expected, "v{version}");
    assert_eq!(ask("", some()).await, (0, vec![(0, -1), (0, 4), (0, -1), (0, -1)]), "v{version}");
    if version >= 2 {
        assert_eq!(ask(&id, None).await, (0, vec![(0, 1)]), "v{version}: all there are");
    }
}

pub(super) async fn offset_delete(fixture: &Fixture, version: i16) {
    let id = with_offset(fixture).await;
    let ask = async |id: &str, name: &str, indexes: &[i32]| {
        let partition = |index: &i32| OffsetDeleteRequestPartition::default().with_partition_index(*index);
        let asked = OffsetDeleteRequestTopic::default()
            .with_name(topic(name))
            .with_partitions(indexes.iter().map(partition).collect());
        let request = m::OffsetDeleteRequest::default().with_group_id(group(id)).with_topics(vec![asked]);
        let answer = fixture.ask(version, &request).await;
        let found = answer.topics.iter().flat_map(|topic| &topic.partitions);
        (answer.error_code, found.map(|found| found.error_code).collect::<Vec<_>>())
    };
    let not_there = E::UnknownTopicOrPartition.code();
    assert_eq!(ask(&id, FLIGHTS, &[7, 0, 1]).await, (0, vec![not_there, 0, 0]));
    assert_eq!(ask(&id, MISSING, &[0]).await, (0, vec![not_there]));
    for name in [MISSING, FLIGHTS] {
        assert_eq!(ask(NOBODY, name, &[0]).await, (E::GroupIdNotFound.code(), Vec::new()), "{name}");
    }
    assert_eq!(ask(NOBODY, FLIGHTS, &[]).await, (E::GroupIdNotFound.code(), Vec::new()));
    assert_eq!(ask("", FLIGHTS, &[0]).await, (E::InvalidGroupId.code(), Vec::new()));
}

pub(super) async fn list_groups(fixture: &Fixture, version: i16) {
    let (id, empty) = (new_group(), with_offset(fixture).await);
    stable(fixture, &id).await;
    let ask = async |states: &[&str], types: &[&str]| {
        let mut request = m::ListGroupsRequest::default();
        request.states_filter = states.iter().map(|state| text(state)).collect();
        request.types_filter = types.iter().map(|kind| text(kind)).collect();
        let answer = fixture.ask(version, &request).await;
        assert_eq!(answer.error_code, 0, "v{version}");
        let of = |id: &str| answer.groups.iter().find(|listed| listed.group_id.as_str() == id).cloned();
        (of(&id), of(&empty))
    };
    let (stable, with_offset) = ask(&[], &[]).await;
    let (stable, with_offset) = (stable.expect("it is there"), with_offset.expect("it is there"));
    assert_eq!((stable.protocol_type.as_str(), with_offset.protocol_type.as_str()), ("consumer", ""));
    let since = |first: i16, word: &'static str| if version >= first { word } else { "" };
    assert_eq!(stable.group_state.as_str(), since(4, "Stable"), "v{version}");
    assert_eq!(stable.group_type.as_str(), since(5, "classic"), "v{version}");
    if version >= 4 {
        let (stable, with_offset) = ask(&["stable", "Dead"], &[]).await;
        assert_eq!((stable.is_some(), with_offset.is_some()), (true, false), "v{version}");
        assert_eq!(ask(&["no such state"], &[]).await, (None, None), "v{version}");
    }
    if version >= 5 {
        assert!(ask(&["Empty"], &["classic"]).await.1.is_some());
        assert_eq!(ask(&[], &["consumer"]).await, (None, None));
    }
}

pub(super) async fn describe_groups(fixture: &Fixture, version: i16) {
    let (id, empty) = (new_group(), with_offset(fixture).await);
    let member = stable(fixture, &id).await;
    fixture.ask(2, &committing("", FLIGHTS, &[(0, 4)])).await;
    let groups = vec![group(&id), group(&empty), group(NOBODY), group(""), group(&"x".repeat(513))];
    let mut request = m::DescribeGroupsRequest::default().with_groups(groups);
    request.include_authorized_operations = version >= 3;
    let answer = fixture.ask(version, &request).await;
    let found = &answer.groups;
    let gone = if version >= 6 { E::GroupIdNotFound.code() } else { 0 };
    let codes: Vec<_> = found.iter().map(|group| group.error_code).collect();
    assert_eq!(codes, [0, 0, gone, 0, E::InvalidGroupId.code()], "v{version}");
    let states: Vec<_> = found.iter().map(|group| group.group_state.as_str()).collect();
    assert_eq!(states, ["Stable", "Empty", "Dead", "Empty", ""], "v{version}");
    assert_eq!((found[0].protocol_type.as_str(), found[0].protocol_data.as_str()), ("consumer", "range"));
    let described = &found[0].members[0];
    assert_eq!((&described.member_id, described.client_id.as_str()), (&member, "a client"), "v{version}");
    assert_eq!(described.client_host.as_str(), "/127.0.0.1");
    assert_eq!(described.member_assignment.as_ref(), b"assignment");
    assert_eq!(found[0].authorized_operations == i32::MIN, version < 3, "v{version}");
    assert!(fixture.ask(version, &m::DescribeGroupsRequest::default()).await.groups.is_empty());
}

pub(super) async fn repeated(fixture: &Fixture) {
    let request = m::DescribeGroupsRequest::default().with_groups(vec![group(NOBODY); 1_000]);
    assert_eq!(fixture.ask(5, &request).await.groups.len(), 1);
}

pub(super) async fn delete_groups(fixture: &Fixture, version: i16) {
    let (id, empty) = (new_group(), with_offset(fixture).await);
    stable(fixture, &id).await;
    fixture.ask(2, &committing("", FLIGHTS, &[(0, 4)])).await;
    let groups =
        vec![group(&id), group(&empty), group(NOBODY), group(""), group(""), group(&"x".repeat(513))];
    let answer = fixture.ask(version, &m::DeleteGroupsRequest::default().with_groups_names(groups)).await;
    let codes: Vec<_> = answer.results.iter().map(|result| result.error_code).collect();
    let gone = E::GroupIdNotFound.code();
    let expected = [E::NonEmptyGroup.code(), 0, gone, 0, E::InvalidGroupId.code()];
    assert_eq!(codes, expected, "v{version}");
    assert!(fixture.ask(version, &m::DeleteGroupsRequest::default()).await.results.is_empty());
}
