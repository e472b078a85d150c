//! Transactions: several models, events, a schedule, a cancel, an offset and keys of one's own, all or none.
//!
//! `cargo run --example transactions`

use serde::{Deserialize, Serialize};
use tidegate::model::Error;
use tidegate::store::Outcome;
use tidegate::{AppStore, Db, Model, NewEvent, Tidegate};

#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "accounts")]
struct Account {
    id: String,
    balance: i64,
}

/// What this application may find wrong, beside what the database does.
#[derive(Debug)]
enum TransferError {
    NotEnough,
    Database(Error),
}

impl From<Error> for TransferError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// Moves money. It runs again if another transaction came first, so it does nothing but through `tx`.
async fn transfer(db: &Db<AppStore>, from: &str, to: &str, amount: i64) -> Result<(), TransferError> {
    db.try_transaction(|tx| async move {
        let accounts = tx.find_many::<Account>([from, to]).await?;
        let [Some(mut from), Some(mut to)] = <[_; 2]>::try_from(accounts).expect("as many as were asked for")
        else {
            return Err(TransferError::NotEnough);
        };
        if from.balance < amount {
            return Err(TransferError::NotEnough);
        }
        (from.balance, to.balance) = (from.balance - amount, to.balance + amount);
        tx.update(&from).await?;
        tx.update(&to).await?;
        let transferred = NewEvent::new("money.transferred").topic("transfers").key(from.id.clone());
        tx.publish(transferred.json(&serde_json::json!({ "to": to.id, "amount": amount }))).await?;
        Ok(())
    })
    .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run().await
}

pub(crate) async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let tidegate = Tidegate::open(directory.path()).await?;
    let db = tidegate.db();
    db.transaction(|tx| async move {
        for (id, balance) in [("ada", 100), ("bob", 0)] {
            tx.insert(&Account { id: id.into(), balance }).await?;
        }
        Ok(())
    })
    .await?;

    // Transfers at once conflict, and none is lost.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let db = db.clone();
        tasks.spawn(async move { transfer(&db, "ada", "bob", 7).await });
    }
    for result in tasks.join_all().await {
        // An answer that was lost is settled by the library. Where the store stays away, it is asked later, by a token.
        match result {
            Err(TransferError::Database(Error::Unknown { token })) => {
                assert_eq!(db.outcome(&token).await?, Outcome::Applied);
            }
            other => other.map_err(|error| format!("{error:?}"))?,
        }
    }
    let before = db.snapshot().await?;
    assert_eq!(before.find::<Account>("bob").await?.map(|bob| bob.balance), Some(70));
    assert!(matches!(transfer(db, "ada", "bob", 31).await, Err(TransferError::NotEnough)));

    // A consumer's progress belongs to what it has done: see `Tx::committed_offset` for two that do the same.
    db.transaction(|tx| async move {
        if tx.committed_offset("audit", "transfers", 0).await?.is_some_and(|next| next > 0) {
            return Ok(());
        }
        tx.user().put("audited/transfers/0", "seen").await?;
        let due_ms = tx.now_ms().await? + 3_600_000;
        tx.schedule("audit", due_ms, NewEvent::new("audit.due")).await?;
        tx.cancel_schedule("audit.due", "an earlier one").await?;
        tx.commit_offset("audit", "transfers", 0, 1).await
    })
    .await?;
    let after = db.snapshot().await?;
    assert_eq!(after.user().get("audited/transfers/0").await?.as_deref(), Some(b"seen".as_slice()));
    assert_eq!(before.user().get("audited/transfers/0").await?, None, "a snapshot stands still");
    println!("ada has {:?}", after.find::<Account>("ada").await?.map(|ada| ada.balance));
    tidegate.shutdown().await;
    Ok(())
}
