//! A member of a consumer group (librdkafka) on a thread of its own, which writes what it is given into the ledger and
//! commits as a careful application does: after processing, in the foreground, and before it gives partitions back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};

use crate::admin::client;
use crate::ledger::RecordId;
use crate::shared_ledger::SharedLedger;

/// A member that runs until it is told to leave.
#[derive(Debug)]
pub struct Member {
    leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Bookkeeping {
    name: String,
    topic: String,
    ledger: SharedLedger,
}

impl ClientContext for Bookkeeping {
    fn error(&self, error: KafkaError, reason: &str) {
        // A killed broker breaks connections; a fatal error (say, a fenced instance) must not happen.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.ledger
                .update(|ledger| ledger.violate(format!("{} was thrown out: {error}: {reason}", self.name)));
        }
    }
}

impl ConsumerContext for Bookkeeping {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = partitions(list);
                self.ledger.update(|ledger| ledger.assign(&self.name, &partitions));
            }
            Rebalance::Revoke(list) => {
                let partitions = partitions(list);
                self.commit(consumer, Some(&partitions));
                self.ledger.update(|ledger| ledger.revoke(&self.name, &partitions));
            }
            Rebalance::Error(error) => {
                self.ledger
                    .update(|ledger| ledger.violate(format!("{} cannot rebalance: {error}", self.name)));
            }
        }
    }
}

impl Bookkeeping {
    /// Commits what was processed since the last time. A failure is not an error: its outcome is unknown until the next
    /// commit or assignment, and the ledger knows that.
    fn commit(&self, consumer: &BaseConsumer<Self>, among: Option<&[i32]>) {
        let offsets = self.ledger.update(|ledger| {
            let offsets = ledger.uncommitted(&self.name, among);
            ledger.attempt_commit(&offsets);
            offsets
        });
        if offsets.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for &(index, offset) in &offsets {
            list.add_partition_offset(&self.topic, index, Offset::Offset(offset)).expect("a valid offset");
        }
        if consumer.commit(&list, CommitMode::Sync).is_ok() {
            self.ledger.update(|ledger| ledger.commit(&offsets));
        }
    }
}

impl Member {
    /// Joins `group` on `topic`, with more settings for the client; returns at once, the ledger shows the assignment.
    ///
    /// # Panics
    /// When librdkafka refuses its configuration.
    #[must_use]
    pub fn join(
        bootstrap: &str,
        group: &str,
        topic: &str,
        name: &str,
        settings: &[(&str, &str)],
        ledger: &SharedLedger,
    ) -> Self {
        let mut config = client(bootstrap);
        config
            .set("group.id", group)
            .set("client.id", name)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let book = Bookkeeping { name: name.to_owned(), topic: topic.to_owned(), ledger: ledger.clone() };
        let consumer: BaseConsumer<Bookkeeping> = config.create_with_context(book).expect("a consumer");
        consumer.subscribe(&[topic]).expect("a subscription");
        let leaving = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&leaving);
        let run = move || run(&consumer, &told);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread");
        Self { leaving, thread: Some(thread) }
    }

    /// Commits, leaves the group and ends.
    ///
    /// # Panics
    /// When the member's thread panicked.
    pub fn leave(mut self) {
        self.leaving.store(true, Ordering::Release);
        self.thread.take().expect("it ran until now").join().expect("the member ran well");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // A failing test leaves its members behind: they end by themselves.
        self.leaving.store(true, Ordering::Release);
    }
}

/// How many records a member takes between two commits.
const COMMIT_EVERY_RECORDS: u32 = 500;

fn run(consumer: &BaseConsumer<Bookkeeping>, leaving: &AtomicBool) {
    let book = Arc::clone(consumer.context());
    let mut since_commit = 0;
    while !leaving.load(Ordering::Acquire) {
        let idle = match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                since_commit += 1;
                let (partition, offset) = (message.partition(), message.offset());
                let id = RecordId::parse(message.key(), message.payload());
                book.ledger.update(|ledger| match id {
                    Some(id) => ledger.deliver(&book.name, partition, offset, id),
                    None => ledger.violate(format!("{partition}@{offset} is not a record of ours")),
                });
                false
            }
            Some(Err(error)) if is_broken_connection(&error) => false,
            Some(Err(error)) => {
                book.ledger.update(|ledger| ledger.violate(format!("{} was told: {error}", book.name)));
                false
            }
            None => true,
        };
        if idle || since_commit >= COMMIT_EVERY_RECORDS {
            book.commit(consumer, None);
            since_commit = 0;
        }
    }
    book.commit(consumer, None);
    // Dropping the consumer leaves the group, through the revocation above.
}

/// What a client may report when its broker was killed; anything else is an answer that it should not have got.
#[must_use]
pub fn is_broken_connection(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
    let broken = [AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve];
    error.rdkafka_error_code().is_some_and(|code| broken.contains(&code))
}

fn partitions(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect()
}
