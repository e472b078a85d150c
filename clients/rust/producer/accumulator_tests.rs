//! The accumulator in virtual time.

use tidegate_protocol::batch::{self, Compression};

use super::accumulator::{Accumulator, Comeback, Limits, Ready, Sending};
use super::batch::Appended;
use super::record::ProducerRecord;
use super::sequence::ProducerId;
use std::time::Duration;
use tokio::time::Instant;

const PRODUCER: Option<ProducerId> = Some(ProducerId { id: 9, epoch: 0 });

struct Bench {
    accumulator: Accumulator,
    start: Instant,
}

impl Bench {
    fn new(linger_ms: u64) -> Self {
        let limits = Limits {
            linger: Duration::from_millis(linger_ms),
            batch_bytes: 1000,
            max_request_bytes: 2500,
            max_in_flight_requests: 2,
            delivery_timeout: Duration::from_secs(10),
        };
        Self { accumulator: Accumulator::new(limits), start: Instant::now() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Pushes a record that is counted with `bytes`; says whether the sender should look.
    fn push(&mut self, ms: u64, partition: i32, bytes: usize) -> bool {
        let record = ProducerRecord::to("t").value("v");
        let now = self.at(ms);
        self.accumulator.push(now, &record, partition, 0, bytes).expect("it fits").1
    }

    /// Partition p is led by broker p / 10.
    fn ready(&mut self, ms: u64) -> Ready {
        let now = self.at(ms);
        let wait = Duration::from_millis(100);
        self.accumulator
            .take_ready(now, PRODUCER, wait, |_, partition| (partition < 100).then_some(partition / 10))
    }

    /// What leaves now, one list of partitions and record counts per request.
    fn leaves(&mut self, ms: u64) -> Vec<Vec<(i32, i32)>> {
        let requests = self.ready(ms).requests.into_iter().map(|(_, request)| request);
        requests
            .map(|request| request.iter().map(|s| (s.partition, s.batch.record_count())).collect())
            .collect()
    }

    fn only(&mut self, ms: u64) -> Sending {
        let mut ready = self.ready(ms);
        let (_, mut request) = ready.requests.pop().expect("a request");
        let sending = request.pop().expect("a batch");
        assert!(ready.requests.is_empty() && request.is_empty(), "one batch leaves");
        sending
    }

    fn delivered(&mut self, sending: &Sending) {
        self.accumulator.delivered(&sending.topic, sending.partition);
        self.accumulator.request_over(sending.partition / 10);
    }

    fn came_back(&mut self, sending: Sending, how: Comeback) -> Option<super::batch::Batch> {
        self.accumulator.request_over(sending.partition / 10);
        self.accumulator.came_back(sending, how).0
    }
}

fn sequence(sending: &Sending) -> (i16, i32) {
    let numbered = sending.batch.numbered.expect("it is numbered");
    (numbered.producer.epoch, numbered.base_sequence)
}

#[test]
fn a_batch_lingers_and_then_leaves() {
    let mut bench = Bench::new(5);
    assert!(bench.push(0, 0, 100), "the sender sets its timer");
    assert!(!bench.push(1, 0, 100), "the timer is set");
    let ready = bench.ready(4);
    assert!(ready.requests.is_empty());
    assert_eq!(ready.next, Some(bench.at(5)));
    assert_eq!(bench.leaves(5), [[(0, 2)]]);
}

#[test]
fn a_full_batch_does_not_linger() {
    let mut bench = Bench::new(1000);
    bench.push(0, 0, 600);
    assert!(bench.push(0, 0, 600), "the first batch is full");
    assert_eq!(bench.leaves(0), [[(0, 1)]]);
}

#[test]
fn records_gather_while_a_batch_is_under_way() {
    let mut bench = Bench::new(0);
    assert!(bench.push(0, 0, 10));
    let first = bench.only(0);
    for ms in 1..50 {
        assert!(!bench.push(ms, 0, 10), "there is nothing to be done until the answer comes");
    }
    assert!(bench.leaves(50).is_empty(), "one batch of a partition is under way");
    bench.delivered(&first);
    assert_eq!(bench.leaves(51), [[(0, 49)]]);
}

#[test]
fn partitions_of_one_broker_share_a_request_up_to_its_size() {
    let mut bench = Bench::new(0);
    for partition in [0, 1, 2, 3, 10] {
        bench.push(0, partition, 900);
    }
    let mut requests = bench.leaves(0);
    requests.sort();
    assert_eq!(requests, [vec![(0, 1), (1, 1)], vec![(2, 1), (3, 1)], vec![(10, 1)]]);
}

#[test]
fn requests_to_one_broker_are_bounded() {
    let mut bench = Bench::new(0);
    for partition in 0..7 {
        bench.push(0, partition, 900);
    }
    assert_eq!(bench.leaves(0), [[(0, 1), (1, 1)], [(2, 1), (3, 1)]]);
    assert!(bench.leaves(0).is_empty());
    bench.accumulator.request_over(0);
    assert_eq!(bench.leaves(0), [[(4, 1), (5, 1)]]);
}

#[test]
fn what_comes_back_leaves_again_before_what_came_later() {
    let mut bench = Bench::new(0);
    bench.push(0, 0, 600);
    let first = bench.only(0);
    bench.push(1, 0, 600);
    bench.push(1, 0, 600);
    let not_before = bench.at(100);
    assert_eq!(sequence(&first), (0, 0));
    assert!(bench.came_back(first, Comeback::Retry { not_before }).is_none());
    assert_eq!(bench.ready(99).next, Some(not_before));
    let again = bench.only(100);
    assert_eq!((sequence(&again), again.batch.failures), ((0, 0), 1), "the same numbers");
    bench.delivered(&again);
    let second = bench.only(101);
    assert_eq!(sequence(&second), (0, 1));
    bench.delivered(&second);
    assert_eq!(sequence(&bench.only(102)), (0, 2));
}

#[test]
fn a_refused_batch_leaves_its_numbers_to_the_next() {
    let mut bench = Bench::new(0);
    bench.push(0, 0, 600);
    bench.push(0, 0, 600);
    let first = bench.only(0);
    let refused = bench.came_back(first, Comeback::Refused).expect("it is not sent again");
    assert_eq!(refused.record_count(), 1);
    assert_eq!(sequence(&bench.only(1)), (0, 0));
}

#[test]
fn another_idea_of_the_sequence_is_met_by_the_next_epoch() {
    let mut bench = Bench::new(0);
    bench.push(0, 0, 600);
    let first = bench.only(0);
    bench.delivered(&first);
    bench.push(0, 0, 600);
    let second = bench.only(0);
    assert_eq!(sequence(&second), (0, 1));
    let not_before = bench.at(0);
    bench.came_back(second, Comeback::RetryNextEpoch { not_before });
    assert_eq!(sequence(&bench.only(1)), (1, 0));
}

#[test]
fn time_over_is_time_over_and_what_may_have_been_used_is_left_behind() {
    let mut bench = Bench::new(0);
    bench.push(0, 0, 600);
    let mut first = bench.only(0);
    first.batch.uncertain = true;
    bench.push(0, 0, 600);
    let not_before = bench.at(9_999);
    bench.came_back(first, Comeback::Retry { not_before });
    bench.push(9_000, 0, 600);
    let ready = bench.ready(10_000);
    assert_eq!(ready.expired.len(), 2);
    let (_, request) = &ready.requests[0];
    assert_eq!(sequence(&request[0]), (1, 0), "nobody knows whether sequence 0 of epoch 0 was used");
}

#[test]
fn a_partition_without_a_leader_is_asked_for_and_waits() {
    let mut bench = Bench::new(0);
    bench.push(0, 500, 10);
    let ready = bench.ready(0);
    assert!(ready.requests.is_empty());
    assert!(ready.unroutable.contains("t"));
    assert_eq!(ready.next, Some(bench.at(100)));
    assert!(bench.ready(50).unroutable.is_empty(), "it is not asked for all the time");
}

#[test]
fn flush_sends_what_lingers_and_names_all_that_is_to_come() {
    let mut bench = Bench::new(1000);
    bench.push(0, 0, 600);
    bench.push(0, 0, 600);
    let first = bench.only(0);
    bench.push(0, 1, 10);
    let outcomes = bench.accumulator.flush();
    assert_eq!(outcomes.len(), 3);
    assert_eq!(bench.leaves(0), [[(1, 1)]]);
    first.batch.settle(Ok(Appended { base_offset: Some(5), append_time_ms: None }));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.initialized()).count(), 1);
    bench.delivered(&first);
    assert_eq!(bench.leaves(0), [[(0, 1)]]);
}

#[test]
fn a_batch_is_encoded_with_the_numbers_it_has_now() {
    let mut bench = Bench::new(0);
    bench.push(0, 0, 600);
    let mut first = bench.only(0);
    first.batch.encode(Compression::Zstd).expect("it encodes");
    let header = batch::check_produced(first.batch.encoded()).expect("it is intact");
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (9, 0, 0));
    let not_before = bench.at(0);
    bench.came_back(first, Comeback::RetryNextEpoch { not_before });
    let mut again = bench.only(1);
    again.batch.encode(Compression::Zstd).expect("it encodes");
    let header = batch::check_produced(again.batch.encoded()).expect("it is intact");
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (9, 1, 0));
    assert_eq!(header.compression(), Ok(Compression::Zstd));
}
