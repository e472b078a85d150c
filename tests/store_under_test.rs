//! Which store a suite's brokers run on: the same cases prove the same promises on each.

use crate::broker::Broker;
use crate::tikv_cluster::TikvCluster;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreUnderTest {
    /// In the broker's own directory.
    Embedded,
    /// A cluster that speaks TiKV's protocol, a namespace for each broker.
    Tikv,
}

impl StoreUnderTest {
    /// A broker on a fresh store.
    ///
    /// # Panics
    /// As [`Broker::start`] and [`TikvCluster::shared`].
    #[must_use]
    pub fn start_broker(self) -> Broker {
        match self {
            Self::Embedded => Broker::start(),
            Self::Tikv => Broker::start_on(TikvCluster::shared(), &[]),
        }
    }
}
