//! The task of one group: takes what waits in its inbox as one turn, commits, answers, sleeps until something is due.

use std::collections::{BTreeMap, VecDeque};

use tidegate_format::{OwnerEpoch, PartitionId};
use tidegate_group::{
    Command, Coordinator, Effects, Group, GroupError, Reply, Ticket, WithoutGroup, without_group,
};
use tidegate_store::Store;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};
use tracing::warn;

use super::commit::{Writes, commit};
use super::expire::expire;
use super::load::{GroupStoreError, load};
use super::request::Request;
use super::{CommittedOffset, GroupHosts, INBOX_MAX, OFFSETS_MAX_BYTES};

/// Requests that are carried out in one turn, and committed together.
const TURN_MAX: usize = 256;
/// How often in a row what is due may be put off because requests wait: as they may be the heartbeats of those who
/// would be missed after a slow commit.
const TURNS_WITHOUT_TICK_MAX: usize = INBOX_MAX / TURN_MAX;
/// How long a host without members and requests stays.
const IDLE: Duration = Duration::from_secs(30);
/// How long it stays if there is no such group.
const IDLE_WITHOUT_GROUP: Duration = Duration::from_secs(1);
/// How long to wait before a group is loaded again after the store failed: at first, and at most.
const RELOAD_DELAY: Duration = Duration::from_millis(100);
const RELOAD_DELAY_MAX: Duration = Duration::from_secs(5);

/// The epoch of a group that is founded here.
const FIRST_EPOCH: OwnerEpoch = OwnerEpoch(0);

/// Runs the host of one group until it is idle or the broker stops.
pub(super) async fn run<S: Store>(hosts: GroupHosts<S>, id: String, mut inbox: mpsc::Receiver<Request>) {
    let mut delay = RELOAD_DELAY;
    loop {
        let began = Instant::now();
        match serve(&hosts, &id, &mut inbox).await {
            Ok(End::Stopping) => return,
            Ok(End::Idle) => {
                if hosts.put_away(&id, &mut inbox).await {
                    return;
                }
            }
            Err(error) => {
                // Whoever waits is told to come again, by the answers that were dropped.
                warn!(group = id, %error, "the group is loaded again");
                while inbox.try_recv().is_ok() {}
                delay = if began.elapsed() > RELOAD_DELAY_MAX { RELOAD_DELAY } else { delay };
                let slept = tokio::time::sleep(delay);
                if hosts.shared.shutdown.run_until_cancelled(slept).await.is_none() {
                    return;
                }
                delay = RELOAD_DELAY_MAX.min(delay * 2);
            }
        }
    }
}

/// Why a group is not served any more.
enum End {
    /// Nobody has asked for a while, and nobody is in it.
    Idle,
    /// The broker stops; what was in the inbox has been carried out.
    Stopping,
}

/// Loads the group and serves it until nobody has asked for a while.
async fn serve<S: Store>(
    hosts: &GroupHosts<S>,
    id: &str,
    inbox: &mut mpsc::Receiver<Request>,
) -> Result<End, GroupStoreError> {
    let group = load(&hosts.shared, id).await?;
    let row_epoch = group.as_ref().map(|group| group.coordinator().epoch);
    let mut host =
        Host { hosts, id, row_epoch, group, waiting: BTreeMap::new(), next_ticket: 0, turns_without_tick: 0 };
    let mut received = Vec::new();
    loop {
        let idle = Instant::now() + if host.group.is_some() { IDLE } else { IDLE_WITHOUT_GROUP };
        let deadline = host.group.as_ref().and_then(Group::next_deadline_ms);
        let wake = deadline.map_or(idle, |at_ms| hosts.shared.clock.instant_of(at_ms));
        tokio::select! {
            biased;
            () = hosts.shared.shutdown.cancelled() => {
                while let Ok(request) = inbox.try_recv() {
                    received.push(request);
                }
                host.turns(received.into(), inbox).await?;
                return Ok(End::Stopping);
            }
            count = inbox.recv_many(&mut received, TURN_MAX) => {
                if count == 0 {
                    return Ok(End::Idle);
                }
            }
            () = tokio::time::sleep_until(wake) => {}
        }
        if received.is_empty() && deadline.is_none() && host.group.as_ref().is_none_or(Group::is_idle) {
            return Ok(End::Idle);
        }
        host.turns(std::mem::take(&mut received).into(), inbox).await?;
    }
}

/// One group and those who wait for it.
struct Host<'a, S: Store> {
    hosts: &'a GroupHosts<S>,
    id: &'a str,
    /// The epoch in the group's row; None while it has none.
    row_epoch: Option<OwnerEpoch>,
    /// None: there is no such group. Between two requests it is founded.
    group: Option<Group>,
    waiting: BTreeMap<Ticket, Waiting>,
    next_ticket: u64,
    turns_without_tick: usize,
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
    /// Who waits for old offsets to be looked for, which happens after this turn.
    expiring: Vec<oneshot::Sender<()>>,
}

/// The next requests that are carried out in one turn: all of them, if the store takes their offsets at once.
fn next_turn(group: &str, requests: &mut VecDeque<Request>) -> Vec<Request> {
    let mut bytes = 0;
    let fit = requests.iter().take_while(|request| {
        bytes += request.offsets_bytes(group);
        bytes <= OFFSETS_MAX_BYTES
    });
    let count = fit.count().max(1).min(requests.len());
    requests.drain(..count).collect()
}

impl<S: Store> Host<'_, S> {
    /// Carries out requests in as few turns as the store takes, at least one. Where those are several, nothing that is due
    /// comes in between.
    async fn turns(
        &mut self,
        mut requests: VecDeque<Request>,
        inbox: &mpsc::Receiver<Request>,
    ) -> Result<(), GroupStoreError> {
        self.turns_without_tick += 1;
        loop {
            let turn = next_turn(self.id, &mut requests);
            let ends = requests.is_empty();
            let is_tick_due = inbox.is_empty() || self.turns_without_tick >= TURNS_WITHOUT_TICK_MAX;
            self.turn(turn, ends && is_tick_due).await?;
            if ends {
                return Ok(());
            }
        }
    }

    /// Carries out requests, then what is due (if it is time for that), commits, answers.
    async fn turn(&mut self, requests: Vec<Request>, ticks: bool) -> Result<(), GroupStoreError> {
        let mut turn = Turn::default();
        let now_ms = self.hosts.shared.clock.now_ms();
        for request in requests {
            self.handle(&mut turn, now_ms, request);
        }
        if ticks {
            self.tick(&mut turn, now_ms);
        }
        if !turn.writes.is_empty() {
            commit(&self.hosts.shared, self.id, self.row_epoch, turn.writes).await?;
        }
        self.row_epoch = self.group.as_ref().map(|group| group.coordinator().epoch);
        for (ticket, reply) in turn.replies {
            self.reply(ticket, reply);
        }
        for answer in turn.answers {
            answer();
        }
        for answer in turn.expiring {
            self.expire_offsets().await?;
            // Whoever asked may have stopped waiting.
            let _ = answer.send(());
        }
        Ok(())
    }

    fn tick(&mut self, turn: &mut Turn, now_ms: i64) {
        self.turns_without_tick = 0;
        if let Some(group) = &mut self.group {
            let effects = group.tick(now_ms);
            self.take(turn, effects);
        }
    }

    fn take(&mut self, turn: &mut Turn, effects: Effects) {
        for change in &effects.changes {
            turn.writes.change(self.id, change);
        }
        turn.replies.extend(effects.replies);
    }

    fn handle(&mut self, turn: &mut Turn, now_ms: i64, request: Request) {
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
                let described = self.group.as_ref().map(Group::describe);
                turn.answers.push(Box::new(move || drop(answer.send(described))));
            }
            Request::Settle { answer } => turn.answers.push(Box::new(move || {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(());
            })),
            Request::ExpireOffsets { answer } => turn.expiring.push(answer),
        }
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
        // It was deleted, or the command that should have founded it was refused.
        self.group = self.group.take().filter(Group::is_founded);
        self.take(turn, effects);
    }

    fn found(&self, now_ms: i64) -> Group {
        let shared = &self.hosts.shared;
        let coordinator = Coordinator { broker: shared.broker, epoch: FIRST_EPOCH };
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
        // One that is no member sets offsets by hand; workers' members write theirs themselves.
        let is_by_hand = matches!(&command, Command::CommitOffsets(commit) if commit.generation.0 < 0);
        self.command(turn, now_ms, command, Waiting::Offsets(answer));
        // The state machine answers a commit at once, so its reply is the last one.
        if let Some((_, Reply::CommitOffsets(Ok(())))) = turn.replies.last() {
            for offset in offsets {
                match is_by_hand {
                    true => turn.writes.reset_offset(self.id, offset),
                    false => turn.writes.put_offset(self.id, offset),
                }
            }
        }
    }

    fn delete_offsets(
        &self,
        turn: &mut Turn,
        offsets: Vec<(String, PartitionId)>,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let group = self.group.as_ref().ok_or(GroupError::GroupIdNotFound)?;
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
    async fn expire_offsets(&mut self) -> Result<(), GroupStoreError> {
        if let Some(group) = &mut self.group {
            expire(&self.hosts.shared, group).await?;
        }
        self.group = self.group.take().filter(Group::is_founded);
        self.row_epoch = self.group.as_ref().map(|group| group.coordinator().epoch);
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
