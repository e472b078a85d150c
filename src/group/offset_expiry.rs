//! When a committed offset expires (`offsets.retention.minutes`, KIP-211).

use tidegate_format::OffsetValue;

/// From when the retention of a group's offsets counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetExpiry {
    /// The group has members whose subscriptions cannot be told, or is rebalancing: nothing expires.
    Never,
    /// From each commit: a group that only keeps offsets, or a stable one for the topics that it no longer reads.
    SinceCommit,
    /// From the time the group lost its last member.
    SinceEmpty {
        /// When that was, in milliseconds since the Unix epoch.
        since_ms: i64,
    },
}

impl OffsetExpiry {
    /// Whether an offset of a topic that no member subscribes to has expired. One that says itself when it expires
    /// (OffsetCommit up to v4) does so then.
    #[must_use]
    pub fn is_expired(self, offset: &OffsetValue, now_ms: i64, retention_ms: i64) -> bool {
        let from_ms = match self {
            Self::Never => return false,
            Self::SinceCommit => offset.commit_time_ms,
            Self::SinceEmpty { since_ms } => since_ms,
        };
        match offset.expire_time_ms {
            Some(expire_time_ms) => now_ms >= expire_time_ms,
            // An offset committed by hand after the group became empty is as old as its commit, not as the group.
            None => now_ms.saturating_sub(from_ms.max(offset.commit_time_ms)) >= retention_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_format::Offset;

    use super::*;

    fn offset(commit_time_ms: i64, expire_time_ms: Option<i64>) -> OffsetValue {
        OffsetValue {
            offset: Offset(1),
            leader_epoch: -1,
            metadata: String::new(),
            commit_time_ms,
            expire_time_ms,
        }
    }

    #[test]
    fn retention_counts_from_the_commit_or_from_when_the_group_became_empty() {
        assert!(!OffsetExpiry::SinceCommit.is_expired(&offset(100, None), 1_099, 1_000));
        assert!(OffsetExpiry::SinceCommit.is_expired(&offset(100, None), 1_100, 1_000));
        let empty = OffsetExpiry::SinceEmpty { since_ms: 500 };
        assert!(!empty.is_expired(&offset(100, None), 1_499, 1_000));
        assert!(empty.is_expired(&offset(100, None), 1_500, 1_000));
        assert!(!OffsetExpiry::Never.is_expired(&offset(0, Some(0)), i64::MAX, 0));
    }

    #[test]
    fn an_offset_committed_while_the_group_was_empty_lives_its_whole_retention() {
        let empty = OffsetExpiry::SinceEmpty { since_ms: 500 };
        assert!(!empty.is_expired(&offset(900, None), 1_899, 1_000));
        assert!(empty.is_expired(&offset(900, None), 1_900, 1_000));
    }

    #[test]
    fn an_offset_with_its_own_expiry_ignores_the_retention() {
        assert!(!OffsetExpiry::SinceCommit.is_expired(&offset(0, Some(2_000)), 1_999, 10));
        assert!(OffsetExpiry::SinceCommit.is_expired(&offset(0, Some(2_000)), 2_000, 1_000_000));
    }
}
