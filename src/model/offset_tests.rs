//! Committed offsets in transactions with rows and events.

use serde_json::json;

use crate::blog::{Author, author};
use crate::fixture::{fixture, waiting};
use crate::{Db, Error, InputError, NewEvent};

const GROUP: &str = "billing";

async fn with_topic() -> Db<tidegate_store::MemoryStore> {
    let db = fixture().db;
    db.transaction(|tx| async move { tx.publish(NewEvent::new("orders").key("1")).await })
        .await
        .expect("committed");
    db
}

#[tokio::test]
async fn an_offset_a_row_an_event_a_schedule_and_a_cancel_are_one_transaction() {
    let db = with_topic().await;
    let handle = async |fails: bool| {
        db.transaction(|tx| async move {
            let done = tx.committed_offset(GROUP, "orders", 0).await?;
            if done.is_some_and(|next| next > 0) {
                return Ok(false);
            }
            tx.insert(&author("ada", None)).await?;
            tx.insert(&author("bob", None)).await?;
            tx.publish(NewEvent::new("bills").json(&json!({"order": 1}))).await?;
            let due_ms = tx.now_ms().await? + 60_000;
            tx.schedule("remind", due_ms, NewEvent::new("bills")).await?;
            tx.schedule("give up", due_ms, NewEvent::new("bills")).await?;
            tx.cancel_schedule("bills", "give up").await?;
            tx.commit_offset(GROUP, "orders", 0, 1).await?;
            if fails { Err(Error::Over) } else { Ok(true) }
        })
        .await
    };
    assert_eq!(handle(true).await, Err(Error::Over));
    assert_eq!(waiting(db.store(), "bills").await, []);
    assert_eq!(handle(false).await, Ok(true));
    assert_eq!(handle(false).await, Ok(false), "it is done already");
    assert_eq!(waiting(db.store(), "bills").await.len(), 2);
    let found = db.snapshot().await.expect("read").find::<Author>("bob").await;
    assert_eq!(found, Ok(Some(author("bob", None))));
}

#[tokio::test]
async fn of_two_that_handle_one_record_one_commits() {
    let db = with_topic().await;
    let (left, right) = (db.begin().await.expect("begun"), db.begin().await.expect("begun"));
    for tx in [&left, &right] {
        assert_eq!(tx.committed_offset(GROUP, "orders", 0).await, Ok(None));
        tx.commit_offset(GROUP, "orders", 0, 1).await.expect("written");
    }
    left.commit().await.expect("the first");
    assert_eq!(right.commit().await, Err(Error::Conflict { attempts: 1 }));
}

#[tokio::test]
async fn offsets_of_what_is_not_there_are_refused() {
    let db = with_topic().await;
    let tx = db.begin().await.expect("begun");
    for (topic, partition) in [("orders", 1), ("orders", -1), ("others", 0), ("a/b", 0)] {
        let missing = InputError::NoPartition { topic: topic.into(), partition };
        assert_eq!(tx.commit_offset(GROUP, topic, partition, 1).await, Err(missing.clone().into()));
        assert_eq!(tx.committed_offset(GROUP, topic, partition).await, Err(missing.into()));
    }
    let negative = InputError::OffsetNegative { offset: -1 };
    assert_eq!(tx.commit_offset(GROUP, "orders", 0, -1).await, Err(negative.into()));
    assert!(matches!(tx.commit_offset("", "orders", 0, 1).await, Err(Error::Input(InputError::Name(_)))));
}
