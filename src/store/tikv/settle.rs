//! What became of an attempt, and making that final.

use bytes::Bytes;
use tikv_client::transaction::ResolveLocksOptions;
use tikv_client::{TimestampExt, TransactionClient};
use tokio::time::Instant;

use super::attempts;
use super::shared::{AskError, Shared, transaction_options};
use crate::{Outcome, ReadError, Version};

/// A final answer.
pub(super) struct Settled {
    pub(super) outcome: Outcome,
    /// A version at which it was seen to be so.
    pub(super) version: Version,
}

/// Looks until `deadline` whether an attempt was applied that is known not to be under way any more; a version that has it,
/// if it was.
pub(super) async fn look(
    shared: &Shared,
    row: &Bytes,
    nonce: u128,
    deadline: Instant,
) -> Result<Option<Version>, ReadError> {
    let key = shared.namespace.key(row);
    let ask = |client: TransactionClient| {
        let key = key.clone();
        async move {
            let now = client.current_timestamp().await?;
            let version = Version(now.version());
            Ok((version, client.snapshot(now, transaction_options()).get(key).await?))
        }
    };
    let ((version, found), _) = shared.ask_until(deadline, ask).await?;
    Ok((found == Some(attempts::applied(nonce))).then_some(version))
}

/// Settles an attempt, whether or not it is still under way, until `deadline`.
///
/// A lock that it holds on its row is removed first: it is committed or rolled back by that. Then the row is read, and
/// if the attempt's value is not there, one is written that the attempt can only conflict with.
pub(super) async fn settle(
    shared: &Shared,
    row: &Bytes,
    nonce: u128,
    deadline: Instant,
) -> Result<Settled, ReadError> {
    let key = shared.namespace.key(row);
    let ask = |client: TransactionClient| settle_once(client, key.clone(), nonce);
    // Whatever fails within it, a conflict with others who ask among them, may go well the next time.
    let answer = shared.ask_until(deadline, ask).await.map_err(|error| match error {
        AskError::AnswerTooLarge => AskError::Unavailable("an answer is too large".to_owned()),
        other => other,
    });
    Ok(answer?.0)
}

async fn settle_once(
    client: TransactionClient,
    key: Vec<u8>,
    nonce: u128,
) -> Result<Settled, tikv_client::Error> {
    let now = client.current_timestamp().await?;
    let mut end = key.clone();
    end.push(0);
    client.cleanup_locks(key.clone()..end, &now, ResolveLocksOptions::default()).await?;
    let mut txn = client.begin_with_options(transaction_options()).await?;
    let version = Version(txn.start_timestamp().version());
    let settled = |outcome| Settled { outcome, version };
    let found = txn.get(key.clone()).await?;
    if found == Some(attempts::applied(nonce)) {
        return Ok(settled(Outcome::Applied));
    }
    if found == Some(attempts::never(nonce)) {
        return Ok(settled(Outcome::NotApplied));
    }
    txn.put(key, attempts::never(nonce)).await?;
    if let Err(error) = txn.commit().await {
        // Of one key: it is one phase, and there is nothing left behind but perhaps its lock, which is removed next time.
        return Err(tikv_client::Error::StringError(format!("not settled yet: {error}")));
    }
    Ok(settled(Outcome::NotApplied))
}
