//! Assignments: by example, and as properties.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate_protocol::consumer_protocol::Subscription;

use super::{Assignor, Dealt, Member};
use crate::TopicPartition;

fn member(id: &str, topics: &[&str]) -> Member {
    let subscription = Subscription {
        topics: topics.iter().map(ToString::to_string).collect(),
        user_data: None,
        owned: vec![],
    };
    Member { id: id.into(), instance: None, subscription }
}

fn topics(topics: &[(&str, i32)]) -> BTreeMap<String, i32> {
    topics.iter().map(|(topic, partitions)| ((*topic).to_owned(), *partitions)).collect()
}

/// "a: t-0 t-1; b: t-2", and so on.
fn show(dealt: &Dealt) -> String {
    let one = |(member, partitions): (&String, &Vec<TopicPartition>)| {
        let partitions: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        format!("{member}: {}", partitions.join(" "))
    };
    dealt.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The members as they join again after they got this in this generation.
fn having(members: &[Member], dealt: &Dealt, generation: i32) -> Vec<Member> {
    let again = members.iter().map(|member| {
        let mut member = member.clone();
        let owned = dealt.get(&member.id).cloned().unwrap_or_default();
        member.subscription.owned = owned.into_iter().map(|p| (p.topic, vec![p.partition])).collect();
        member.subscription.user_data = Assignor::CooperativeSticky.user_data(generation);
        member
    });
    again.collect()
}

#[test]
fn range_gives_runs_topic_by_topic() {
    let two = [member("a", &["t", "u"]), member("b", &["t", "u"])];
    let dealt = Assignor::Range.assign(&topics(&[("t", 3), ("u", 3)]), &two);
    assert_eq!(show(&dealt), "a: t-0 t-1 u-0 u-1; b: t-2 u-2");
    let three = [member("a", &["t"]), member("b", &["u"]), member("c", &["t"])];
    let dealt = Assignor::Range.assign(&topics(&[("t", 3), ("u", 1)]), &three);
    assert_eq!(show(&dealt), "a: t-0 t-1; b: u-0; c: t-2");
    let dealt = Assignor::Range.assign(&topics(&[("t", 1)]), &two);
    assert_eq!(show(&dealt), "a: t-0; b: ");
}

#[test]
fn static_members_come_first_by_their_names() {
    let mut members = [member("a", &["t"]), member("b", &["t"]), member("c", &["t"])];
    members[1].instance = Some("z".into());
    members[2].instance = Some("y".into());
    let dealt = Assignor::Range.assign(&topics(&[("t", 4)]), &members);
    assert_eq!(show(&dealt), "a: t-3; b: t-2; c: t-0 t-1");
}

#[test]
fn round_robin_goes_round() {
    let two = [member("a", &["t", "u"]), member("b", &["t", "u"])];
    let dealt = Assignor::RoundRobin.assign(&topics(&[("t", 3), ("u", 3)]), &two);
    assert_eq!(show(&dealt), "a: t-0 t-2 u-1; b: t-1 u-0 u-2");
    // The example of Kafka's documentation: t0 has 1 partition, t1 has 2, t2 has 3.
    let three = [member("c0", &["t0"]), member("c1", &["t0", "t1"]), member("c2", &["t0", "t1", "t2"])];
    let dealt = Assignor::RoundRobin.assign(&topics(&[("t0", 1), ("t1", 2), ("t2", 3)]), &three);
    assert_eq!(show(&dealt), "c0: t0-0; c1: t1-0; c2: t1-1 t2-0 t2-1 t2-2");
}

#[test]
fn sticky_moves_little_and_in_two_steps() {
    let there = topics(&[("t", 6)]);
    let two = [member("a", &["t"]), member("b", &["t"])];
    let first = Assignor::CooperativeSticky.assign(&there, &two);
    assert_eq!(show(&first), "a: t-0 t-2 t-4; b: t-1 t-3 t-5");

    let mut three = having(&two, &first, 1);
    three.push(member("c", &["t"]));
    let second = Assignor::CooperativeSticky.assign(&there, &three);
    assert_eq!(show(&second), "a: t-0 t-2; b: t-1 t-3; c: ", "what moves is given up first");

    let third = Assignor::CooperativeSticky.assign(&there, &having(&three, &second, 2));
    assert_eq!(show(&third), "a: t-0 t-2; b: t-1 t-3; c: t-4 t-5", "then it is dealt out");

    let left = &having(&three, &third, 3)[1..];
    let fourth = Assignor::CooperativeSticky.assign(&there, left);
    assert_eq!(show(&fourth), "b: t-0 t-1 t-3; c: t-2 t-4 t-5", "what was free is dealt out at once");
}

#[test]
fn the_newest_claim_counts() {
    let there = topics(&[("t", 2)]);
    let mut members = [member("a", &["t"]), member("b", &["t"])];
    members[0].subscription.owned = vec![("t".into(), vec![0, 1])];
    members[0].subscription.user_data = Assignor::CooperativeSticky.user_data(5);
    members[1].subscription.owned = vec![("t".into(), vec![0])];
    members[1].subscription.user_data = Assignor::CooperativeSticky.user_data(6);
    assert_eq!(show(&Assignor::CooperativeSticky.assign(&there, &members)), "a: t-1; b: t-0");
}

fn some_group() -> impl Strategy<Value = (BTreeMap<String, i32>, Vec<Member>)> {
    const NAMES: &[&str] = &["p", "q", "r", "s"];
    let there =
        prop::collection::btree_map(prop::sample::select(NAMES).prop_map(String::from), 1..7_i32, 1..4);
    let subscriptions = prop::collection::vec(prop::sample::subsequence(NAMES, 0..=4), 1..6);
    let owned = prop::collection::vec((0..6_usize, 0..4_usize, -1..8_i32, -1..3_i32), 0..10);
    (there, subscriptions, owned).prop_map(move |(there, subscriptions, owned)| {
        let mut members: Vec<Member> =
            subscriptions.iter().enumerate().map(|(n, topics)| member(&format!("m{n}"), topics)).collect();
        for (place, topic, partition, generation) in owned {
            let count = members.len();
            let subscription = &mut members[place % count].subscription;
            subscription.owned.push((NAMES[topic].into(), vec![partition]));
            subscription.user_data = Assignor::CooperativeSticky.user_data(generation);
        }
        (there, members)
    })
}

/// Every partition that somebody wants is given to exactly one of those who want it.
fn is_complete(there: &BTreeMap<String, i32>, members: &[Member], dealt: &Dealt) -> bool {
    let wants = |id: &String, topic: &String| {
        members.iter().any(|member| member.id == *id && member.subscription.topics.contains(topic))
    };
    let given: Vec<&TopicPartition> = dealt.values().flatten().collect();
    let once: BTreeSet<&&TopicPartition> = given.iter().collect();
    let expected: usize = there
        .iter()
        .filter(|(topic, _)| members.iter().any(|member| member.subscription.topics.contains(topic)))
        .map(|(_, count)| usize::try_from(*count).expect("few"))
        .sum();
    dealt.len() == members.len()
        && dealt.iter().all(|(id, partitions)| partitions.iter().all(|p| wants(id, &p.topic)))
        && given.len() == once.len()
        && given.len() == expected
}

proptest! {
    #[test]
    fn all_partitions_are_given_once((there, members) in some_group()) {
        for assignor in [Assignor::Range, Assignor::RoundRobin] {
            let dealt = assignor.assign(&there, &members);
            prop_assert!(is_complete(&there, &members, &dealt), "{}", show(&dealt));
        }
    }

    #[test]
    fn the_order_of_the_members_does_not_matter((there, members) in some_group()) {
        let reversed: Vec<Member> = members.iter().rev().cloned().collect();
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
            prop_assert_eq!(assignor.assign(&there, &members), assignor.assign(&there, &reversed));
        }
    }

    #[test]
    fn sticky_never_gives_away_what_another_has((there, members) in some_group()) {
        let dealt = Assignor::CooperativeSticky.assign(&there, &members);
        let again = having(&members, &dealt, 100);
        let next = Assignor::CooperativeSticky.assign(&there, &again);
        prop_assert!(is_complete(&there, &members, &next), "two rebalances are enough: {}", show(&next));
        let last = Assignor::CooperativeSticky.assign(&there, &having(&members, &next, 101));
        prop_assert_eq!(&last, &next, "and then nothing moves");
        for (id, had) in &dealt {
            let moved_to_me = next[id].iter().filter(|partition| !had.contains(partition));
            for partition in moved_to_me {
                prop_assert!(!dealt.values().flatten().any(|other| other == partition), "{partition} had an owner");
            }
        }
    }

    #[test]
    fn sticky_is_balanced((there, members) in some_group()) {
        let first = Assignor::CooperativeSticky.assign(&there, &members);
        let dealt = Assignor::CooperativeSticky.assign(&there, &having(&members, &first, 100));
        for member in &members {
            for (other, partitions) in &dealt {
                let could_take = partitions.iter().any(|p| member.subscription.topics.contains(&p.topic));
                let mine = dealt[&member.id].len();
                prop_assert!(!could_take || mine + 1 >= partitions.len(), "{} could take from {other}", member.id);
            }
        }
    }
}
