//! Rows of earlier schema versions: each step leads from one form to the next.

use serde_json::Value;

/// What a step says when the row is not what it expects.
pub type UpgradeError = Box<dyn std::error::Error + Send + Sync>;

/// One step: from a row's JSON in one form to its JSON in the next. It sees rows only, so that it gives the same
/// wherever and whenever it runs: on each read of such a row, and once by [`Db::backfill`](crate::Db::backfill).
///
/// ```
/// # use std::sync::Arc;
/// # use serde::{Deserialize, Serialize};
/// # use tidegate_model::{Db, DbSettings, Error, NoWakeup, Model, UpgradeError};
/// # use tidegate_store::{MemoryStore, SystemClock};
/// # use serde_json::Value;
/// #[derive(Serialize, Deserialize, Model)]
/// # #[model(crate = tidegate_model)]
/// #[model(table = "rooms")]
/// struct OldRoom {
///     id: i64,
///     size: String,
/// }
///
/// // The second form has numbers where the first has text.
/// #[derive(Serialize, Deserialize, Model)]
/// # #[model(crate = tidegate_model)]
/// #[model(table = "rooms", upgrades(parse_size))]
/// struct Room {
///     id: i64,
///     size: u32,
/// }
///
/// fn parse_size(mut row: Value) -> Result<Value, UpgradeError> {
///     row["size"] = row["size"].as_str().ok_or("a room without a size")?.parse::<u32>()?.into();
///     Ok(row)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let store = MemoryStore::new(Arc::new(SystemClock));
/// # let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
/// let old = &OldRoom { id: 1, size: "40".to_owned() };
/// db.transaction(|tx| async move { tx.insert(old).await }).await?;
/// assert_eq!(db.snapshot().await?.find::<Room>(1).await?.map(|room| room.size), Some(40));
/// # Ok(())
/// # }
/// ```
pub type Upgrade = fn(Value) -> Result<Value, UpgradeError>;

/// A row of an earlier version, from 1 on, in the form that the last step gives.
pub(crate) fn upgrade(body: &[u8], from_version: u32, steps: &[Upgrade]) -> Result<Value, UpgradeError> {
    let done = usize::try_from(from_version).ok().and_then(|version| version.checked_sub(1));
    let steps = done.and_then(|done| steps.get(done..)).ok_or("there is no such schema version")?;
    let mut row = serde_json::from_slice(body)?;
    for step in steps {
        row = step(row)?;
    }
    Ok(row)
}
