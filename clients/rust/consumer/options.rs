//! What a consumer is told.

use super::Assignor;
use crate::Error;

/// Where to begin where nothing is committed, or where what is committed is no longer there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoOffsetReset {
    /// With the first record that is there.
    Earliest,
    /// With the next record that comes.
    #[default]
    Latest,
    /// Nowhere: it is an error.
    Fail,
}

/// Settings of a [`Consumer`](super::Consumer).
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// The group; none for a consumer that is told its partitions and commits nothing.
    pub group: Option<String>,
    /// A name that is kept over restarts, for a static member: it gets its partitions back without a rebalance if it
    /// returns within the session time-out.
    pub group_instance_id: Option<String>,
    /// How partitions are dealt out; the first one that all members of the group know. All must be of one kind, eager or
    /// cooperative.
    pub assignors: Vec<Assignor>,
    /// Where to begin where nothing is committed.
    pub auto_offset_reset: AutoOffsetReset,
    /// Whether what was handed out is committed by itself: from time to time, before partitions are given up, and on close.
    /// A record counts as dealt with when the next one is asked for.
    pub auto_commit: bool,
    /// How often that is.
    pub auto_commit_interval_ms: u64,
    /// After how long a member that is not heard of is taken for dead.
    pub session_timeout_ms: i32,
    /// How often a member is heard of.
    pub heartbeat_interval_ms: u64,
    /// The longest time between two calls for records: a member that takes longer leaves the group until it calls again.
    /// It is also how long the others wait for it in a rebalance.
    pub max_poll_interval_ms: u64,
    /// Records that one [`Consumer::poll`](super::Consumer::poll) returns.
    pub max_poll_records: usize,
    /// How long a broker may wait for records before it answers with none.
    pub fetch_max_wait_ms: i32,
    /// Bytes that a broker waits for, within that time.
    pub fetch_min_bytes: i32,
    /// Bytes of one answer, over all partitions; one batch is always sent whole.
    pub fetch_max_bytes: i32,
    /// Bytes of one partition in an answer; one batch is always sent whole.
    pub partition_max_bytes: i32,
    /// Bytes that are fetched ahead; fetching pauses at that. As sent, that is compressed. Paused partitions keep what they have
    /// beside it, at most their share of it and one answer.
    pub prefetch_bytes: usize,
    /// Bytes that one batch may decompress to.
    pub max_decompressed_bytes: usize,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            group: None,
            group_instance_id: None,
            assignors: vec![Assignor::Range],
            auto_offset_reset: AutoOffsetReset::default(),
            auto_commit: true,
            auto_commit_interval_ms: 5_000,
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 3_000,
            max_poll_interval_ms: 300_000,
            max_poll_records: 500,
            fetch_max_wait_ms: 500,
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            prefetch_bytes: 32 << 20,
            max_decompressed_bytes: 128 << 20,
        }
    }
}

impl ConsumerOptions {
    /// The defaults, for a member of this group.
    pub fn group(group: impl Into<String>) -> Self {
        Self { group: Some(group.into()), ..Self::default() }
    }

    /// Whether the settings go together.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Some(first) = self.assignors.first() else {
            return Err(Error::Invalid("assignors is empty: a member must know one at least".into()));
        };
        if self.assignors.iter().any(|assignor| assignor.is_cooperative() != first.is_cooperative()) {
            return Err(Error::Invalid("assignors mixes eager and cooperative ones: use one kind".into()));
        }
        if self.group_instance_id.is_some() && self.group.is_none() {
            return Err(Error::Invalid("group_instance_id is set, but group is not".into()));
        }
        if i64::try_from(self.heartbeat_interval_ms).unwrap_or(i64::MAX) >= i64::from(self.session_timeout_ms)
        {
            return Err(Error::Invalid(format!(
                "heartbeat_interval_ms ({}) must be below session_timeout_ms ({}), best a third of it",
                self.heartbeat_interval_ms, self.session_timeout_ms
            )));
        }
        Ok(())
    }
}
