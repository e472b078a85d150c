//! From store to store: what is copied, what leaps, what is refused, and what stops half way.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_format::{
    BrokerId, BrokerKey, BrokerValue, ClusterKey, ClusterValue, FormatVersion, FormatVersionKey, GcHoldKey,
    GcHoldValue, Offset, OrderVersion, OwnerEpoch, PartitionId, PartitionIndex, PartitionState,
    PartitionStateKey, ProducerId, ProducerIdBlockKey, ProducerIdBlockValue, RestoringKey, RestoringValue,
    TimestampMaxima, TopicId, TopicKey, TopicValue, UserKey,
};
use tidegate_store::faulty::{CommitFault, FaultyStore, On};
use tidegate_store::{CommitError, Direction, ManualClock, MemoryStore, ScanLimit, Store, Txn, Version};
use uuid::Uuid;

use crate::export::all_keys;
use crate::{
    Compression, ContentError, Decoder, EPOCH_LEAP, Export, ExportError, Header, PRODUCER_ID_LEAP, Part,
    Restore, RestoreError,
};

type Entries = BTreeMap<Bytes, Bytes>;

const CLUSTER: Uuid = Uuid::from_u128(77);
const TOPIC: TopicId = TopicId(Uuid::from_u128(5));

fn attempt(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn store_at(unix_ms: i64) -> MemoryStore {
    MemoryStore::new(Arc::new(ManualClock::at(unix_ms)))
}

fn faulty() -> FaultyStore<MemoryStore> {
    let mut nonce = 0;
    FaultyStore::new(store_at(2_000_000), move || {
        nonce += 1;
        nonce
    })
}

async fn put_all(store: &impl Store, entries: impl IntoIterator<Item = (Bytes, Bytes)>) {
    let mut txn = store.begin().await.expect("it begins");
    entries.into_iter().for_each(|(key, value)| txn.put(key, value));
    txn.commit().await.expect("nobody else writes");
}

async fn entries_of(store: &impl Store) -> Entries {
    let mut txn = store.begin().await.expect("it begins");
    let limit = ScanLimit::count(usize::MAX);
    txn.scan(&all_keys(), limit, Direction::Forward).await.expect("it is read").into_iter().collect()
}

fn user(name: &str, value: impl Into<Bytes>) -> (Bytes, Bytes) {
    (UserKey { key: Bytes::copy_from_slice(name.as_bytes()) }.encode(), value.into())
}

fn partition(number: i32) -> PartitionId {
    PartitionId { topic: TOPIC, partition: PartitionIndex(number) }
}

fn state(epoch: i32) -> PartitionState {
    PartitionState {
        log_start: Offset(1),
        next_offset: Offset(9),
        owner: BrokerId(1),
        epoch: OwnerEpoch(epoch),
        log_bytes: 100,
        appended_bytes: 200,
        maxima: TimestampMaxima::new(5, []),
        commit_token: 6,
    }
}

/// A store that a broker has served: a topic of three partitions, of which one was used.
async fn served() -> MemoryStore {
    let store = store_at(1_000_000);
    let topic =
        TopicValue { id: TOPIC, partitions: 3, created_version: OrderVersion(3), configs: BTreeMap::new() };
    let broker =
        BrokerValue { host: "h".into(), port: 1, rack: None, incarnation: 1, renewals: 1, lease_ms: 1 };
    put_all(
        &store,
        [
            (FormatVersionKey.encode(), FormatVersion::SUPPORTED.encode()),
            (ClusterKey.encode(), ClusterValue { id: CLUSTER }.encode()),
            (BrokerKey { id: BrokerId(1) }.encode(), broker.encode()),
            (
                GcHoldKey { id: attempt(9) }.encode(),
                GcHoldValue { version: OrderVersion(1), renewals: 1 }.encode(),
            ),
            (TopicKey { name: "flights".into() }.encode(), topic.encode()),
            (PartitionStateKey { id: partition(1) }.encode(), state(4).encode()),
            (ProducerIdBlockKey.encode(), ProducerIdBlockValue { next: ProducerId(2_000) }.encode()),
            user("a", "1"),
            user("b", vec![2; 3 << 20]),
        ],
    )
    .await;
    store
}

async fn export(store: &impl Store) -> Vec<u8> {
    let mut export = Export::begin(store, Compression::Zstd, "0.1.0").await.expect("it can be read");
    let mut file = Vec::new();
    while let Some(bytes) = export.next_bytes().await.expect("it can be read") {
        file.extend(bytes);
    }
    file
}

/// The parts of a file that is whole: its header, and its entries by frames.
fn parts(file: &[u8]) -> (Header, Vec<Vec<(Bytes, Bytes)>>) {
    let mut decoder = Decoder::new();
    decoder.feed(file);
    let mut frames = Vec::new();
    while let Some(part) = decoder.next_part().expect("it is whole") {
        if let Part::Entries(entries) = part {
            frames.push(entries);
        }
    }
    (decoder.finish().expect("it is whole").header, frames)
}

async fn restore(file: &[u8], store: &impl Store, number: u128) -> Result<(), RestoreError> {
    let (header, frames) = parts(file);
    let mut restore = Restore::begin(store.clone(), &header, header.cluster, attempt(number)).await?;
    for entries in frames {
        restore.write(entries).await?;
    }
    restore.finish().await.map(drop)
}

#[tokio::test]
async fn everything_but_what_belongs_to_processes_comes_back() {
    let origin = served().await;
    let copy = store_at(2_000_000);
    restore(&export(&origin).await, &copy, 1).await.expect("it is empty");
    let mut expected = entries_of(&origin).await;
    assert!(expected.remove(&BrokerKey { id: BrokerId(1) }.encode()).is_some());
    assert!(expected.remove(&GcHoldKey { id: attempt(9) }.encode()).is_some());
    // What leaps.
    let never_owned = PartitionState {
        log_start: Offset(0),
        next_offset: Offset(0),
        owner: BrokerId(-1),
        epoch: OwnerEpoch(EPOCH_LEAP),
        log_bytes: 0,
        appended_bytes: 0,
        maxima: TimestampMaxima::new(-1, []),
        commit_token: 0,
    };
    let leapt = PartitionState { owner: BrokerId(-1), ..state(4 + EPOCH_LEAP) };
    for (number, state) in [(0, never_owned.clone()), (1, leapt), (2, never_owned)] {
        expected.insert(PartitionStateKey { id: partition(number) }.encode(), state.encode());
    }
    let next = ProducerId(2_000 + PRODUCER_ID_LEAP);
    expected.insert(ProducerIdBlockKey.encode(), ProducerIdBlockValue { next }.encode());
    assert_eq!(entries_of(&copy).await, expected);
}

#[tokio::test]
async fn producer_ids_leap_also_where_none_was_handed_out() {
    let origin = store_at(1_000);
    put_all(&origin, [user("a", "1")]).await;
    let copy = store_at(2_000);
    restore(&export(&origin).await, &copy, 1).await.expect("it is empty");
    let entries = entries_of(&copy).await;
    let next = ProducerIdBlockValue { next: ProducerId(PRODUCER_ID_LEAP) }.encode();
    assert_eq!(entries.get(&ProducerIdBlockKey.encode()), Some(&next));
    // Nobody ever served it: who does first draws the cluster's id.
    assert!(!entries.contains_key(&ClusterKey.encode()));
    assert!(entries.contains_key(&FormatVersionKey.encode()));
}

#[tokio::test]
async fn a_copy_is_of_one_moment_whatever_is_written_meanwhile() {
    let origin = store_at(1_000);
    let names: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
    put_all(&origin, names.iter().map(|name| user(name, vec![b'0'; 20_000]))).await;
    let mut export = Export::begin(&origin, Compression::None, "").await.expect("it can be read");
    let mut file = Vec::new();
    while let Some(bytes) = export.next_bytes().await.expect("it can be read") {
        file.extend(bytes);
        put_all(&origin, names.iter().map(|name| user(name, vec![b'1'; 20_000]))).await;
        put_all(&origin, [user(&format!("{}x", file.len()), "new")]).await;
    }
    let (_, frames) = parts(&file);
    assert!(frames.len() > 3, "there were writes in between");
    let expected: Vec<_> = names.iter().map(|name| user(name, vec![b'0'; 20_000])).collect();
    assert_eq!(frames.concat(), expected);
}

#[tokio::test]
async fn a_store_with_something_in_it_is_refused_and_left_as_it_is() {
    let file = export(&served().await).await;
    let copy = store_at(2_000_000);
    put_all(&copy, [user("mine", "1")]).await;
    let before = entries_of(&copy).await;
    let refused = restore(&file, &copy, 1).await;
    assert_eq!(refused, Err(RestoreError::NotEmpty { kind: "user".to_owned() }));
    assert_eq!(entries_of(&copy).await, before);
    // A namespace where only the hold of a snapshot is left is empty.
    let copy = store_at(2_000_000);
    let hold = GcHoldValue { version: OrderVersion(1), renewals: 1 };
    put_all(&copy, [(GcHoldKey { id: attempt(9) }.encode(), hold.encode())]).await;
    restore(&file, &copy, 1).await.expect("nothing of ours is in it");
}

#[tokio::test]
async fn versions_that_would_go_back_are_refused() {
    let file = export(&served().await).await;
    let copy = store_at(1_000_000 - 7_000);
    let refused = restore(&file, &copy, 1).await;
    assert_eq!(refused, Err(RestoreError::VersionsBehind { behind_ms: 7_000 }));
    assert!(entries_of(&copy).await.is_empty());
}

#[tokio::test]
async fn a_restore_that_stops_at_any_commit_leaves_a_mark_and_can_be_begun_anew() {
    let origin = served().await;
    let file = export(&origin).await;
    let whole = store_at(2_000_000);
    restore(&file, &whole, 1).await.expect("it is empty");
    let whole = entries_of(&whole).await;
    let mut stops = 0;
    loop {
        let copy = faulty();
        let unavailable = CommitError::Unavailable { reason: "killed".to_owned() };
        copy.faults().fail_commit(On::nth(stops), CommitFault::Refused(unavailable.clone()));
        match restore(&file, &copy, 1).await {
            Ok(()) => break,
            Err(error) => assert_eq!(error, RestoreError::Commit(unavailable)),
        }
        let left = entries_of(copy.inner()).await;
        assert_eq!(left.contains_key(&RestoringKey.encode()), stops > 0, "{stops}");
        assert!(!left.contains_key(&FormatVersionKey.encode()));
        if stops > 0 {
            let again = Export::begin(copy.inner(), Compression::None, "").await.map(drop);
            assert_eq!(again, Err(ExportError::Restoring), "half a store is not backed up");
        }
        restore(&file, copy.inner(), 2).await.expect("it is begun anew");
        assert_eq!(entries_of(copy.inner()).await, whole);
        stops += 1;
    }
    assert!(stops >= 3, "the mark, some batches and the end were each stopped once");
}

#[tokio::test]
async fn what_an_earlier_attempt_left_is_removed() {
    let file = export(&served().await).await;
    let copy = store_at(2_000_000);
    let mark = RestoringValue { attempt: attempt(1), snapshot: OrderVersion(1), began_ms: 0 };
    put_all(&copy, [(RestoringKey.encode(), mark.encode()), user("left over", "1"), user("z", "1")]).await;
    restore(&file, &copy, 2).await.expect("it is begun anew");
    let whole = store_at(2_000_000);
    restore(&file, &whole, 1).await.expect("it is empty");
    assert_eq!(entries_of(&copy).await, entries_of(&whole).await);
}

#[tokio::test]
async fn of_two_restores_into_one_store_the_later_one_goes_on() {
    let file = export(&served().await).await;
    let (header, frames) = parts(&file);
    let copy = store_at(2_000_000);
    let mut first = Restore::begin(copy.clone(), &header, None, attempt(1)).await.expect("it is empty");
    first.write(frames[0].clone()).await.expect("it goes on");
    let mut second = Restore::begin(copy.clone(), &header, None, attempt(2)).await.expect("it takes over");
    for entries in &frames {
        second.write(entries.clone()).await.expect("it goes on");
    }
    first.write(frames[0].clone()).await.ok();
    assert_eq!(first.finish().await, Err(RestoreError::Replaced));
    second.finish().await.expect("it goes on");
    let whole = store_at(2_000_000);
    restore(&file, &whole, 1).await.expect("it is empty");
    let mut whole = entries_of(&whole).await;
    whole.remove(&ClusterKey.encode());
    assert_eq!(entries_of(&copy).await, whole);
}

#[tokio::test]
async fn a_lost_answer_of_a_commit_is_settled_and_written_once() {
    let file = export(&served().await).await;
    let whole = store_at(2_000_000);
    restore(&file, &whole, 1).await.expect("it is empty");
    for lost in 0..3 {
        for fault in [CommitFault::LostApplied, CommitFault::LostNotApplied] {
            let copy = faulty();
            copy.faults().fail_commit(On::nth(lost), fault);
            restore(&file, &copy, 1).await.expect("it is settled");
            assert_eq!(entries_of(copy.inner()).await, entries_of(&whole).await);
        }
    }
}

#[tokio::test]
async fn keys_of_unknown_kinds_are_refused_when_copied_and_when_restored() {
    let origin = store_at(1_000);
    put_all(&origin, [(Bytes::from_static(&[0x7F, b'x']), Bytes::from_static(b"1"))]).await;
    let mut export = Export::begin(&origin, Compression::None, "").await.expect("it can be read");
    export.next_bytes().await.expect("the header");
    let unknown = ContentError::UnknownKind { key: "\\x7fx".to_owned() };
    assert_eq!(export.next_bytes().await, Err(ExportError::Content(unknown.clone())));

    let supported = FormatVersion::SUPPORTED.get();
    let header = Header {
        store_format: supported,
        snapshot: Version(1),
        taken_ms: 1,
        cluster: None,
        release: String::new(),
    };
    let mut restore = Restore::begin(store_at(1_000), &header, None, attempt(1)).await.expect("it is empty");
    let entries = vec![(Bytes::from_static(&[0x7F, b'x']), Bytes::from_static(b"1"))];
    assert_eq!(restore.write(entries).await, Err(RestoreError::Content(unknown)));
    for found in [supported - 1, supported + 1] {
        let other = Header { store_format: found, ..header.clone() };
        let refused = Restore::begin(store_at(1_000), &other, None, attempt(1)).await.map(drop);
        assert_eq!(refused, Err(RestoreError::StoreFormat { found, supported }));
    }
}
