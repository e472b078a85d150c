//! Hints: a publisher that writes to the store of brokers itself tells them which partitions have something new.
//!
//! What always holds: nobody waits for a hint; for each broker at most one is unanswered, and what comes meanwhile goes
//! into the next, each partition once; a hint that is lost delays its events until their partition's next sweep, loses none,
//! and is counted.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::counter;
use tidegate_format::PartitionId;
use tidegate_model::Wakeup;
use tidegate_protocol::extension::Done;
use tidegate_protocol::extension::hint::{Hint, HintedPartition};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::net::pool::{Pool, Purpose};
use crate::{ClientOptions, Error};

/// How long a hint waits for more to go with it (`hint.linger.ms`).
const LINGER: Duration = Duration::from_millis(2);
/// Partitions of one hint, at most; more go into the next.
const PARTITIONS_MAX: usize = 10_000;
/// How long [`Hints::flush`] waits.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// Which connection to a broker it has.
const CONNECTION: usize = 0;
/// Hints that were answered, and that were not, as the `metrics` crate counts them.
const HINTS: &str = "tidegate_client_hints_total";

/// What became of the hints so far, over all brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HintFigures {
    /// Hints that a broker has answered.
    pub acknowledged: u64,
    /// Hints that were lost or refused: their events wait for a sweep.
    pub unacknowledged: u64,
}

/// Tells brokers of partitions.
#[derive(Debug)]
pub(crate) struct Hints {
    brokers: Vec<ToBroker>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    acknowledged: AtomicU64,
    unacknowledged: AtomicU64,
}

#[derive(Debug)]
struct ToBroker {
    waiting: Arc<Waiting>,
    task: AbortHandle,
}

/// What a broker has not been told yet.
#[derive(Debug)]
struct Waiting {
    partitions: Mutex<BTreeSet<HintedPartition>>,
    added: Notify,
    /// Whether every hint was answered or given up.
    settled: watch::Sender<bool>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { partitions: Mutex::default(), added: Notify::new(), settled: watch::Sender::new(true) }
    }
}

impl Drop for ToBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hints {
    /// To each of the brokers of these options.
    pub(crate) fn to(options: &ClientOptions) -> Self {
        let counters = Arc::<Counters>::default();
        let pool = Arc::new(Pool::new(Arc::new(options.clone())));
        let to_broker = |address: &String| {
            let waiting = Arc::<Waiting>::default();
            let sending = send_hints(address.clone(), pool.clone(), waiting.clone(), counters.clone());
            ToBroker { waiting, task: tokio::spawn(sending).abort_handle() }
        };
        Self { brokers: options.bootstrap.iter().map(to_broker).collect(), counters }
    }

    /// Waits until the brokers were told of all that was committed before, for a while at most.
    pub(crate) async fn flush(&self) {
        for broker in &self.brokers {
            let mut settled = broker.waiting.settled.subscribe();
            // What was not told by then is found by a sweep.
            let _late = timeout(FLUSH_MAX, settled.wait_for(|settled| *settled)).await;
        }
    }

    pub(crate) fn figures(&self) -> HintFigures {
        HintFigures {
            acknowledged: self.counters.acknowledged.load(Ordering::Relaxed),
            unacknowledged: self.counters.unacknowledged.load(Ordering::Relaxed),
        }
    }
}

impl Wakeup for Hints {
    fn committed(&self, partitions: &[PartitionId]) {
        for broker in &self.brokers {
            broker.waiting.add(partitions);
        }
    }
}

impl Waiting {
    fn add(&self, partitions: &[PartitionId]) {
        let hinted = partitions
            .iter()
            .map(|id| HintedPartition { topic: id.topic.0.as_u128(), partition: id.partition.0 });
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.extend(hinted);
        self.settled.send_replace(partitions.is_empty());
        self.added.notify_one();
    }

    /// A hint was answered or given up.
    fn answered(&self) {
        let partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        self.settled.send_replace(partitions.is_empty());
    }

    fn take(&self) -> Vec<HintedPartition> {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<_> = partitions.iter().take(PARTITIONS_MAX).copied().collect();
        for hinted in &taken {
            partitions.remove(hinted);
        }
        if !partitions.is_empty() {
            self.added.notify_one();
        }
        taken
    }
}

/// Sends one hint after the other.
async fn send_hints(address: String, pool: Arc<Pool>, waiting: Arc<Waiting>, counters: Arc<Counters>) {
    loop {
        waiting.added.notified().await;
        sleep(LINGER).await;
        let partitions = waiting.take();
        if partitions.is_empty() {
            continue;
        }
        match send_hint(&address, &pool, &Hint { partitions }).await {
            Ok(()) => {
                counters.acknowledged.fetch_add(1, Ordering::Relaxed);
                counter!(HINTS, "result" => "acknowledged").increment(1);
            }
            Err(error) => {
                counters.unacknowledged.fetch_add(1, Ordering::Relaxed);
                counter!(HINTS, "result" => "unacknowledged").increment(1);
                tracing::warn!(broker = address, %error, "a hint was not acknowledged: its events wait for a sweep");
            }
        }
        waiting.answered();
    }
}

async fn send_hint(address: &str, pool: &Pool, hint: &Hint) -> Result<(), Error> {
    let connection = pool.get(address, Purpose::Store(CONNECTION)).await?;
    let version = connection.extension().await?.welcome.version;
    let mut reply = connection.start_extension(version, hint, connection.request_timeout()).await?;
    match reply.wait().await?.outcome {
        Ok(Done) => Ok(()),
        Err(failure) => Err(Error::Invalid(crate::remote::describe(failure))),
    }
}
