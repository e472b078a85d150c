//! What one transaction may be. Every backend takes these limits and keeps them in the same way.

/// The limits of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionLimits {
    /// How long a transaction that writes or guards may live, in milliseconds (`transaction.max.ms`). One that only
    /// reads is not bound by it.
    pub max_ms: u64,
    /// How many bytes the keys and values that it writes may have together (`transaction.max.bytes`).
    pub max_bytes: usize,
    /// How many bytes one value may have (`transaction.max.value.bytes`).
    pub max_value_bytes: usize,
}

impl Default for TransactionLimits {
    fn default() -> Self {
        Self { max_ms: 60_000, max_bytes: 64 << 20, max_value_bytes: 16 << 20 }
    }
}
