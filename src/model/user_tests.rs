//! Keys of the application's own: as a sorted map, and nothing else is touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_store::{CommitError, EmbeddedOptions, EmbeddedStore, KeyRange, Store, SystemClock};

use crate::blog::{embedded_store, small_blog};
use crate::fixture::{Fixture, fixture, memory_store, rows};
use crate::{DbSettings, Error, InputError, UserSpace};

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, u8),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Option<Vec<u8>>),
    Scan(Vec<u8>, Option<Vec<u8>>, usize, bool),
    BatchGet(Vec<Vec<u8>>),
    Commit,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop::sample::select(vec![0_u8, 1, b'a', 0xFF]), 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (key(), 1..9_u8).prop_map(|(key, value)| Step::Put(key, value)),
        2 => key().prop_map(Step::Delete),
        1 => (key(), proptest::option::of(key())).prop_map(|(start, end)| Step::DeleteRange(start, end)),
        4 => (key(), proptest::option::of(key()), 0..6_usize, any::<bool>())
            .prop_map(|(start, end, limit, reverse)| Step::Scan(start, end, limit, reverse)),
        1 => proptest::collection::vec(key(), 0..4).prop_map(Step::BatchGet),
        3 => Just(Step::Commit),
    ]
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn between(map: &Map, start: &[u8], end: Option<&[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let inside = |key: &[u8]| key >= start && end.is_none_or(|end| key < end);
    map.iter().filter(|(key, _)| inside(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

async fn apply<S: Store>(user: UserSpace<'_, S>, step: Step, map: &mut Map) {
    match step {
        Step::Put(key, value) => {
            user.put(&key, vec![value]).await.expect("written");
            assert_eq!(user.get(&key).await, Ok(Some(Bytes::from(vec![value]))));
            map.insert(key, vec![value]);
        }
        Step::Delete(key) => {
            user.delete(&key).await.expect("written");
            map.remove(&key);
        }
        Step::DeleteRange(start, end) => {
            let gone = between(map, &start, end.as_deref());
            let count = user.delete_range(&start, end.as_deref()).await.expect("written");
            assert_eq!(count, gone.len() as u64);
            gone.iter().for_each(|(key, _)| drop(map.remove(key)));
        }
        Step::Scan(start, end, limit, reverse) => {
            let mut expected = between(map, &start, end.as_deref());
            if reverse {
                expected.reverse();
            }
            expected.truncate(limit);
            let found = if reverse {
                user.scan_reverse(&start, end.as_deref(), limit).await
            } else {
                user.scan(&start, end.as_deref(), limit).await
            };
            let found: Vec<(Vec<u8>, Vec<u8>)> =
                found.expect("read").into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            assert_eq!(found, expected);
        }
        Step::BatchGet(keys) => {
            let expected: Vec<_> = keys.iter().map(|key| map.get(key).cloned().map(Bytes::from)).collect();
            assert_eq!(user.batch_get(&keys).await, Ok(expected));
        }
        Step::Commit => unreachable!("handled by the caller"),
    }
}

async fn run(store: impl Store, steps: Vec<Step>) {
    let db = Fixture::over(store, DbSettings::default()).db;
    let mut map = Map::new();
    let mut tx = db.begin().await.expect("begun");
    for step in steps {
        if matches!(step, Step::Commit) {
            tx.commit().await.expect("committed");
            tx = db.begin().await.expect("begun");
        } else {
            apply(tx.user(), step, &mut map).await;
        }
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

proptest! {
    #[test]
    fn own_keys_are_a_sorted_map(steps in proptest::collection::vec(step(), 1..60)) {
        block_on(run(memory_store(), steps));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn own_keys_are_a_sorted_map_on_disk(steps in proptest::collection::vec(step(), 1..60)) {
        block_on(async {
            let (_directory, store) = embedded_store();
            run(store.clone(), steps).await;
            store.shutdown().await;
        });
    }
}

#[tokio::test]
async fn own_keys_touch_nothing_else_whatever_they_are() {
    let db = small_blog().await.db;
    let everything = async || rows(db.store(), (vec![0].into(), vec![0xFE].into())).await;
    let before = everything().await;
    db.transaction(|tx| async move {
        for key in [&b""[..], b"\x40authors\0", b"\xFF\xFF", &before_of_all()] {
            tx.user().put(key, "x").await?;
        }
        Ok(())
    })
    .await
    .expect("committed");
    assert_eq!(everything().await.len(), before.len() + 4);
    let count = db.transaction(|tx| async move { tx.user().delete_range("", None).await }).await;
    assert_eq!(count, Ok(4));
    assert_eq!(everything().await, before);
    assert!(!KeyRange::prefix(&[0x50]).contains(&before[0].0));
}

fn before_of_all() -> Vec<u8> {
    vec![0; 100]
}

#[tokio::test]
async fn keys_too_long_and_values_of_nothing_are_refused() {
    let db = fixture().db;
    let tx = db.begin().await.expect("begun");
    let (long, limit) = (vec![1; 4_096], 4_095);
    let refused = Err(Error::Input(InputError::UserKeyTooLong { actual: 4_096, limit }));
    assert_eq!(tx.user().put(&long, "x").await, refused);
    assert_eq!(tx.user().delete_range("", Some(&long)).await, refused.clone().map(|()| 0));
    assert_eq!(tx.user().put("k", "").await, Err(InputError::UserValueEmpty.into()));
    tx.user().put(&long[1..], "x").await.expect("the longest");
    assert_eq!(tx.commit().await, Ok(()));
}

#[tokio::test]
async fn a_disk_that_is_down_to_its_reserve_takes_no_own_keys_and_lets_them_be_deleted() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = |reserve_bytes| {
        let options = EmbeddedOptions { reserve_bytes, ..EmbeddedOptions::new(Arc::new(SystemClock)) };
        EmbeddedStore::open(directory.path(), options).expect("nobody else has it")
    };
    let store = open(0);
    let db = Fixture::over(store.clone(), DbSettings::default()).db;
    db.transaction(|tx| async move { tx.user().put("k", "1").await }).await.expect("there is room");
    store.shutdown().await;
    drop((store, db));
    // More than any disk has.
    let store = open(u64::MAX);
    let db = Fixture::over(store.clone(), DbSettings::default()).db;
    let refused = db.transaction(|tx| async move { tx.user().put("l", "1").await }).await;
    assert_eq!(refused, Err(Error::Commit(CommitError::DiskFull { reserve_bytes: u64::MAX })));
    db.transaction(|tx| async move { tx.user().delete("k").await }).await.expect("it makes room");
    let count = db.transaction(|tx| async move { tx.user().delete_range("", None).await }).await;
    assert_eq!(count, Ok(0));
    store.shutdown().await;
}
