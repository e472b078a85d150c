//! Rows of earlier schema versions: each step leads from one form to the next.

use serde_json::Value;

/// What a step says when the row is not what it expects.
pub type UpgradeError = Box<dyn std::error::Error + Send + Sync>;

/// One step: from a row's JSON in one form to its JSON in the next. It sees rows only, so that it gives the same
/// wherever and whenever it runs: on each read of such a row, and once by [`Db::backfill`](crate::Db::backfill).
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
