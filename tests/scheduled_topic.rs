//! A topic of scheduled records with its idempotent producers and a reader (librdkafka), and the book of what must come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::admin::{client, create_topic};
use crate::deadline::{Deadline, HANG_AFTER};
use crate::member::is_broken_connection;
use crate::schedule_book::ScheduleBook;
use crate::shared_ledger::listed;

/// The header that names a schedule.
pub const SCHEDULE_HEADER: &str = "tidegate-schedule-id";

/// A book that client threads share.
#[derive(Clone, Debug, Default)]
pub struct SharedBook(Arc<Mutex<ScheduleBook>>);

impl SharedBook {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The book.
    pub fn lock(&self) -> MutexGuard<'_, ScheduleBook> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails the test at a violation.
    ///
    /// # Panics
    /// When there is any.
    pub fn check(&self) {
        let book = self.lock();
        assert!(book.violations().is_empty(), "{}", listed(book.violations()));
    }
}

/// The wall clock, in milliseconds since 1970: what due times are compared with.
///
/// # Panics
/// Before 1970.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_millis()).expect("milliseconds since 1970 fit")
}

/// Creates a topic with `tidegate.delivery=scheduled`.
pub fn create_scheduled_topic(bootstrap: &str, topic: &str, partitions: i32) {
    create_topic(bootstrap, topic, partitions, &[("tidegate.delivery", "scheduled")]);
}

/// A record to send.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScheduledRecord<'a> {
    /// The partition; by key, or any, if there is none.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a str>,
    /// The value; none cancels.
    pub value: Option<&'a str>,
    /// When it is due.
    pub timestamp_ms: i64,
    /// The schedule it belongs to.
    pub schedule: Option<&'a str>,
}

/// An idempotent producer.
pub struct ScheduledProducer {
    inner: ThreadedProducer<Acknowledgements>,
    topic: String,
}

struct Acknowledgements(SharedBook);

impl ClientContext for Acknowledgements {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.0.lock().violate(format!("the producer gave up: {error}: {reason}"));
        }
    }
}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        match result {
            Ok(message) => {
                if let Some(Ok(value)) = message.payload().map(std::str::from_utf8) {
                    self.0.lock().acknowledged(value, now_ms());
                }
            }
            Err((error, message)) => {
                let what = format!("{:?} was not acknowledged: {error}", message.payload_view::<str>());
                self.0.lock().violate(what);
            }
        }
    }
}

impl ScheduledProducer {
    /// A producer with the given codec.
    ///
    /// # Panics
    /// When librdkafka refuses its configuration.
    #[must_use]
    pub fn new(bootstrap: &str, topic: &str, codec: &str, book: &SharedBook) -> Self {
        let inner = client(bootstrap)
            .set("enable.idempotence", "true")
            .set("compression.codec", codec)
            .set("linger.ms", "2")
            .set("message.timeout.ms", "0")
            .create_with_context(Acknowledgements(book.clone()))
            .expect("a producer");
        Self { inner, topic: topic.to_owned() }
    }

    /// Hands a record to the client.
    ///
    /// # Panics
    /// When the client refuses it.
    pub fn send(&self, record: ScheduledRecord<'_>) {
        let mut base: BaseRecord<'_, str, str> = BaseRecord::to(&self.topic).timestamp(record.timestamp_ms);
        if let Some(partition) = record.partition {
            base = base.partition(partition);
        }
        if let Some(key) = record.key {
            base = base.key(key);
        }
        if let Some(value) = record.value {
            base = base.payload(value);
        }
        if let Some(schedule) = record.schedule {
            let header = Header { key: SCHEDULE_HEADER, value: Some(schedule) };
            base = base.headers(OwnedHeaders::new().insert(header));
        }
        self.inner.send(base).map_err(|(error, _)| error).expect("there is room in the producer's queue");
    }

    /// Waits until all records are answered.
    ///
    /// # Panics
    /// When they never are.
    pub fn flush(&self) {
        self.inner.flush(HANG_AFTER).expect("all records are acknowledged");
    }
}

/// Reads a topic from its start, outside any group, and notes in the book what comes.
pub struct ScheduledReader {
    consumer: BaseConsumer,
    book: SharedBook,
}

impl ScheduledReader {
    /// At the start of all partitions.
    ///
    /// # Panics
    /// When librdkafka refuses its configuration.
    #[must_use]
    pub fn new(bootstrap: &str, topic: &str, partitions: i32, book: &SharedBook) -> Self {
        let mut config = client(bootstrap);
        config.set("group.id", "outside-of-any-group").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut start = TopicPartitionList::new();
        for index in 0..partitions {
            start.add_partition_offset(topic, index, Offset::Beginning).expect("a valid offset");
        }
        consumer.assign(&start).expect("an assignment");
        Self { consumer, book: book.clone() }
    }

    /// Reads until at most `outstanding` records are still to come.
    ///
    /// # Panics
    /// At the first violation, or when they never come.
    pub fn read_until(&self, outstanding: usize) {
        let deadline = Deadline::start();
        while self.book.lock().outstanding() > outstanding {
            self.book.check();
            deadline.check(&format!("{} records are still to come", self.book.lock().outstanding()));
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    // Taken after the record is here: it must not be early by the consumer's clock.
                    let now_ms = now_ms();
                    let value = message.payload().map(String::from_utf8_lossy);
                    let timestamp_ms = message.timestamp().to_millis().unwrap_or(-1);
                    self.book.lock().came(message.partition(), value.as_deref(), timestamp_ms, now_ms);
                }
                Some(Err(error)) if is_broken_connection(&error) => {}
                Some(Err(error)) => panic!("the consumer was told: {error}"),
                None => {}
            }
        }
        self.book.check();
    }
}
