//! Topics and offsets as a stock client's admin interface has them (librdkafka).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::deadline::HANG_AFTER;

/// What every client in these proofs is configured with.
#[must_use]
pub fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    // A broker that was killed is back within milliseconds: find that out soon.
    config
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200");
    config
}

/// Creates a topic with settings of its own.
///
/// # Panics
/// When the broker refuses.
pub fn create_topic(bootstrap: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client(bootstrap).create().expect("an admin client");
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(HANG_AFTER)).request_timeout(Some(HANG_AFTER));
    let results = wait_for(admin.create_topics(&[new], &options)).expect("CreateTopics is answered");
    for result in results {
        result.unwrap_or_else(|(topic, code)| panic!("topic {topic} was not created: {code}"));
    }
}

/// The group's committed offsets of a topic, by a client outside the group; partitions without one are left out.
///
/// # Panics
/// When the broker does not answer.
#[must_use]
pub fn committed_offsets(bootstrap: &str, group: &str, topic: &str, partitions: i32) -> BTreeMap<i32, i64> {
    let consumer: BaseConsumer = client(bootstrap).set("group.id", group).create().expect("a consumer");
    let mut wanted = TopicPartitionList::new();
    for index in 0..partitions {
        wanted.add_partition(topic, index);
    }
    let offsets = consumer.committed_offsets(wanted, HANG_AFTER).expect("OffsetFetch is answered");
    let known = offsets.elements().into_iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some((element.partition(), offset)),
        _ => None,
    });
    known.collect()
}

/// The offsets of a partition's first record and of the record that will be its next.
///
/// # Panics
/// When the broker does not answer.
#[must_use]
pub fn log_bounds(bootstrap: &str, topic: &str, partition: i32) -> (i64, i64) {
    let consumer: BaseConsumer = client(bootstrap).create().expect("a consumer");
    consumer.fetch_watermarks(topic, partition, HANG_AFTER).expect("ListOffsets is answered")
}

/// Runs a future to its end on this thread. The clients have their own threads and time-outs, so that nothing else is
/// needed to drive it.
pub fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
