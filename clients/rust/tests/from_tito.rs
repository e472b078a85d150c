//! The examples of the README of the crate Tito, written with Tidegate, as far as they write and read: a user who is
//! found by e-mail address, a post with its tags, a worker, a reminder in one hour. `docs/from-tito.md` has them side by side.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate::model::{Error, NoWakeup};
use tidegate::store::{EmbeddedOptions, EmbeddedStore, ManualClock, MemoryStore};
use tidegate::{
    ClientOptions, Db, DbSettings, Event, Model, NewEvent, Tx, Worker, Write, WriteOptions, run_worker,
};
use tidegate_broker::settings::Settings;
use tidegate_broker::{BrokerStore, RunningBroker};

const NOW_MS: i64 = 1_772_000_000_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(table = "users", events = user_events)]
#[model(index(name = "by_role_and_status", fields = [role, status]))]
#[model(index(name = "active_by_name", fields = [name], when = |user| user.status == "active"))]
struct User {
    id: String,
    name: String,
    #[model(unique)]
    email: String,
    role: String,
    status: String,
}

fn user_events(user: &User, write: Write) -> Vec<NewEvent> {
    let event_type = match write {
        Write::Insert => "user.created",
        Write::Update => "user.updated",
        Write::Delete => "user.deleted",
    };
    let analytics = NewEvent::new(format!("analytics.{event_type}")).topic("analytics");
    let mut events = vec![NewEvent::new(event_type), analytics];
    if write == Write::Insert {
        let reminder = NewEvent::new("user.reminder").topic("reminders").due_in(Duration::from_secs(3_600));
        events.push(reminder.schedule(format!("reminder/{}", user.id)));
    }
    events
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(table = "tags", referenced_by(Post))]
struct Tag {
    id: String,
    label: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(table = "posts")]
#[model(index(name = "by_category_and_date", fields = [category, published_at]))]
struct Post {
    id: String,
    title: String,
    #[model(index)]
    author: String,
    category: String,
    published_at: i64,
    #[model(references = Tag, on_delete = set_null)]
    tag_ids: Vec<String>,
    #[serde(default)]
    #[model(relationship = tag_ids)]
    tags: Vec<Tag>,
}

struct Application {
    db: Db<EmbeddedStore>,
    _directory: tempfile::TempDir,
}

fn open() -> Application {
    let directory = tempfile::tempdir().expect("a directory");
    let options = EmbeddedOptions::new(Arc::new(ManualClock::at(NOW_MS)));
    let options = EmbeddedOptions { reserve_bytes: 0, ..options };
    let store = EmbeddedStore::open(directory.path(), options).expect("a new store");
    let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
    Application { db, _directory: directory }
}

fn john() -> User {
    let text = str::to_owned;
    User {
        id: text("1"),
        name: text("John Doe"),
        email: text("john@example.com"),
        role: text("admin"),
        status: text("active"),
    }
}

#[tokio::test]
async fn a_user_is_created_found_updated_and_deleted() -> Result<(), Error> {
    let db = open().db;
    let user = &john();
    db.transaction(|tx| async move { tx.insert(user).await }).await?;

    let snapshot = db.snapshot().await?;
    assert_eq!(snapshot.find::<User>("1").await?.as_ref(), Some(user));
    let found = snapshot.query::<User>("by_email").value("john@example.com").first().await?;
    assert_eq!(found.as_ref(), Some(user));

    let updated = &User { name: "John Updated".into(), email: "john_updated@example.com".into(), ..john() };
    db.transaction(|tx| async move { tx.update(updated).await }).await?;
    let snapshot = db.snapshot().await?;
    assert_eq!(snapshot.query::<User>("by_email").value("john@example.com").first().await?, None);

    // Within a transaction.
    db.transaction(|tx| async move {
        let found = tx.query::<User>("by_email").value("john_updated@example.com").first().await?;
        let renamed = User { name: "John Smith".into(), ..found.expect("there") };
        tx.update(&renamed).await
    })
    .await?;
    let deleted = db.transaction(|tx| async move { tx.delete::<User>("1").await }).await?;
    assert_eq!(deleted.map(|user| user.name), Some("John Smith".to_owned()));
    assert_eq!(db.snapshot().await?.list::<User>().count().await?, 0);
    Ok(())
}

#[tokio::test]
async fn indexes_are_conditional_and_composite_and_answer_page_by_page() -> Result<(), Error> {
    let db = open().db;
    db.transaction(|tx| async move {
        for n in 0..30 {
            let status = if n % 3 == 0 { "away" } else { "active" };
            let (id, email) = (format!("{n:02}"), format!("{n}@example.com"));
            let user = User { id, email, name: format!("user {n:02}"), status: status.into(), ..john() };
            tx.insert_with(&user, &WriteOptions::new().without_events()).await?;
        }
        Ok(())
    })
    .await?;
    let snapshot = db.snapshot().await?;
    let admins = || snapshot.query::<User>("by_role_and_status").value("admin").value("active").limit(15);
    let first = admins().fetch().await?;
    let second = admins().cursor(first.next.expect("there are more")).fetch().await?;
    assert_eq!((first.rows.len(), second.rows.len(), second.next), (15, 5, None));
    let last = snapshot.query::<User>("active_by_name").reverse().first().await?;
    assert_eq!(last.map(|user| user.name), Some("user 29".to_owned()));
    assert_eq!(snapshot.query::<User>("active_by_name").count().await?, 20);
    Ok(())
}

#[tokio::test]
async fn a_post_comes_with_its_tags() -> Result<(), Error> {
    let db = open().db;
    let text = str::to_owned;
    let tags = &["rust", "tikv"].map(|id| Tag { id: text(id), label: id.to_uppercase() });
    let post = &Post {
        id: text("p1"),
        title: text("Hello"),
        author: text("john"),
        category: text("technology"),
        published_at: 20_230_101,
        tag_ids: vec![text("tikv"), text("rust")],
        tags: vec![],
    };
    db.transaction(|tx| async move {
        for tag in tags {
            tx.insert(tag).await?;
        }
        tx.insert(post).await
    })
    .await?;
    let snapshot = db.snapshot().await?;
    let posts =
        snapshot.query::<Post>("by_author").value("john").relationship("tags").limit(10).fetch().await?.rows;
    let labels: Vec<&str> = posts[0].tags.iter().map(|tag| tag.label.as_str()).collect();
    assert_eq!(labels, ["TIKV", "RUST"]);
    let by_date = snapshot.query::<Post>("by_category_and_date").value("technology").range(20_230_101_i64..);
    assert_eq!(by_date.count().await?, 1);
    let tagged = snapshot.referencing::<Post, Tag>("rust", "tag_ids").ids().await?.rows;
    assert_eq!(tagged, ["p1".into()]);
    Ok(())
}

#[tokio::test]
async fn a_user_is_announced_at_once_and_reminded_in_one_hour() -> Result<(), Error> {
    let db = open().db;
    let user = &john();
    db.transaction(|tx| async move { tx.insert(user).await }).await?;
    // It waits under its name: it can be moved, replaced and cancelled until it is due.
    db.transaction(|tx| async move {
        assert!(tx.reschedule("reminders", "reminder/1", NOW_MS + 7_200_000).await?);
        let reminder = NewEvent::new("user.reminder").topic("reminders").key("1");
        let reminder = reminder.due_in(Duration::from_secs(3_600)).schedule("reminder/1");
        let published = tx.publish(reminder).await?.expect("it has no id of its own");
        assert_eq!(published.due_ms, Some(NOW_MS + 3_600_000));
        assert!(tx.cancel_schedule("reminders", "reminder/1").await?);
        assert!(!tx.cancel_schedule("reminders", "reminder/1").await?, "it is gone");
        Ok(())
    })
    .await?;
    assert_eq!(db.now_ms(), NOW_MS);
    Ok(())
}

/// What was sent to a user, written by the workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(table = "mails")]
struct Mail {
    id: String,
    text: String,
}

/// The handler of Tito's worker: it looks at what happened, to whom.
async fn write_mail(event: Event, tx: Tx<BrokerStore>) -> Result<(), Error> {
    let (what, user) = (event.event_type().unwrap_or_default(), event.key().unwrap_or_default());
    let text = match what {
        "user.created" => "welcome",
        "user.reminder" => "you have been here for an hour",
        _ => return Ok(()),
    };
    tx.insert(&Mail { id: format!("{user}/{what}"), text: text.to_owned() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_handle_each_event_once_and_the_reminder_in_one_hour()
-> Result<(), Box<dyn std::error::Error>> {
    let clock = ManualClock::at(NOW_MS);
    let store = BrokerStore::from(MemoryStore::new(Arc::new(clock.clone())));
    let any = ([127, 0, 0, 1], 0).into();
    let mut settings = Settings { listen: any, admin: any, ..Settings::default() };
    settings.group_initial_rebalance_delay_ms = 0;
    let broker = RunningBroker::start(settings, store.clone()).await?;
    let client = ClientOptions::new(&broker.listen().to_string());
    let db = Db::new(store, DbSettings::default(), broker.wakeup());
    let user = &john();
    db.transaction(|tx| async move { tx.insert(user).await }).await?;

    // As a member of a group, whose partitions are dealt out; and on a fixed partition, as Tito's workers are.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let member = Worker::builder(db.clone(), client.clone()).group("mail").topics(["users"]);
    let member = tokio::spawn(run_worker(member, write_mail, async move { drop(stopped.await) }));
    let fixed = Worker::builder(db.clone(), client).group("reminder").partitions("reminders", [0]);
    let fixed = fixed.start(write_mail).await?;

    let mails = async || Ok::<_, Error>(db.snapshot().await?.list::<Mail>().fetch().await?.rows);
    let until = async |count| {
        while mails().await?.len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        mails().await
    };
    let first: Vec<String> = until(1).await?.into_iter().map(|mail| mail.text).collect();
    assert_eq!(first, ["welcome"], "the reminder waits");
    clock.advance(3_600_000);
    // Whatever is written next wakes the relay, which goes by the store's clock.
    db.transaction(|tx| async move { tx.publish(NewEvent::new("tick").topic("reminders")).await }).await?;
    let second: Vec<String> = until(2).await?.into_iter().map(|mail| mail.text).collect();
    assert_eq!(second, ["welcome", "you have been here for an hour"]);
    stop.send(()).expect("it still runs");
    member.await??;
    fixed.stop().await?;
    broker.stop().await;
    Ok(())
}
