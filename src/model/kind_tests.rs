//! Every type of id and of indexed field: what is found by it, in which order, and what is refused.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_store::{MemoryStore, Store};
use uuid::Uuid;

use crate::fixture::fixture;
use crate::{
    Db, Error, Field, FieldType, INDEX_ENTRIES_MAX, Index, InputError, Model, ModelId, Query, QueryError,
    Snapshot, TimeMs,
};

/// A sample: a field of every type that has a place in an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "samples")]
#[model(index(name = "by_seal", unique, fields = [bytes(seal?)]))]
#[model(index(name = "by_layers", fields = [bytes(layers[])]))]
#[model(index(name = "by_hash", fields = [bytes(hash)]))]
#[model(index(name = "by_frozen_and_weight", fields = [is_frozen, weight]))]
#[model(index(name = "by_site", fields = [finds[].site.name, finds[].depth?]))]
struct Sample {
    id: Uuid,
    #[model(unique)]
    batch: Uuid,
    seal: Option<Vec<u8>>,
    layers: Vec<Vec<u8>>,
    hash: [u8; 4],
    is_frozen: bool,
    #[model(index)]
    taken_at: SystemTime,
    weight: f32,
    #[model(index)]
    labels: HashSet<String>,
    #[model(index)]
    years: BTreeSet<i16>,
    finds: Vec<Find>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Find {
    site: Site,
    depth: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Site {
    name: String,
}

fn uuid(n: i64) -> Uuid {
    Uuid::from_u128(u128::from(n.unsigned_abs()) << 96)
}

fn sample(n: i64) -> Sample {
    Sample {
        id: uuid(n),
        batch: uuid(100 - n),
        seal: None,
        layers: vec![],
        hash: [0; 4],
        is_frozen: false,
        taken_at: UNIX_EPOCH,
        weight: 0.0,
        labels: HashSet::new(),
        years: BTreeSet::new(),
        finds: vec![],
    }
}

/// Samples from 0 on, each changed by its number.
async fn samples(count: i64, change: impl Fn(i64, &mut Sample)) -> Db<MemoryStore> {
    let db = fixture().db;
    for n in 0..count {
        let mut one = sample(n);
        change(n, &mut one);
        save(&db, &one).await.expect("committed");
    }
    assert_eq!(db.verify::<Sample>().await.expect("readable").differences, []);
    db
}

async fn save<M: Model>(db: &Db<MemoryStore>, row: &M) -> Result<(), Error> {
    db.transaction(|tx| async move { tx.save(row).await }).await.map(drop)
}

/// The numbers of the samples that a query finds, in its order.
async fn found<S: Store>(query: Query<'_, S, Sample>) -> Vec<i64> {
    let ids = query.ids().await.expect("answered").rows;
    let number = |id: ModelId| match id {
        ModelId::Uuid(id) => i64::try_from(id.as_u128() >> 96).expect("small"),
        other => panic!("{other} is no UUID"),
    };
    ids.into_iter().map(number).collect()
}

async fn read(db: &Db<MemoryStore>) -> Snapshot<MemoryStore> {
    db.snapshot().await.expect("read")
}

#[tokio::test]
async fn rows_are_found_by_uuids_as_ids_and_in_indexes() {
    let db = samples(3, |_, _| {}).await;
    let snapshot = read(&db).await;
    assert_eq!(snapshot.find::<Sample>(uuid(1)).await, Ok(Some(sample(1))));
    assert_eq!(snapshot.find::<Sample>(uuid(7)).await, Ok(None));
    assert_eq!(found(snapshot.list()).await, [0, 1, 2]);
    assert_eq!(found(snapshot.query("by_batch")).await, [2, 1, 0]);
    assert_eq!(found(snapshot.query("by_batch").value(uuid(99))).await, [1]);
    assert_eq!(found(snapshot.query("by_batch").range(uuid(99)..)).await, [1, 0]);
    let taken = save(&db, &Sample { batch: uuid(99), ..sample(5) }).await;
    let (table, index) = ("samples", "by_batch");
    let expected = Error::Unique { table, index, id: uuid(5).into(), holder: uuid(1).into() };
    assert_eq!(taken, Err(expected));
}

#[tokio::test]
async fn rows_are_found_by_bytes_in_their_order() {
    let seals: [&[u8]; 4] = [b"\0\0", b"\0", b"", b"\xFF\0"];
    let db = samples(5, |n, one| {
        let at = usize::try_from(n).expect("small");
        one.seal = seals.get(at).map(|seal| seal.to_vec());
        one.layers = seals[..at.min(4)].iter().map(|layer| layer.to_vec()).collect();
        one.hash = [u8::MAX - u8::try_from(n).expect("small"); 4];
    })
    .await;
    let snapshot = read(&db).await;
    assert_eq!(found(snapshot.query("by_seal")).await, [2, 1, 0, 3], "the last has none");
    assert_eq!(found(snapshot.query("by_seal").value(Bytes::from_static(b"\0"))).await, [1]);
    assert_eq!(found(snapshot.query("by_seal").range(b"\0\0".as_slice()..)).await, [0, 3]);
    assert_eq!(found(snapshot.query("by_layers").value(b"\0".as_slice())).await, [2, 3, 4]);
    assert_eq!(found(snapshot.query("by_hash")).await, [4, 3, 2, 1, 0]);
    assert_eq!(found(snapshot.query("by_hash").value([254_u8; 4].as_slice())).await, [1]);
    let text = snapshot.query::<Sample>("by_seal").value("text").count().await;
    let (table, index, field) = ("samples", "by_seal", "seal?");
    let (expected, found) = (FieldType::Bytes, FieldType::Str);
    assert_eq!(text, Err(QueryError::WrongType { table, index, field, expected, found }.into()));
    let taken = save(&db, &Sample { seal: Some(b"\0".to_vec()), ..sample(9) }).await;
    assert!(matches!(taken, Err(Error::Unique { index: "by_seal", .. })));
}

/// A measure, found by its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "measures", skip_unchanged)]
struct Measure {
    id: i64,
    #[model(index)]
    value: f64,
    /// As much as fits.
    steps: u128,
}

#[tokio::test]
async fn a_float_is_in_its_row_to_the_last_bit_as_it_is_in_its_index() {
    let db = fixture().db;
    // Some whose shortest decimal form is read back as a neighbour by a reader that is in a hurry.
    let mut values: Vec<f64> = (1..200_u64)
        .map(|n| f64::from_bits(n.wrapping_mul(0x9E37_79B9_7F4A_7C15) & 0x7FDF_FFFF_FFFF_FFFF))
        .collect();
    values.extend([f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 0.1 + 0.2, 1e23]);
    for (id, value) in (0..).zip(values) {
        save(&db, &Measure { id, value, steps: 0 }).await.expect("committed");
        let snapshot = read(&db).await;
        let found = snapshot.query::<Measure>("by_value").value(value).first().await.expect("answered");
        assert_eq!(found.map(|found| found.value.to_bits()), Some(value.to_bits()), "{value:e}");
    }
    assert_eq!(db.verify::<Measure>().await.expect("readable").differences, []);
}

/// What somebody has sent, as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "notes")]
struct Note {
    id: i64,
    sent: serde_json::Value,
}

#[tokio::test]
async fn a_row_that_could_not_be_read_again_for_its_depth_is_refused() {
    let db = fixture().db;
    let nested = |levels: usize| serde_json::from_str(&("[".repeat(levels) + &"]".repeat(levels)));
    for levels in [1, 119, 120, 127] {
        let note = Note { id: 1, sent: nested(levels).expect("JSON that is read") };
        let written = save(&db, &note).await;
        if levels > 119 {
            assert!(matches!(written, Err(Error::Input(InputError::Encode { .. }))), "{written:?}");
        } else {
            assert_eq!(written, Ok(()));
            assert_eq!(read(&db).await.find::<Note>(1).await, Ok(Some(note)));
        }
    }
}

#[tokio::test]
async fn whole_numbers_of_more_than_64_bits_that_differ_are_a_change() {
    let db = fixture().db;
    for steps in [u128::MAX, u128::MAX - 1, u128::MAX - 9, 3 << 64, (3 << 64) + 1] {
        save(&db, &Measure { id: 1, value: 0.5, steps }).await.expect("committed");
        let found = read(&db).await.find::<Measure>(1).await.expect("read").expect("there");
        assert_eq!(found.steps, steps);
    }
}

#[tokio::test]
async fn rows_are_found_by_truth_and_small_floats() {
    let weights = [-0.0, 0.1, -1.5, f32::MIN_POSITIVE, f32::MAX, f32::MIN];
    let db = samples(6, |n, one| {
        one.is_frozen = n % 2 == 0;
        one.weight = weights[usize::try_from(n).expect("small")];
    })
    .await;
    let snapshot = read(&db).await;
    let query = || snapshot.query::<Sample>("by_frozen_and_weight");
    assert_eq!(found(query()).await, [5, 3, 1, 2, 0, 4], "false comes first");
    assert_eq!(found(query().value(true)).await, [2, 0, 4]);
    assert_eq!(
        found(query().value(false).value(0.1_f32)).await,
        [1],
        "as it was written, not as 0.1 of an f64"
    );
    assert_eq!(found(query().value(true).range(-1.5_f32..=0.0)).await, [2, 0]);
}

#[tokio::test]
async fn rows_are_found_by_times_before_1970_too() {
    let second = Duration::from_secs(1);
    let times = [
        UNIX_EPOCH,
        UNIX_EPOCH - second,
        UNIX_EPOCH - Duration::from_nanos(1),
        UNIX_EPOCH + second,
        UNIX_EPOCH - 1_000 * second,
    ];
    let db = fixture().db;
    for (n, at) in (0..).zip(times) {
        // As serde writes a time, there is none before 1970.
        save(&db, &Visit { id: n, at: Timed(at) }).await.expect("committed");
    }
    let snapshot = read(&db).await;
    let query = || snapshot.query::<Visit>("by_at");
    let ids = async |query: Query<'_, MemoryStore, Visit>| {
        let rows = query.fetch().await.expect("answered").rows;
        rows.into_iter().map(|visit| visit.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(query()).await, [4, 1, 2, 0, 3]);
    assert_eq!(ids(query().range(..UNIX_EPOCH)).await, [4, 1, 2]);
    assert_eq!(ids(query().value(UNIX_EPOCH - second)).await, [1]);
    assert_eq!(ids(query().value(-1_000)).await, [1], "milliseconds are a time, too");
    assert_eq!(ids(query().value(TimeMs(-1))).await, [2], "rounded down");

    let later = UNIX_EPOCH + 3 * second;
    let db = samples(2, |n, one| one.taken_at = if n == 0 { later } else { UNIX_EPOCH }).await;
    let snapshot = read(&db).await;
    assert_eq!(found(snapshot.query("by_taken_at")).await, [1, 0]);
    assert_eq!(found(snapshot.query("by_taken_at").value(later)).await, [0]);
}

/// A time that is kept in milliseconds, and may be before 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Timed(SystemTime);

impl Serialize for Timed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ns = match self.0.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).expect("near"),
            Err(before) => -i64::try_from(before.duration().as_nanos()).expect("near"),
        };
        ns.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ns = i64::deserialize(deserializer)?;
        let since = Duration::from_nanos(ns.unsigned_abs());
        Ok(Self(if ns < 0 { UNIX_EPOCH - since } else { UNIX_EPOCH + since }))
    }
}

impl crate::IndexField for Timed {
    const TYPE: FieldType = FieldType::TimeMs;

    fn put(&self, values: &mut crate::Values) {
        self.0.put(values);
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "visits")]
struct Visit {
    id: i64,
    #[model(index)]
    at: Timed,
}

#[tokio::test]
async fn a_row_has_an_entry_for_each_member_of_a_set() {
    let db = samples(3, |n, one| {
        one.labels = (0..n).map(|label| format!("label {label}")).collect();
        one.years = (0..n).map(|year| i16::try_from(-year).expect("small")).collect();
    })
    .await;
    let snapshot = read(&db).await;
    assert_eq!(found(snapshot.query("by_labels").value("label 0")).await, [1, 2]);
    assert_eq!(found(snapshot.query("by_labels").value("label 1")).await, [2]);
    assert_eq!(found(snapshot.query("by_years")).await, [2, 1, 2]);
    assert_eq!(found(snapshot.query("by_years").range(..0)).await, [2]);
}

#[tokio::test]
async fn a_path_leads_through_the_elements_of_an_array() {
    let find = |name: &str, depth| Find { site: Site { name: name.to_owned() }, depth };
    let db = samples(3, |n, one| {
        one.finds = match n {
            0 => vec![find("cave", Some(3)), find("lake", None)],
            1 => vec![find("lake", Some(-1)), find("cave", Some(2))],
            _ => vec![find("cave", None)],
        };
    })
    .await;
    let snapshot = read(&db).await;
    let query = || snapshot.query::<Sample>("by_site");
    assert_eq!(
        found(query().value("cave")).await,
        [1, 1, 0],
        "every site with every depth; one has no depth"
    );
    assert_eq!(found(query().value("lake")).await, [1, 1, 0]);
    assert_eq!(found(query().value("lake").value(3)).await, [0]);
    assert_eq!(found(query().value("lake").range(..0)).await, [1]);
    // What an element had goes with it.
    save(&db, &Sample { finds: vec![find("hill", Some(0))], ..sample(1) }).await.expect("committed");
    let snapshot = read(&db).await;
    assert_eq!(found(snapshot.query("by_site").value("lake")).await, [0]);
    assert_eq!(found(snapshot.query("by_site").value("hill")).await, [1]);
    assert_eq!(db.verify::<Sample>().await.expect("readable").differences, []);
}

#[tokio::test]
async fn more_entries_than_a_row_may_have_in_an_index_are_refused_by_index_and_field() {
    let db = fixture().db;
    let side = i16::try_from(INDEX_ENTRIES_MAX).expect("small");
    save(&db, &Sample { years: (0..side).collect(), ..sample(1) }).await.expect("as many as there may be");
    let refused = save(&db, &Sample { years: (0..=side).collect(), ..sample(1) }).await;
    let (table, index, field) = ("samples", "by_years", "years");
    let (id, limit) = (ModelId::from(uuid(1)), INDEX_ENTRIES_MAX);
    let expected = InputError::TooManyEntries { table, index, field, id, actual: limit + 1, limit };
    assert_eq!(refused, Err(expected.into()));
    assert_eq!(read(&db).await.query::<Sample>("by_years").count().await, Ok(1_000), "it is as it was");
    // Every value of one field with every value of the other.
    let find = |n: i32| Find { site: Site { name: n.to_string() }, depth: Some(n) };
    let refused = save(&db, &Sample { finds: (0..32).map(find).collect(), ..sample(1) }).await;
    assert!(matches!(
        refused,
        Err(Error::Input(InputError::TooManyEntries {
            index: "by_site",
            field: "finds[].depth?",
            actual: 1_024,
            ..
        }))
    ));
}

/// Written by hand, with a field of each kind that reads one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stamped {
    id: i32,
    key: Option<Vec<u8>>,
    by: Option<Uuid>,
    is_valid: Option<bool>,
}

impl Model for Stamped {
    const TABLE: &'static str = "stamped";

    fn id(&self) -> ModelId {
        self.id.into()
    }

    fn indexes() -> &'static [Index<Self>] {
        const INDEXES: &[Index<Stamped>] = &[
            Index::new("by_key", &[Field::bytes("key", |row| row.key.as_deref())]),
            Index::new(
                "by_validity",
                &[Field::bool("is_valid", |row| row.is_valid), Field::uuid("by", |row| row.by)],
            ),
        ];
        INDEXES
    }
}

#[tokio::test]
async fn models_written_by_hand_are_found_by_bytes_truth_and_uuids() {
    let db = fixture().db;
    for id in 0..4 {
        let key = (id > 0).then(|| vec![0; usize::try_from(4 - id).expect("small")]);
        let (by, is_valid) = ((id > 0).then(|| uuid(id.into())), Some(id % 2 == 1));
        save(&db, &Stamped { id, key, by, is_valid }).await.expect("committed");
    }
    let snapshot = read(&db).await;
    let ids = async |query: Query<'_, MemoryStore, Stamped>| {
        query.ids().await.expect("answered").rows.into_iter().map(|id| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(snapshot.query("by_key")).await, ["3", "2", "1"]);
    assert_eq!(ids(snapshot.query("by_key").value([0_u8, 0].as_slice())).await, ["2"]);
    assert_eq!(ids(snapshot.query("by_validity").value(true)).await, ["1", "3"]);
    assert_eq!(ids(snapshot.query("by_validity").value(true).range(uuid(2)..)).await, ["3"]);
    assert_eq!(ids(snapshot.query("by_validity").value(false)).await, ["2"], "one is by nobody");
    assert_eq!(db.verify::<Stamped>().await.expect("readable").differences, []);
}
