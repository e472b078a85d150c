//! What the transactions of a namespace keep to, whichever process they are of: relays look back by it, back-fills wait by
//! it, locks are ended and old versions given up by it.
//!
//! It is a row beside the mark. Whoever opens the namespace first writes what it has itself, with the mark; everybody after
//! that keeps to what it finds. The process that governs (the broker that has the lease) raises it to what it has.
//!
//! What always holds: it is never lowered, so what one process has read bounds those that opened before, too.

use tikv_client::TransactionClient;

use super::commit;
use super::keys::Namespace;
use super::options::TikvOptions;
use super::shared::{Shared, transaction_options};
use crate::ReadError;

const VERSION: u8 = 1;
/// The settings of the fields, in their order.
const SETTINGS: [&str; 5] =
    ["commit.max.ms", "transaction.max.ms", "transaction.max.bytes", "gc.hold.after.ms", "hold_renew_ms"];

/// The longest and the largest that a transaction of a namespace may be, and when its snapshots are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// `commit.max.ms`.
    pub(super) commit_max_ms: u64,
    /// `transaction.max.ms`.
    pub(super) transaction_max_ms: u64,
    /// `transaction.max.bytes`.
    pub(super) transaction_max_bytes: u64,
    /// `gc.hold.after.ms`.
    pub(super) hold_after_ms: u64,
    /// [`TikvOptions::hold_renew_ms`].
    pub(super) hold_renew_ms: u64,
}

/// A setting that is higher than the namespace has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) setting: &'static str,
    pub(super) wanted: u64,
    pub(super) bound: u64,
}

impl Bounds {
    /// What a process with these options keeps to.
    pub(super) fn of(options: &TikvOptions) -> Self {
        Self {
            commit_max_ms: options.commit_max_ms,
            transaction_max_ms: options.limits.max_ms,
            transaction_max_bytes: options.limits.max_bytes as u64,
            hold_after_ms: options.hold_after_ms,
            hold_renew_ms: options.hold_renew_ms,
        }
    }

    fn fields(self) -> [u64; 5] {
        let Self { commit_max_ms, transaction_max_ms, transaction_max_bytes, hold_after_ms, hold_renew_ms } =
            self;
        [commit_max_ms, transaction_max_ms, transaction_max_bytes, hold_after_ms, hold_renew_ms]
    }

    fn of_fields(fields: [u64; 5]) -> Self {
        let [commit_max_ms, transaction_max_ms, transaction_max_bytes, hold_after_ms, hold_renew_ms] = fields;
        Self { commit_max_ms, transaction_max_ms, transaction_max_bytes, hold_after_ms, hold_renew_ms }
    }

    /// What bounds both.
    pub(super) fn with(self, other: Self) -> Self {
        let (mut fields, other) = (self.fields(), other.fields());
        for (field, other) in fields.iter_mut().zip(other) {
            *field = other.max(*field);
        }
        Self::of_fields(fields)
    }

    /// Holds a process to this; which of its settings were higher.
    pub(super) fn hold(self, options: &mut TikvOptions) -> Vec<Held> {
        let wanted = Self::of(options);
        let mut kept = wanted.fields();
        let mut held = Vec::new();
        for ((kept, bound), setting) in kept.iter_mut().zip(self.fields()).zip(SETTINGS) {
            if *kept > bound {
                held.push(Held { setting, wanted: *kept, bound });
                *kept = bound;
            }
        }
        let kept = Self::of_fields(kept);
        options.commit_max_ms = kept.commit_max_ms;
        options.limits.max_ms = kept.transaction_max_ms;
        options.limits.max_bytes = usize::try_from(kept.transaction_max_bytes).expect("no more than it was");
        options.hold_after_ms = kept.hold_after_ms;
        options.hold_renew_ms = kept.hold_renew_ms;
        held
    }

    /// How long a version is kept at least, in milliseconds: as long as a snapshot may be open before it is written down,
    /// or until the commit of a transaction that writes can no longer take effect, and a few renewals more.
    pub(super) fn versions_kept_ms(self) -> u64 {
        let needed_ms = self.transaction_lasts_ms().max(self.hold_after_ms);
        needed_ms.saturating_add(self.hold_renew_ms.saturating_mul(3))
    }

    /// For how long after it began a transaction may take effect, in milliseconds: as long as it may live, and as long as
    /// its commit may take then.
    pub(super) fn transaction_lasts_ms(self) -> u64 {
        let max_bytes = usize::try_from(self.transaction_max_bytes).unwrap_or(usize::MAX);
        let patience_ms = u64::try_from(commit::patience_max(max_bytes).as_millis()).unwrap_or(u64::MAX);
        self.transaction_max_ms.saturating_add(self.commit_max_ms).saturating_add(patience_ms)
    }

    pub(super) fn encode(self) -> Vec<u8> {
        [VERSION].into_iter().chain(self.fields().into_iter().flat_map(u64::to_be_bytes)).collect()
    }

    /// None if the row is of no known version.
    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let (fields, rest) = row.strip_prefix(&[VERSION])?.as_chunks::<8>();
        let fields: [[u8; 8]; 5] = fields.try_into().ok()?;
        rest.is_empty().then(|| Self::of_fields(fields.map(u64::from_be_bytes)))
    }
}

/// Raises the row to what this process has. None if it is of no known version.
async fn raise(
    client: TransactionClient,
    namespace: Namespace,
    own: Bounds,
) -> Result<Option<Bounds>, tikv_client::Error> {
    let mut txn = client.begin_with_options(transaction_options()).await?;
    let found = match txn.get(namespace.bounds()).await? {
        None => None,
        Some(row) => match Bounds::decode(&row) {
            None => return Ok(None),
            known => known,
        },
    };
    let raised = found.map_or(own, |found| found.with(own));
    if found == Some(raised) {
        return Ok(found);
    }
    txn.put(namespace.bounds(), raised.encode()).await?;
    match txn.commit().await {
        Ok(_) => Ok(Some(raised)),
        // Whatever became of it, it is looked at again.
        Err(error) => Err(tikv_client::Error::StringError(format!(
            "the bounds of the namespace's transactions are not written yet: {error}"
        ))),
    }
}

/// As [`raise`], for a process that is open.
pub(super) async fn raise_to_own(shared: &Shared) -> Result<(), ReadError> {
    let own = Bounds::of(&shared.options);
    let (found, _) = shared.ask(|client| raise(client, shared.namespace.clone(), own)).await?;
    if let Some(found) = found {
        shared.note_bounds(found);
        if found != own {
            tracing::info!(
                ?found,
                "transactions of the namespace may take longer than by this process's settings"
            );
        }
    }
    Ok(())
}

/// Takes note of what others have raised the row to.
pub(super) async fn refresh(shared: &Shared) -> Result<(), ReadError> {
    let (found, _) = shared.ask(|client| load(client, shared.namespace.clone())).await?;
    found.inspect(|found| shared.note_bounds(*found));
    Ok(())
}

/// Reads the row. None if there is none, or if it is of no known version.
async fn load(client: TransactionClient, namespace: Namespace) -> Result<Option<Bounds>, tikv_client::Error> {
    let mut txn = client.begin_with_options(transaction_options()).await?;
    Ok(txn.get(namespace.bounds()).await?.and_then(|row| Bounds::decode(&row)))
}

#[cfg(test)]
#[path = "bounds_tests.rs"]
mod tests;
