//! Events of models: which write announces which, with what in them, when they are due, and once only.
//!
//! `cargo run --example events`

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate::model::NoWakeup;
use tidegate::store::{EmbeddedOptions, EmbeddedStore, SystemClock};
use tidegate::{Db, DbSettings, Model, NewEvent, Write, WriteOptions};

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
    let store = EmbeddedStore::open(directory.path(), EmbeddedOptions::new(Arc::new(SystemClock)))?;
    let db = Db::new(store.clone(), DbSettings::default(), Arc::new(NoWakeup));
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
    println!("the user is gone, and the reminder with them");
    store.shutdown().await;
    Ok(())
}
