//! An application that runs transactions in several lanes, and the relays that move its events meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tidegate_format::{BrokerId, PartitionId, PartitionIndex, TopicId};
use tidegate_log::{Ownership, take_ownership};
use tidegate_outbox::relay::{Relay, RelaySettings};
use tidegate_outbox::{TopicDefaults, Wakeup, ensure_topic};
use tidegate_store::{CommitToken, ManualClock, Store, Txn};
use tokio::sync::Notify;
use uuid::Uuid;

use super::plan::{Action, LANES, plan};
use crate::blog_oracle;
use crate::fixture::TestAmbient;
use crate::{Db, DbSettings, Error, NewEvent, RetryPolicy, Tx};

/// The topics of events, with their partitions.
pub(super) const TOPICS: [(&str, i32); 4] = [("posts", 2), ("comments", 1), (NOTES, 2), (ALARMS, 2)];
pub(super) const NOTES: &str = "notes";
pub(super) const ALARMS: &str = "alarms";
const WORKERS_PER_LANE: usize = 2;

/// One transaction, as it is written down by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turn {
    pub(super) number: u64,
    pub(super) now_ms: i64,
    /// What each of its actions found: whether a write was taken, something waited, or an event was published.
    pub(super) found: Vec<bool>,
}

/// What the application was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) committed: BTreeSet<(u8, u64)>,
    pub(super) not_committed: BTreeSet<(u8, u64)>,
    pub(super) unknown: Vec<((u8, u64), CommitToken)>,
    /// The number of each lane's next transaction.
    next: BTreeMap<u8, u64>,
}

impl Told {
    fn next(&mut self, lane: u8) -> u64 {
        let next = self.next.entry(lane).or_default();
        *next += 1;
        *next
    }

    /// Lets every lane go on with a number that no transaction has had.
    pub(super) fn begin_at(&mut self, number: u64) {
        self.next.extend(LANES.map(|lane| (lane, number)));
    }
}

pub(super) fn settings() -> DbSettings {
    let retry = RetryPolicy { attempts_max: 1_000, ..RetryPolicy::default() };
    DbSettings { retry, ..DbSettings::default() }
}

pub(super) fn database<S: Store>(store: &S, wakeup: Arc<dyn Wakeup>) -> Db<S> {
    Db::with_ambient(store.clone(), settings(), wakeup, Arc::<TestAmbient>::default())
}

pub(super) fn group(lane: u8) -> String {
    format!("readers {lane}")
}

pub(super) fn token(lane: u8, number: u64, at: usize) -> String {
    format!("{lane}/{number}/{at}")
}

pub(super) fn count_key(lane: u8) -> String {
    format!("turns/{lane}")
}

pub(super) fn turn_key(lane: u8, turn: u64) -> String {
    format!("turn/{lane}/{turn:08}")
}

/// Runs the transaction of that number. It takes the next turn of its lane if it commits.
async fn run_one<S: Store>(db: &Db<S>, seed: u64, lane: u8, number: u64) -> Result<(), Error> {
    let actions = &plan(seed, lane, number);
    db.transaction(|tx| async move {
        let mut found = vec![];
        for (at, action) in actions.iter().enumerate() {
            found.push(act(&tx, lane, action, &token(lane, number, at)).await?);
        }
        let turn = Turn { number, now_ms: tx.now_ms().await?, found };
        let user = tx.user();
        let count = user.get(count_key(lane)).await?.map_or(0, |count| count_of(&count));
        user.put(turn_key(lane, count), serde_json::to_vec(&turn).expect("it has no maps")).await?;
        user.put(count_key(lane), (count + 1).to_string()).await
    })
    .await
}

pub(super) fn count_of(value: &[u8]) -> u64 {
    std::str::from_utf8(value).expect("text").parse().expect("a number")
}

async fn act<S: Store>(tx: &Tx<S>, lane: u8, action: &Action, token: &str) -> Result<bool, Error> {
    let name_of = |name: &u8| format!("{lane}/{name}");
    let alarm = || NewEvent::new("alarm.rang").topic(ALARMS).value(token.to_owned(), None);
    match action {
        Action::Blog(step) => match blog_oracle::apply(tx, step).await {
            Ok(()) => Ok(true),
            Err(Error::Unique { .. } | Error::ReferenceMissing { .. } | Error::Referenced { .. }) => {
                Ok(false)
            }
            Err(error) => Err(error),
        },
        Action::Publish { key } => {
            let note = NewEvent::new("note.taken").topic(NOTES).key(format!("{lane}/{key}"));
            Ok(tx.publish(note.value(token.to_owned(), None)).await?.is_some())
        }
        Action::PublishOnce { id } => {
            let note = NewEvent::new("note.once").topic(NOTES).key(format!("{lane}/once"));
            let note = note.value(token.to_owned(), None).unique_id(format!("{lane}/{id}"));
            Ok(tx.publish(note).await?.is_some())
        }
        Action::Schedule { name, delay_ms } => {
            let waited = tx.cancel_schedule(ALARMS, &name_of(name)).await?;
            tx.schedule(name_of(name), tx.now_ms().await? + delay_ms, alarm()).await?;
            Ok(waited)
        }
        Action::Reschedule { name, delay_ms } => {
            let due_ms = tx.now_ms().await? + delay_ms;
            tx.reschedule(ALARMS, &name_of(name), due_ms).await
        }
        Action::Cancel { name } => tx.cancel_schedule(ALARMS, &name_of(name)).await,
        Action::CommitOffset { partition, offset } => {
            tx.commit_offset(&group(lane), NOTES, *partition, *offset).await.map(|()| true)
        }
        Action::Put { key } => {
            tx.user().put(format!("own/{lane}/{key}"), token.to_owned()).await.map(|()| true)
        }
        Action::Delete { key } => tx.user().delete(format!("own/{lane}/{key}")).await.map(|()| true),
    }
}

/// Wakes every relay.
#[derive(Debug, Default)]
pub(super) struct Bells(Vec<Arc<Notify>>);

impl Bells {
    fn ring(&self) {
        self.0.iter().for_each(|bell| bell.notify_one());
    }
}

impl Wakeup for Bells {
    fn committed(&self, _partitions: &[PartitionId]) {
        self.ring();
    }
}

/// A partition's owner.
pub(super) struct Owner {
    ownership: Ownership,
    relay: Relay,
}

impl Owner {
    /// Moves what is due; false if the store is gone.
    async fn drain<S: Store>(&mut self, store: &S) -> bool {
        loop {
            let now_ms = store.now_ms();
            let turn = self.relay.turn(store, &self.ownership, now_ms, &RelaySettings::default()).await;
            let Ok(turn) = turn else { return false };
            assert!(turn.due_ms.iter().all(|due_ms| *due_ms <= now_ms), "nothing rings early");
            if !turn.more {
                return true;
            }
        }
    }
}

pub(super) fn topic_id(name: &str) -> TopicId {
    TopicId(Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()))
}

pub(super) fn partitions() -> impl Iterator<Item = PartitionId> {
    TOPICS.into_iter().flat_map(|(name, count)| {
        (0..count).map(move |index| PartitionId { topic: topic_id(name), partition: PartitionIndex(index) })
    })
}

/// Creates what is missing of the topics, and takes over all partitions; none if the store is gone.
pub(super) async fn take_over<S: Store>(store: &S) -> Option<Vec<Owner>> {
    let mut txn = store.begin().await.ok()?;
    for (name, partitions) in TOPICS {
        let defaults = TopicDefaults { partitions, ..TopicDefaults::default() };
        ensure_topic(&mut txn, name, &defaults, topic_id(name)).await.ok()?;
    }
    txn.commit().await.ok()?;
    let mut owners = vec![];
    for id in partitions() {
        let (ownership, _) = take_ownership(store, id, BrokerId(1)).await.ok()?;
        owners.push(Owner { ownership, relay: Relay::new(id) });
    }
    Some(owners)
}

/// Moves everything that is due.
pub(super) async fn drain_all<S: Store>(store: &S) {
    for mut owner in take_over(store).await.expect("the store is there") {
        assert!(owner.drain(store).await, "the store is there");
    }
}

/// Runs transactions in all lanes, `count` for each worker, until they are done or the store is gone. `acknowledge` is
/// told of each that was committed.
pub(super) async fn run<S: Store>(
    store: &S,
    clock: &ManualClock,
    seed: u64,
    told: &mut Told,
    count: usize,
    acknowledge: impl Fn(u8, u64),
) {
    let Some(mut owners) = take_over(store).await else { return };
    let bells = Arc::new(Bells(owners.iter().map(|_| Arc::default()).collect()));
    let db = database(store, bells.clone());
    let is_over = AtomicBool::new(false);
    let told = std::cell::RefCell::new(told);
    let worker = async |lane: u8| {
        for _ in 0..count {
            let number = told.borrow_mut().next(lane);
            let result = run_one(&db, seed, lane, number).await;
            clock.advance(1);
            bells.ring();
            match result {
                Ok(()) => {
                    told.borrow_mut().committed.insert((lane, number));
                    acknowledge(lane, number);
                }
                Err(Error::Unknown { token }) => {
                    told.borrow_mut().unknown.push(((lane, number), token));
                    return;
                }
                Err(Error::Conflict { .. }) => drop(told.borrow_mut().not_committed.insert((lane, number))),
                Err(error) => {
                    assert!(is_loss(&error), "{error}");
                    told.borrow_mut().not_committed.insert((lane, number));
                    return;
                }
            }
        }
    };
    let relay = async |owner: &mut Owner, bell: &Notify| {
        while owner.drain(store).await && !is_over.load(Ordering::SeqCst) {
            bell.notified().await;
        }
    };
    let workers = LANES.into_iter().flat_map(|lane| (0..WORKERS_PER_LANE).map(move |_| lane)).map(worker);
    let work = async {
        join_all(workers).await;
        is_over.store(true, Ordering::SeqCst);
        bells.ring();
    };
    let relays = join_all(owners.iter_mut().zip(&bells.0).map(|(owner, bell)| relay(owner, bell)));
    futures::join!(work, relays);
}

/// Whether an error is that of a store which is gone.
fn is_loss(error: &Error) -> bool {
    matches!(error, Error::Read(_) | Error::Commit(_))
}
