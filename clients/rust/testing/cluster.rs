//! A cluster of one broker, one topic and one group, just good enough to be a peer: logs in memory, sequences checked,
//! members joined one at a time. Tests put what should go wrong in front of it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use tidegate_protocol::StrBytes;
use tidegate_protocol::batch::{self, BatchHeader};
use tidegate_protocol::error::ResponseError;
use tidegate_protocol::frame::RequestHead;
use tidegate_protocol::messages as m;
use tidegate_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use tidegate_protocol::messages::join_group_response::JoinGroupResponseMember;
use tidegate_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use tidegate_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use tidegate_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use tidegate_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use tidegate_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use tidegate_protocol::messages::{ApiKey, find_coordinator_response};
use uuid::Uuid;

use super::{Answer, FakeBroker, body, reply, reply_versions};

pub(crate) const TOPIC: &str = "t";
const TOPIC_ID: Uuid = Uuid::from_u128(7);

/// What the cluster has, and what it was asked.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) partitions: i32,
    /// Each partition's batches.
    pub(crate) logs: BTreeMap<i32, Vec<Bytes>>,
    /// Each partition's last batch of a producer: epoch, base sequence, last sequence, offset.
    sequences: BTreeMap<i32, (i16, i32, i32, i64)>,
    pub(crate) committed: BTreeMap<i32, i64>,
    pub(crate) generation: i32,
    pub(crate) assignment: Bytes,
    /// Every request, by API.
    pub(crate) asked: Vec<ApiKey>,
    /// Members that left.
    pub(crate) left: Vec<String>,
    /// Member ids with which JoinGroup was asked.
    pub(crate) joined_as: Vec<String>,
    /// Error codes that the next requests of an API get instead of an answer; 0 for the answer.
    pub(crate) errors: BTreeMap<i16, VecDeque<i16>>,
    next_member: u32,
}

impl State {
    fn next_offset(&self, partition: i32) -> i64 {
        let last = self.logs.get(&partition).and_then(|log| log.last());
        last.map_or(0, |batch| BatchHeader::decode(batch).expect("it was checked").last_offset() + 1)
    }

    pub(crate) fn fail(&mut self, api: ApiKey, codes: impl IntoIterator<Item = ResponseError>) {
        self.errors.entry(api as i16).or_default().extend(codes.into_iter().map(|error| error.code()));
    }

    pub(crate) fn count(&self, api: ApiKey) -> usize {
        self.asked.iter().filter(|asked| **asked == api).count()
    }

    fn take_error(&mut self, api_key: i16) -> i16 {
        self.errors.get_mut(&api_key).and_then(VecDeque::pop_front).unwrap_or(0)
    }

    fn append(&mut self, partition: i32, records: Bytes) -> Result<i64, ResponseError> {
        let header = batch::check_produced(&records).map_err(|error| error.response_error())?;
        let numbers = (header.producer_epoch, header.base_sequence, header.last_sequence());
        if header.has_producer_id() {
            match self.sequences.get(&partition) {
                Some((epoch, base, last, offset)) if (*epoch, *base, *last) == numbers => return Ok(*offset),
                Some((epoch, _, last, _)) if *epoch == numbers.0 && last + 1 == numbers.1 => {}
                Some((epoch, ..)) if numbers.0 > *epoch && numbers.1 == 0 => {}
                None if numbers.1 == 0 => {}
                _ => return Err(ResponseError::OutOfOrderSequenceNumber),
            }
        }
        let offset = self.next_offset(partition);
        self.sequences.insert(partition, (numbers.0, numbers.1, numbers.2, offset));
        self.logs.entry(partition).or_default().push(batch::patch(records, offset, 0));
        Ok(offset)
    }
}

#[derive(Clone)]
pub(crate) struct FakeCluster {
    pub(crate) broker: Arc<FakeBroker>,
    state: Arc<Mutex<State>>,
}

impl FakeCluster {
    pub(crate) async fn start(partitions: i32) -> Self {
        Self::start_with(partitions, |_, _| None).await
    }

    /// A cluster in front of which `first` has its say.
    pub(crate) async fn start_with(
        partitions: i32,
        first: impl Fn(&RequestHead, &mut State) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(Mutex::new(State { partitions, ..State::default() }));
        let shared = state.clone();
        let broker = FakeBroker::start_knowing(move |address, head| {
            let mut state = shared.lock().expect("no test panics inside");
            state.asked.push(ApiKey::try_from(head.api_key).expect("clients send known requests"));
            first(head, &mut state).unwrap_or_else(|| answer(address, head, &mut state))
        });
        Self { broker: Arc::new(broker.await), state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics inside")
    }

    /// Waits until the state is so.
    pub(crate) async fn until(&self, so: impl Fn(&State) -> bool) {
        while !so(&self.state()) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The good answer, or one with the next error that is to be given.
pub(crate) fn answer(address: SocketAddr, head: &RequestHead, state: &mut State) -> Answer {
    let error = state.take_error(head.api_key);
    match ApiKey::try_from(head.api_key).expect("clients send known requests") {
        ApiKey::ApiVersions => reply_versions(head),
        ApiKey::Metadata => reply(head, &metadata(address, head, state.partitions, error)),
        ApiKey::InitProducerId => reply(
            head,
            &m::InitProducerIdResponse::default().with_error_code(error).with_producer_id(1000.into()),
        ),
        ApiKey::Produce => produce(head, state, error),
        ApiKey::Fetch => fetch(head, state, error),
        ApiKey::ListOffsets => list_offsets(head, state, error),
        ApiKey::FindCoordinator => {
            let found = find_coordinator_response::Coordinator::default()
                .with_error_code(error)
                .with_node_id(1.into())
                .with_host(text("127.0.0.1"))
                .with_port(address.port().into());
            reply(head, &m::FindCoordinatorResponse::default().with_coordinators(vec![found]))
        }
        ApiKey::JoinGroup => join(head, state, error),
        ApiKey::SyncGroup => {
            let request: m::SyncGroupRequest = body(head);
            if let Some(mine) = request.assignments.iter().find(|one| one.member_id == request.member_id) {
                state.assignment = mine.assignment.clone();
            }
            reply(
                head,
                &m::SyncGroupResponse::default()
                    .with_error_code(error)
                    .with_assignment(state.assignment.clone()),
            )
        }
        ApiKey::Heartbeat => reply(head, &m::HeartbeatResponse::default().with_error_code(error)),
        ApiKey::LeaveGroup => {
            let request: m::LeaveGroupRequest = body(head);
            state.left.extend(request.members.iter().map(|member| member.member_id.to_string()));
            reply(head, &m::LeaveGroupResponse::default().with_error_code(error))
        }
        ApiKey::OffsetCommit => commit(head, state, error),
        ApiKey::OffsetFetch => offset_fetch(head, state, error),
        other => panic!("nobody asks for {other:?}"),
    }
}

fn metadata(address: SocketAddr, head: &RequestHead, partitions: i32, error: i16) -> m::MetadataResponse {
    let request: m::MetadataRequest = body(head);
    let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
        let known = topic.name.as_ref().is_some_and(|name| name.as_str() == TOPIC);
        let partitions = (0..if known { partitions } else { 0 }).map(|partition| {
            MetadataResponsePartition::default().with_partition_index(partition).with_leader_id(1.into())
        });
        let unknown = ResponseError::UnknownTopicOrPartition.code();
        MetadataResponseTopic::default()
            .with_name(topic.name)
            .with_topic_id(TOPIC_ID)
            .with_error_code(if known { error } else { unknown })
            .with_partitions(partitions.collect())
    });
    let broker = MetadataResponseBroker::default()
        .with_node_id(1.into())
        .with_host(text("127.0.0.1"))
        .with_port(address.port().into());
    m::MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_controller_id(1.into())
        .with_cluster_id(Some(text("fake")))
        .with_topics(topics.collect())
}

fn produce(head: &RequestHead, state: &mut State, error: i16) -> Answer {
    let request: m::ProduceRequest = body(head);
    let topics = request.topic_data.into_iter().map(|topic| {
        let partitions = topic.partition_data.into_iter().map(|data| {
            let answer =
                PartitionProduceResponse::default().with_index(data.index).with_log_append_time_ms(-1);
            if error != 0 {
                return answer.with_error_code(error).with_base_offset(-1);
            }
            match state.append(data.index, data.records.expect("records")) {
                Ok(offset) => answer.with_base_offset(offset),
                Err(error) => answer.with_error_code(error.code()).with_base_offset(-1),
            }
        });
        TopicProduceResponse::default()
            .with_topic_id(topic.topic_id)
            .with_name(topic.name)
            .with_partition_responses(partitions.collect())
    });
    reply(head, &m::ProduceResponse::default().with_responses(topics.collect()))
}

fn fetch(head: &RequestHead, state: &mut State, error: i16) -> Answer {
    let request: m::FetchRequest = body(head);
    let mut any = error != 0;
    let topics: Vec<FetchableTopicResponse> = request
        .topics
        .into_iter()
        .map(|topic| {
            let partitions = topic.partitions.into_iter().map(|wanted| {
                let mut records = BytesMut::new();
                for batch in state.logs.get(&wanted.partition).into_iter().flatten() {
                    if BatchHeader::decode(batch).expect("it was checked").last_offset()
                        >= wanted.fetch_offset
                    {
                        records.extend_from_slice(batch);
                    }
                }
                any |= !records.is_empty();
                PartitionData::default()
                    .with_partition_index(wanted.partition)
                    .with_error_code(error)
                    .with_high_watermark(state.next_offset(wanted.partition))
                    .with_records(Some(if error == 0 { records.freeze() } else { Bytes::new() }))
            });
            FetchableTopicResponse::default()
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions.collect())
        })
        .collect();
    match reply(head, &m::FetchResponse::default().with_responses(topics)) {
        Answer::Frame(frame) if !any => Answer::Later(frame),
        answer => answer,
    }
}

fn list_offsets(head: &RequestHead, state: &State, error: i16) -> Answer {
    let request: m::ListOffsetsRequest = body(head);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|wanted| {
            let offset = if wanted.timestamp == -1 { state.next_offset(wanted.partition_index) } else { 0 };
            ListOffsetsPartitionResponse::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(error)
                .with_offset(offset)
        });
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions.collect())
    });
    reply(head, &m::ListOffsetsResponse::default().with_topics(topics.collect()))
}

fn join(head: &RequestHead, state: &mut State, error: i16) -> Answer {
    let request: m::JoinGroupRequest = body(head);
    state.joined_as.push(request.member_id.to_string());
    if error != 0 {
        return reply(head, &m::JoinGroupResponse::default().with_error_code(error));
    }
    if request.member_id.is_empty() {
        state.next_member += 1;
        let id = text(&format!("member-{}", state.next_member));
        let required = ResponseError::MemberIdRequired.code();
        return reply(head, &m::JoinGroupResponse::default().with_error_code(required).with_member_id(id));
    }
    state.generation += 1;
    let protocol = request.protocols.first().expect("a protocol").clone();
    let member = JoinGroupResponseMember::default()
        .with_member_id(request.member_id.clone())
        .with_metadata(protocol.metadata);
    let joined = m::JoinGroupResponse::default()
        .with_generation_id(state.generation)
        .with_protocol_type(Some(request.protocol_type))
        .with_protocol_name(Some(protocol.name))
        .with_leader(request.member_id.clone())
        .with_member_id(request.member_id)
        .with_members(vec![member]);
    reply(head, &joined)
}

fn commit(head: &RequestHead, state: &mut State, error: i16) -> Answer {
    let request: m::OffsetCommitRequest = body(head);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|commit| {
            if error == 0 {
                state.committed.insert(commit.partition_index, commit.committed_offset);
            }
            OffsetCommitResponsePartition::default()
                .with_partition_index(commit.partition_index)
                .with_error_code(error)
        });
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
    });
    reply(head, &m::OffsetCommitResponse::default().with_topics(topics.collect()))
}

fn offset_fetch(head: &RequestHead, state: &State, error: i16) -> Answer {
    let request: m::OffsetFetchRequest = body(head);
    let groups = request.groups.into_iter().map(|group| {
        let topics = group.topics.unwrap_or_default().into_iter().map(|topic| {
            let partitions = topic.partition_indexes.into_iter().map(|partition| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(partition)
                    .with_committed_offset(state.committed.get(&partition).copied().unwrap_or(-1))
            });
            OffsetFetchResponseTopics::default().with_name(topic.name).with_partitions(partitions.collect())
        });
        OffsetFetchResponseGroup::default()
            .with_group_id(group.group_id)
            .with_error_code(error)
            .with_topics(topics.collect())
    });
    reply(head, &m::OffsetFetchResponse::default().with_groups(groups.collect()))
}
