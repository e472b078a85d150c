//! The records that wait to be sent: which batch each joins, and which batches may leave when.
//!
//! Pure: time is an argument, and what is to be done is returned. What always holds: at most one batch of a partition is
//! under way, and batches of a partition leave, and leave again after a failure, in the order in which their first records
//! came.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::{Batch, Outcome, Receipt};
use super::record::ProducerRecord;
use super::sequence::{ProducerId, Sequence};
use crate::Error;

/// The parts of the producer's settings that decide when batches leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) linger: Duration,
    pub(crate) batch_bytes: usize,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_in_flight_requests: usize,
    pub(crate) delivery_timeout: Duration,
}

#[derive(Debug)]
pub(crate) struct Accumulator {
    limits: Limits,
    topics: BTreeMap<String, BTreeMap<i32, Queue>>,
    /// Requests under way, by broker.
    requests: HashMap<i32, usize>,
}

/// One partition's batches.
#[derive(Debug, Default)]
struct Queue {
    /// Takes records.
    open: Option<Batch>,
    /// Wait to be sent, in order.
    full: VecDeque<Batch>,
    under_way: Option<Arc<Outcome>>,
    /// Not before then.
    not_before: Option<Instant>,
    sequence: Sequence,
}

/// A batch that leaves.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) batch: Batch,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Requests to be sent, each to one broker.
    pub(crate) requests: Vec<(i32, Vec<Sending>)>,
    /// Topics of which it is not known who leads a partition that has something to send.
    pub(crate) unroutable: BTreeSet<String>,
    /// Batches whose time is over.
    pub(crate) expired: Vec<Batch>,
    /// When to look again, unless something happens before.
    pub(crate) next: Option<Instant>,
    /// A partition has no epochs left: a new producer id is needed.
    pub(crate) exhausted: bool,
}

/// How a batch that was under way comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comeback {
    /// To be sent again, not before then.
    Retry { not_before: Instant },
    /// To be sent again under the next epoch, not before then.
    RetryNextEpoch { not_before: Instant },
    /// Not to be sent again.
    Refused,
}

impl Accumulator {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, topics: BTreeMap::new(), requests: HashMap::new() }
    }

    /// Puts a record, counted with `bytes`, into its partition's batch. The flag says whether the sender should look.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        record: &ProducerRecord,
        partition: i32,
        timestamp_ms: i64,
        bytes: usize,
    ) -> Result<(Receipt, bool), Error> {
        if !self.topics.contains_key(&record.topic) {
            self.topics.insert(record.topic.clone(), BTreeMap::new());
        }
        let partitions = self.topics.get_mut(&record.topic).expect("it is there");
        let queue = partitions.entry(partition).or_default();
        let full = queue.open.take_if(|open| open.bytes + bytes > self.limits.batch_bytes);
        let closed = full.is_some();
        queue.full.extend(full);
        let opened = queue.open.is_none();
        let open = queue.open.get_or_insert_with(|| Batch::new(now));
        let receipt = open.push(record, partition, timestamp_ms, bytes)?;
        let look = queue.under_way.is_none() && (opened || closed);
        Ok((receipt, look))
    }

    /// Whether any batch waits to be sent.
    pub(crate) fn has_waiting(&self) -> bool {
        self.topics
            .values()
            .flat_map(BTreeMap::values)
            .any(|queue| queue.open.is_some() || !queue.full.is_empty())
    }

    /// Takes out what may leave now. `producer` numbers the batches of an idempotent producer; `leader` says who leads a
    /// partition; one without a leader is looked at again after `unroutable_wait`.
    pub(crate) fn take_ready(
        &mut self,
        now: Instant,
        producer: Option<ProducerId>,
        unroutable_wait: Duration,
        leader: impl Fn(&str, i32) -> Option<i32>,
    ) -> Ready {
        let mut ready = Ready::default();
        let mut open_requests: BTreeMap<i32, (usize, Vec<Sending>)> = BTreeMap::new();
        for (topic, partitions) in &mut self.topics {
            for (partition, queue) in partitions {
                ready.exhausted |= queue.expire(now, self.limits.delivery_timeout, &mut ready.expired);
                if !queue.is_due(now, self.limits.linger, &mut ready.next) {
                    continue;
                }
                let Some(leader) = leader(topic, *partition) else {
                    ready.unroutable.insert(topic.clone());
                    queue.not_before = Some(now + unroutable_wait);
                    sooner(&mut ready.next, now + unroutable_wait);
                    continue;
                };
                let size = queue.full.front().map_or(0, |batch| batch.bytes);
                let under_way = self.requests.entry(leader).or_default();
                if let Some((bytes, _)) = open_requests.get(&leader)
                    && bytes + size > self.limits.max_request_bytes
                {
                    let (_, full) = open_requests.remove(&leader).expect("it is there");
                    ready.requests.push((leader, full));
                }
                if !open_requests.contains_key(&leader) {
                    if *under_way >= self.limits.max_in_flight_requests {
                        // Looked at again when a request to this broker is over.
                        continue;
                    }
                    *under_way += 1;
                }
                let (bytes, request) = open_requests.entry(leader).or_default();
                *bytes += size;
                request.push(queue.send_first(topic, *partition, producer));
            }
        }
        ready.requests.extend(open_requests.into_iter().map(|(leader, (_, request))| (leader, request)));
        ready
    }

    /// A request to this broker is over.
    pub(crate) fn request_over(&mut self, leader: i32) {
        if let Some(under_way) = self.requests.get_mut(&leader) {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// The batch of this partition that was under way is in the log.
    pub(crate) fn delivered(&mut self, topic: &str, partition: i32) {
        if let Some(queue) = self.queue(topic, partition) {
            queue.under_way = None;
        }
    }

    /// The batch was not delivered. Returns it if it is not to be sent again, and whether a new producer id is needed.
    pub(crate) fn came_back(&mut self, sending: Sending, how: Comeback) -> (Option<Batch>, bool) {
        let Sending { topic, partition, mut batch } = sending;
        let Some(queue) = self.queue(&topic, partition) else { return (Some(batch), false) };
        queue.under_way = None;
        batch.failures += 1;
        let mut exhausted = false;
        match how {
            Comeback::Retry { not_before } => queue.not_before = Some(not_before),
            Comeback::RetryNextEpoch { not_before } => {
                queue.not_before = Some(not_before);
                exhausted = !queue.sequence.next_epoch();
                batch.numbered = None;
            }
            Comeback::Refused => {
                exhausted = queue.settle_numbers(&batch);
                return (Some(batch), exhausted);
            }
        }
        queue.full.push_front(batch);
        (None, exhausted)
    }

    /// Closes every batch that still takes records, so that all leave now; returns the outcomes that are to come.
    pub(crate) fn flush(&mut self) -> Vec<Arc<Outcome>> {
        let mut outcomes = Vec::new();
        for queue in self.topics.values_mut().flat_map(BTreeMap::values_mut) {
            queue.full.extend(queue.open.take());
            outcomes.extend(queue.under_way.clone());
            outcomes.extend(queue.full.iter().map(|batch| batch.outcome.clone()));
        }
        outcomes
    }

    /// Takes out every batch that is not under way.
    pub(crate) fn drain(&mut self) -> Vec<Batch> {
        let queues = self.topics.values_mut().flat_map(BTreeMap::values_mut);
        queues.flat_map(|queue| queue.full.drain(..).chain(queue.open.take()).collect::<Vec<_>>()).collect()
    }

    fn queue(&mut self, topic: &str, partition: i32) -> Option<&mut Queue> {
        self.topics.get_mut(topic)?.get_mut(&partition)
    }
}

impl Queue {
    /// Takes out the batches whose time is over. Says whether a new producer id is needed.
    fn expire(&mut self, now: Instant, timeout: Duration, expired: &mut Vec<Batch>) -> bool {
        let over = |batch: &Batch| now.duration_since(batch.created) >= timeout;
        let mut exhausted = false;
        while self.full.front().is_some_and(over) {
            let batch = self.full.pop_front().expect("it is there");
            exhausted |= self.settle_numbers(&batch);
            expired.push(batch);
        }
        if self.full.is_empty() {
            expired.extend(self.open.take_if(|open| over(open)));
        }
        exhausted
    }

    /// The numbers of a batch that will not be sent again: free, or, if an attempt may have used them, left behind. Says
    /// whether a new producer id is needed.
    fn settle_numbers(&mut self, batch: &Batch) -> bool {
        let Some(numbered) = batch.numbered else { return false };
        if batch.uncertain {
            return !self.sequence.next_epoch();
        }
        self.sequence.give_back(numbered);
        false
    }

    /// Whether the first batch may leave now; if it will later, `next` is no later than that.
    fn is_due(&mut self, now: Instant, linger: Duration, next: &mut Option<Instant>) -> bool {
        if self.under_way.is_some() || (self.full.is_empty() && self.open.is_none()) {
            return false;
        }
        if let Some(not_before) = self.not_before.filter(|not_before| *not_before > now) {
            sooner(next, not_before);
            return false;
        }
        if self.full.is_empty() {
            let lingers_until = self.open.as_ref().map_or(now, |open| open.created + linger);
            if lingers_until > now {
                sooner(next, lingers_until);
                return false;
            }
            self.full.extend(self.open.take());
        }
        true
    }

    fn send_first(&mut self, topic: &str, partition: i32, producer: Option<ProducerId>) -> Sending {
        let mut batch = self.full.pop_front().expect("it is due");
        if let Some(producer) = producer
            && batch.numbered.is_none()
        {
            batch.numbered = Some(self.sequence.take(producer, batch.record_count()));
        }
        self.under_way = Some(batch.outcome.clone());
        self.not_before = None;
        Sending { topic: topic.to_owned(), partition, batch }
    }
}

fn sooner(next: &mut Option<Instant>, when: Instant) {
    *next = Some(next.map_or(when, |next| next.min(when)));
}
