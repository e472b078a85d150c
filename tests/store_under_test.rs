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
        self.start_broker_with(&[])
    }

    /// As [`start_broker`](Self::start_broker), with more arguments for `tidegate serve`.
    ///
    /// # Panics
    /// As [`start_broker`](Self::start_broker).
    #[must_use]
    pub fn start_broker_with(self, arguments: &[&str]) -> Broker {
        match self {
            Self::Embedded => Broker::start_with(arguments),
            Self::Tikv => Broker::start_on(TikvCluster::shared(), arguments),
        }
    }

    /// By how many milliseconds a time that the store gives may be behind the time that it was: a Placement Driver moves
    /// the time in its timestamps on in steps (`tso-update-physical-interval`, 50 ms by default).
    #[must_use]
    pub const fn clock_step_ms(self) -> i64 {
        match self {
            Self::Embedded => 0,
            Self::Tikv => 50,
        }
    }
}
