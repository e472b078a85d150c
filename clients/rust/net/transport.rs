//! How a client reaches its brokers.

/// How a client reaches its brokers.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Transport {
    /// Over TCP, at the addresses that they give.
    #[default]
    Tcp,
    /// Within this process, without a port: whatever the address, it is this broker.
    #[cfg(feature = "embedded")]
    InProcess(tidegate_broker::Entry),
}
