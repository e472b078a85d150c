//! One rebalance, from giving up what the member had to beginning with what it gets.
//!
//! Eager: everything is given up before joining. Cooperative: what the member keeps is read on all the time; what it is to
//! lose is given up after the new assignment says so, and then it joins again, so that the next rebalance can deal it out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidegate_protocol::StrBytes;
use tidegate_protocol::consumer_protocol::{
    Assignment, ConsumerProtocolError, Subscription, TopicPartitions,
};
use tidegate_protocol::error::ResponseError;
use tidegate_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use tidegate_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use tidegate_protocol::messages::{ApiKey, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest};
use tokio::time::sleep;

use super::assignor::Member;
use super::listener::OffsetCommitter;
use super::membership::{Membership, NO_GENERATION, heartbeat, protocol_type};
use super::partitions::Start;
use super::{Assignor, AutoOffsetReset, Shared};
use crate::error::accepted;
use crate::net::pool::Purpose;
use crate::offsets::{committed, text};
use crate::{Connection, Error, TopicPartition};

/// The first versions that know static members.
const JOIN_STATIC: i16 = 5;
const SYNC_STATIC: i16 = 3;
/// The first version of SyncGroup that repeats the protocol.
const SYNC_PROTOCOL: i16 = 5;
/// What a broker takes beyond the time that the others have to join.
const JOIN_MARGIN: Duration = Duration::from_secs(5);

/// Goes through a rebalance. Tries until it has an assignment, or an error that trying again does not help.
pub(super) async fn rebalance(shared: Arc<Shared>) -> Result<(), Error> {
    let Some(membership) = &shared.membership else { return Ok(()) };
    let outcome = go_through(&shared, membership).await;
    if outcome.is_err() {
        membership.want_rejoin();
    }
    outcome
}

async fn go_through(shared: &Arc<Shared>, membership: &Membership) -> Result<(), Error> {
    if let Some(error) = &membership.state().fenced {
        return Err(error.clone());
    }
    let lost = std::mem::take(&mut membership.state().lost);
    if lost {
        lose_all(shared).await;
    } else if shared.options.auto_commit
        && let Err(error) = shared.commit_dealt_with().await
    {
        tracing::warn!(%error, "what was dealt with could not be committed before the rebalance: it will be read again");
    }
    if !is_cooperative(shared) {
        let all = shared.partitions().assignment();
        revoke(shared, &all).await;
    }
    membership.rejoining();
    let assigned = join_until_assigned(shared, membership).await?;
    membership.set_heartbeat(Some(tokio::spawn(heartbeat(shared.clone())).abort_handle()));
    adopt(shared, membership, assigned).await
}

/// All assignors of a member are of one kind.
fn is_cooperative(shared: &Shared) -> bool {
    shared.options.assignors.first().is_some_and(|assignor| assignor.is_cooperative())
}

async fn lose_all(shared: &Arc<Shared>) {
    let all = shared.partitions().assignment();
    all.iter().for_each(|partition| shared.partitions().unassign(partition));
    if !all.is_empty()
        && let Some(listener) = &mut *shared.listener.lock().await
    {
        listener.on_lost(&all).await;
    }
}

/// Gives partitions up: nothing of them is handed out any more when the listener is told.
async fn revoke(shared: &Arc<Shared>, partitions: &[TopicPartition]) {
    if partitions.is_empty() {
        return;
    }
    partitions.iter().for_each(|partition| shared.partitions().unassign(partition));
    if let Some(listener) = &mut *shared.listener.lock().await {
        listener.on_revoked(partitions, &OffsetCommitter { shared: shared.clone() }).await;
    }
}

async fn join_until_assigned(
    shared: &Arc<Shared>,
    membership: &Membership,
) -> Result<BTreeSet<TopicPartition>, Error> {
    let mut failures = 0;
    loop {
        let error = match join_and_sync(shared, membership).await {
            Ok(assigned) => return Ok(assigned),
            Err(error) => error,
        };
        tracing::debug!(group = membership.group, %error, "joining again");
        match error.code() {
            // The coordinator has given an id to join with.
            Some(ResponseError::MemberIdRequired) => continue,
            Some(ResponseError::RebalanceInProgress) => {}
            Some(ResponseError::UnknownMemberId | ResponseError::IllegalGeneration) => {
                let mut state = membership.state();
                state.member.clear();
                state.generation = NO_GENERATION;
            }
            _ if error.is_retriable() => shared.client.forget_coordinator(&membership.group),
            _ => return Err(error),
        }
        failures += 1;
        sleep(shared.client.backoff_delay(failures)).await;
        if !matches!(error, Error::Refused { .. }) {
            // The coordinator may have moved.
            let _ = shared.client.refresh(&[]).await;
        }
    }
}

async fn join_and_sync(
    shared: &Arc<Shared>,
    membership: &Membership,
) -> Result<BTreeSet<TopicPartition>, Error> {
    let id = shared.client.coordinator(&membership.group).await?;
    let connection = shared.client.broker(id, Purpose::Group).await?;
    let joined = join(shared, membership, &connection).await?;
    let name = joined.protocol_name.as_deref().unwrap_or_default();
    let assignor = Assignor::by_name(name).ok_or_else(|| {
        Error::Invalid(format!("the group has agreed on {name:?}, which this member never offered"))
    })?;
    {
        let mut state = membership.state();
        state.member = joined.member_id.to_string();
        state.generation = joined.generation_id;
        state.assignor = Some(assignor);
        state.dealt_out = None;
    }
    // From here on the coordinator expects to hear of the member.
    let assignments = if joined.leader == joined.member_id && !joined.skip_assignment {
        deal_out(shared, membership, assignor, &joined).await?
    } else {
        Vec::new()
    };
    sync(shared, membership, &connection, assignor, assignments).await
}

async fn join(
    shared: &Shared,
    membership: &Membership,
    connection: &Connection,
) -> Result<JoinGroupResponse, Error> {
    let options = &shared.options;
    let state = membership.state().clone();
    let version = connection.version::<JoinGroupRequest>()?;
    if membership.instance.is_some() && version < JOIN_STATIC {
        return Err(Error::Invalid("the brokers are too old for a group_instance_id".into()));
    }
    let owned = if is_cooperative(shared) { grouped(shared.partitions().assignment()) } else { Vec::new() };
    let mut protocols = Vec::new();
    for assignor in &options.assignors {
        let subscription = Subscription {
            topics: state.topics.iter().cloned().collect(),
            user_data: assignor.user_data(state.generation),
            owned: owned.clone(),
        };
        let metadata = subscription.encode().map_err(|error| unencodable(&error))?;
        let name = StrBytes::from_static_str(assignor.name());
        protocols.push(JoinGroupRequestProtocol::default().with_name(name).with_metadata(metadata));
    }
    let request = JoinGroupRequest::default()
        .with_group_id(text(&membership.group).into())
        .with_session_timeout_ms(options.session_timeout_ms)
        .with_member_id(text(&state.member))
        .with_protocol_type(protocol_type())
        .with_protocols(protocols);
    let rebalance_timeout_ms = i32::try_from(options.max_poll_interval_ms).unwrap_or(i32::MAX);
    let request =
        if version >= 1 { request.with_rebalance_timeout_ms(rebalance_timeout_ms) } else { request };
    let instance = membership.instance.as_deref().map(text);
    let request = if version >= JOIN_STATIC { request.with_group_instance_id(instance) } else { request };
    let wait = Duration::from_millis(options.max_poll_interval_ms) + JOIN_MARGIN;
    let response = connection.start(version, &request, wait).await?.wait().await?;
    if response.error_code == ResponseError::MemberIdRequired.code() {
        membership.state().member = response.member_id.to_string();
    }
    accepted(ApiKey::JoinGroup, response.error_code, None)?;
    Ok(response)
}

/// The leader's part: everybody's assignment.
async fn deal_out(
    shared: &Shared,
    membership: &Membership,
    assignor: Assignor,
    joined: &JoinGroupResponse,
) -> Result<Vec<SyncGroupRequestAssignment>, Error> {
    let members: Vec<Member> = joined
        .members
        .iter()
        .map(|member| {
            let subscription = Subscription::decode(member.metadata.clone()).unwrap_or_else(|error| {
                tracing::warn!(member = %member.member_id, %error, "a member that cannot be understood gets nothing");
                Subscription::default()
            });
            let instance = member.group_instance_id.as_ref().map(ToString::to_string);
            Member { id: member.member_id.to_string(), instance, subscription }
        })
        .collect();
    let wanted: BTreeSet<String> =
        members.iter().flat_map(|member| member.subscription.topics.clone()).collect();
    let names: Vec<String> = wanted.iter().cloned().collect();
    let metadata = shared.client.refresh(&names).await?;
    let counts: BTreeMap<String, i32> =
        wanted.into_iter().map(|topic| (topic.clone(), metadata.partition_count(&topic))).collect();
    let there = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(topic, count)| (topic.clone(), *count))
        .collect();
    let dealt = assignor.assign(&there, &members);
    membership.state().dealt_out = Some(counts);
    dealt
        .into_iter()
        .map(|(member, partitions)| {
            let assignment = Assignment { partitions: grouped(partitions), user_data: None };
            let bytes = assignment.encode().map_err(|error| unencodable(&error))?;
            Ok(SyncGroupRequestAssignment::default().with_member_id(text(&member)).with_assignment(bytes))
        })
        .collect()
}

async fn sync(
    shared: &Shared,
    membership: &Membership,
    connection: &Connection,
    assignor: Assignor,
    assignments: Vec<SyncGroupRequestAssignment>,
) -> Result<BTreeSet<TopicPartition>, Error> {
    let committer = membership.committer();
    let version = connection.version::<SyncGroupRequest>()?;
    let request = SyncGroupRequest::default()
        .with_group_id(text(&membership.group).into())
        .with_generation_id(committer.generation)
        .with_member_id(text(&committer.member))
        .with_assignments(assignments);
    let instance = committer.instance.as_deref().map(text);
    let request = if version >= SYNC_STATIC { request.with_group_instance_id(instance) } else { request };
    let request = if version >= SYNC_PROTOCOL {
        let name = StrBytes::from_static_str(assignor.name());
        request.with_protocol_type(Some(protocol_type())).with_protocol_name(Some(name))
    } else {
        request
    };
    let wait = Duration::from_millis(shared.options.max_poll_interval_ms);
    let response = connection.start(version, &request, wait).await?.wait().await?;
    accepted(ApiKey::SyncGroup, response.error_code, None)?;
    let assignment = Assignment::decode(response.assignment).map_err(|error| unreadable(&error))?;
    let partitions = assignment.partitions.into_iter().flat_map(|(topic, partitions)| {
        partitions.into_iter().map(move |partition| TopicPartition::new(topic.clone(), partition))
    });
    Ok(partitions.collect())
}

/// Begins with what the member got, and gives up what it lost.
async fn adopt(
    shared: &Arc<Shared>,
    membership: &Membership,
    assigned: BTreeSet<TopicPartition>,
) -> Result<(), Error> {
    let had: BTreeSet<TopicPartition> = shared.partitions().assignment().into_iter().collect();
    let given_up: Vec<TopicPartition> = had.difference(&assigned).cloned().collect();
    let added: Vec<TopicPartition> = assigned.difference(&had).cloned().collect();
    if !given_up.is_empty() {
        revoke(shared, &given_up).await;
        membership.want_rejoin();
    }
    if !added.is_empty() {
        begin(shared, membership, &added).await?;
    }
    if let Some(listener) = &mut *shared.listener.lock().await {
        listener.on_assigned(&added).await;
    }
    shared.fetch_wake.notify_one();
    Ok(())
}

/// Reads partitions from where the group is.
async fn begin(shared: &Shared, membership: &Membership, added: &[TopicPartition]) -> Result<(), Error> {
    let topics: BTreeSet<String> = added.iter().map(|partition| partition.topic.clone()).collect();
    let metadata = shared.client.metadata();
    if topics.iter().any(|topic| metadata.partition_count(topic) == 0) {
        shared.client.refresh(&topics.into_iter().collect::<Vec<_>>()).await?;
    }
    let offsets = committed(&shared.client, &membership.group, Some(added)).await?;
    for partition in added {
        let known = offsets.get(partition).map(|committed| committed.offset);
        let start = match (known, shared.options.auto_offset_reset) {
            (Some(offset), _) => Start::Offset(offset),
            (None, AutoOffsetReset::Earliest) => Start::Earliest,
            (None, AutoOffsetReset::Latest) => Start::Latest,
            (None, AutoOffsetReset::Fail) => {
                return Err(Error::Invalid(format!(
                    "nothing is committed for {partition}: commit an offset, or set auto_offset_reset"
                )));
            }
        };
        shared.partitions().assign(partition.clone(), start, known);
    }
    Ok(())
}

/// Partitions as the protocol lists them: by topic.
fn grouped(partitions: Vec<TopicPartition>) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        topics.entry(topic).or_default().push(partition);
    }
    topics.into_iter().collect()
}

fn unencodable(error: &ConsumerProtocolError) -> Error {
    Error::Invalid(error.to_string())
}

fn unreadable(error: &ConsumerProtocolError) -> Error {
    Error::Invalid(format!("the group's leader has sent {error}"))
}
