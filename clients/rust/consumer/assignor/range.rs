//! "range": topic by topic, each of the members that want it gets a run of its partitions.
//!
//! Source: Kafka's `RangeAssignor`, without racks.

use std::collections::BTreeMap;

use super::{Dealt, Member, nothing};
use crate::TopicPartition;

pub(super) fn assign(topics: &BTreeMap<String, i32>, members: &[&Member]) -> Dealt {
    let mut dealt = nothing(members);
    for (topic, partitions) in topics {
        let takers: Vec<&&Member> =
            members.iter().filter(|m| m.subscription.topics.contains(topic)).collect();
        let Ok(count) = i32::try_from(takers.len()) else { continue };
        if count == 0 {
            continue;
        }
        // The first few get one more.
        let (each, more) = (partitions / count, partitions % count);
        let mut next = 0;
        for (taker, place) in takers.into_iter().zip(0..) {
            let end = next + each + i32::from(place < more);
            let run = (next..end).map(|partition| TopicPartition::new(topic, partition));
            dealt.entry(taker.id.clone()).or_default().extend(run);
            next = end;
        }
    }
    dealt
}
