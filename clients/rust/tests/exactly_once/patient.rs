//! Who waits on TiKV, however slow the machine is.

use tidegate_store::TikvOptions;

/// How long a slow machine lets anybody wait is not promised.
pub(crate) const PATIENCE_MS: u64 = 60_000;

/// Options for a namespace, of a store that gives up nothing before that.
pub(crate) fn patient(namespace: &str) -> TikvOptions {
    TikvOptions {
        connect_timeout_ms: PATIENCE_MS,
        request_timeout_ms: PATIENCE_MS,
        commit_max_ms: PATIENCE_MS,
        ..TikvOptions::new(namespace.parse().expect("an address"))
    }
}
