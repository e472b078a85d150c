//! Rows of one form in tables with no, two and six indexes, and rows that name others.

use serde::{Deserialize, Serialize};
use tidegate::{Db, Model};
use tidegate_broker::BrokerStore;

/// How many rows one transaction writes where only their being there matters.
const FILL_ROWS: i64 = 200;
/// How many values `city` has.
pub(super) const CITIES: i64 = 1_000;

/// A row that can be made by number.
pub(super) trait Item: Model {
    fn new(id: i64, version: i64) -> Self;
}

macro_rules! items {
    ($($(#[$attribute:meta])* $name:ident;)*) => { $(
        #[derive(Clone, Serialize, Deserialize, Model)]
        $(#[$attribute])*
        pub(super) struct $name {
            pub(super) id: i64,
            name: String,
            city: String,
            price: f64,
            made_ms: i64,
            stock: i64,
            is_sold: bool,
            note: String,
        }

        impl Item for $name {
            fn new(id: i64, version: i64) -> Self {
                Self {
                    id,
                    name: format!("item {id}"),
                    city: format!("city {}", (id + version) % CITIES),
                    price: f64::from(u16::try_from(id % 10_000).unwrap_or(0)) / 8.0,
                    made_ms: id,
                    stock: version,
                    is_sold: false,
                    note: "x".repeat(60),
                }
            }
        }
    )* };
}

items! {
    #[model(table = "plain")]
    Plain;
    #[model(table = "indexed2")]
    #[model(index(name = "by_city", fields = [city]), index(name = "by_time", fields = [made_ms]))]
    Indexed2;
    #[model(table = "indexed6")]
    #[model(index(name = "by_city", fields = [city]), index(name = "by_time", fields = [made_ms]))]
    #[model(index(name = "by_name", fields = [name]), index(name = "by_price", fields = [price]))]
    #[model(index(name = "by_stock", fields = [stock]), index(name = "by_sold", fields = [is_sold, made_ms]))]
    Indexed6;
}

/// Writes the rows with numbers below `count`.
pub(super) async fn fill<M: Item>(db: &Db<BrokerStore>, count: i64) -> anyhow::Result<()> {
    for first in (0..count).step_by(usize::try_from(FILL_ROWS)?) {
        db.transaction(|tx| async move {
            for id in first..count.min(first + FILL_ROWS) {
                tx.insert(&M::new(id, 0)).await?;
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// What posts name.
#[derive(Clone, Serialize, Deserialize, Model)]
#[model(table = "tags", referenced_by(Post))]
pub(super) struct Tag {
    pub(super) id: i64,
    pub(super) label: String,
}

/// A row with a relationship.
#[derive(Clone, Serialize, Deserialize, Model)]
#[model(table = "posts")]
pub(super) struct Post {
    pub(super) id: i64,
    #[model(references = Tag, on_delete = restrict)]
    pub(super) tag_ids: Vec<i64>,
    #[serde(default)]
    #[model(relationship = tag_ids)]
    pub(super) tags: Vec<Tag>,
}
