//! `/v1/schedules`: what waits on a topic under a name. Kafka's protocol has no request for it.

use std::num::NonZeroUsize;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidegate_outbox::{Wakeup, schedule};
use tidegate_store::{CommitError, Store, commit_settled};

use super::Admin;

/// How often a cancel is run again when the relay was moving its entry.
const CANCEL_ATTEMPTS: usize = 16;

/// A refusal: status and reason.
type Refusal = (StatusCode, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Names after this one.
    after: Option<String>,
    /// At most so many, from 1 on; [`schedule::PAGE_MAX`] at most.
    limit: Option<NonZeroUsize>,
}

/// One page of a topic's schedules.
#[derive(Serialize)]
pub(super) struct Schedules {
    schedules: Vec<Entry>,
    /// What to pass as `after` for the next page.
    next: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    schedule: String,
    partition: i32,
    due_ms: i64,
}

#[derive(Serialize)]
pub(super) struct Cancelled {
    /// False if nothing waited under that name.
    cancelled: bool,
}

pub(super) async fn list(
    State(admin): State<Admin>,
    Path(topic): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<Schedules>, Refusal> {
    let topic = find(&admin, &topic).await?;
    let mut txn = admin.broker.store.begin().await.map_err(unavailable)?;
    let limit = page.limit.map_or(schedule::PAGE_MAX, NonZeroUsize::get);
    let listed = schedule::list(&mut txn, topic, page.after.as_deref(), limit).await.map_err(unavailable)?;
    let entry = |scheduled: schedule::Scheduled| Entry {
        schedule: scheduled.schedule,
        partition: scheduled.partition.0,
        due_ms: scheduled.due_ms,
    };
    Ok(Json(Schedules { schedules: listed.schedules.into_iter().map(entry).collect(), next: listed.next }))
}

pub(super) async fn cancel(
    State(admin): State<Admin>,
    Path((topic, name)): Path<(String, String)>,
) -> Result<Json<Cancelled>, Refusal> {
    let topic = find(&admin, &topic).await?;
    let store = &admin.broker.store;
    for _ in 0..CANCEL_ATTEMPTS {
        let mut txn = store.begin().await.map_err(unavailable)?;
        let found = schedule::cancel(&mut txn, topic, &name).await.map_err(unavailable)?;
        let Some(partition) = found else { return Ok(Json(Cancelled { cancelled: false })) };
        match commit_settled(store, txn).await {
            Ok(()) => {
                admin.broker.partitions.committed(&[partition]);
                return Ok(Json(Cancelled { cancelled: true }));
            }
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(unavailable(error)),
        }
    }
    Err((StatusCode::CONFLICT, "the entry is being moved: ask again\n".to_owned()))
}

async fn find(admin: &Admin, topic: &str) -> Result<tidegate_format::TopicId, Refusal> {
    let found = admin.broker.catalogue.find(topic).await.map_err(unavailable)?;
    found
        .map(|topic| topic.id)
        .ok_or_else(|| (StatusCode::NOT_FOUND, format!("there is no topic `{topic}`\n")))
}

fn unavailable(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
}
