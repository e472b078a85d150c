//! The order of transactions.

use std::fmt;

/// A point in the store's order: milliseconds since the Unix epoch in the upper 46 bits, a counter in the lower 18,
/// as TiKV's timestamp oracle gives it. Versions order; they are not a clock to gate anything by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

impl Version {
    /// How many low bits count within one millisecond.
    pub const COUNTER_BITS: u32 = 18;

    /// The first version of a millisecond. Times before 1970 give version 0.
    #[must_use]
    pub fn first_of_ms(unix_ms: i64) -> Self {
        Self(u64::try_from(unix_ms).unwrap_or(0) << Self::COUNTER_BITS)
    }

    /// The milliseconds since the Unix epoch that this version carries.
    #[must_use]
    pub fn unix_ms(self) -> i64 {
        i64::try_from(self.0 >> Self::COUNTER_BITS).expect("46 bits fit in an i64")
    }

    /// The next version in order.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.unix_ms(), self.0 & ((1 << Self::COUNTER_BITS) - 1))
    }
}
