//! The store itself, for what is no model: keys and values in a space of the application's own, in the same transactions.
//!
//! `cargo run --example own_keys`

use tidegate::{NewEvent, Tidegate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run().await
}

pub(crate) async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let tidegate = Tidegate::open(directory.path()).await?;
    let db = tidegate.db();
    db.transaction(|tx| async move {
        for gate in ["gate/A1", "gate/B1", "gate/B2", "gate/C1"] {
            tx.user().put(gate, "closed").await?;
        }
        // An event, or a model, belongs to the same transaction.
        tx.publish(NewEvent::new("gates.closed").key("all")).await
    })
    .await?;

    let snapshot = db.snapshot().await?;
    let some = snapshot.user().batch_get(["gate/A1", "gate/Z9"]).await?;
    assert_eq!(some.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    // Keys are ordered by their bytes; a range ends before its end.
    let gates_b = snapshot.user().scan("gate/B", Some(b"gate/C"), 10).await?;
    assert_eq!(gates_b.len(), 2);
    let last = snapshot.user().scan_reverse("gate/", None, 1).await?;
    assert_eq!(last[0].0.as_ref(), b"gate/C1");

    let removed =
        db.transaction(|tx| async move { tx.user().delete_range("gate/B", Some(b"gate/C")).await }).await?;
    assert_eq!(removed, 2);
    assert_eq!(snapshot.user().scan("gate/", None, 10).await?.len(), 4, "a snapshot stands still");
    assert_eq!(db.snapshot().await?.user().scan("gate/", None, 10).await?.len(), 2);
    println!("{removed} gates are gone");
    tidegate.shutdown().await;
    Ok(())
}
