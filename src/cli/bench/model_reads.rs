//! Reads of models: by id, by index, and with the rows that they name.

use std::time::{Duration, Instant};

use tidegate::Db;
use tidegate_broker::BrokerStore;
use tidegate_broker::settings::StoreAddress;

use super::Figure;
use super::figures::{percentiles, rate};
use super::items::{CITIES, Indexed2, Post, Tag, fill};
use super::load::repeat;
use super::stage::Stage;

/// How long each throughput is measured.
const MEASURED: Duration = Duration::from_secs(3);
/// The rows of the table that is read.
const ROWS: i64 = 50_000;
/// The rows that one query by an index gives.
const ROWS_PER_CITY: usize = 50;
const POSTS: i64 = 100;
const TAGS_PER_POST: i64 = 10;
const TAGS: i64 = 200;
/// How often the posts are read.
const HYDRATIONS: usize = 500;

/// Reads a second, each in a snapshot of its own.
pub(super) async fn throughput(store: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::open(store).await?;
    let db = stage.db();
    fill::<Indexed2>(&db, ROWS).await?;
    let mut rows = vec![];
    for in_flight in [1, 16] {
        let reader = db.clone();
        let (count, elapsed) = repeat(in_flight, MEASURED, move |number| {
            let db = reader.clone();
            async move { read_by_id(&db, scattered(number, ROWS)).await }
        })
        .await?;
        rows.push(rate(format!("read by id, {in_flight} in flight"), count, elapsed, "reads/s"));
        let reader = db.clone();
        let (count, elapsed) = repeat(in_flight, MEASURED, move |number| {
            let db = reader.clone();
            async move { read_by_index(&db, scattered(number, CITIES)).await }
        })
        .await?;
        let what = format!("read {ROWS_PER_CITY} rows by index, {in_flight} in flight");
        rows.push(rate(what, count, elapsed, "queries/s"));
    }
    rows.extend(hydration(&db).await?);
    stage.close().await;
    Ok(rows)
}

/// Numbers below a bound, in no order.
fn scattered(number: u64, bound: i64) -> i64 {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
    i64::try_from(mixed % bound.unsigned_abs()).unwrap_or(0)
}

async fn read_by_id(db: &Db<BrokerStore>, id: i64) -> anyhow::Result<()> {
    let found = db.snapshot().await?.find::<Indexed2>(id).await?;
    anyhow::ensure!(found.is_some_and(|found| found.id == id), "every row is there");
    Ok(())
}

async fn read_by_index(db: &Db<BrokerStore>, city: i64) -> anyhow::Result<()> {
    let snapshot = db.snapshot().await?;
    let page = snapshot.query::<Indexed2>("by_city").value(format!("city {city}")).fetch().await?;
    anyhow::ensure!(page.rows.len() == ROWS_PER_CITY, "every row is in the index");
    Ok(())
}

/// A page of posts with their tags, one at a time.
async fn hydration(db: &Db<BrokerStore>) -> anyhow::Result<Vec<Figure>> {
    db.transaction(|tx| async move {
        for id in 0..TAGS {
            tx.insert(&Tag { id, label: format!("tag {id}") }).await?;
        }
        for id in 0..POSTS {
            let tag_ids = (0..TAGS_PER_POST).map(|at| (id * 7 + at * 13) % TAGS).collect();
            tx.insert(&Post { id, tag_ids, tags: vec![] }).await?;
        }
        Ok(())
    })
    .await?;
    let mut times = Vec::with_capacity(HYDRATIONS);
    for _ in 0..HYDRATIONS {
        let began = Instant::now();
        let page = db.snapshot().await?.list::<Post>().limit(100).relationship("tags").fetch().await?;
        times.push(began.elapsed());
        let tags: usize =
            page.rows.iter().map(|post| post.tags.iter().filter(|tag| !tag.label.is_empty()).count()).sum();
        anyhow::ensure!(tags == 1_000, "{tags} tags in the posts");
    }
    Ok(percentiles("hydrate 100 posts with 10 tags each", times))
}
