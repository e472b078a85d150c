//! What should be there after some transactions, and whether it is.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_format::{LogKey, LogValue, ManifestKey, PartitionId, PartitionIndex};
use tidegate_outbox::{NoWakeup, schedule};
use tidegate_protocol::batch::{Record, decode_records};
use tidegate_store::{Outcome, Store};

use super::application::{
    ALARMS, NOTES, Told, Turn, count_key, count_of, database, drain_all, group, partitions, token, topic_id,
    turn_key,
};
use super::plan::{Action, LANES, plan};
use crate::blog_oracle::{self, Blog, Step};
use crate::fixture::rows;
use crate::{Db, Model};

/// An event as it should be in a log: its type and value.
type Logged = (String, Option<String>);

/// Something scheduled.
#[derive(Debug)]
struct Alarm {
    due_ms: i64,
    is_cancelled: bool,
}

/// What all lanes' transactions should have left, in the order of each lane's turns.
#[derive(Debug, Default)]
struct Expected {
    blog: Blog,
    /// The events that are due at commit, by topic and key, in their order.
    events: BTreeMap<(&'static str, String), Vec<Logged>>,
    alarms: BTreeMap<String, Alarm>,
    /// The alarm that waits under a name, as far as anybody knows.
    waiting: BTreeMap<String, String>,
    once: BTreeSet<(u8, u8)>,
    offsets: BTreeMap<(u8, i32), i64>,
    own: BTreeMap<String, String>,
}

impl Expected {
    fn apply(&mut self, seed: u64, lane: u8, turn: &Turn) {
        let actions = plan(seed, lane, turn.number);
        assert_eq!(actions.len(), turn.found.len());
        for (at, (action, found)) in actions.iter().zip(&turn.found).enumerate() {
            self.act(lane, action, *found, turn.now_ms, token(lane, turn.number, at));
        }
    }

    fn act(&mut self, lane: u8, action: &Action, found: bool, now_ms: i64, token: String) {
        let name_of = |name: &u8| format!("{lane}/{name}");
        match action {
            Action::Blog(step) => {
                let before = self.blog.clone();
                assert_eq!(self.blog.apply(step).is_ok(), found, "{step:?}");
                self.announce(&before, step);
            }
            Action::Publish { key } => {
                assert!(found, "an event without an id of its own is always published");
                self.log(NOTES, format!("{lane}/{key}"), "note.taken", Some(token));
            }
            Action::PublishOnce { id } => {
                assert_eq!(found, self.once.insert((lane, *id)), "an id is published once");
                if found {
                    self.log(NOTES, format!("{lane}/once"), "note.once", Some(token));
                }
            }
            Action::Schedule { name, delay_ms } => {
                self.cancel(&name_of(name), found, now_ms);
                let alarm = Alarm { due_ms: now_ms + delay_ms, is_cancelled: false };
                self.alarms.insert(token.clone(), alarm);
                self.waiting.insert(name_of(name), token);
            }
            Action::Reschedule { name, delay_ms } => {
                let waiting = self.waiting.get(&name_of(name)).cloned();
                match waiting {
                    Some(waiting) if found => self.alarm(&waiting).due_ms = now_ms + delay_ms,
                    _ => self.cancel(&name_of(name), found, now_ms),
                }
            }
            Action::Cancel { name } => self.cancel(&name_of(name), found, now_ms),
            Action::CommitOffset { partition, offset } => {
                self.offsets.insert((lane, *partition), *offset);
            }
            Action::Put { key } => drop(self.own.insert(format!("own/{lane}/{key}"), token)),
            Action::Delete { key } => drop(self.own.remove(&format!("own/{lane}/{key}"))),
        }
    }

    fn alarm(&mut self, token: &str) -> &mut Alarm {
        self.alarms.get_mut(token).expect("it was scheduled")
    }

    /// What waited under a name, if anything, was cancelled; or, if nothing was found, had rung before.
    fn cancel(&mut self, name: &str, found: bool, now_ms: i64) {
        let waited = self.waiting.remove(name);
        assert!(waited.is_some() || !found, "nothing was scheduled as {name}");
        let Some(waited) = waited else { return };
        let alarm = self.alarm(&waited);
        assert!(found || alarm.due_ms <= now_ms, "{waited} is gone before it is due");
        alarm.is_cancelled = found;
    }

    fn log(&mut self, topic: &'static str, key: String, event_type: &str, value: Option<String>) {
        self.events.entry((topic, key)).or_default().push((event_type.to_owned(), value));
    }

    /// The events of a step, by what it changed.
    fn announce(&mut self, before: &Blog, step: &Step) {
        let after = self.blog.clone();
        for (id, post) in &after.posts {
            let is_written = match step {
                Step::Post(written) => written.id == *id && written == post,
                Step::DeleteTag(_) => before.posts.get(id) != Some(post),
                _ => false,
            };
            if is_written {
                let is_new = !before.posts.contains_key(id);
                let event_type = if is_new { "post.written" } else { "post.changed" };
                let body = serde_json::to_string(post).expect("JSON");
                self.log("posts", id.to_string(), event_type, Some(body));
            }
        }
        for id in before.posts.keys().filter(|id| !after.posts.contains_key(id)) {
            self.log("posts", id.to_string(), "post.removed", None);
        }
        for id in before.comments.keys().filter(|id| !after.comments.contains_key(id)) {
            self.log("comments", id.to_string(), "comment.removed", None);
        }
    }
}

/// Settles what is not known, moves what is due, and compares everything that is stored with what the transactions that
/// were committed should have left; those that the application was told of are among them.
pub(super) async fn check<S: Store>(store: &S, seed: u64, told: &Told) {
    drain_all(store).await;
    let db = database(store, std::sync::Arc::new(NoWakeup));
    let mut expected = Expected::default();
    let mut committed = BTreeSet::new();
    for lane in LANES {
        for turn in turns(&db, lane).await {
            assert!(committed.insert((lane, turn.number)), "transaction {} ran twice", turn.number);
            expected.apply(seed, lane, &turn);
        }
    }
    assert!(told.committed.is_subset(&committed), "what was acknowledged is there");
    assert!(told.not_committed.is_disjoint(&committed), "what was not committed is not there");
    for (transaction, token) in &told.unknown {
        let is_there = committed.contains(transaction);
        let outcome = if is_there { Outcome::Applied } else { Outcome::NotApplied };
        assert_eq!(db.outcome(token).await, Ok(outcome), "{transaction:?}");
    }
    check_stored(&db, &expected).await;
    check_logs(store, &expected).await;
}

/// A lane's transactions, in their order.
async fn turns<S: Store>(db: &Db<S>, lane: u8) -> Vec<Turn> {
    let snapshot = db.snapshot().await.expect("read");
    let user = snapshot.user();
    let count = user.get(count_key(lane)).await.expect("read").map_or(0, |count| count_of(&count));
    let mut turns = vec![];
    for turn in 0..count {
        let turn = user.get(turn_key(lane, turn)).await.expect("read").expect("every turn is there");
        turns.push(serde_json::from_slice(&turn).expect("a turn"));
    }
    assert_eq!(user.get(turn_key(lane, count)).await.expect("read"), None, "no turn without its count");
    turns
}

async fn check_stored<S: Store>(db: &Db<S>, expected: &Expected) {
    blog_oracle::check(db, &expected.blog).await;
    for (table, count) in [
        (crate::blog::Post::TABLE, expected.blog.posts.len()),
        (crate::blog::Comment::TABLE, expected.blog.comments.len()),
        (crate::blog::Tag::TABLE, 0),
    ] {
        let manifests = rows(db.store(), ManifestKey::range(table)).await;
        assert_eq!(manifests.len(), count, "manifests of {table}");
    }
    let tx = db.begin().await.expect("begun");
    for lane in LANES {
        for partition in 0..2 {
            let offset = tx.committed_offset(&group(lane), NOTES, partition).await.expect("read");
            assert_eq!(offset.as_ref(), expected.offsets.get(&(lane, partition)));
        }
    }
    let own = tx.user().scan("own/", Some(b"own0"), 1_000).await.expect("read");
    let own: BTreeMap<String, String> =
        own.iter().map(|(key, value)| (text(Some(key)), text(Some(value)))).collect();
    assert_eq!(own, expected.own);
}

async fn check_logs<S: Store>(store: &S, expected: &Expected) {
    let mut events: BTreeMap<(&'static str, String), Vec<Logged>> = BTreeMap::new();
    let mut rung = BTreeSet::new();
    for (name, count) in super::application::TOPICS {
        for index in 0..count {
            let id = PartitionId { topic: topic_id(name), partition: PartitionIndex(index) };
            for record in log_of(store, id).await {
                let (_, event_type) =
                    record.headers.iter().find(|(name, _)| name == "ce_type").expect("a type");
                let value = record.value.as_ref().map(|value| text(Some(value)));
                if name == ALARMS {
                    assert!(rung.insert(value.expect("a token")), "nothing rings twice");
                } else {
                    let logged = (text(event_type.as_ref()), value);
                    events.entry((name, text(record.key.as_ref()))).or_default().push(logged);
                }
            }
        }
    }
    assert_eq!(events, expected.events);

    let now_ms = store.now_ms();
    let due = expected.alarms.iter().filter(|(_, alarm)| !alarm.is_cancelled && alarm.due_ms <= now_ms);
    let due: BTreeSet<String> = due.map(|(token, _)| token.clone()).collect();
    assert_eq!(rung, due, "what is due has rung, and nothing that was cancelled or is due later");
    let mut txn = store.begin().await.expect("begun");
    let names = schedule::list(&mut txn, topic_id(ALARMS), None, 1_000).await.expect("read").schedules;
    let names: Vec<String> = names.into_iter().map(|scheduled| scheduled.schedule).collect();
    let waiting = expected.waiting.iter().filter(|(_, token)| expected.alarms[*token].due_ms > now_ms);
    assert_eq!(names, waiting.map(|(name, _)| name.clone()).collect::<Vec<_>>());
    for id in partitions() {
        let outbox = rows(store, tidegate_format::OutboxKey::range(id)).await;
        assert_eq!(outbox.len(), 0, "what is due at commit has been moved");
    }
}

async fn log_of<S: Store>(store: &S, id: PartitionId) -> Vec<Record> {
    let mut records = vec![];
    for (_, row) in rows(store, LogKey::range(id)).await {
        let batch = LogValue::decode(row).expect("a log entry").batch;
        records.extend(decode_records(&batch, 64 << 20).expect("an intact batch"));
    }
    records
}

fn text(bytes: Option<&Bytes>) -> String {
    String::from_utf8(bytes.expect("there").to_vec()).expect("text")
}
