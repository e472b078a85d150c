//! Indexes: unique, composite, conditional, over a nested field, over each element of a list; and what they answer.
//!
//! `cargo run --example indexes`

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use tidegate::model::{Error, QueryError};
use tidegate::{Model, Tidegate};

#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "products")]
#[model(index(name = "by_maker_and_price", fields = [maker.country, price]))]
#[model(index(name = "on_sale_by_price", fields = [price], when = |product| product.is_on_sale))]
struct Product {
    id: i64,
    /// Two products cannot have names that differ in case only.
    #[model(unique, ignore_case)]
    name: String,
    /// An entry for each tag.
    #[model(index)]
    tags: Vec<String>,
    maker: Maker,
    price: f64,
    is_on_sale: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Maker {
    country: String,
}

fn product(id: i64) -> Product {
    let country = if id % 2 == 0 { "NL" } else { "BE" };
    Product {
        id,
        name: format!("Product {id}"),
        tags: vec!["all".into(), format!("tag {}", id % 3)],
        maker: Maker { country: country.into() },
        price: 10.0 - f64::from(i32::try_from(id).unwrap_or(0)) * 1.5,
        is_on_sale: id % 4 == 0,
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
    db.transaction(|tx| async move {
        for id in 0..20 {
            tx.insert(&product(id)).await?;
        }
        Ok(())
    })
    .await?;

    let taken = &Product { name: "PRODUCT 3".into(), ..product(99) };
    let refused = db.transaction(|tx| async move { tx.insert(taken).await }).await;
    assert!(matches!(refused, Err(Error::Unique { index: "by_name", .. })));

    let snapshot = db.snapshot().await?;
    let third = snapshot.query::<Product>("by_name").value("product 3").first().await?;
    assert_eq!(third.map(|product| product.id), Some(3));
    assert_eq!(snapshot.query::<Product>("by_tags").value("tag 1").count().await?, 7);

    // A range is of the field after the values; negative prices come first.
    let cheap = snapshot.query::<Product>("by_maker_and_price").value("NL").range(..0.0).fetch().await?;
    assert_eq!(cheap.rows.iter().map(|product| product.id).collect::<Vec<_>>(), [18, 16, 14, 12, 10, 8]);
    let dearest = snapshot.query::<Product>("on_sale_by_price").reverse().first().await?;
    assert_eq!(dearest.map(|product| product.id), Some(0));

    // Page by page, by a cursor that may go to a client and come back; or as a stream.
    let all = || snapshot.query::<Product>("by_tags").value("all").limit(15);
    let first = all().fetch().await?;
    let second = all().cursor(first.next.ok_or("there is more")?).fetch().await?;
    assert_eq!((first.rows.len(), second.rows.len(), second.next), (15, 5, None));
    let streamed: Vec<Product> = all().stream().try_collect().await?;
    assert_eq!(streamed.len(), 20);

    let refused = snapshot.query::<Product>("by_maker_and_price").value(7).fetch().await;
    let Err(Error::Query(QueryError::WrongType { index, field, .. })) = refused else {
        return Err("a country is no number".into());
    };
    println!("{index} is not asked by a number: its field {field} is text");
    tidegate.shutdown().await;
    Ok(())
}
