//! Ranges that nobody will read or write again.
//!
//! What it is: a small one is deleted key by key, as those of [`Store::delete_range`] are. A larger one is destroyed: each
//! TiKV unlinks its files and removes what is left, with all versions and locks, past Raft and under the feet of every
//! snapshot.
//!
//! What always holds: nothing is destroyed before the cluster has taken a safe point that this process asked for and that
//! is later than the drop. Such a point goes past no snapshot of the namespace that is open, nor past a commit that may
//! still arrive ([`keep_min_ms`](super::garbage::keep_min_ms)); and all locks of before it were resolved first, so that no
//! transaction loses the key by which others know what became of it.

use std::time::Duration;

use tikv_client::TransactionClient;

use super::client::Client;
use super::metrics::add;
use super::read::Pages;
use super::shared::Shared;
use super::{TikvStore, not_applied};
use crate::{CommitError, Direction, Dropped, KeyRange, ReadError, Store, Version};

/// So many keys or fewer are deleted at once, in one transaction: to have every TiKV remove files would cost more.
pub(super) const DELETED_KEYS_MAX: usize = super::DELETE_RANGE_STEP_KEYS;
/// How long every TiKV together may take to destroy a range: as long as TiDB gives one.
const DESTROY_LIMIT: Duration = Duration::from_secs(300);

/// Answers [`Store::drop_range`].
pub(super) async fn drop_range(
    store: &TikvStore,
    range: KeyRange,
    dropped_at: Version,
) -> Result<Dropped, CommitError> {
    let shared = &store.handle.shared;
    if is_small(shared, &range).await.map_err(not_applied)? {
        return store.delete_range(range).await.map(|()| Dropped::Now);
    }
    if shared.holds().taken() <= dropped_at {
        return Ok(Dropped::Later);
    }
    destroy(shared, &range).await.map_err(|reason| CommitError::Unavailable { reason })?;
    add(&shared.counters.ranges_destroyed, 1);
    Ok(Dropped::Now)
}

async fn is_small(shared: &Shared, range: &KeyRange) -> Result<bool, ReadError> {
    let version = shared.oracle_version().await?;
    let mut pages = Pages::new(version, range, Direction::Forward, DELETED_KEYS_MAX + 1);
    let page = pages.next_keys(shared, DELETED_KEYS_MAX + 1).await?;
    Ok(page.is_none_or(|page| page.rest.is_none()))
}

/// By a client of its own: the others give a request up after a time that is too short for this, and send it again.
async fn destroy(shared: &Shared, range: &KeyRange) -> Result<(), String> {
    let range = shared.namespace.range(range);
    assert!(range.start < range.end, "a range that is not small is not empty");
    let settings = shared.pool.settings().with_try_timeout(DESTROY_LIMIT);
    let connect_limit = Duration::from_millis(shared.options.connect_timeout_ms);
    let client = Client::connect(&settings, connect_limit).await?;
    let destroying = |client: TransactionClient| async move { client.unsafe_destroy_range(range).await };
    match client.call(DESTROY_LIMIT, destroying).await {
        Ok(Ok(())) => Ok(()),
        // One of several may have done it: to destroy it twice is the same.
        Ok(Err(error)) => Err(format!("a range is not destroyed everywhere: {error}")),
        Err(no_answer) => Err(format!("a range is not destroyed everywhere: {}", no_answer.reason())),
    }
}
