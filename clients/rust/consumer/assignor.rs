//! How a group's leader deals out partitions to the members.
//!
//! Pure, and decided by order alone: the same members and partitions give the same assignment everywhere.

mod cooperative_sticky;
mod range;
mod round_robin;

#[cfg(test)]
mod assignor_tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_protocol::consumer_protocol::Subscription;

use crate::TopicPartition;

/// A way to deal out partitions. Its name on the wire is the one that Kafka's clients know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// "range": topic by topic, each member gets a run of partitions; partitions of the same number go together.
    Range,
    /// "roundrobin": all partitions in turn.
    RoundRobin,
    /// "cooperative-sticky": as balanced as can be, with as few moves as can be; what does not move is never given up.
    CooperativeSticky,
}

/// A member, as the assignors see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) subscription: Subscription,
}

/// Who gets what.
pub(crate) type Dealt = BTreeMap<String, Vec<TopicPartition>>;

impl Assignor {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor with this name on the wire.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin, Self::CooperativeSticky].into_iter().find(|one| one.name() == name)
    }

    /// Whether members keep what they have while a rebalance goes on (KIP-429).
    #[must_use]
    pub fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// What a member tells this assignor besides its topics.
    pub(crate) fn user_data(self, generation: i32) -> Option<Bytes> {
        match self {
            Self::Range | Self::RoundRobin => None,
            Self::CooperativeSticky => Some(cooperative_sticky::encode_generation(generation)),
        }
    }

    /// Deals out the partitions of these topics (name and number of partitions). Every member is in the answer.
    pub(crate) fn assign(self, topics: &BTreeMap<String, i32>, members: &[Member]) -> Dealt {
        let members = in_order(members);
        match self {
            Self::Range => range::assign(topics, &members),
            Self::RoundRobin => round_robin::assign(topics, &members),
            Self::CooperativeSticky => cooperative_sticky::assign(topics, &members),
        }
    }
}

/// Static members first, by their names, then the others by their ids, as Kafka's clients order them.
fn in_order(members: &[Member]) -> Vec<&Member> {
    let mut members: Vec<&Member> = members.iter().collect();
    members.sort_by_key(|member| (member.instance.is_none(), &member.instance, &member.id));
    members
}

/// Everybody, with nothing.
fn nothing(members: &[&Member]) -> Dealt {
    members.iter().map(|member| (member.id.clone(), Vec::new())).collect()
}

/// The topics that the member wants and that are there.
fn wanted<'a>(member: &'a Member, topics: &BTreeMap<String, i32>) -> BTreeSet<&'a str> {
    let there = member.subscription.topics.iter().filter(|topic| topics.contains_key(*topic));
    there.map(String::as_str).collect()
}
