//! "cooperative-sticky": balanced, with few moves; and what moves is first given up, then dealt out in the next rebalance.
//!
//! First everybody keeps what it had, if nobody has a newer claim. What nobody has goes to who has least. Then partitions
//! move, one by one, from who has most to who has least, as long as that makes a difference of at least two. At last, what
//! would move away from a member that still has it is left out: that member sees that it has lost it, gives it up and joins
//! again, and then it is free.
//!
//! Source: KIP-429 and KIP-54; `CooperativeStickyAssignor` for what goes over the wire. Which partitions move may differ from
//! Kafka's; that the result is balanced and what is kept is kept does not.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Dealt, Member, nothing, wanted};
use crate::TopicPartition;

/// The generation of a member that has been in none.
const NO_GENERATION: i32 = -1;

/// The generation in which a member got what it owns.
pub(super) fn encode_generation(generation: i32) -> Bytes {
    let mut bytes = BytesMut::with_capacity(4);
    bytes.put_i32(generation);
    bytes.freeze()
}

fn decode_generation(user_data: Option<&Bytes>) -> i32 {
    user_data.and_then(|bytes| bytes.as_ref().try_get_i32().ok()).unwrap_or(NO_GENERATION)
}

pub(super) fn assign(topics: &BTreeMap<String, i32>, members: &[&Member]) -> Dealt {
    let wants: Vec<BTreeSet<&str>> = members.iter().map(|member| wanted(member, topics)).collect();
    let mut deal = Deal { wants, owner: BTreeMap::new(), load: vec![0; members.len()] };
    let owned = claims(topics, members, &deal.wants);
    for (partition, owner) in &owned {
        deal.give(partition.clone(), *owner);
    }
    let all =
        topics.iter().flat_map(|(topic, count)| (0..*count).map(move |p| TopicPartition::new(topic, p)));
    for partition in all {
        if !deal.owner.contains_key(&partition)
            && let Some(taker) = deal.least_loaded(&partition.topic)
        {
            deal.give(partition, taker);
        }
    }
    deal.balance();
    let mut dealt = nothing(members);
    for (partition, taker) in deal.owner {
        // Whoever has it must give it up first.
        if owned.get(&partition).is_none_or(|owner| *owner == taker) {
            dealt.entry(members[taker].id.clone()).or_default().push(partition);
        }
    }
    dealt
}

/// Who owns what, by place in the list of members: the claim of the newest generation counts; of two in one, none does.
fn claims(
    topics: &BTreeMap<String, i32>,
    members: &[&Member],
    wants: &[BTreeSet<&str>],
) -> BTreeMap<TopicPartition, usize> {
    let mut newest: BTreeMap<TopicPartition, (i32, Option<usize>)> = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        let generation = decode_generation(member.subscription.user_data.as_ref());
        for (topic, partitions) in &member.subscription.owned {
            let count = topics.get(topic).copied().unwrap_or(0);
            if !wants[place].contains(topic.as_str()) {
                continue;
            }
            for partition in partitions.iter().filter(|partition| (0..count).contains(*partition)) {
                let claim =
                    newest.entry(TopicPartition::new(topic, *partition)).or_insert((generation, Some(place)));
                match *claim {
                    (known, _) if known < generation => *claim = (generation, Some(place)),
                    (known, Some(owner)) if known == generation && owner != place => claim.1 = None,
                    _ => {}
                }
            }
        }
    }
    newest.into_iter().filter_map(|(partition, (_, owner))| Some((partition, owner?))).collect()
}

/// An assignment in the making; members by their place.
struct Deal<'a> {
    wants: Vec<BTreeSet<&'a str>>,
    owner: BTreeMap<TopicPartition, usize>,
    load: Vec<usize>,
}

impl Deal<'_> {
    fn give(&mut self, partition: TopicPartition, taker: usize) {
        self.load[taker] += 1;
        if let Some(before) = self.owner.insert(partition, taker) {
            self.load[before] -= 1;
        }
    }

    /// Of the members that want the topic, the first of those with the fewest partitions.
    fn least_loaded(&self, topic: &str) -> Option<usize> {
        let takers = (0..self.load.len()).filter(|place| self.wants[*place].contains(topic));
        takers.min_by_key(|place| (self.load[*place], *place))
    }

    /// Moves partitions until no move makes things more even. Each move makes the sum of squares smaller, so it ends.
    fn balance(&mut self) {
        loop {
            let mut places: Vec<usize> = (0..self.load.len()).collect();
            places.sort_by_key(|place| (std::cmp::Reverse(self.load[*place]), *place));
            let from_most = places.into_iter().find_map(|from| self.move_from(from));
            let Some((partition, to)) = from_most else { return };
            self.give(partition, to);
        }
    }

    /// The last partition of this member that somebody else wants who has at least two fewer.
    fn move_from(&self, from: usize) -> Option<(TopicPartition, usize)> {
        let mine = self.owner.iter().rev().filter(|(_, owner)| **owner == from);
        mine.filter_map(|(partition, _)| {
            let to = self.least_loaded(&partition.topic)?;
            (self.load[to] + 2 <= self.load[from]).then(|| (partition.clone(), to))
        })
        .next()
    }
}
