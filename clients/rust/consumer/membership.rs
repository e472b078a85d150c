//! Membership of a group, by the classic protocol: join, sync, heartbeat, leave.
//!
//! Rebalances are driven from the consumer's calls for records, so that no partition is given up while a record of it is
//! being dealt with; heartbeats go on by themselves. A member that does not call for `max_poll_interval_ms` leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_protocol::StrBytes;
use tidegate_protocol::consumer_protocol::PROTOCOL_TYPE;
use tidegate_protocol::messages::leave_group_request::MemberIdentity;
use tidegate_protocol::messages::{ApiKey, HeartbeatRequest, LeaveGroupRequest};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Assignor, Shared};
use crate::error::accepted;
use crate::net::pool::Purpose;
use crate::offsets::{Committer, text};
use crate::{Error, ResponseError};

/// The generation of one that is no member.
pub(super) const NO_GENERATION: i32 = -1;
/// The first versions that know static members.
const HEARTBEAT_STATIC: i16 = 3;
const LEAVE_SEVERAL: i16 = 3;

/// What is known of the consumer's place in its group.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) group: String,
    pub(super) instance: Option<String>,
    state: Mutex<State>,
    /// A rebalance is to be gone through at the next call for records.
    rejoin: AtomicBool,
    heartbeat: Mutex<Heartbeat>,
    polling: Mutex<Polling>,
}

/// The member.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// What it wants to read.
    pub(super) topics: BTreeSet<String>,
    /// Empty until the coordinator gives one.
    pub(super) member: String,
    pub(super) generation: i32,
    pub(super) assignor: Option<Assignor>,
    /// Its partitions were taken away.
    pub(super) lost: bool,
    /// Another one has taken its place for good.
    pub(super) fenced: Option<Error>,
    /// The topics and numbers of partitions that it dealt out, if it leads the group.
    pub(super) dealt_out: Option<BTreeMap<String, i32>>,
}

/// The task that beats.
#[derive(Debug, Default)]
struct Heartbeat {
    task: Option<AbortHandle>,
    /// The consumer is gone: nobody beats any more.
    over: bool,
}

/// Whether the application is inside a call for records, and since when not.
#[derive(Debug)]
struct Polling {
    inside: bool,
    left: Instant,
}

impl Membership {
    pub(super) fn new(group: String, instance: Option<String>) -> Self {
        let state = State {
            topics: BTreeSet::new(),
            member: String::new(),
            generation: NO_GENERATION,
            assignor: None,
            lost: false,
            fenced: None,
            dealt_out: None,
        };
        Self {
            group,
            instance,
            state: Mutex::new(state),
            rejoin: AtomicBool::new(false),
            heartbeat: Mutex::default(),
            polling: Mutex::new(Polling { inside: false, left: Instant::now() }),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wants_rejoin(&self) -> bool {
        self.rejoin.load(Ordering::Acquire)
    }

    pub(super) fn want_rejoin(&self) {
        self.rejoin.store(true, Ordering::Release);
    }

    /// The rebalance that was wanted begins: nobody beats until it is over.
    pub(super) fn rejoining(&self) {
        self.set_heartbeat(None);
        self.rejoin.store(false, Ordering::Release);
    }

    /// Who commits for it now.
    pub(super) fn committer(&self) -> Committer {
        let state = self.state();
        let instance = self.instance.clone().filter(|_| !state.member.is_empty());
        Committer {
            group: self.group.clone(),
            member: state.member.clone(),
            generation: state.generation,
            instance,
        }
    }

    pub(super) fn enter_poll(&self) {
        self.polling().inside = true;
    }

    pub(super) fn leave_poll(&self) {
        *self.polling() = Polling { inside: false, left: Instant::now() };
    }

    fn polling(&self) -> MutexGuard<'_, Polling> {
        self.polling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the application has been dealing with records for longer than this.
    fn has_lapsed(&self, max_poll_interval: Duration) -> bool {
        let polling = self.polling();
        !polling.inside && polling.left.elapsed() > max_poll_interval
    }

    /// Replaces the heartbeat; none stops it.
    pub(super) fn set_heartbeat(&self, task: Option<AbortHandle>) {
        let mut heartbeat = self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner);
        heartbeat.task.as_ref().inspect(|task| task.abort());
        heartbeat.task = task;
        if heartbeat.over {
            heartbeat.task.as_ref().inspect(|task| task.abort());
        }
    }

    /// Stops the heartbeat for good.
    pub(super) fn end_heartbeat(&self) {
        self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.set_heartbeat(None);
    }
}

/// Lets the coordinator know, from time to time, that the member of this generation is there, and commits what was dealt
/// with if that is wanted. Ends when the membership does.
pub(super) async fn heartbeat(shared: std::sync::Arc<Shared>) {
    let Some(membership) = &shared.membership else { return };
    let options = &shared.options;
    let interval = Duration::from_millis(options.heartbeat_interval_ms.max(1));
    let commit_interval = Duration::from_millis(options.auto_commit_interval_ms.max(1));
    let mut beat = tokio::time::interval_at(Instant::now() + interval, interval);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut commit = tokio::time::interval_at(Instant::now() + commit_interval, commit_interval);
    commit.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            _ = commit.tick(), if options.auto_commit => {
                if let Err(error) = shared.commit_dealt_with().await {
                    tracing::debug!(%error, "what was dealt with could not be committed");
                }
                continue;
            }
        }
        if membership.has_lapsed(Duration::from_millis(options.max_poll_interval_ms)) {
            tracing::warn!(
                group = membership.group,
                "no call for records for max_poll_interval_ms: leaving the group"
            );
            leave(&shared).await;
            lose(&shared, true);
            return;
        }
        watch_topics(&shared).await;
        match beat_once(&shared).await {
            Ok(()) => {}
            Err(error) => {
                if !take_in(&shared, error) {
                    return;
                }
            }
        }
    }
}

async fn beat_once(shared: &Shared) -> Result<(), Error> {
    let Some(membership) = &shared.membership else { return Ok(()) };
    let Committer { group, member, generation, instance } = membership.committer();
    let id = shared.client.coordinator(&group).await?;
    let connection = shared.client.broker(id, Purpose::Group).await?;
    let request = |version: i16| {
        let request = HeartbeatRequest::default()
            .with_group_id(text(&group).into())
            .with_member_id(text(&member))
            .with_generation_id(generation);
        if version >= HEARTBEAT_STATIC {
            request.with_group_instance_id(instance.as_deref().map(text))
        } else {
            request
        }
    };
    let response = connection.call(request).await?;
    accepted(ApiKey::Heartbeat, response.error_code, None)
}

/// Does what a failed heartbeat asks for. Says whether there is still somebody to beat for.
fn take_in(shared: &Shared, error: Error) -> bool {
    let Some(membership) = &shared.membership else { return false };
    match error.code() {
        Some(ResponseError::RebalanceInProgress) => {
            membership.want_rejoin();
            shared.data.notify_one();
            true
        }
        Some(ResponseError::UnknownMemberId) => {
            lose(shared, true);
            false
        }
        Some(ResponseError::IllegalGeneration) => {
            lose(shared, false);
            false
        }
        Some(ResponseError::FencedInstanceId) => {
            membership.state().fenced = Some(error);
            lose(shared, false);
            false
        }
        _ if error.is_retriable() => {
            tracing::debug!(%error, "a heartbeat failed");
            shared.client.forget_coordinator(&membership.group);
            true
        }
        _ => {
            shared.report(error);
            lose(shared, true);
            false
        }
    }
}

/// The partitions are lost, and perhaps the member's id: joins again at the next call for records.
fn lose(shared: &Shared, with_id: bool) {
    let Some(membership) = &shared.membership else { return };
    {
        let mut state = membership.state();
        state.lost = true;
        state.generation = NO_GENERATION;
        if with_id {
            state.member.clear();
        }
    }
    membership.want_rejoin();
    shared.data.notify_one();
}

/// A leader looks whether there are topics or partitions that it has not dealt out.
async fn watch_topics(shared: &Shared) {
    let Some(membership) = &shared.membership else { return };
    let Some(dealt_out) = membership.state().dealt_out.clone() else { return };
    let metadata = shared.client.metadata();
    let is_known = |topic: &String| metadata.topics.get(topic).is_some_and(|topic| topic.error.is_none());
    let metadata = if dealt_out.keys().all(is_known) {
        metadata
    } else {
        let topics: Vec<String> = dealt_out.keys().cloned().collect();
        match shared.client.look_again(&topics).await {
            Ok(metadata) => metadata,
            Err(_) => return,
        }
    };
    if dealt_out.iter().any(|(topic, count)| metadata.partition_count(topic) != *count) {
        membership.want_rejoin();
        shared.data.notify_one();
    }
}

/// Leaves the group, unless the member is static: that is expected back. Whatever comes of it, the session ends some time.
pub(super) async fn leave(shared: &Shared) {
    let Some(membership) = &shared.membership else { return };
    let Committer { group, member, instance, .. } = membership.committer();
    if member.is_empty() || instance.is_some() {
        return;
    }
    let request = |version: i16| {
        let request = LeaveGroupRequest::default().with_group_id(text(&group).into());
        if version >= LEAVE_SEVERAL {
            let reason =
                (version >= 5).then(|| StrBytes::from_static_str("the consumer is closed or too slow"));
            let identity = MemberIdentity::default().with_member_id(text(&member)).with_reason(reason);
            request.with_members(vec![identity])
        } else {
            request.with_member_id(text(&member))
        }
    };
    let left = async {
        let id = shared.client.coordinator(&group).await?;
        shared.client.broker(id, Purpose::General).await?.call(request).await
    };
    match left.await {
        Ok(response) => tracing::debug!(group, code = response.error_code, "left the group"),
        Err(error) => tracing::debug!(group, %error, "the group does not know that the member left"),
    }
}

/// The kind of protocol that consumers join with.
pub(super) fn protocol_type() -> StrBytes {
    StrBytes::from_static_str(PROTOCOL_TYPE)
}
