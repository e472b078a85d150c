//! What free space makes of the overlay: how long it may wait before it is written to the tree.
//!
//! Space comes back when the tree knows of what was removed. An overlay that is not long enough to be frozen would keep it
//! for as long as nobody writes; with the disk down to its reserve for ever, as the puts that make it longer are refused.

use std::time::Duration;

/// How long an overlay with removals is kept at most.
const REMOVALS_INTERVAL: Duration = Duration::from_secs(30);
/// How often a disk that is low is looked at, and how long an overlay is kept at most then.
pub(super) const LOW_SPACE_INTERVAL: Duration = Duration::from_secs(1);

/// How much space there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// More than the reserve.
    Plenty,
    /// Less than the reserve, of which a good part is there for the tree to be written.
    Low,
    /// So little that the tree is not written before it has to be: a failed write ends the store.
    TooLow,
}

impl Space {
    pub(super) fn of(free_bytes: u64, reserve_bytes: u64) -> Self {
        if free_bytes >= reserve_bytes {
            Self::Plenty
        } else if free_bytes >= reserve_bytes / 2 {
            Self::Low
        } else {
            Self::TooLow
        }
    }

    /// How long an overlay of so much journal is kept at most, if that is bounded.
    pub(super) fn overlay_kept_max(self, journal_bytes: u64, has_removals: bool) -> Option<Duration> {
        match self {
            _ if journal_bytes == 0 => None,
            Self::Plenty => has_removals.then_some(REMOVALS_INTERVAL),
            Self::Low => Some(LOW_SPACE_INTERVAL),
            Self::TooLow => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_with_removals_is_not_kept_for_long_and_none_is_while_space_is_low() {
        assert_eq!([100, 99, 50, 49].map(|free| Space::of(free, 100)), {
            [Space::Plenty, Space::Low, Space::Low, Space::TooLow]
        });
        assert_eq!(Space::of(0, 0), Space::Plenty, "there is no reserve");
        assert_eq!(Space::Plenty.overlay_kept_max(10, false), None);
        assert_eq!(Space::Plenty.overlay_kept_max(10, true), Some(REMOVALS_INTERVAL));
        assert_eq!(Space::Low.overlay_kept_max(10, false), Some(LOW_SPACE_INTERVAL));
        assert_eq!(Space::Low.overlay_kept_max(0, true), None, "there is nothing to write");
        assert_eq!(Space::TooLow.overlay_kept_max(10, true), None);
    }
}
