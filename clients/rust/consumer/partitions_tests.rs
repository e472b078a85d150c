//! What is fetched, handed out and committed, without a broker.

use std::time::Duration;

use bytes::Bytes;
use tidegate_protocol::batch::{BatchOptions, Record, encode_batch};
use tokio::time::Instant;

use super::partitions::{Ahead, Partitions, Plan, Start, Wish};
use crate::{OffsetSpec, TopicPartition};

const AHEAD: usize = 1000;

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// A batch of so many records from this offset on.
fn batch(base_offset: i64, records: i32) -> Bytes {
    let records: Vec<Record> =
        (0..records).map(|offset_delta| Record { offset_delta, ..Record::default() }).collect();
    encode_batch(&records, &BatchOptions { base_offset, ..BatchOptions::default() }).expect("it encodes")
}

/// Partition p is led by broker p / 10; from 100 on by nobody.
fn plan(partitions: &mut Partitions) -> Plan {
    plan_at(partitions, Instant::now())
}

fn plan_at(partitions: &mut Partitions, now: Instant) -> Plan {
    partitions.plan(now, |_| false, |_, partition| (partition < 100).then_some(partition / 10))
}

/// The only fetch of the plan.
fn fetch(plan: Plan) -> Wish<i64> {
    let (mut wishes, _) = plan.fetches.into_values().next().expect("a fetch");
    assert_eq!(wishes.len(), 1);
    wishes.remove(0)
}

fn at(start: i64) -> Partitions {
    let mut partitions = Partitions::new(Ahead { bytes: AHEAD });
    partitions.assign(tp(0), Start::Offset(start), Some(start));
    partitions
}

#[test]
fn fetches_go_to_the_leaders_once_at_a_time() {
    let mut partitions = Partitions::new(Ahead { bytes: AHEAD });
    for partition in [0, 1, 10, 100] {
        partitions.assign(tp(partition), Start::Offset(5), None);
    }
    let first = plan(&mut partitions);
    assert!(first.unroutable, "nobody leads partition 100");
    let by_leader: Vec<(i32, usize)> =
        first.fetches.iter().map(|(leader, (wishes, _))| (*leader, wishes.len())).collect();
    assert_eq!(by_leader, [(0, 2), (1, 1)]);
    assert!(plan(&mut partitions).fetches.is_empty(), "they are under way");
    let wish = &first.fetches[&1].0[0];
    partitions.fetched(wish, Bytes::new(), 5).expect("nothing is something");
    assert_eq!(fetch(plan(&mut partitions)), Wish { partition: tp(10), epoch: wish.epoch, what: 5 });
}

#[test]
fn a_busy_broker_is_not_asked() {
    let mut partitions = at(0);
    let busy = partitions.plan(Instant::now(), |leader| leader == 0, |_, _| Some(0));
    assert!(busy.fetches.is_empty());
    assert_eq!(fetch(plan(&mut partitions)).what, 0);
}

#[test]
fn the_next_fetch_is_after_the_last_batch() {
    let mut partitions = at(3);
    let wish = fetch(plan(&mut partitions));
    // A broker sends whole batches: the first ends before offset 3, the second begins before it.
    let sent = [batch(0, 2), batch(2, 3), batch(5, 1)].concat();
    partitions.fetched(&wish, sent.into(), 9).expect("whole batches");
    assert_eq!(fetch(plan(&mut partitions)).what, 6);
    let chunk = partitions.next_chunk().expect("the second batch");
    assert_eq!((chunk.from, chunk.batch), (3, batch(2, 3)));
    assert_eq!(partitions.next_chunk().expect("the third batch").batch, batch(5, 1));
    assert!(partitions.next_chunk().is_none());
    assert_eq!(partitions.high_watermark(&tp(0)), Some(9));
}

#[test]
fn nothing_of_before_a_seek_is_handed_out() {
    let mut partitions = at(0);
    let wish = fetch(plan(&mut partitions));
    partitions.fetched(&wish, batch(0, 3), 100).expect("a batch");
    let under_way = fetch(plan(&mut partitions));
    assert!(partitions.seek(&tp(0), Start::Offset(50)));
    assert!(partitions.next_chunk().is_none(), "what waited is gone");
    partitions.fetched(&under_way, batch(3, 3), 100).expect("a batch");
    assert!(partitions.next_chunk().is_none(), "what was under way is not wanted");
    assert_eq!(fetch(plan(&mut partitions)).what, 50);
    assert_eq!(partitions.position(&tp(0)), Some(50));
    assert!(!partitions.seek(&tp(7), Start::Offset(0)), "it is not read");
}

#[test]
fn nothing_of_a_partition_that_is_gone_is_handed_out() {
    let mut partitions = at(0);
    let wish = fetch(plan(&mut partitions));
    partitions.fetched(&wish, [batch(0, 3), batch(3, 3)].concat().into(), 100).expect("batches");
    let held = partitions.next_chunk().expect("a batch");
    assert!(held.progress.is_live());
    partitions.unassign(&tp(0));
    assert!(!held.progress.is_live(), "whoever hands it out sees it");
    assert!(partitions.next_chunk().is_none());
    assert!(partitions.assignment().is_empty());
}

#[test]
fn fetching_pauses_when_enough_is_there() {
    let mut partitions = Partitions::new(Ahead { bytes: 200 });
    partitions.assign(tp(0), Start::Offset(0), None);
    partitions.assign(tp(1), Start::Offset(0), None);
    let Plan { mut fetches, .. } = plan(&mut partitions);
    let (wishes, leaves_out) = fetches.remove(&0).expect("a fetch");
    assert!(!leaves_out);
    // Over its share of 100 bytes, with 200 in all.
    partitions.fetched(&wishes[0], batch(0, 10), 99).expect("a batch");
    partitions.fetched(&wishes[1], Bytes::new(), 99).expect("nothing");
    let Plan { mut fetches, .. } = plan(&mut partitions);
    let (wishes, leaves_out) = fetches.remove(&0).expect("a fetch");
    assert_eq!(wishes.iter().map(|wish| wish.partition.partition).collect::<Vec<_>>(), [1]);
    assert!(leaves_out, "so the broker is not to wait long");
    partitions.fetched(&wishes[0], batch(0, 10), 99).expect("a batch");
    assert!(plan(&mut partitions).fetches.is_empty(), "there is enough");
    partitions.next_chunk().expect("partition 0");
    partitions.next_chunk().expect("partition 1");
    assert_eq!(plan(&mut partitions).fetches[&0].0.len(), 2);
}

#[test]
fn one_batch_over_the_bound_is_fetched_all_the_same() {
    let mut partitions = Partitions::new(Ahead { bytes: 10 });
    partitions.assign(tp(0), Start::Offset(0), None);
    let wish = fetch(plan(&mut partitions));
    partitions.fetched(&wish, batch(0, 10), 99).expect("a batch");
    assert!(plan(&mut partitions).fetches.is_empty());
    partitions.next_chunk().expect("a batch");
    assert_eq!(fetch(plan(&mut partitions)).what, 10);
}

#[test]
fn only_what_is_dealt_with_is_committed_and_once() {
    let mut partitions = at(0);
    let wish = fetch(plan(&mut partitions));
    partitions.fetched(&wish, batch(0, 5), 5).expect("a batch");
    let chunk = partitions.next_chunk().expect("a batch");
    assert!(partitions.to_commit().is_empty(), "offset 0 is committed");
    chunk.progress.hand_out(1);
    assert!(partitions.to_commit().is_empty(), "it is handed out, but not dealt with");
    assert_eq!(partitions.position(&tp(0)), Some(1));
    chunk.progress.deal_with(1);
    chunk.progress.hand_out(2);
    assert_eq!(partitions.to_commit(), [(tp(0), 1)].into());
    partitions.committed(&tp(0), 1);
    assert!(partitions.to_commit().is_empty());
    partitions.deal_with_all();
    assert_eq!(partitions.to_commit(), [(tp(0), 2)].into());
}

#[test]
fn a_place_is_looked_up_and_then_fetched_from() {
    let mut partitions = Partitions::new(Ahead { bytes: AHEAD });
    partitions.assign(tp(0), Start::Latest, None);
    let Plan { lookups, fetches, .. } = plan(&mut partitions);
    assert!(fetches.is_empty());
    assert_eq!(lookups[0].what, OffsetSpec::Latest);
    assert_eq!(partitions.position(&tp(0)), None);
    assert!(plan(&mut partitions).lookups.is_empty(), "it is under way");
    partitions.found(&lookups[0], 77);
    assert_eq!(partitions.position(&tp(0)), Some(77));
    assert_eq!(fetch(plan(&mut partitions)).what, 77);
    assert_eq!(partitions.to_commit(), [(tp(0), 77)].into(), "the place is worth keeping");
}

#[test]
fn another_place_is_looked_up_when_what_is_there_is_handed_out() {
    let mut partitions = at(0);
    let wish = fetch(plan(&mut partitions));
    partitions.fetched(&wish, batch(0, 5), 5).expect("a batch");
    let out_of_range = fetch(plan(&mut partitions));
    let now = Instant::now();
    partitions.look_up(&out_of_range, OffsetSpec::Earliest, now);
    let again = fetch(plan_at(&mut partitions, now));
    partitions.next_chunk().expect("what was there before");
    partitions.look_up(&again, OffsetSpec::Earliest, now);
    assert_eq!(plan_at(&mut partitions, now).lookups[0].what, OffsetSpec::Earliest);
}

#[test]
fn what_failed_rests() {
    let mut partitions = at(0);
    let now = Instant::now();
    let wish = fetch(plan_at(&mut partitions, now));
    let later = now + Duration::from_secs(1);
    assert!(partitions.failed(&wish, later));
    let resting = plan_at(&mut partitions, now);
    assert!(resting.fetches.is_empty());
    assert_eq!(resting.next, Some(later));
    assert_eq!(fetch(plan_at(&mut partitions, later)).what, 0);
    partitions.seek(&tp(0), Start::Offset(1));
    assert!(!partitions.failed(&wish, later), "that was another place");
}

#[test]
fn a_paused_partition_is_neither_fetched_nor_handed_out() {
    let mut partitions = at(0);
    partitions.assign(tp(1), Start::Offset(0), None);
    let Plan { fetches, .. } = plan(&mut partitions);
    for wish in &fetches[&0].0 {
        partitions.fetched(wish, batch(0, 1), 9).expect("a batch");
    }
    assert!(partitions.pause(&tp(0), true));
    assert_eq!(fetch(plan(&mut partitions)).partition, tp(1));
    assert_eq!(partitions.next_chunk().expect("partition 1").partition, tp(1));
    assert!(partitions.next_chunk().is_none());
    partitions.pause(&tp(0), false);
    assert_eq!(partitions.next_chunk().expect("partition 0").partition, tp(0));
}

#[test]
fn what_paused_partitions_have_fetched_ahead_holds_up_no_other() {
    const COUNT: i32 = 8;
    let mut partitions = Partitions::new(Ahead { bytes: AHEAD });
    (0..COUNT).for_each(|partition| partitions.assign(tp(partition), Start::Offset(0), None));
    let Plan { fetches, .. } = plan(&mut partitions);
    for wish in &fetches[&0].0 {
        partitions.fetched(wish, batch(0, 15), 99).expect("more than a share");
    }
    assert!(plan(&mut partitions).fetches.is_empty(), "there is enough");
    (1..COUNT).for_each(|partition| assert!(partitions.pause(&tp(partition), true)));
    assert_eq!(partitions.next_chunk().expect("partition 0").partition, tp(0));
    assert_eq!(fetch(plan(&mut partitions)), Wish { what: 15, ..fetches[&0].0[0].clone() });
    (1..COUNT).for_each(|partition| assert!(partitions.pause(&tp(partition), false)));
    assert!(plan(&mut partitions).fetches.is_empty(), "what they have counts again");
}

#[test]
fn bytes_that_are_no_batches_are_an_error() {
    let mut partitions = at(0);
    let wish = fetch(plan(&mut partitions));
    let mut endless = batch(0, 1).to_vec();
    endless[8..12].copy_from_slice(&(-1_i32).to_be_bytes());
    partitions.fetched(&wish, endless.into(), 1).expect_err("a batch of no length");
}
