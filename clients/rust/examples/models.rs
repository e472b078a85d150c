//! A model: written, found, changed and deleted, with the times of its first and last write.
//!
//! `cargo run --example models`

use serde::{Deserialize, Serialize};
use tidegate::model::{Error, TimeMs};
use tidegate::{Model, Tidegate};

#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "customers")]
struct Customer {
    /// A number here; text and UUIDs are ids, too.
    id: i64,
    name: String,
    #[model(created_at)]
    created_at: TimeMs,
    #[model(updated_at)]
    updated_at: TimeMs,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run().await
}

pub(crate) async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let tidegate = Tidegate::open(directory.path()).await?;
    let db = tidegate.db();

    let ada =
        &Customer { id: 1, name: "Ada".into(), created_at: TimeMs::default(), updated_at: TimeMs::default() };
    db.transaction(|tx| async move { tx.insert(ada).await }).await?;
    let exists = db.transaction(|tx| async move { tx.insert(ada).await }).await;
    assert!(matches!(exists, Err(Error::Exists { .. })), "an insert is of what is not there");

    let found = db.snapshot().await?.find::<Customer>(1).await?.ok_or("the customer is there")?;
    assert!(found.created_at.0 > 0, "the time is that of the write");

    let renamed = &Customer { name: "Ada Lovelace".into(), ..found.clone() };
    db.transaction(|tx| async move { tx.update(renamed).await }).await?;
    let found = db.snapshot().await?.find::<Customer>(1).await?.ok_or("the customer is there")?;
    assert_eq!((found.name.as_str(), found.created_at), ("Ada Lovelace", renamed.created_at));
    println!("{found:?}");

    let deleted = db.transaction(|tx| async move { tx.delete::<Customer>(1).await }).await?;
    assert_eq!(deleted.map(|deleted| deleted.name), Some("Ada Lovelace".to_owned()));
    tidegate.shutdown().await;
    Ok(())
}
