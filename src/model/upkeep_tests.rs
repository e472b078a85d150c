//! Back-fills, comparisons and repairs, while writes go on and after crashes.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidegate_format::{IndexKey, Kind, ManifestKey, ModelKey, ReferenceKey, UniqueKey};
use tidegate_outbox::NoWakeup;
use tidegate_store::faulty::{CommitFault, On};
use tidegate_store::{Clock, CommitError, KeyRange, ManualClock, MemoryStore, Store, TransactionLimits, Txn};

use crate::blog::{Author, Post, author, embedded_store, faulty, post, small_blog, tag};
use crate::fixture::{Fixture, NOW_MS, fixture, memory_store, rows, waiting};
use crate::{
    Ambient, Db, DbSettings, Difference, DifferenceKind, Error, Model, ModelId, QueryError, RetryPolicy,
    UpgradeError,
};

/// A gate as an earlier release knew it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "gates")]
struct OldGate {
    id: i64,
    name: String,
}

/// As this one does: pier and number apart, found by them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "gates", upgrades(split_name, add_floor))]
#[model(
    index(name = "by_pier", fields = [pier, number]),
    index(name = "by_place", unique, fields = [pier, number, floor])
)]
#[model(events(insert = "gate.opened", update = "gate.changed"))]
struct Gate {
    id: i64,
    pier: String,
    number: i64,
    floor: i64,
}

fn split_name(mut row: serde_json::Value) -> Result<serde_json::Value, UpgradeError> {
    let name = row["name"].as_str().ok_or("a gate without a name")?.to_owned();
    let (pier, number) = name.split_at_checked(1).ok_or("a gate without a pier")?;
    row["pier"] = pier.into();
    row["number"] = number.parse::<i64>()?.into();
    Ok(row)
}

fn add_floor(mut row: serde_json::Value) -> Result<serde_json::Value, UpgradeError> {
    row["floor"] = row["id"].clone();
    Ok(row)
}

fn old(id: i64) -> OldGate {
    OldGate { id, name: format!("{}{}", if id % 2 == 0 { 'A' } else { 'B' }, id / 2) }
}

fn new(id: i64) -> Gate {
    Gate { id, pier: if id % 2 == 0 { "A" } else { "B" }.to_owned(), number: id / 2, floor: id }
}

async fn insert_old<S: Store>(db: &Db<S>, ids: std::ops::Range<i64>) {
    for id in ids {
        db.transaction(|tx| async move { tx.insert(&old(id)).await }).await.expect("committed");
    }
}

#[tokio::test]
async fn rows_of_an_earlier_form_are_read_in_the_present_one() {
    let db = fixture().db;
    insert_old(&db, 0..3).await;
    let snapshot = db.snapshot().await.expect("read");
    assert_eq!(snapshot.find::<Gate>(2).await, Ok(Some(new(2))));
    assert_eq!(snapshot.list::<Gate>().fetch().await.expect("read").rows, [new(0), new(1), new(2)]);
    // And not the other way round.
    db.transaction(|tx| async move { tx.update(&new(1)).await }).await.expect("committed");
    let newer = Error::NewerSchema { table: "gates", id: 1.into(), found: 3, supported: 1 };
    assert_eq!(db.snapshot().await.expect("read").find::<OldGate>(1).await, Err(newer));
}

#[tokio::test]
async fn a_back_fill_brings_rows_into_new_indexes_once_and_announces_nothing() {
    let db = fixture().db;
    insert_old(&db, 0..250).await;
    let piers = async || {
        let snapshot = db.snapshot().await.expect("read");
        snapshot.query::<Gate>("by_pier").value("A").count().await
    };
    let not_built = QueryError::NotBuilt { table: "gates", index: "by_pier" };
    assert_eq!(piers().await, Err(not_built.into()));
    let done = db.backfill::<Gate>().await.expect("brought");
    assert_eq!((done.rows, done.is_done), (250, true));
    assert_eq!(piers().await, Ok(125));
    assert_eq!(db.verify::<Gate>().await.expect("readable").differing, 0);
    assert_eq!(waiting(db.store(), "gates").await, []);
    assert_eq!(db.backfill::<Gate>().await.expect("done already").rows, 250);
    let body = rows(db.store(), ModelKey::range("gates")).await.remove(0).1;
    assert_eq!(tidegate_format::ModelValue::decode(body).expect("a row").schema_version, 3, "it is stored");
}

#[tokio::test]
async fn a_back_fill_goes_on_where_it_ended_and_starts_over_for_another_definition() {
    let db = faulty(memory_store());
    let db = Fixture::over(db, DbSettings::default()).db;
    insert_old(&db, 0..10).await;
    assert_eq!(db.backfill_step::<Gate>(4).await.expect("a step").rows, 4);
    db.store()
        .faults()
        .fail_commit(On::next(), CommitFault::Refused(CommitError::DiskFull { reserve_bytes: 1 }));
    assert!(db.backfill_step::<Gate>(4).await.is_err());
    // Another process.
    let other = Fixture::over(db.store().inner().clone(), DbSettings::default()).db;
    assert_eq!(other.backfill_step::<Gate>(4).await.expect("a step").rows, 8);
    assert_eq!(other.backfill::<Gate>().await.expect("the rest").rows, 10);
    // An earlier release does not undo it, it refuses the rows.
    assert!(matches!(other.backfill::<OldGate>().await, Err(Error::NewerSchema { .. })));
}

#[tokio::test]
async fn a_back_fill_says_which_row_a_unique_index_does_not_take() {
    let db = fixture().db;
    // The floor of the new form is the id, so that two gates are at one place only if written so.
    db.transaction(|tx| async move { tx.insert(&OldGate { id: 4, name: "A7".into() }).await })
        .await
        .expect("ok");
    db.transaction(
        |tx| async move { tx.insert(&Gate { id: 5, floor: 4, number: 7, pier: "A".into() }).await },
    )
    .await
    .expect("committed");
    let refused = db.backfill::<Gate>().await;
    let expected = Error::Unique { table: "gates", index: "by_place", id: 4.into(), holder: 5.into() };
    assert_eq!(refused, Err(expected));
    db.transaction(|tx| async move { tx.delete::<Gate>(5).await }).await.expect("committed");
    assert!(db.backfill::<Gate>().await.expect("mended").is_done);
}

/// What goes on while a table is back-filled.
#[derive(Clone, Debug)]
enum Step {
    Backfill(usize),
    Save(i64),
    Delete(i64),
    Conflict,
}

async fn backfill_among(store: impl Store, count: i64, steps: Vec<Step>) {
    let db = Fixture::over(faulty(store), DbSettings::default()).db;
    insert_old(&db, 0..count).await;
    let mut expected: std::collections::BTreeMap<i64, Gate> = (0..count).map(|id| (id, new(id))).collect();
    for step in steps {
        match step {
            Step::Backfill(rows) => drop(db.backfill_step::<Gate>(rows).await.expect("a step")),
            Step::Save(id) => {
                let gate = &Gate { number: 100 + id, ..new(id) };
                db.transaction(|tx| async move { tx.save(gate).await }).await.expect("committed");
                expected.insert(id, gate.clone());
            }
            Step::Delete(id) => {
                db.transaction(|tx| async move { tx.delete::<Gate>(id).await }).await.expect("committed");
                expected.remove(&id);
            }
            Step::Conflict => {
                db.store().faults().fail_commit(On::next(), CommitFault::Refused(CommitError::Conflict));
            }
        }
    }
    db.backfill::<Gate>().await.expect("brought");
    let found = db.snapshot().await.expect("read").query::<Gate>("by_pier").limit(1_000).fetch().await;
    let mut expected: Vec<Gate> = expected.into_values().collect();
    expected.sort_by_key(|gate| (gate.pier.clone(), gate.number, gate.id));
    assert_eq!(found.expect("answered").rows, expected);
    assert_eq!(db.verify::<Gate>().await.expect("readable").differing, 0);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..5_usize).prop_map(Step::Backfill),
        3 => (0..25_i64).prop_map(Step::Save),
        2 => (0..25_i64).prop_map(Step::Delete),
        1 => Just(Step::Conflict),
    ];
    proptest::collection::vec(step, 0..40)
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_back_fill_among_writes_leaves_every_row_in_every_index(count in 0..20_i64, steps in steps()) {
        block_on(backfill_among(memory_store(), count, steps));
    }
}

#[test]
fn a_back_fill_among_writes_leaves_every_row_in_every_index_on_disk() {
    block_on(async {
        let (_directory, store) = embedded_store();
        let steps = (0..24).map(|n| if n % 3 == 0 { Step::Save(n) } else { Step::Backfill(2) }).collect();
        backfill_among(store.clone(), 20, steps).await;
        store.shutdown().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_back_fill_beside_writers_misses_nothing() {
    // Nobody gives up: how often one loses against the others is up to the machine.
    let retry = RetryPolicy { attempts_max: u32::MAX, ..RetryPolicy::default() };
    let db = Fixture::over(memory_store(), DbSettings { retry, ..DbSettings::default() }).db;
    insert_old(&db, 0..200).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..3_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            for n in 0..60 {
                let id = (task * 71 + n * 7) % 220;
                let result = db.transaction(|tx| async move {
                    if n % 4 == 3 {
                        tx.delete::<Gate>(id).await.map(drop)
                    } else {
                        tx.save(&new(id)).await.map(drop)
                    }
                });
                result.await.expect("committed");
            }
        });
    }
    let filling = db.clone();
    tasks.spawn(async move { assert!(filling.backfill::<Gate>().await.expect("brought").is_done) });
    tasks.join_all().await;
    let verified = db.verify::<Gate>().await.expect("readable");
    assert_eq!(verified.differences, []);
    assert_eq!(db.snapshot().await.expect("read").query::<Gate>("by_pier").count().await, Ok(verified.rows));
}

/// Pauses in which the store's time goes by, and nothing else waits.
struct Elapsing(ManualClock);

impl Ambient for Elapsing {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.advance(i64::try_from(duration.as_millis()).expect("a short pause"));
        Box::pin(tokio::task::yield_now())
    }

    fn random(&self) -> u128 {
        7
    }
}

#[tokio::test]
async fn a_back_fill_waits_for_earlier_transactions_for_as_long_as_the_store_lets_them_live() {
    let clock = ManualClock::at(NOW_MS);
    let limits = TransactionLimits { max_ms: 300_000, ..TransactionLimits::default() };
    let store = MemoryStore::with_limits(Arc::new(clock.clone()), limits);
    let ambient = Arc::new(Elapsing(clock.clone()));
    let db = Db::with_ambient(store, DbSettings::default(), Arc::new(NoWakeup), ambient);
    insert_old(&db, 0..2).await;
    // Of a release that does not know the indexes yet, and is not told of them any more.
    let earlier = db.begin().await.expect("begun");
    earlier.insert(&old(2)).await.expect("written");
    let forgotten = db.begin().await.expect("begun");
    forgotten.insert(&old(3)).await.expect("written");
    let is_filled = Cell::new(false);
    let filling = async {
        let filled = db.backfill::<Gate>().await;
        is_filled.set(true);
        filled
    };
    let committing = async {
        // Time goes by while it waits; if it does not wait, what commits now is missed.
        while clock.now_ms() < NOW_MS + 299_000 && !is_filled.get() {
            tokio::task::yield_now().await;
        }
        earlier.commit().await
    };
    let (filled, committed) = tokio::join!(filling, committing);
    assert_eq!((filled.map(|filled| filled.rows), committed), (Ok(3), Ok(())));
    assert_eq!(db.snapshot().await.expect("read").query::<Gate>("by_pier").value("A").count().await, Ok(2));
    assert_eq!(db.verify::<Gate>().await.expect("readable").differing, 0);
    let expired = Error::Commit(CommitError::Expired { max_ms: 300_000 });
    assert_eq!(
        forgotten.commit().await,
        Err(expired),
        "nor does it wait for what can write nothing any more"
    );
}

/// Removes a key, or writes one, past the library.
async fn tamper(db: &Db<MemoryStore>, write: impl FnOnce(&mut <MemoryStore as Store>::Txn)) {
    let mut txn = db.store().begin().await.expect("begun");
    write(&mut txn);
    txn.commit().await.expect("committed");
}

async fn first_key(db: &Db<MemoryStore>, range: (bytes::Bytes, bytes::Bytes)) -> bytes::Bytes {
    rows(db.store(), range).await.remove(0).0
}

fn difference(
    id: impl Into<ModelId>,
    index: Option<&str>,
    kind: DifferenceKind,
    is_mended: bool,
) -> Difference {
    Difference { id: id.into(), index: index.map(str::to_owned), kind, is_mended }
}

#[tokio::test]
async fn what_is_missing_and_what_is_too_much_is_found_and_mended() {
    let db = small_blog().await.db;
    let entry = first_key(&db, IndexKey::range_table("posts")).await;
    let reference = first_key(&db, ReferenceKey::range_parent_table("tags")).await;
    let claim = first_key(&db, UniqueKey::range_table("authors")).await;
    let manifest = first_key(&db, ManifestKey::range("posts")).await;
    let orphan = IndexKey {
        table: "posts".into(),
        index: "by_tag_ids".into(),
        values: vec![],
        id: ModelId::Integer(9).encode(),
    };
    let orphan = orphan.encode().expect("short");
    let stray = ReferenceKey {
        parent_table: "authors".into(),
        parent: ModelId::String("bob".into()).encode(),
        table: "posts".into(),
        field: "author_id".into(),
        id: ModelId::Integer(1).encode(),
    };
    let stray = stray.encode();
    tamper(&db, |txn| {
        for key in [&entry, &reference, &claim, &manifest] {
            txn.delete(key.clone());
        }
        txn.put(orphan.clone(), tidegate_format::MARKER);
        txn.put(stray.clone(), tidegate_format::MARKER);
    })
    .await;
    use DifferenceKind::{Manifest, Missing, Orphan};
    let posts = |is_mended| {
        vec![
            difference(1, Some("by_author_and_tag"), Missing, is_mended),
            difference(1, Some("tag_ids"), Missing, is_mended),
            difference(1, None, Manifest, is_mended),
            difference(9, Some("by_tag_ids"), Orphan, is_mended),
            difference(1, Some("author_id"), Orphan, is_mended),
        ]
    };
    let sorted = |mut differences: Vec<Difference>| {
        differences.sort_by_key(|difference| format!("{difference:?}"));
        differences
    };
    assert_eq!(sorted(db.verify::<Post>().await.expect("readable").differences), sorted(posts(false)));
    assert_eq!(sorted(db.repair::<Post>().await.expect("readable").differences), sorted(posts(true)));
    assert_eq!(db.verify::<Post>().await.expect("readable").differing, 0);
    let authors = db.repair::<Author>().await.expect("readable").differences;
    assert_eq!(authors, [difference("ada", Some("by_email"), Missing, true)]);
    assert_eq!(db.verify::<Author>().await.expect("readable").differing, 0);
    // What was mended is as good as new.
    db.transaction(|tx| async move { tx.update(&post(1, "bob", &[3])).await }).await.expect("committed");
    assert_eq!(db.verify::<Post>().await.expect("readable").differing, 0);
}

#[tokio::test]
async fn values_that_two_rows_have_are_said_and_left_to_the_application() {
    let db = small_blog().await.db;
    // A row that was written past the library.
    let row = rows(db.store(), ModelKey::range("authors")).await.remove(0).1;
    let copy = ModelKey { table: "authors".into(), id: ModelId::String("adb".into()).encode() }.encode();
    tamper(&db, |txn| txn.put(copy, row)).await;
    let found = db.repair::<Author>().await.expect("readable").differences;
    assert!(found.contains(&difference("adb", Some("by_email"), DifferenceKind::Taken, false)), "{found:?}");
    let left = db.verify::<Author>().await.expect("readable").differences;
    assert_eq!(left, [difference("adb", Some("by_email"), DifferenceKind::Taken, false)]);
}

/// The key of an author's row.
fn author_key(id: &str) -> bytes::Bytes {
    ModelKey { table: "authors".into(), id: ModelId::String(id.into()).encode() }.encode()
}

async fn save_author(db: &Db<MemoryStore>, id: &str, email: Option<&str>) -> Result<(), Error> {
    let row = &author(id, email);
    db.transaction(|tx| async move { tx.save(row).await }).await.map(drop)
}

/// The author whose e-mail address it is.
async fn has_email(db: &Db<MemoryStore>, email: &str) -> Option<String> {
    let snapshot = db.snapshot().await.expect("read");
    let found = snapshot.query::<Author>("by_email").value(email).fetch().await.expect("answered").rows;
    assert!(found.len() < 2, "{found:?}");
    found.into_iter().next().map(|author| author.id)
}

#[tokio::test]
async fn a_repaired_row_that_could_not_have_its_values_does_not_take_them_away_later() {
    let db = small_blog().await.db;
    let row = rows(db.store(), ModelKey::range("authors")).await.remove(0).1;
    tamper(&db, |txn| txn.put(author_key("adb"), row)).await;
    db.repair::<Author>().await.expect("readable");
    save_author(&db, "adb", Some("b@example.org")).await.expect("it gives way, as it was told to");
    let taken = save_author(&db, "eve", Some("ada@example.org")).await;
    assert!(matches!(taken, Err(Error::Unique { holder, .. }) if holder == "ada".into()));
    assert_eq!(db.verify::<Author>().await.expect("readable").differences, []);
}

/// A row was deleted past the library, and all that is left of it is its manifest: an author with an e-mail address,
/// which another author has by now.
async fn left_behind() -> Db<MemoryStore> {
    let db = small_blog().await.db;
    save_author(&db, "eve", Some("eve@example.org")).await.expect("committed");
    let index = rows(db.store(), IndexKey::range_table("authors")).await;
    let entries = index.into_iter().map(|(key, _)| key);
    let eve = ModelId::String("eve".into()).encode();
    let gone = entries.filter(|key| IndexKey::decode(key).expect("a key").id == eve).collect::<Vec<_>>();
    let claims = rows(db.store(), UniqueKey::range_table("authors")).await;
    let is_hers = |value: &bytes::Bytes| {
        tidegate_format::UniqueValue::decode(value.clone()).expect("a claim").id == eve
    };
    let claims = claims.into_iter().filter(|(_, value)| is_hers(value)).map(|(key, _)| key);
    tamper(&db, |txn| {
        gone.into_iter().chain(claims).chain([author_key("eve")]).for_each(|key| txn.delete(key));
    })
    .await;
    save_author(&db, "eva", Some("eve@example.org")).await.expect("it is free");
    db
}

#[tokio::test]
async fn a_manifest_without_a_row_is_found_and_mended() {
    let db = left_behind().await;
    let orphan = |is_mended| [difference("eve", None, DifferenceKind::Orphan, is_mended)];
    assert_eq!(db.verify::<Author>().await.expect("readable").differences, orphan(false));
    assert_eq!(db.repair::<Author>().await.expect("readable").differences, orphan(true));
    assert_eq!(db.verify::<Author>().await.expect("readable").differences, []);
    assert_eq!(has_email(&db, "eve@example.org").await, Some("eva".to_owned()));
}

#[tokio::test]
async fn a_manifest_without_a_row_gives_nothing_to_the_row_that_comes_back() {
    for comes_back_by_insert in [false, true] {
        let db = left_behind().await;
        let taken = save_author(&db, "eve", Some("Eve@example.org")).await;
        assert!(matches!(taken, Err(Error::Unique { holder, .. }) if holder == "eva".into()));
        if comes_back_by_insert {
            let bare = &author("eve", None);
            db.transaction(|tx| async move { tx.insert(bare).await }).await.expect("committed");
        } else {
            save_author(&db, "eve", Some("other@example.org")).await.expect("it is free");
        }
        assert_eq!(db.verify::<Author>().await.expect("readable").differences, []);
        // What she does from now on takes nothing from the other.
        save_author(&db, "eve", Some("third@example.org")).await.expect("it is free");
        db.transaction(|tx| async move { tx.delete::<Author>("eve").await }).await.expect("committed");
        assert_eq!(has_email(&db, "eve@example.org").await, Some("eva".to_owned()));
        assert!(save_author(&db, "eve", Some("eve@example.org")).await.is_err(), "the claim is there");
        assert_eq!(db.verify::<Author>().await.expect("readable").differences, []);
    }
}

#[tokio::test]
async fn what_a_row_left_behind_and_is_still_its_own_goes_when_it_comes_back() {
    let db = small_blog().await.db;
    save_author(&db, "eve", Some("eve@example.org")).await.expect("committed");
    tamper(&db, |txn| txn.delete(author_key("eve"))).await;
    save_author(&db, "eve", Some("new@example.org")).await.expect("it is free");
    assert_eq!(db.verify::<Author>().await.expect("readable").differences, []);
    save_author(&db, "eva", Some("eve@example.org")).await.expect("it is free again");
}

#[tokio::test]
async fn what_was_deleted_past_the_library_leaves_no_entries_after_a_repair() {
    let db = small_blog().await.db;
    db.transaction(|tx| async move { tx.insert(&tag(9)).await }).await.expect("committed");
    let key = first_key(&db, ModelKey::range("posts")).await;
    tamper(&db, |txn| txn.delete(key)).await;
    let dangling = db.snapshot().await.expect("read").query::<Post>("by_tag_ids").first().await;
    assert!(matches!(dangling, Err(Error::Dangling { index: "by_tag_ids", .. })));
    assert_eq!(
        db.repair::<Post>().await.expect("readable").differing,
        4 + 3 + 1,
        "entries, references and the manifest"
    );
    for range in [IndexKey::range_table("posts"), ManifestKey::range("posts")] {
        assert_eq!(rows(db.store(), range).await, []);
    }
    assert_eq!(db.verify::<Post>().await.expect("readable").differing, 0);
    // The author is free now.
    db.transaction(|tx| async move { tx.delete::<Author>("ada").await }).await.expect("committed");
    db.transaction(|tx| async move { tx.insert(&author("ada", None)).await }).await.expect("committed");
    let range = KeyRange::prefix(&[Kind::Reference.tag()]);
    assert_eq!(rows(db.store(), (range.start, range.end)).await, []);
}
