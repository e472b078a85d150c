//! Queries: what an index answers, in which order, page by page, and what it refuses.

use tidegate_format::{IndexKey, IndexValue};
use tidegate_store::{MemoryStore, Txn};

use crate::fixture::{Flight, NOW_MS, fixture};
use crate::{Cursor, Db, Error, FieldType, Model, QueryError, Tx};

/// Gates A to C with three flights each, one minute apart; every second one is open, every third has an origin.
async fn schedule() -> Db<MemoryStore> {
    let db = fixture().db;
    db.transaction(|tx| async move {
        for n in 0..9_i32 {
            let gate = ["A", "B", "C"][usize::try_from(n / 3).expect("small")];
            let flight = Flight {
                is_open: n % 2 == 0,
                origin: (n % 3 == 0).then(|| format!("origin {n}")),
                weight: f64::from(n) - 4.0,
                ..Flight::new(&format!("KL{n}"), gate, NOW_MS + i64::from(n) * 60_000)
            };
            tx.insert(&flight).await?;
        }
        Ok(())
    })
    .await
    .expect("committed");
    db
}

fn numbers(flights: &[Flight]) -> Vec<&str> {
    flights.iter().map(|flight| flight.number.as_str()).collect()
}

async fn read(db: &Db<MemoryStore>) -> Tx<MemoryStore> {
    db.begin().await.expect("begun")
}

#[tokio::test]
async fn values_are_matched_field_by_field() {
    let tx = read(&schedule().await).await;
    let at_gate = tx.query::<Flight>("by_gate").value("B").fetch().await.expect("answered");
    assert_eq!(numbers(&at_gate.rows), ["KL3", "KL4", "KL5"]);
    assert_eq!(at_gate.next, None);
    let exact = tx.query::<Flight>("by_gate").value("B").value(NOW_MS + 240_000).fetch().await;
    assert_eq!(numbers(&exact.expect("answered").rows), ["KL4"]);
    let all = tx.query::<Flight>("by_gate").fetch().await.expect("answered");
    assert_eq!(all.rows.len(), 9);
}

#[tokio::test]
async fn a_range_is_of_the_field_after_the_values() {
    let tx = read(&schedule().await).await;
    let minute = |n: i64| NOW_MS + n * 60_000;
    let ranged = tx.query::<Flight>("by_gate").value("B").range(minute(4)..).fetch().await;
    assert_eq!(numbers(&ranged.expect("answered").rows), ["KL4", "KL5"]);
    let ranged = tx.query::<Flight>("by_gate").value("B").range(minute(3)..minute(5)).fetch().await;
    assert_eq!(numbers(&ranged.expect("answered").rows), ["KL3", "KL4"]);
    let ranged = tx.query::<Flight>("by_gate").value("B").range(minute(3)..=minute(5)).fetch().await;
    assert_eq!(numbers(&ranged.expect("answered").rows), ["KL3", "KL4", "KL5"]);
    let gates = tx.query::<Flight>("by_gate").range("B".."C").fetch().await.expect("answered");
    assert_eq!(numbers(&gates.rows), ["KL3", "KL4", "KL5"]);
    let weights = tx.query::<Flight>("by_weight").range(-1.0..=1.0).fetch().await.expect("answered");
    assert_eq!(numbers(&weights.rows), ["KL3", "KL4", "KL5"]);
    let after = (std::ops::Bound::Excluded("B"), std::ops::Bound::<&str>::Unbounded);
    let gates = tx.query::<Flight>("by_gate").range::<&str>(after).fetch().await.expect("answered");
    assert_eq!(numbers(&gates.rows), ["KL6", "KL7", "KL8"]);
    let nothing = tx.query::<Flight>("by_gate").range("C".."B").fetch().await.expect("answered");
    assert_eq!((nothing.rows.len(), nothing.next), (0, None));
}

#[tokio::test]
async fn rows_without_a_value_or_outside_of_the_condition_are_not_in_the_index() {
    let tx = read(&schedule().await).await;
    let with_origin = tx.query::<Flight>("by_origin").fetch().await.expect("answered");
    assert_eq!(numbers(&with_origin.rows), ["KL0", "KL3", "KL6"]);
    let open = tx.query::<Flight>("open_by_departure").fetch().await.expect("answered");
    assert_eq!(numbers(&open.rows), ["KL0", "KL2", "KL4", "KL6", "KL8"]);
}

#[tokio::test]
async fn an_update_moves_the_row_within_the_index_and_out_of_it() {
    let db = schedule().await;
    let closed = &Flight { is_open: false, ..Flight::new("KL4", "Z", NOW_MS) };
    db.transaction(|tx| async move {
        tx.update(closed).await?;
        let moved = tx.query::<Flight>("by_gate").value("Z").fetch().await?;
        assert_eq!(numbers(&moved.rows), ["KL4"], "own writes are seen");
        Ok(())
    })
    .await
    .expect("committed");
    let tx = read(&db).await;
    let left = tx.query::<Flight>("by_gate").value("B").fetch().await.expect("answered");
    assert_eq!(numbers(&left.rows), ["KL3", "KL5"]);
    let open = tx.query::<Flight>("open_by_departure").fetch().await.expect("answered");
    assert_eq!(numbers(&open.rows), ["KL0", "KL2", "KL6", "KL8"]);
}

#[tokio::test]
async fn pages_follow_one_another_in_both_directions() {
    let tx = read(&schedule().await).await;
    for reverse in [false, true] {
        for limit in [1, 2, 3, 8, 9, 10] {
            let (mut seen, mut ids, mut cursor) = (vec![], vec![], None::<Cursor>);
            loop {
                let query = || {
                    let mut query = tx.query::<Flight>("by_gate").limit(limit);
                    if reverse {
                        query = query.reverse();
                    }
                    match &cursor {
                        Some(cursor) => query.cursor(cursor.as_str()),
                        None => query,
                    }
                };
                let page = query().fetch().await.expect("answered");
                let id_page = query().ids().await.expect("answered");
                assert_eq!(page.next, id_page.next);
                assert!(page.rows.len() == limit || page.next.is_none(), "only the last page is short");
                seen.extend(page.rows.into_iter().map(|flight| flight.number));
                ids.extend(id_page.rows.into_iter().map(|id| id.to_string()));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            let mut expected: Vec<String> = (0..9).map(|n| format!("KL{n}")).collect();
            if reverse {
                expected.reverse();
            }
            assert_eq!(seen, expected, "limit {limit}, reverse {reverse}");
            assert_eq!(ids, expected);
        }
    }
}

#[tokio::test]
async fn a_table_is_listed_by_id() {
    let tx = read(&schedule().await).await;
    let first = tx.list::<Flight>().limit(4).fetch().await.expect("answered");
    assert_eq!(numbers(&first.rows), ["KL0", "KL1", "KL2", "KL3"]);
    let rest =
        tx.list::<Flight>().cursor(first.next.expect("there is more")).fetch().await.expect("answered");
    assert_eq!(numbers(&rest.rows), ["KL4", "KL5", "KL6", "KL7", "KL8"]);
    assert_eq!(rest.next, None);
    let last = tx.list::<Flight>().reverse().first().await.expect("answered");
    assert_eq!(last.map(|flight| flight.number), Some("KL8".into()));
}

#[tokio::test]
async fn a_cursor_goes_on_only_in_its_own_query() {
    let tx = read(&schedule().await).await;
    let page = tx.query::<Flight>("by_gate").value("A").limit(1).fetch().await.expect("answered");
    let cursor = page.next.expect("there is more");
    let refused = Err(Error::Query(QueryError::CursorOfAnotherQuery { table: "flights" }));
    assert_eq!(tx.query::<Flight>("by_gate").value("B").cursor(cursor.clone()).fetch().await, refused);
    assert_eq!(tx.query::<Flight>("by_gate").cursor(cursor.clone()).fetch().await, refused);
    assert_eq!(
        tx.query::<Flight>("by_gate").value("A").reverse().cursor(cursor.clone()).fetch().await,
        refused
    );
    assert_eq!(tx.query::<Flight>("by_origin").cursor(cursor.clone()).fetch().await, refused);
    assert_eq!(tx.list::<Flight>().cursor(cursor.clone()).fetch().await, refused);
    for garbage in ["", "!", "AQ", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA", &cursor.as_str()[1..]] {
        let refused = tx.query::<Flight>("by_gate").value("A").cursor(garbage).fetch().await;
        assert!(matches!(refused, Err(Error::Query(_))), "{garbage}");
    }
    let another_size = tx.query::<Flight>("by_gate").value("A").limit(2).cursor(cursor).fetch().await;
    assert_eq!(numbers(&another_size.expect("the page size may change").rows), ["KL1", "KL2"]);
}

#[tokio::test]
async fn what_the_index_cannot_answer_is_an_error_that_names_index_and_field() {
    let tx = read(&schedule().await).await;
    let (table, index) = (Flight::TABLE, "by_gate");
    let unknown = tx.query::<Flight>("by_colour").fetch().await;
    let known = vec!["by_gate", "by_origin", "open_by_departure", "by_weight"];
    assert_eq!(unknown, Err(QueryError::UnknownIndex { table, index: "by_colour".into(), known }.into()));

    let too_many = tx.query::<Flight>(index).value("A").value(1).range(1..2).fetch().await;
    assert_eq!(
        too_many,
        Err(QueryError::TooManyValues { table, index, last_field: "departs", given: 3 }.into())
    );

    let wrong = tx.query::<Flight>(index).value("A").value("soon").fetch().await;
    let (expected, found) = (FieldType::TimeMs, FieldType::Str);
    assert_eq!(wrong, Err(QueryError::WrongType { table, index, field: "departs", expected, found }.into()));

    let not_a_number = tx.query::<Flight>("by_weight").value(f64::NAN).fetch().await;
    let refused = QueryError::NotANumber { table, index: "by_weight", field: "weight" };
    assert_eq!(not_a_number, Err(refused.into()));

    let too_long = tx.query::<Flight>(index).value("x".repeat(5000)).fetch().await;
    assert!(matches!(too_long, Err(Error::Query(QueryError::TooLong { index: "by_gate", .. }))));
    let text = format!("{}", wrong.expect_err("refused"));
    assert!(text.contains("flights.by_gate") && text.contains("departs"), "{text}");
}

#[tokio::test]
async fn an_entry_without_its_row_is_reported_and_not_skipped() {
    let db = schedule().await;
    let id = crate::ModelId::from("KL99");
    let values = vec![IndexValue::Str("A".into()), IndexValue::TimeMs(0)];
    let key = IndexKey { table: "flights".into(), index: "by_gate".into(), values, id: id.encode() };
    let key = &key.encode().expect("short");
    db.transaction(|tx| async move {
        tx.raw_store().await?.put(key.clone(), tidegate_format::MARKER);
        Ok(())
    })
    .await
    .expect("committed");
    let tx = read(&db).await;
    let found = tx.query::<Flight>("by_gate").value("A").fetch().await;
    assert_eq!(found, Err(Error::Dangling { table: "flights", index: "by_gate", id }));
}

#[tokio::test]
async fn a_page_of_large_rows_ends_early_and_the_next_goes_on() {
    let db = fixture().db;
    let mut settings = crate::DbSettings::default();
    settings.publish.limits.event_max_bytes = 2 << 20;
    let db = Db::new(db.store().clone(), settings, std::sync::Arc::new(tidegate_outbox::NoWakeup));
    let origin = "x".repeat(900_000);
    for n in 0..20 {
        let large = &LargeRow { n, filling: origin.clone() };
        db.transaction(|tx| async move { tx.insert(large).await }).await.expect("committed");
    }
    let tx = read(&db).await;
    let (mut seen, mut cursor, mut pages) = (0, None::<Cursor>, 0);
    loop {
        let query = tx.list::<LargeRow>().limit(1_000);
        let page = match cursor {
            Some(cursor) => query.cursor(cursor).fetch().await,
            None => query.fetch().await,
        }
        .expect("answered");
        seen += page.rows.len();
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), (20, 2));
}

#[derive(serde::Serialize, serde::Deserialize)]
struct LargeRow {
    n: i32,
    filling: String,
}

impl Model for LargeRow {
    const TABLE: &'static str = "large";

    fn id(&self) -> crate::ModelId {
        self.n.into()
    }
}
