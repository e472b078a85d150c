//! Events of models: which write announces which, with what in them, when they are due, and once only; and a consumer that
//! reads them.
//!
//! `cargo run --example events`

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate::{ConsumerOptions, Model, NewEvent, Start, Tidegate, TopicPartition, Write, WriteOptions};

/// Saving a user as it is already announces nothing.
#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "users", events = events_of, skip_unchanged)]
struct User {
    id: i64,
    name: String,
}

fn events_of(user: &User, write: Write) -> Vec<NewEvent> {
    match write {
        // Held for an hour, under a name by which it is moved or cancelled.
        Write::Insert => vec![
            NewEvent::new("user.created"),
            NewEvent::new("user.reminder")
                .topic("reminders")
                .due_in(Duration::from_secs(3_600))
                .schedule(format!("reminder/{}", user.id)),
        ],
        // Its value is the user before and after the change.
        Write::Update => vec![NewEvent::new("user.changed").images()],
        Write::Delete => vec![NewEvent::new("user.deleted")],
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run().await
}

pub(crate) async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let tidegate = Tidegate::open(directory.path()).await?;
    let db = tidegate.db();
    let ada = &User { id: 1, name: "Ada".into() };

    let options = &WriteOptions::new().metadata("trace", "7f3a");
    db.transaction(|tx| async move { tx.insert_with(ada, options).await }).await?;
    // Nothing changes, and nothing is announced.
    db.transaction(|tx| async move { tx.update(ada).await }).await?;
    // A change that nobody is told of.
    let silent = &WriteOptions::new().without_events();
    let renamed = &User { name: "Ada Lovelace".into(), ..ada.clone() };
    db.transaction(|tx| async move { tx.update_with(renamed, silent).await }).await?;

    // Whoever repeats an event with an id of its own publishes it once, also after it was delivered.
    let publish = async || {
        let welcome = NewEvent::new("mail.wanted").key("1").unique_id("welcome/1");
        db.transaction(|tx| {
            let welcome = welcome.clone();
            async move { tx.publish(welcome).await }
        })
        .await
    };
    assert!(publish().await?.is_some());
    assert!(publish().await?.is_none());

    db.transaction(|tx| async move {
        let later_ms = tx.now_ms().await? + 7_200_000;
        assert!(tx.reschedule("reminders", "reminder/1", later_ms).await?);
        assert!(tx.cancel_schedule("reminders", "reminder/1").await?);
        assert!(!tx.cancel_schedule("reminders", "reminder/1").await?, "it is gone");
        tx.delete::<User>(1).await
    })
    .await?;

    // What was committed is in the topic that is called as the table by now, or within moments. Any Kafka client reads it; this one is in the process.
    let mut consumer = tidegate.consumer(ConsumerOptions::default()).await?;
    consumer.assign([(TopicPartition::new("users", 0), Start::Earliest)])?;
    let created = tokio::time::timeout(Duration::from_secs(60), consumer.recv()).await??;
    assert_eq!(created.key.as_deref(), Some(b"1".as_slice()));
    let user: User = serde_json::from_slice(&created.value.ok_or("it has the user")?)?;
    assert_eq!(user.name, "Ada", "as it was when the event was committed");
    println!("{} was created; the user is gone, and the reminder with them", user.name);
    consumer.close().await?;
    tidegate.shutdown().await;
    Ok(())
}
