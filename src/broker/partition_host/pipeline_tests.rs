//! Idempotent producers that have several batches under way, on a store that refuses and loses commits: each record is in
//! the log once and in its producer's order, and no producer is stuck.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use tidegate_log::SequenceError;
use tidegate_protocol::batch::BatchOptions;
use tidegate_store::faulty::{CommitFault, On};
use tidegate_store::{CommitError, ReadError};

use super::fixture::{Broker, START_MS, admitted, config, partition, take_over};
use super::{PartitionError, ProduceError};
use crate::settings::Settings;

/// As many batches as the Java client sends before the first of them is answered.
const IN_FLIGHT_MAX: usize = 5;
/// How often a producer may come again before it counts as stuck.
const ROUNDS_MAX: usize = 200;
const BATCHES: i32 = 12;
const PRODUCERS: i64 = 3;

/// What goes wrong.
#[derive(Clone, Debug)]
enum Fault {
    Begin(usize),
    Commit(usize, CommitFault),
    /// Another broker takes the partition over.
    TakeOver,
    /// The broker is killed, and with it every connection.
    Restart,
}

fn fault() -> impl Strategy<Value = Fault> {
    let too_large = CommitError::TooLarge { what: "transaction", actual: 2, limit: 1 };
    let commit = prop_oneof![
        Just(CommitFault::Refused(CommitError::DiskFull { reserve_bytes: 1 })),
        Just(CommitFault::Refused(CommitError::Conflict)),
        Just(CommitFault::Refused(too_large)),
        Just(CommitFault::LostApplied),
        Just(CommitFault::LostNotApplied),
        Just(CommitFault::LostLate),
    ];
    prop_oneof![
        2 => (0..6_usize).prop_map(Fault::Begin),
        6 => (0..6_usize, commit).prop_map(|(after, fault)| Fault::Commit(after, fault)),
        1 => Just(Fault::TakeOver),
        1 => Just(Fault::Restart),
    ]
}

/// An idempotent producer that does as Kafka's protocol asks: it sends in order, and what is not acknowledged again and
/// in order once nothing is under way.
struct Client {
    producer: i64,
    /// Sequence numbers of its batches, of one record each, that are not acknowledged.
    unsent: VecDeque<i32>,
    offsets: BTreeMap<i32, i64>,
}

impl Client {
    fn new(producer: i64) -> Self {
        Self { producer, unsent: (0..BATCHES).collect(), offsets: BTreeMap::new() }
    }

    fn value(&self, sequence: i32) -> String {
        format!("{}/{sequence}", self.producer)
    }

    fn batch(&self, base_sequence: i32) -> super::Plan {
        let options = BatchOptions {
            producer_id: self.producer,
            producer_epoch: 0,
            base_sequence,
            ..BatchOptions::default()
        };
        super::Plan::AsItCame(admitted(&self.value(base_sequence), START_MS, &options))
    }

    /// Sends as much as may be under way, and takes the answers.
    async fn round(&mut self, broker: &Broker) {
        let mut pending = Vec::new();
        let sent: Vec<i32> = self.unsent.drain(..self.unsent.len().min(IN_FLIGHT_MAX)).collect();
        for sequence in sent {
            pending.push((sequence, broker.hosts.produce(partition(0), self.batch(sequence)).await));
            tokio::task::yield_now().await;
        }
        let mut again = Vec::new();
        for (sequence, begun) in pending {
            let answer = match begun {
                Ok(pending) => pending.answer().await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(produced) => drop(self.offsets.insert(sequence, produced.base_offset.0)),
                // What a correct client sends again.
                Err(
                    ProduceError::Partition(
                        PartitionError::Storage { .. }
                        | PartitionError::NotOwner
                        | PartitionError::Closing
                        | PartitionError::Unsettled,
                    )
                    | ProduceError::TooLarge
                    | ProduceError::Sequence(SequenceError::OutOfOrder { .. }),
                ) => again.push(sequence),
                Err(error) => panic!("batch {sequence} of producer {} failed: {error:?}", self.producer),
            }
        }
        for sequence in again.into_iter().rev() {
            self.unsent.push_front(sequence);
        }
    }
}

impl Broker {
    async fn suffer(&self, fault: Fault) {
        match fault {
            Fault::Begin(after) => {
                let error = ReadError::Unavailable { reason: "a test".to_owned() };
                self.store.faults().fail_begin(On::nth(after), error);
            }
            Fault::Commit(after, fault) => self.store.faults().fail_commit(On::nth(after), fault),
            Fault::TakeOver => take_over(&self.memory, partition(0)).await,
            Fault::Restart => unreachable!("it makes another broker"),
        }
    }
}

async fn produce_with(faults: Vec<Fault>) {
    // Small groups, so that some fail while others do not.
    let settings = Settings { produce_commit_max_bytes: 300, ..Settings::default() };
    let mut broker = Broker::with(1, config(), settings).await;
    let mut clients: Vec<Client> = (0..PRODUCERS).map(Client::new).collect();
    let mut faults = VecDeque::from(faults);
    let mut rounds = 0;
    while clients.iter().any(|client| !client.unsent.is_empty()) {
        rounds += 1;
        assert!(rounds < ROUNDS_MAX, "a producer is stuck");
        match faults.pop_front() {
            Some(Fault::Restart) => broker = broker.restart(),
            Some(fault) => broker.suffer(fault).await,
            None => {}
        }
        futures::future::join_all(clients.iter_mut().map(|client| client.round(&broker))).await;
        while broker.store.deliver_late().await.is_some() {}
    }
    let broker = broker.restart();
    let records = broker.records(partition(0)).await;
    for client in &clients {
        let own = format!("{}/", client.producer);
        let logged: Vec<_> = records.iter().filter(|(_, value)| value.starts_with(&own)).cloned().collect();
        let acknowledged: Vec<_> =
            client.offsets.iter().map(|(sequence, offset)| (*offset, client.value(*sequence))).collect();
        assert_eq!(logged, acknowledged, "each once, in order, where its producer was told");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn pipelined_batches_are_in_the_log_once_and_in_order_whatever_the_store_does(
        faults in proptest::collection::vec(fault(), 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(produce_with(faults));
    }
}

/// The hole that a partition cannot see by itself: it knows nothing of the producer yet.
#[tokio::test(start_paused = true)]
async fn what_follows_the_refused_first_batch_of_a_producer_waits_for_it() {
    let full = || CommitFault::Refused(CommitError::DiskFull { reserve_bytes: 1 });
    produce_with(vec![Fault::Commit(1, full())]).await;
    let settings = Settings { produce_commit_max_bytes: 1 << 16, ..Settings::default() };
    let broker = Broker::with(1, config(), settings).await;
    let client = Client::new(7);
    broker.produce(partition(0), super::fixture::batch("loads the partition")).await.expect("it works");
    broker.store.faults().fail_commit(On::next(), full());
    let refused = broker.produce(partition(0), client.batch(0)).await;
    assert!(matches!(refused, Err(ProduceError::Partition(PartitionError::Storage { .. }))), "{refused:?}");
    let behind = broker.produce(partition(0), client.batch(1)).await;
    let out_of_order = ProduceError::Sequence(SequenceError::OutOfOrder {
        producer: tidegate_format::ProducerId(7),
        found: 1,
        last: -1,
    });
    assert_eq!(behind, Err(out_of_order));
    assert_eq!(broker.produce(partition(0), client.batch(0)).await, Ok(1));
    assert_eq!(broker.produce(partition(0), client.batch(1)).await, Ok(2));
}
