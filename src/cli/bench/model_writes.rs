//! Writes of models without events: what indexes cost, and many rows that name one.

use std::time::Duration;

use tidegate::{Db, Model};
use tidegate_broker::BrokerStore;
use tidegate_broker::settings::StoreAddress;

use super::Figure;
use super::figures::rate;
use super::items::{Indexed2, Indexed6, Item, Plain, Post, Tag, fill};
use super::load::{once_each, repeat};
use super::stage::Stage;

/// How long each throughput is measured.
const MEASURED: Duration = Duration::from_secs(3);
const IN_FLIGHT: u64 = 64;
/// Rows that are there when they are updated, and that are deleted.
const ROWS: u64 = 20_000;
const UNIT: &str = "transactions/s";

/// Transactions of one row, most with [`IN_FLIGHT`] of them in flight.
pub(super) async fn throughput(store: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![
        insert::<Plain>(store, "insert without indexes, 64 in flight", IN_FLIGHT).await?,
        insert::<Indexed2>(store, "insert with 2 indexes, 64 in flight", IN_FLIGHT).await?,
        insert::<Indexed6>(store, "insert with 6 indexes, 64 in flight", IN_FLIGHT).await?,
        insert::<Indexed2>(store, "insert with 2 indexes, 1 in flight", 1).await?,
        update::<Indexed2>(store, "update with 2 indexes, of which one changes, 64 in flight").await?,
        delete::<Indexed2>(store, "delete with 2 indexes, 64 in flight").await?,
    ])
}

fn id_of(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

async fn insert<M: Item>(store: &StoreAddress, what: &str, in_flight: u64) -> anyhow::Result<Figure> {
    let stage = Stage::open(store).await?;
    let db = stage.db();
    let (count, elapsed) = repeat(in_flight, MEASURED, move |number| {
        let db = db.clone();
        async move { write(&db, &M::new(id_of(number), 0), true).await }
    })
    .await?;
    stage.close().await;
    Ok(rate(what, count, elapsed, UNIT))
}

async fn update<M: Item>(store: &StoreAddress, what: &str) -> anyhow::Result<Figure> {
    let stage = Stage::open(store).await?;
    let db = stage.db();
    fill::<M>(&db, id_of(ROWS)).await?;
    let (count, elapsed) = repeat(IN_FLIGHT, MEASURED, move |number| {
        let db = db.clone();
        async move { write(&db, &M::new(id_of(number % ROWS), id_of(number / ROWS + 1)), false).await }
    })
    .await?;
    stage.close().await;
    Ok(rate(what, count, elapsed, UNIT))
}

async fn delete<M: Item>(store: &StoreAddress, what: &str) -> anyhow::Result<Figure> {
    let stage = Stage::open(store).await?;
    let db = stage.db();
    fill::<M>(&db, id_of(ROWS)).await?;
    let (count, elapsed) = once_each(IN_FLIGHT, ROWS, move |number| {
        let db = db.clone();
        async move {
            let deleted = db.transaction(|tx| async move { tx.delete::<M>(id_of(number)).await }).await?;
            anyhow::ensure!(deleted.is_some(), "every row is there once");
            Ok(())
        }
    })
    .await?;
    stage.close().await;
    Ok(rate(what, count, elapsed, UNIT))
}

async fn write<M: Model>(db: &Db<BrokerStore>, row: &M, is_new: bool) -> anyhow::Result<()> {
    db.transaction(|tx| async move { if is_new { tx.insert(row).await } else { tx.update(row).await } })
        .await?;
    Ok(())
}

/// Rows that name another one, which each new one guards: 64 writers under one parent, and each under its own.
pub(super) async fn parents(store: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let mut rows = vec![];
    for (what, parents) in
        [("insert under one parent, 64 in flight", 1), ("insert under 64 parents", IN_FLIGHT)]
    {
        let stage = Stage::open(store).await?;
        let db = stage.db();
        let named = &db;
        for id in 0..id_of(parents) {
            let tag = &Tag { id, label: format!("tag {id}") };
            named.transaction(|tx| async move { tx.insert(tag).await }).await?;
        }
        let (count, elapsed) = repeat(IN_FLIGHT, MEASURED, move |number| {
            let db = db.clone();
            let tag_ids = vec![id_of(number % parents)];
            async move { write(&db, &Post { id: id_of(number), tag_ids, tags: vec![] }, true).await }
        })
        .await?;
        stage.close().await;
        rows.push(rate(what, count, elapsed, UNIT));
    }
    Ok(rows)
}
