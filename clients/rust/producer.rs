//! Sends records.
//!
//! Records are gathered per partition into batches, compressed, and sent with `acks=all`, idempotently: what a retry
//! repeats the broker drops. Of a partition, one batch is under way at a time and the next one gathers meanwhile, so order
//! is kept whatever fails, and batches grow with the load by themselves.
//!
//! Memory for what is not yet delivered is bounded by `buffer_bytes`: when it is used up, [`Producer::enqueue`] and
//! [`Producer::send`] wait.

mod accumulator;
mod batch;
mod options;
mod partitioner;
mod record;
mod schedule;
mod sender;
mod sequence;
mod verdict;

#[cfg(test)]
mod accumulator_tests;
#[cfg(test)]
mod producer_tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_protocol::batch::BatchError;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use batch::Receipt;
pub use options::ProducerOptions;
pub use record::{Delivery, ProducerRecord};
pub use schedule::SCHEDULE_ID_HEADER;

use crate::{Client, ClientOptions, Error};
use accumulator::{Accumulator, Limits};
use partitioner::Sticky;
use sequence::ProducerId;

/// Sends records; clones share everything. When the last one is dropped, what is not delivered fails with `Closed`:
/// [`Producer::flush`] first.
#[derive(Clone, Debug)]
pub struct Producer {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    sender: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    options: ProducerOptions,
    accumulator: Mutex<Accumulator>,
    sticky: Mutex<Sticky>,
    producer_id: Mutex<Option<ProducerId>>,
    /// A permit for each byte.
    memory: Semaphore,
    wake: Notify,
    /// Takes no more records.
    closed: AtomicBool,
    /// Nobody is there any more to send what waits.
    abandoned: AtomicBool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.abandoned.store(true, Ordering::Release);
        self.sender.abort();
        let waiting = self.shared.accumulator().drain();
        waiting.iter().for_each(|batch| self.shared.settle(batch, Err(Error::Closed)));
    }
}

impl Producer {
    /// A producer with connections of its own.
    ///
    /// # Errors
    /// As [`Client::connect`] and [`Producer::new`].
    pub async fn connect(client: ClientOptions, options: ProducerOptions) -> Result<Self, Error> {
        Self::new(Client::connect(client).await?, options)
    }

    /// A producer on this client's connections.
    ///
    /// # Errors
    /// `Invalid` if the settings contradict each other.
    pub fn new(client: Client, options: ProducerOptions) -> Result<Self, Error> {
        if options.max_record_bytes > options.buffer_bytes {
            return Err(Error::Invalid(format!(
                "a record of max_record_bytes ({}) does not fit into buffer_bytes ({})",
                options.max_record_bytes, options.buffer_bytes
            )));
        }
        let limits = Limits {
            linger: Duration::from_millis(options.linger_ms),
            batch_bytes: options.batch_bytes,
            max_request_bytes: options.max_request_bytes,
            max_in_flight_requests: options.max_in_flight_requests.max(1),
            delivery_timeout: Duration::from_millis(options.delivery_timeout_ms),
        };
        let shared = Arc::new(Shared {
            accumulator: Mutex::new(Accumulator::new(limits)),
            sticky: Mutex::default(),
            producer_id: Mutex::default(),
            memory: Semaphore::new(options.buffer_bytes.min(Semaphore::MAX_PERMITS)),
            wake: Notify::new(),
            closed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            client,
            options,
        });
        let sender = tokio::spawn(sender::run(shared.clone())).abort_handle();
        Ok(Self { handle: Arc::new(Handle { shared, sender }) })
    }

    /// Sends a record and waits until it is delivered.
    ///
    /// # Errors
    /// As [`Producer::enqueue`] and [`Receipt::wait`].
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, Error> {
        self.enqueue(record).await?.wait().await
    }

    /// Hands a record over, as soon as there is memory for it. The order of calls is the order within a partition. Dropping
    /// the future before it is done sends nothing.
    ///
    /// # Errors
    /// `Batch` with `TooLarge` for a record over `max_record_bytes`; `Refused` if the topic or partition cannot be found;
    /// `Closed`.
    pub async fn enqueue(&self, record: ProducerRecord) -> Result<Receipt, Error> {
        let shared = &self.handle.shared;
        let bytes = record.size_bytes();
        if bytes > shared.options.max_record_bytes {
            return Err(BatchError::TooLarge { limit: shared.options.max_record_bytes }.into());
        }
        let permits = u32::try_from(bytes).map_err(|_| BatchError::TooLarge { limit: 0x7fff_ffff })?;
        let partition = self.partition_of(&record, bytes).await?;
        let memory = shared.memory.acquire_many(permits).await.map_err(|_| Error::Closed)?;
        if shared.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let timestamp_ms = record.timestamp_ms.unwrap_or_else(now_ms);
        let (receipt, look) =
            shared.accumulator().push(Instant::now(), &record, partition, timestamp_ms, bytes)?;
        // Freed when the batch is settled.
        memory.forget();
        if look {
            shared.wake.notify_one();
        }
        Ok(receipt)
    }

    /// Waits until everything that was enqueued before is delivered or has failed; nothing lingers meanwhile.
    pub async fn flush(&self) {
        let outcomes = self.handle.shared.accumulator().flush();
        self.handle.shared.wake.notify_one();
        for outcome in outcomes {
            outcome.wait().await;
        }
    }

    /// Delivers what was enqueued, and takes nothing more.
    pub async fn close(self) {
        self.handle.shared.closed.store(true, Ordering::Release);
        self.flush().await;
    }

    /// The client whose connections it uses.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.handle.shared.client
    }

    async fn partition_of(&self, record: &ProducerRecord, bytes: usize) -> Result<i32, Error> {
        let shared = &self.handle.shared;
        let metadata = match shared.client.topic(&record.topic).await {
            // A topic that is being created is there a moment later.
            Err(error) if error.is_retriable() => {
                shared.client.retry(|| shared.client.topic(&record.topic)).await?
            }
            known => known?,
        };
        let partitions = metadata.topic(&record.topic)?.partition_count();
        if let Some(partition) = record.partition {
            metadata.partition(&record.topic, partition)?;
            return Ok(partition);
        }
        if partitions == 0 {
            return Err(Error::Invalid(format!("topic {} has no partitions yet", record.topic)));
        }
        Ok(match &record.key {
            Some(key) => partitioner::for_key(key, partitions),
            None => {
                let mut sticky = shared.sticky.lock().unwrap_or_else(PoisonError::into_inner);
                sticky.next(&record.topic, partitions, bytes, shared.options.batch_bytes, rand::random)
            }
        })
    }
}

impl Shared {
    fn accumulator(&self) -> MutexGuard<'_, Accumulator> {
        self.accumulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn producer_id(&self) -> MutexGuard<'_, Option<ProducerId>> {
        self.producer_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wall clock, in milliseconds since the Unix epoch.
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
