//! Whether what is stored is what should be there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::TryStreamExt;
use tidegate_format::ParkedValue;
use tidegate_outbox::HEADER_TYPE;
use tidegate_store::Store;

use super::application::{
    CUSTOMERS, ENTRIES, FILING_LETTERS, LETTERS, Ledger, ORDERS, ORDERS_PARTITIONS, Order, database, entry,
    sent_back,
};
use super::expected::{Expected, Logged, SentBack, State};
use super::site::{Spot, Stored};
use crate::worker::dead_letter::{
    DEAD_LETTER_ATTEMPTS, DEAD_LETTER_CAUSE, DEAD_LETTER_OFFSET, DEAD_LETTER_PARTITION, DEAD_LETTER_TOPIC,
    PREFIX,
};
use crate::worker::lane::Lane;
use crate::{ConsumerRecord, Db, Model};

/// Compares all that is stored with all that should be; the relays have moved what they had.
pub(super) async fn check<S: Store>(store: &S, expected: &Expected, stored: &Stored) {
    assert_eq!(stored.outbox, 0, "what is due has been moved");
    assert_eq!(stored.clerks, expected.clerks);
    let db = database(store.clone());
    check_rows(&db, expected).await;
    check_logs(expected, stored);
    check_letters(expected, stored);
    check_progress(expected, stored);
    check_filing(expected, stored);
}

async fn check_rows<S: Store>(db: &Db<S>, expected: &Expected) {
    assert_eq!(rows::<S, Order>(db).await, expected.orders.values().cloned().collect::<Vec<_>>());
    let ledgers = expected.ledgers();
    assert_eq!(rows::<S, Ledger>(db).await, ledgers.values().cloned().collect::<Vec<_>>());
    let snapshot = db.snapshot().await.expect("read");
    for customer in 0..CUSTOMERS {
        let of_customer = expected.orders.values().filter(|order| order.customer == customer);
        let (all, open): (Vec<&Order>, Vec<&Order>) =
            (of_customer.clone().collect(), of_customer.filter(|order| order.is_open).collect());
        for (index, orders) in [("by_customer", all), ("open_by_customer", open)] {
            let found = snapshot.query::<Order>(index).value(customer).ids().await.expect("answered").rows;
            assert_eq!(found, orders.into_iter().map(Model::id).collect::<Vec<_>>(), "{index} {customer}");
        }
    }
    for ledger in ledgers.values() {
        let by_last = snapshot.query::<Ledger>("by_last").value(ledger.last.as_str());
        assert_eq!(by_last.first().await.expect("answered").as_ref(), Some(ledger));
    }
    assert_eq!(db.verify::<Order>().await.expect("read").differences, []);
    assert_eq!(db.verify::<Ledger>().await.expect("read").differences, []);
}

async fn rows<S: Store, M: Model>(db: &Db<S>) -> Vec<M> {
    let snapshot = db.snapshot().await.expect("read");
    snapshot.list::<M>().limit(50).stream().try_collect().await.expect("readable")
}

fn check_logs(expected: &Expected, stored: &Stored) {
    let mut events: BTreeMap<Option<String>, Vec<Logged>> = BTreeMap::new();
    let mut back: BTreeMap<i32, Vec<SentBack>> = BTreeMap::new();
    for ((partition, _), record) in &stored.orders {
        if sent_back(record) > 0 {
            assert!(record.headers.iter().all(|(name, _)| !name.starts_with(PREFIX)), "it is no dead letter");
            back.entry(*partition).or_default().push(SentBack {
                partition: *partition,
                times: sent_back(record),
                key: record.key.clone(),
                value: record.value.clone(),
            });
        } else {
            let logged =
                (text(record.header(HEADER_TYPE)), record.value.as_ref().map(|value| text(Some(value))));
            events.entry(record.key.as_ref().map(|key| text(Some(key)))).or_default().push(logged);
        }
    }
    // Those without a key go to any partition.
    let mut should = expected.events.clone();
    for events in [&mut should, &mut events] {
        events.entry(None).or_default().sort();
    }
    assert_eq!(events, should, "the events of clerks");
    for partition in 0..ORDERS_PARTITIONS {
        let should = expected.sent_back.iter().filter(|back| back.partition == partition);
        let should: Vec<SentBack> = should.cloned().collect();
        assert_eq!(back.remove(&partition).unwrap_or_default(), should, "what was sent back");
    }
    let mut entries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in &stored.entries {
        assert_eq!(&*record.topic, ENTRIES);
        entries.entry(text(record.key.as_ref())).or_default().push(text(record.value.as_ref()));
    }
    let should = expected.ledgers().into_iter().map(|(id, ledger)| (id, ledger.entries)).collect();
    assert_eq!(entries, should, "the events of the handler");
    for (spot, record) in &expected.records {
        assert_eq!(stored.orders.get(spot), Some(record), "what was read stays");
    }
}

/// A dead letter: which record it was, how often it was tried, why it was given up, its key and value.
pub(super) type Letter = (String, String, String, Option<Bytes>, Option<Bytes>);

fn check_letters(expected: &Expected, stored: &Stored) {
    let letter = |spot: &Spot, attempts: u32, cause: &String| {
        let record = &expected.records[spot];
        let (key, value) = (record.key.clone(), record.value.clone());
        (entry(record), attempts.to_string(), cause.clone(), key, value)
    };
    let buried = expected.states.iter().filter_map(|(spot, state)| match state {
        State::Buried { attempts, cause } => Some(letter(spot, *attempts, cause)),
        _ => None,
    });
    assert_eq!(letters(LETTERS, &stored.letters), sorted(buried), "dead letters");
    let filing = expected.filed.iter().flat_map(|(partition, filed)| {
        filed
            .buried
            .iter()
            .map(|(offset, (attempts, cause))| letter(&(*partition, *offset), *attempts, cause))
    });
    assert_eq!(letters(FILING_LETTERS, &stored.filing_letters), sorted(filing), "dead letters of batches");
    assert_eq!(stored.redriven, expected.redriven);
}

/// Dead letters, by the record that they were.
pub(super) fn letter_spots(stored: &[ConsumerRecord]) -> BTreeMap<Spot, Letter> {
    let number = |of: &str| of.parse::<i64>().expect("a number");
    let letters = letters(LETTERS, stored).into_iter().map(|letter| {
        let (partition, offset) = letter.0.split_once('/').expect("a place");
        ((i32::try_from(number(partition)).expect("a few"), number(offset)), letter)
    });
    letters.collect()
}

fn letters(topic: &str, stored: &[ConsumerRecord]) -> Vec<Letter> {
    let header = |letter: &ConsumerRecord, name: &str| text(letter.header(name));
    sorted(stored.iter().map(|letter| {
        assert_eq!((&*letter.topic, header(letter, DEAD_LETTER_TOPIC)), (topic, ORDERS.to_owned()));
        let of = format!("{}/{}", header(letter, DEAD_LETTER_PARTITION), header(letter, DEAD_LETTER_OFFSET));
        let attempts = header(letter, DEAD_LETTER_ATTEMPTS);
        (of, attempts, header(letter, DEAD_LETTER_CAUSE), letter.key.clone(), letter.value.clone())
    }))
}

fn sorted(letters: impl Iterator<Item = Letter>) -> Vec<Letter> {
    let mut letters: Vec<Letter> = letters.collect();
    letters.sort();
    letters
}

/// What batches have left: how far each partition has come, and that each event before that is filed or given up.
fn check_filing(expected: &Expected, stored: &Stored) {
    for (partition, filed) in &expected.filed {
        assert_eq!(stored.filed[partition], filed.front, "where partition {partition} is");
        let mut dealt_with: Vec<i64> = filed.offsets.iter().chain(filed.buried.keys()).copied().collect();
        assert!(filed.offsets.is_sorted(), "in order: {:?}", filed.offsets);
        dealt_with.sort_unstable();
        let before = expected.records.range((*partition, 0)..(*partition, filed.front.committed));
        assert_eq!(dealt_with, before.map(|(spot, _)| spot.1).collect::<Vec<_>>(), "each once");
    }
    assert_eq!(stored.filing_rows, 0, "it needs no marks and parks nothing");
    let has_begun = expected.filed.values().any(|filed| filed.front.committed > 0);
    assert!(stored.is_filing_listed || !has_begun, "a group that nobody joins is listed");
}

fn check_progress(expected: &Expected, stored: &Stored) {
    let committed: BTreeMap<i32, i64> =
        (0..ORDERS_PARTITIONS).map(|at| (at, stored.committed.get(&at).copied().unwrap_or(0))).collect();
    assert_eq!(committed, expected.committed, "committed offsets");
    let looked_at = expected.states.keys().copied();
    let marks: BTreeSet<_> = looked_at.filter(|spot| spot.1 >= expected.committed[&spot.0]).collect();
    assert_eq!(stored.marks, marks, "marks");
    let passed = expected.records.keys().filter(|spot| spot.1 < expected.committed[&spot.0]);
    assert!(passed.into_iter().all(|spot| !expected.is_fresh(*spot)), "nothing is passed over");
    let parked = expected.states.iter().filter_map(|(spot, state)| match state {
        State::Parked { attempts, due_ms, cause } => {
            let record = expected.records[spot].clone();
            let under = Lane::of(record.key.as_ref(), spot.1).parked_under();
            let row = ParkedValue {
                attempts: *attempts,
                due_ms: *due_ms,
                cause: cause.clone(),
                timestamp_ms: record.timestamp_ms,
                key: record.key,
                value: record.value,
                headers: record.headers,
            };
            Some((*spot, (under, row)))
        }
        _ => None,
    });
    assert_eq!(stored.parked, parked.collect(), "what is parked");
}

fn text(bytes: Option<&Bytes>) -> String {
    String::from_utf8(bytes.expect("there").to_vec()).expect("text")
}
