//! Deletions: what forbids one is found before anything is written, whatever names what, and however far down.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidegate_format::{MARKER, ReferenceKey};
use tidegate_store::{MemoryStore, Store, Txn};

use crate::fixture::{fixture, header, waiting};
use crate::{Db, Error, Model, ModelId, QueryError, RELEASE_LEVELS_MAX, RELEASE_ROWS_MAX, Reference};

/// A crate within another, kept by a third, marked by a fourth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "crates", referenced_by(Crate))]
#[model(events(update = "crate.changed", delete = "crate.gone"))]
struct Crate {
    id: i64,
    #[model(references = Crate, on_delete = cascade)]
    within: Option<i64>,
    #[model(references = Crate, on_delete = restrict)]
    keeps: Vec<i64>,
    #[model(references = Crate, on_delete = set_null)]
    marks: Option<i64>,
}

fn a_crate(id: i64) -> Crate {
    Crate { id, within: None, keeps: vec![], marks: None }
}

fn within(id: i64, outer: i64) -> Crate {
    Crate { within: Some(outer), ..a_crate(id) }
}

async fn save_all<S: Store>(db: &Db<S>, crates: &[Crate]) {
    db.transaction(|tx| async move {
        for one in crates {
            tx.save(one).await?;
        }
        Ok(())
    })
    .await
    .expect("committed");
}

async fn left(db: &Db<MemoryStore>) -> Vec<Crate> {
    assert_eq!(db.verify::<Crate>().await.expect("readable").differences, []);
    db.snapshot().await.expect("read").list::<Crate>().fetch().await.expect("read").rows
}

async fn delete(db: &Db<MemoryStore>, id: i64) -> Result<Option<Crate>, Error> {
    db.transaction(|tx| async move { tx.delete::<Crate>(id).await }).await
}

fn kept(id: i64, by: i64) -> Error {
    let (table, by_table, by_field) = ("crates", "crates".to_owned(), "keeps".to_owned());
    Error::Referenced { table, id: id.into(), by_table, by_field, by_id: by.into() }
}

#[tokio::test]
async fn what_forbids_a_deletion_further_down_is_found_before_anything_is_written() {
    let db = fixture().db;
    save_all(&db, &[a_crate(1), within(2, 1), within(3, 2), Crate { keeps: vec![3], ..a_crate(4) }]).await;
    let refused = db
        .transaction(|tx| async move {
            let refused = tx.delete::<Crate>(1).await;
            tx.insert(&a_crate(5)).await?;
            Ok(refused)
        })
        .await;
    assert_eq!(refused, Ok(Err(kept(3, 4))), "and the transaction may go on");
    assert_eq!(left(&db).await.iter().map(|left| left.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(waiting(db.store(), "crates").await, []);
}

#[tokio::test]
async fn a_row_that_goes_along_itself_forbids_nothing_and_is_not_updated_before() {
    let db = fixture().db;
    // It is met as one that keeps and marks what goes before it is met as one that goes.
    let last = Crate { keeps: vec![1, 2], marks: Some(1), ..within(4, 3) };
    save_all(&db, &[a_crate(1), within(2, 1), within(3, 2), last]).await;
    assert_eq!(delete(&db, 1).await, Ok(Some(a_crate(1))));
    assert_eq!(left(&db).await, []);
    let events = waiting(db.store(), "crates").await;
    let types: Vec<_> = events.iter().map(|(_, event)| header(event, "ce_type")).collect();
    assert_eq!(types, [Some("crate.gone"); 4]);
}

#[tokio::test]
async fn rows_that_are_within_one_another_go_together() {
    let db = fixture().db;
    save_all(&db, &[a_crate(1), within(2, 1), within(3, 2)]).await;
    save_all(&db, &[Crate { keeps: vec![1], marks: Some(1), ..within(1, 3) }]).await;
    assert_eq!(delete(&db, 2).await, Ok(Some(within(2, 1))));
    assert_eq!(left(&db).await, []);
}

#[tokio::test]
async fn a_deletion_that_goes_down_too_far_is_refused_before_anything_is_written() {
    let db = fixture().db;
    let deepest = i64::from(RELEASE_LEVELS_MAX);
    let chain: Vec<Crate> = (1..=deepest + 1).map(|id| within(id, id - 1)).collect();
    save_all(&db, &[a_crate(0)]).await;
    save_all(&db, &chain).await;
    let refused = db
        .transaction(|tx| async move {
            let refused = tx.delete::<Crate>(0).await;
            tx.insert(&a_crate(99)).await?;
            Ok(refused)
        })
        .await
        .expect("committed");
    let expected = Error::TooDeep { table: "crates", id: deepest.into(), limit: RELEASE_LEVELS_MAX };
    assert_eq!(refused, Err(expected));
    assert_eq!(delete(&db, 1).await, Ok(Some(within(1, 0))), "as many levels as there may be");
    assert_eq!(left(&db).await, [a_crate(0), a_crate(99)]);
}

#[tokio::test]
async fn a_row_that_too_many_name_is_not_deleted() {
    let db = fixture().db;
    save_all(&db, &[a_crate(1)]).await;
    let mut txn = db.store().begin().await.expect("begun");
    for id in 0..=i64::try_from(RELEASE_ROWS_MAX).expect("a few") {
        let key = ReferenceKey {
            parent_table: "crates".into(),
            parent: ModelId::Integer(1).encode(),
            table: "crates".into(),
            field: "marks".into(),
            id: ModelId::Integer(id + 2).encode(),
        };
        txn.put(key.encode(), MARKER);
    }
    txn.commit().await.expect("committed");
    let expected = Error::TooManyReferences { table: "crates", id: 1.into(), limit: RELEASE_ROWS_MAX };
    assert_eq!(delete(&db, 1).await, Err(expected));
}

/// What should be left of crates after a deletion; what forbids it otherwise.
fn delete_plainly(crates: &mut BTreeMap<i64, Crate>, id: i64) -> Result<(), ()> {
    let mut gone = BTreeSet::from([id]);
    while let Some(next) = crates
        .values()
        .find(|one| !gone.contains(&one.id) && one.within.is_some_and(|outer| gone.contains(&outer)))
    {
        gone.insert(next.id);
    }
    let keeps = |one: &Crate| one.keeps.iter().any(|kept| gone.contains(kept));
    if crates.values().any(|one| !gone.contains(&one.id) && keeps(one)) {
        return Err(());
    }
    crates.retain(|id, _| !gone.contains(id));
    for one in crates.values_mut() {
        one.marks.take_if(|marked| gone.contains(marked));
    }
    Ok(())
}

/// Crates that name one another at random, from 0 on.
fn crates() -> impl Strategy<Value = Vec<Crate>> {
    let one = |count: i64| {
        let id = move || 0..count;
        let keeps = proptest::collection::vec(id(), 0..2);
        (proptest::option::weighted(0.6, id()), keeps, proptest::option::weighted(0.3, id()))
    };
    (1..8_i64).prop_flat_map(move |count| {
        let size = usize::try_from(count).expect("a few");
        proptest::collection::vec(one(count), size..=size).prop_map(|all| {
            let named = all.into_iter().zip(0..);
            named.map(|((within, keeps, marks), id)| Crate { id, within, keeps, marks }).collect()
        })
    })
}

async fn delete_one_by_one(crates: Vec<Crate>, deletions: Vec<i64>) {
    let db = fixture().db;
    let bare: Vec<Crate> = crates.iter().map(|one| a_crate(one.id)).collect();
    save_all(&db, &bare).await;
    save_all(&db, &crates).await;
    let mut expected: BTreeMap<i64, Crate> = crates.into_iter().map(|one| (one.id, one)).collect();
    for id in deletions {
        let is_there = expected.contains_key(&id);
        let is_allowed = !is_there || delete_plainly(&mut expected, id).is_ok();
        // A refused deletion does not end the transaction.
        let result = db.transaction(|tx| async move { Ok(tx.delete::<Crate>(id).await) }).await;
        match result.expect("committed") {
            Ok(deleted) => assert!(is_allowed && deleted.is_some() == is_there, "{id} is deleted"),
            Err(Error::Referenced { .. }) => assert!(!is_allowed, "{id} is refused"),
            Err(error) => panic!("{id}: {error}"),
        }
        assert_eq!(left(&db).await, expected.values().cloned().collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_names_what_a_deletion_takes_along_what_it_should_or_writes_nothing(
        crates in crates(), deletions in proptest::collection::vec(0..8_i64, 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(delete_one_by_one(crates, deletions));
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "writers", referenced_by(Essay, Memo))]
struct Writer {
    id: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "users", referenced_by(Essay, Memo))]
struct User {
    id: i64,
}

/// As an earlier release knew it: both fields name writers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "essays")]
struct OldEssay {
    id: i64,
    #[model(references = Writer, on_delete = restrict)]
    author_id: Option<i64>,
    #[model(references = Writer, on_delete = set_null)]
    editor_id: Option<i64>,
}

/// As this one does: authors are users, and take their essays with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "essays")]
struct Essay {
    id: i64,
    #[model(references = User, on_delete = cascade)]
    author_id: Option<i64>,
    #[model(references = Writer, on_delete = set_null)]
    editor_id: Option<i64>,
}

#[tokio::test]
async fn an_entry_of_a_field_that_names_another_table_now_means_nothing() {
    let db = fixture().db;
    db.transaction(|tx| async move {
        tx.insert(&Writer { id: 1 }).await?;
        tx.insert(&OldEssay { id: 1, author_id: Some(1), editor_id: None }).await?;
        tx.insert(&OldEssay { id: 2, author_id: None, editor_id: Some(1) }).await
    })
    .await
    .expect("committed");
    // The first row of the table under the new definition; nothing is back-filled yet.
    db.transaction(|tx| async move { tx.delete::<Writer>(1).await }).await.expect("nothing forbids it");
    let left = db.snapshot().await.expect("read").list::<Essay>().fetch().await.expect("read").rows;
    let first = Essay { id: 1, author_id: Some(1), editor_id: None };
    assert_eq!(left, [first, Essay { id: 2, author_id: None, editor_id: None }]);
}

/// One field that names a row of either table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Memo {
    id: i64,
    to: i64,
}

impl Model for Memo {
    const TABLE: &'static str = "memos";

    fn id(&self) -> ModelId {
        self.id.into()
    }

    fn references() -> &'static [Reference<Self>] {
        const REFERENCES: &[Reference<Memo>] = &[
            Reference::<Memo>::restrict::<Writer>("to", |memo| {
                if memo.to < 10 { vec![memo.to.into()] } else { vec![] }
            }),
            Reference::<Memo>::cascade::<User>("to", |memo| {
                if memo.to < 10 { vec![] } else { vec![memo.to.into()] }
            }),
        ];
        REFERENCES
    }
}

#[tokio::test]
async fn of_two_references_in_one_field_that_to_the_table_of_what_goes_counts() {
    let db = fixture().db;
    db.transaction(|tx| async move {
        tx.insert(&Writer { id: 1 }).await?;
        tx.insert(&User { id: 11 }).await?;
        tx.insert(&Memo { id: 1, to: 1 }).await?;
        tx.insert(&Memo { id: 2, to: 11 }).await
    })
    .await
    .expect("committed");
    db.transaction(|tx| async move { tx.delete::<User>(11).await }).await.expect("its memo goes with it");
    let refused = db.transaction(|tx| async move { tx.delete::<Writer>(1).await }).await;
    assert!(matches!(refused, Err(Error::Referenced { by_table, .. }) if by_table == "memos"));
    let left = db.snapshot().await.expect("read").list::<Memo>().fetch().await.expect("read").rows;
    assert_eq!(left, [Memo { id: 1, to: 1 }]);
    assert_eq!(db.verify::<Memo>().await.expect("readable").differences, []);
}

/// As an earlier release knew it: all of them to writers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OldMemo(Memo);

impl Model for OldMemo {
    const TABLE: &'static str = Memo::TABLE;

    fn id(&self) -> ModelId {
        self.0.id.into()
    }

    fn references() -> &'static [Reference<Self>] {
        const REFERENCES: &[Reference<OldMemo>] =
            &[Reference::<OldMemo>::restrict::<Writer>("to", |memo| vec![memo.0.to.into()])];
        REFERENCES
    }
}

#[tokio::test]
async fn a_second_reference_in_a_field_is_not_asked_before_it_has_all_rows() {
    let db = fixture().db;
    db.transaction(|tx| async move {
        tx.insert(&Writer { id: 1 }).await?;
        tx.insert(&User { id: 11 }).await?;
        tx.insert(&OldMemo(Memo { id: 1, to: 1 })).await
    })
    .await
    .expect("committed");
    let asked = async || {
        let snapshot = db.snapshot().await.expect("read");
        let of_writer = snapshot.referencing::<Memo, Writer>(1, "to").count().await;
        (of_writer, snapshot.referencing::<Memo, User>(11, "to").count().await)
    };
    let not_built = Error::from(QueryError::NotBuilt { table: "memos", index: "to" });
    assert_eq!(asked().await, (Ok(1), Err(not_built)));
    db.backfill::<Memo>().await.expect("filled");
    assert_eq!(asked().await, (Ok(1), Ok(0)));
}
