//! Ending transactions that have left locks and will not remove them: their client has ended.
//!
//! What it refuses to do: it ends none of another namespace; and unasked, when a lock is in the way, none that is so young
//! that it may still be under way. What always holds: a transaction that is ended is committed if its primary key was, and otherwise rolled back for good.

use std::time::Duration;

use tikv_client::transaction::ResolveLocksOptions;
use tikv_client::{Timestamp, TimestampExt, TransactionClient};
use tokio::time::Instant;

use super::client::Client;
use super::failure;
use super::keys::Namespace;
use super::metrics::add;
use super::shared::Shared;
use crate::{ReadError, Version};

/// Ends the transactions of this namespace that hold locks and began before `older_than`; how many locks that removed.
pub(super) async fn resolve(shared: &Shared, older_than: Version) -> Result<u64, ReadError> {
    let deadline = Instant::now() + Duration::from_millis(shared.options.pass_max_ms);
    let resolving =
        shared.ask_until(deadline, |client| end_all(client, shared.namespace.clone(), older_than));
    let (locks, _) = resolving.await?;
    add(&shared.counters.locks_resolved, locks);
    Ok(locks)
}

/// Ends the transaction of a lock that is in the way, as `error` says, and whose primary key was never locked, once no
/// commit of its age may take effect any more. Others of the namespace that began before it and hold locks still are ended
/// with it: if one of them is under way, it is refused and begins again. For at most `limit`.
pub(super) async fn end_orphan(
    shared: &Shared,
    client: &Client,
    error: &tikv_client::Error,
    limit: Duration,
) {
    let Some(start) = failure::orphan(error).map(Version) else { return };
    let age_ms = shared.now_ms().saturating_sub(start.unix_ms());
    if u64::try_from(age_ms).unwrap_or(0) < shared.bounds().commit_max_ms {
        return;
    }
    match client.call(limit, |client| end_all(client, shared.namespace.clone(), start.next())).await {
        Ok(Ok(locks)) => {
            add(&shared.counters.locks_resolved, locks);
            tracing::info!(age_ms, locks, "a transaction that was never prepared in full is ended");
        }
        Ok(Err(error)) => {
            tracing::warn!(age_ms, %error, "a transaction that was never prepared in full is in the way");
        }
        // Whoever asks next finds out the same.
        Err(_no_answer) => {}
    }
}

/// Ends the transactions of a namespace that hold locks and began before `older_than`; how many locks there were. (TiKV takes
/// those that began right then for older, others do not.)
async fn end_all(
    client: TransactionClient,
    namespace: Namespace,
    older_than: Version,
) -> Result<u64, tikv_client::Error> {
    let timestamp = Timestamp::from_version(older_than.0);
    let ended = client.cleanup_locks(namespace.all(), &timestamp, ResolveLocksOptions::default()).await?;
    Ok(ended.resolved_locks as u64)
}
