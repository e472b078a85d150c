//! The task of one group: takes what waits in its inbox as one turn, commits, answers, sleeps until something is due.

use std::collections::BTreeMap;

use tidegate_format::{OffsetValue, OwnerEpoch, PartitionId};
use tidegate_group::{
    Command, Coordinator, Effects, Group, GroupError, Reply, Ticket, WithoutGroup, without_group,
};
use tidegate_store::Store;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};
use tracing::{debug, warn};

use super::commit::{Writes, commit};
use super::load::{GroupStoreError, load};
use super::request::Request;
use super::{CommittedOffset, GroupHosts, load_offsets};

/// Requests that are carried out in one turn, and committed together.
const TURN_MAX: usize = 256;
/// How long a host without members and requests stays.
const IDLE: Duration = Duration::from_secs(30);
/// How long to wait before a group is loaded again after the store failed.
const RELOAD_DELAY: Duration = Duration::from_millis(100);

/// The epoch of a group that is founded here.
const FIRST_EPOCH: OwnerEpoch = OwnerEpoch(0);

/// Runs the host of one group until it is idle or the broker stops.
pub(super) async fn run<S: Store>(hosts: GroupHosts<S>, id: String, mut inbox: mpsc::Receiver<Request>) {
    let shutdown = hosts.shared.shutdown.clone();
    loop {
        let ended = shutdown.run_until_cancelled(serve(&hosts, &id, &mut inbox)).await;
        match ended {
            None => return,
            Some(Ok(())) => {
                if hosts.put_away(&id, &mut inbox) {
                    return;
                }
            }
            Some(Err(error)) => {
                // Whoever waits is told to come again, by the answers that were dropped.
                warn!(group = id, %error, "the group is loaded again");
                while inbox.try_recv().is_ok() {}
                tokio::time::sleep(RELOAD_DELAY).await;
            }
        }
    }
}

/// Loads the group and serves it until nobody has asked for a while.
async fn serve<S: Store>(
    hosts: &GroupHosts<S>,
    id: &str,
    inbox: &mut mpsc::Receiver<Request>,
) -> Result<(), GroupStoreError> {
    let (group, row_epoch) = load(&hosts.shared, id).await?.unzip();
    let mut host = Host { hosts, id, row_epoch, group, waiting: BTreeMap::new(), next_ticket: 0 };
    let mut requests = Vec::new();
    loop {
        let idle = Instant::now() + IDLE;
        let deadline = host.group.as_ref().and_then(Group::next_deadline_ms);
        let wake = deadline.map_or(idle, |at_ms| hosts.shared.clock.instant_of(at_ms));
        tokio::select! {
            count = inbox.recv_many(&mut requests, TURN_MAX) => {
                if count == 0 {
                    return Ok(());
                }
            }
            () = tokio::time::sleep_until(wake) => {}
        }
        if requests.is_empty() && deadline.is_none() && host.group.as_ref().is_none_or(Group::is_idle) {
            return Ok(());
        }
        host.turn(std::mem::take(&mut requests)).await?;
    }
}

/// One group and those who wait for it.
struct Host<'a, S: Store> {
    hosts: &'a GroupHosts<S>,
    id: &'a str,
    /// The epoch in the group's row; None while it has none.
    row_epoch: Option<OwnerEpoch>,
    /// None: there is no such group.
    group: Option<Group>,
    waiting: BTreeMap<Ticket, Waiting>,
    next_ticket: u64,
}

/// Who waits under a ticket.
enum Waiting {
    Command(oneshot::Sender<Reply>),
    Offsets(oneshot::Sender<Result<(), GroupError>>),
}

/// What one turn leads to: sent once its writes are durable.
#[derive(Default)]
struct Turn {
    writes: Writes,
    replies: Vec<(Ticket, Reply)>,
    answers: Vec<Box<dyn FnOnce() + Send>>,
}

impl<S: Store> Host<'_, S> {
    async fn turn(&mut self, requests: Vec<Request>) -> Result<(), GroupStoreError> {
        let mut turn = Turn::default();
        let now_ms = self.hosts.shared.clock.now_ms();
        if let Some(group) = &mut self.group {
            let effects = group.tick(now_ms);
            self.take(&mut turn, effects);
        }
        for request in requests {
            self.handle(&mut turn, now_ms, request).await?;
        }
        if !turn.writes.is_empty() {
            commit(&self.hosts.shared, self.id, self.row_epoch, turn.writes).await?;
        }
        self.forget_or_found();
        for (ticket, reply) in turn.replies {
            self.reply(ticket, reply);
        }
        for answer in turn.answers {
            answer();
        }
        Ok(())
    }

    /// After a commit: whether the group has a row now.
    fn forget_or_found(&mut self) {
        let Some(group) = &self.group else { return };
        if group.is_founded() {
            self.row_epoch.get_or_insert(FIRST_EPOCH);
            return;
        }
        if group.is_idle() {
            self.group = None;
        }
        self.row_epoch = None;
    }

    fn take(&mut self, turn: &mut Turn, effects: Effects) {
        for change in &effects.changes {
            turn.writes.change(self.id, change);
        }
        turn.replies.extend(effects.replies);
    }

    async fn handle(
        &mut self,
        turn: &mut Turn,
        now_ms: i64,
        request: Request,
    ) -> Result<(), GroupStoreError> {
        match request {
            Request::Command { command, answer } => {
                self.command(turn, now_ms, command, Waiting::Command(answer));
            }
            Request::CommitOffsets { command, offsets, answer } => {
                self.commit_offsets(turn, now_ms, command, &offsets, answer);
            }
            Request::DeleteOffsets { offsets, answer } => {
                let answered = self.delete_offsets(turn, offsets);
                turn.answers.push(Box::new(move || drop(answer.send(answered))));
            }
            Request::Describe { answer } => {
                let described = self.group.as_ref().filter(|group| group.is_founded()).map(Group::describe);
                turn.answers.push(Box::new(move || drop(answer.send(described))));
            }
            Request::ExpireOffsets { answer } => {
                self.expire_offsets(turn, now_ms).await?;
                turn.answers.push(Box::new(move || drop(answer.send(()))));
            }
        }
        Ok(())
    }

    fn command(&mut self, turn: &mut Turn, now_ms: i64, command: Command, waiting: Waiting) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, waiting);
        if self.group.is_none() {
            match without_group(&command) {
                WithoutGroup::Reply(reply) => {
                    turn.replies.push((ticket, reply));
                    return;
                }
                WithoutGroup::Found => self.group = Some(self.found(now_ms)),
            }
        }
        let group = self.group.as_mut().expect("it was just founded if it was not there");
        let effects = group.handle(now_ms, ticket, command);
        self.take(turn, effects);
    }

    fn found(&self, now_ms: i64) -> Group {
        let shared = &self.hosts.shared;
        let coordinator = Coordinator { broker: shared.broker, epoch: self.row_epoch.unwrap_or(FIRST_EPOCH) };
        Group::new(self.id.to_owned(), coordinator, shared.config, now_ms)
    }

    fn commit_offsets(
        &mut self,
        turn: &mut Turn,
        now_ms: i64,
        command: Command,
        offsets: &[CommittedOffset],
        answer: oneshot::Sender<Result<(), GroupError>>,
    ) {
        self.command(turn, now_ms, command, Waiting::Offsets(answer));
        // The state machine answers a commit at once, so its reply is the last one.
        if let Some((_, Reply::CommitOffsets(Ok(())))) = turn.replies.last() {
            for offset in offsets {
                turn.writes.put_offset(self.id, offset);
            }
        }
    }

    fn delete_offsets(
        &self,
        turn: &mut Turn,
        offsets: Vec<(String, PartitionId)>,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let group =
            self.group.as_ref().filter(|group| group.is_founded()).ok_or(GroupError::GroupIdNotFound)?;
        group.check_offset_delete()?;
        let delete = |(topic, id): (String, PartitionId)| {
            if group.is_subscribed_to(&topic) {
                return Err(GroupError::GroupSubscribedToTopic);
            }
            turn.writes.delete_offset(self.id, id);
            Ok(())
        };
        Ok(offsets.into_iter().map(delete).collect())
    }

    /// Deletes offsets past their retention; a group that has neither members nor offsets afterwards goes too.
    async fn expire_offsets(&mut self, turn: &mut Turn, now_ms: i64) -> Result<(), GroupStoreError> {
        let shared = &self.hosts.shared;
        let Some(group) = self.group.as_ref().filter(|group| group.is_founded()) else { return Ok(()) };
        let expiry = group.offset_expiry();
        let mut txn = shared.store.begin().await?;
        let offsets = load_offsets(&mut txn, self.id, None).await?;
        let topics = self.hosts.shared.catalogue.topics();
        let is_read =
            |id: PartitionId| topics.by_id(id.topic).is_some_and(|topic| group.is_subscribed_to(&topic.name));
        let expired = |id, value: &OffsetValue| {
            expiry.is_expired(value, now_ms, shared.offsets_retention_ms) && !is_read(id)
        };
        let mut kept = 0;
        for (id, value) in offsets {
            if value.is_some_and(|value| expired(id, &value)) {
                turn.writes.delete_offset(self.id, id);
            } else {
                kept += 1;
            }
        }
        if kept == 0 && group.is_idle() && turn.writes.is_empty() {
            debug!(group = self.id, "a group without members and offsets goes");
            let (nobody, _) = oneshot::channel();
            self.command(turn, now_ms, Command::Delete, Waiting::Command(nobody));
        }
        Ok(())
    }

    fn reply(&mut self, ticket: Ticket, reply: Reply) {
        match (self.waiting.remove(&ticket), reply) {
            (Some(Waiting::Command(answer)), reply) => drop(answer.send(reply)),
            (Some(Waiting::Offsets(answer)), Reply::CommitOffsets(outcome)) => drop(answer.send(outcome)),
            (Some(Waiting::Offsets(_)), other) => unreachable!("a commit was answered by {other:?}"),
            (None, _) => unreachable!("a ticket is answered once"),
        }
    }
}
