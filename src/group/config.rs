//! What a group may do and how long things may take.

/// Limits and delays, the same for every group of a broker. The defaults are Kafka's where Kafka has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`: shorter session time-outs are refused.
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`: longer session time-outs are refused.
    pub session_timeout_max_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members after its first one.
    pub initial_rebalance_delay_ms: i32,
    /// How long the first JoinGroup of a member may wait before the member counts as gone (Kafka: fixed).
    pub new_member_join_timeout_ms: i32,
    /// `group.max.size`: the most members of a group.
    pub members_max: usize,
    /// The most bytes of one member's row: names and subscriptions; and of one member's assignment.
    pub member_max_bytes: usize,
    /// The most bytes of all rows of a group, assignments included.
    pub group_max_bytes: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            new_member_join_timeout_ms: 300_000,
            members_max: 0x7FFF_FFFF,
            member_max_bytes: 1024 * 1024,
            group_max_bytes: 32 * 1024 * 1024,
        }
    }
}
