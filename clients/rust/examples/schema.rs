//! A model that changes: rows of an earlier form, an index that is new on a table with rows, comparing and mending.
//!
//! `cargo run --example schema`

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate::model::{Error, QueryError, UpgradeError};
use tidegate::{Model, Tidegate};

/// A person as the first release had it.
#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "people")]
struct FirstPerson {
    id: i64,
    name: String,
}

/// As this one has it: two names, found by the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(table = "people", upgrades(split_name))]
struct Person {
    id: i64,
    first: String,
    #[model(index)]
    last: String,
}

/// From the first form to the second. It is applied on each read of such a row, and stored by the back-fill.
fn split_name(mut row: Value) -> Result<Value, UpgradeError> {
    let name = row["name"].as_str().ok_or("a person without a name")?.to_owned();
    let (first, last) = name.split_once(' ').ok_or("a person with one name")?;
    row["first"] = first.into();
    row["last"] = last.into();
    Ok(row)
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
        for (id, name) in [(1, "Ada Lovelace"), (2, "Grace Hopper")] {
            tx.insert(&FirstPerson { id, name: name.into() }).await?;
        }
        Ok(())
    })
    .await?;

    let ada = Person { id: 1, first: "Ada".into(), last: "Lovelace".into() };
    assert_eq!(db.snapshot().await?.find::<Person>(1).await?.as_ref(), Some(&ada));

    // The index is new, and the table has rows: it does not answer before it has them all.
    let find = async || {
        let snapshot = db.snapshot().await?;
        snapshot.query::<Person>("by_last").value("Lovelace").first().await
    };
    let refused = find().await;
    assert!(matches!(refused, Err(Error::Query(QueryError::NotBuilt { index: "by_last", .. }))));
    // Once all processes that write the table have the definition. It may be broken off and goes on where it ended.
    let filled = db.backfill::<Person>().await?;
    assert_eq!(find().await?, Some(ada));

    let verified = db.verify::<Person>().await?;
    assert_eq!((verified.rows, verified.differing), (2, 0));
    println!("{} rows were brought to the new form; repair would find nothing to mend", filled.rows);
    assert_eq!(db.repair::<Person>().await?.differing, 0);
    tidegate.shutdown().await;
    Ok(())
}
