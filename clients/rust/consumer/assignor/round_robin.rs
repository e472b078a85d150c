//! "roundrobin": all partitions of all topics in turn, each to the next member that wants its topic.
//!
//! Source: Kafka's `RoundRobinAssignor`.

use std::collections::BTreeMap;

use super::{Dealt, Member, nothing};
use crate::TopicPartition;

pub(super) fn assign(topics: &BTreeMap<String, i32>, members: &[&Member]) -> Dealt {
    let mut dealt = nothing(members);
    let mut turn = 0;
    for (topic, partitions) in topics {
        if !members.iter().any(|member| member.subscription.topics.contains(topic)) {
            continue;
        }
        for partition in 0..*partitions {
            while !members[turn % members.len()].subscription.topics.contains(topic) {
                turn += 1;
            }
            let taker = members[turn % members.len()];
            dealt.entry(taker.id.clone()).or_default().push(TopicPartition::new(topic, partition));
            turn += 1;
        }
    }
    dealt
}
