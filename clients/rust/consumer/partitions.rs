//! The partitions that a consumer reads: where each is, what is fetched ahead, and what to fetch next.
//!
//! Pure: time is an argument, and what is to be done is returned.
//!
//! Three offsets of a partition matter, each at most the one before: what is *fetched* is ahead of what was *handed out*,
//! and that of what was *dealt with*, which is what may be committed. What always holds: an answer to a fetch counts only if
//! the partition is still where it was when the fetch was sent (its epoch says so), so after a seek or a rebalance nothing of
//! before is handed out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidegate_protocol::batch::{BatchHeader, split_fetched};
use tokio::time::Instant;

use crate::{Error, OffsetSpec, TopicPartition};

/// Where reading a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the record at this offset.
    Offset(i64),
    /// With the first record that is there.
    Earliest,
    /// With the next record that comes.
    Latest,
    /// With the first record with this timestamp or a later one, in milliseconds since the Unix epoch; with the next that
    /// comes if there is none.
    AtTimestamp(i64),
}

/// How far one partition is; shared with whoever hands out its records, without a lock.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The next offset to hand out.
    handed_out: AtomicI64,
    /// The offset after the last record that was dealt with.
    dealt_with: AtomicI64,
    /// Whether the partition is still read from where this came from.
    live: AtomicBool,
}

impl Progress {
    fn at(offset: i64) -> Arc<Self> {
        let at = || AtomicI64::new(offset);
        Arc::new(Self { handed_out: at(), dealt_with: at(), live: AtomicBool::new(true) })
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    pub(crate) fn hand_out(&self, next_offset: i64) {
        self.handed_out.store(next_offset, Ordering::Release);
    }

    pub(crate) fn deal_with(&self, next_offset: i64) {
        self.dealt_with.store(next_offset, Ordering::Release);
    }

    fn end(&self) {
        self.live.store(false, Ordering::Release);
    }
}

/// A fetched batch that waits to be handed out.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) partition: TopicPartition,
    pub(crate) topic: Arc<str>,
    pub(crate) batch: Bytes,
    /// Records before this are not asked for.
    pub(crate) from: i64,
    pub(crate) progress: Arc<Progress>,
    epoch: u64,
}

#[derive(Debug)]
struct Assigned {
    topic: Arc<str>,
    place: Place,
    progress: Arc<Progress>,
    /// Counts the places that were sought.
    epoch: u64,
    paused: bool,
    under_way: bool,
    not_before: Option<Instant>,
    buffered: usize,
    committed: Option<i64>,
    high_watermark: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The next offset to fetch.
    At(i64),
    /// To be looked up.
    Wanted(OffsetSpec),
}

/// The limits on what is fetched ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Partitions {
    ahead: Ahead,
    assigned: BTreeMap<TopicPartition, Assigned>,
    queue: VecDeque<Chunk>,
    next_epoch: u64,
}

/// One partition's part of a fetch or look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish<T> {
    pub(crate) partition: TopicPartition,
    pub(crate) epoch: u64,
    pub(crate) what: T,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Fetches, one for each broker, and whether it leaves out partitions because enough of them is fetched ahead.
    pub(crate) fetches: BTreeMap<i32, (Vec<Wish<i64>>, bool)>,
    /// Places to look up.
    pub(crate) lookups: Vec<Wish<OffsetSpec>>,
    /// Whether it is not known who leads a partition.
    pub(crate) unroutable: bool,
    /// When to look again, unless something happens before.
    pub(crate) next: Option<Instant>,
}

impl Partitions {
    pub(crate) fn new(ahead: Ahead) -> Self {
        Self { ahead, assigned: BTreeMap::new(), queue: VecDeque::new(), next_epoch: 0 }
    }

    /// Reads this partition too, or from another place.
    pub(crate) fn assign(&mut self, partition: TopicPartition, start: Start, committed: Option<i64>) {
        let topic = Arc::from(partition.topic.as_str());
        self.next_epoch += 1;
        let (place, progress) = begin(start);
        let assigned = Assigned {
            topic,
            place,
            progress,
            epoch: self.next_epoch,
            paused: false,
            under_way: false,
            not_before: None,
            buffered: 0,
            committed,
            high_watermark: None,
        };
        if let Some(before) = self.assigned.insert(partition, assigned) {
            before.progress.end();
        }
        self.drop_stale();
    }

    /// Reads this partition no longer.
    pub(crate) fn unassign(&mut self, partition: &TopicPartition) {
        if let Some(assigned) = self.assigned.remove(partition) {
            assigned.progress.end();
            self.drop_stale();
        }
    }

    /// The partitions that are read.
    pub(crate) fn assignment(&self) -> Vec<TopicPartition> {
        self.assigned.keys().cloned().collect()
    }

    /// Goes on from another place. Says whether the partition is read at all.
    pub(crate) fn seek(&mut self, partition: &TopicPartition, start: Start) -> bool {
        let (place, progress) = begin(start);
        self.go_on(partition, place, progress)
    }

    /// Drops what was fetched, to fetch it again from the next offset to hand out on. What was dealt with stays as it was. Gives
    /// the progress before and from now on; none if that offset is not known.
    pub(crate) fn fetch_again(
        &mut self,
        partition: &TopicPartition,
    ) -> Option<(Arc<Progress>, Arc<Progress>)> {
        let offset = self.position(partition)?;
        let before = self.assigned.get(partition)?.progress.clone();
        let after = Progress::at(offset);
        after.deal_with(before.dealt_with.load(Ordering::Acquire));
        self.go_on(partition, Place::At(offset), after.clone()).then_some((before, after))
    }

    fn go_on(&mut self, partition: &TopicPartition, place: Place, progress: Arc<Progress>) -> bool {
        self.next_epoch += 1;
        let epoch = self.next_epoch;
        let Some(assigned) = self.assigned.get_mut(partition) else { return false };
        assigned.progress.end();
        (assigned.place, assigned.progress) = (place, progress);
        assigned.epoch = epoch;
        assigned.under_way = false;
        assigned.not_before = None;
        self.drop_stale();
        true
    }

    /// Stops handing out and fetching, or goes on. Says whether the partition is read at all.
    pub(crate) fn pause(&mut self, partition: &TopicPartition, paused: bool) -> bool {
        self.assigned.get_mut(partition).map(|assigned| assigned.paused = paused).is_some()
    }

    /// The next offset to hand out; none if it is being looked up.
    pub(crate) fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let offset = self.assigned.get(partition)?.progress.handed_out.load(Ordering::Acquire);
        Some(offset).filter(|offset| *offset >= 0)
    }

    /// The offset after the last record of the partition, as the last fetch saw it.
    pub(crate) fn high_watermark(&self, partition: &TopicPartition) -> Option<i64> {
        self.assigned.get(partition)?.high_watermark
    }

    /// Takes what was handed out as dealt with.
    pub(crate) fn deal_with_all(&mut self) {
        for assigned in self.assigned.values() {
            assigned.progress.deal_with(assigned.progress.handed_out.load(Ordering::Acquire));
        }
    }

    /// What is dealt with and not committed.
    pub(crate) fn to_commit(&self) -> BTreeMap<TopicPartition, i64> {
        let uncommitted = self.assigned.iter().filter_map(|(partition, assigned)| {
            let offset = assigned.progress.dealt_with.load(Ordering::Acquire);
            (offset >= 0 && assigned.committed != Some(offset)).then(|| (partition.clone(), offset))
        });
        uncommitted.collect()
    }

    pub(crate) fn committed(&mut self, partition: &TopicPartition, offset: i64) {
        if let Some(assigned) = self.assigned.get_mut(partition) {
            assigned.committed = Some(offset);
        }
    }

    /// What to fetch and to look up now, except from brokers that are `busy`. It counts as under way from here on.
    pub(crate) fn plan(
        &mut self,
        now: Instant,
        busy: impl Fn(i32) -> bool,
        leader: impl Fn(&str, i32) -> Option<i32>,
    ) -> Plan {
        let mut plan = Plan::default();
        let share = self.ahead.bytes / self.assigned.len().max(1);
        // What a paused partition has is handed out when it goes on: until then it holds up no other.
        let in_turn = self.assigned.values().filter(|assigned| !assigned.paused);
        let full = in_turn.map(|assigned| assigned.buffered).sum::<usize>() >= self.ahead.bytes;
        for (partition, assigned) in &mut self.assigned {
            if assigned.paused || assigned.under_way {
                continue;
            }
            if let Some(not_before) = assigned.not_before.filter(|not_before| *not_before > now) {
                plan.next = Some(plan.next.map_or(not_before, |next| next.min(not_before)));
                continue;
            }
            let offset = match assigned.place {
                Place::Wanted(spec) => {
                    plan.lookups.push(Wish {
                        partition: partition.clone(),
                        epoch: assigned.epoch,
                        what: spec,
                    });
                    assigned.under_way = true;
                    continue;
                }
                Place::At(offset) => offset,
            };
            let Some(leader) = leader(&partition.topic, partition.partition) else {
                plan.unroutable = true;
                continue;
            };
            if busy(leader) {
                continue;
            }
            let (wishes, leaves_out) = plan.fetches.entry(leader).or_default();
            if full || assigned.buffered > share {
                *leaves_out = true;
            } else {
                wishes.push(Wish { partition: partition.clone(), epoch: assigned.epoch, what: offset });
                assigned.under_way = true;
            }
        }
        plan.fetches.retain(|_, (wishes, _)| !wishes.is_empty());
        plan
    }

    /// Takes in what a fetch brought for one partition.
    ///
    /// # Errors
    /// `Batch` if that is not cut into batches by its lengths.
    pub(crate) fn fetched(
        &mut self,
        wish: &Wish<i64>,
        records: Bytes,
        high_watermark: i64,
    ) -> Result<(), Error> {
        let Some(assigned) = current(&mut self.assigned, &wish.partition, wish.epoch) else { return Ok(()) };
        assigned.under_way = false;
        assigned.high_watermark = Some(high_watermark).filter(|offset| *offset >= 0);
        for batch in split_fetched(records)? {
            let Place::At(from) = assigned.place else { return Ok(()) };
            let header = BatchHeader::decode(&batch)?;
            let next = header.last_offset().saturating_add(1);
            // A broker sends whole batches: the first one may begin before what was asked for, and even end there.
            if next <= from {
                continue;
            }
            assigned.place = Place::At(next);
            assigned.buffered += batch.len();
            self.queue.push_back(Chunk {
                partition: wish.partition.clone(),
                topic: assigned.topic.clone(),
                batch,
                from,
                progress: assigned.progress.clone(),
                epoch: wish.epoch,
            });
        }
        Ok(())
    }

    /// Takes in a place that was looked up.
    pub(crate) fn found(&mut self, wish: &Wish<OffsetSpec>, offset: i64) {
        if let Some(assigned) = current(&mut self.assigned, &wish.partition, wish.epoch) {
            assigned.under_way = false;
            assigned.place = Place::At(offset);
            assigned.progress.hand_out(offset);
            assigned.progress.deal_with(offset);
        }
    }

    /// A fetch or look-up failed for one partition: not again before then. Says whether that still matters.
    pub(crate) fn failed<T>(&mut self, wish: &Wish<T>, not_before: Instant) -> bool {
        let assigned = current(&mut self.assigned, &wish.partition, wish.epoch);
        assigned
            .map(|assigned| {
                assigned.under_way = false;
                assigned.not_before = Some(not_before);
            })
            .is_some()
    }

    /// What was asked for is not there: looks up another place, once what was fetched before is handed out; until then it
    /// is asked for again, not before `not_before`.
    pub(crate) fn look_up<T>(&mut self, wish: &Wish<T>, spec: OffsetSpec, not_before: Instant) {
        if let Some(assigned) = current(&mut self.assigned, &wish.partition, wish.epoch) {
            assigned.under_way = false;
            if assigned.buffered > 0 {
                assigned.not_before = Some(not_before);
            } else {
                assigned.place = Place::Wanted(spec);
            }
        }
    }

    /// The next batch to hand out.
    pub(crate) fn next_chunk(&mut self) -> Option<Chunk> {
        let is_paused =
            |chunk: &Chunk| self.assigned.get(&chunk.partition).is_some_and(|assigned| assigned.paused);
        let place = self.queue.iter().position(|chunk| !is_paused(chunk))?;
        let chunk = self.queue.remove(place)?;
        if let Some(assigned) = current(&mut self.assigned, &chunk.partition, chunk.epoch) {
            assigned.buffered -= chunk.batch.len();
        }
        Some(chunk)
    }

    fn drop_stale(&mut self) {
        self.queue.retain(|chunk| chunk.progress.is_live());
        for (partition, assigned) in &mut self.assigned {
            let mine = self.queue.iter().filter(|chunk| chunk.partition == *partition);
            assigned.buffered = mine.map(|chunk| chunk.batch.len()).sum();
        }
    }
}

/// The partition, if it is still where it was in this epoch.
fn current<'a>(
    assigned: &'a mut BTreeMap<TopicPartition, Assigned>,
    partition: &TopicPartition,
    epoch: u64,
) -> Option<&'a mut Assigned> {
    assigned.get_mut(partition).filter(|assigned| assigned.epoch == epoch)
}

fn begin(start: Start) -> (Place, Arc<Progress>) {
    /// Not known yet.
    const NOWHERE: i64 = -1;
    match start {
        Start::Offset(offset) => (Place::At(offset), Progress::at(offset)),
        Start::Earliest => (Place::Wanted(OffsetSpec::Earliest), Progress::at(NOWHERE)),
        Start::Latest => (Place::Wanted(OffsetSpec::Latest), Progress::at(NOWHERE)),
        Start::AtTimestamp(ms) => (Place::Wanted(OffsetSpec::AtTimestamp(ms)), Progress::at(NOWHERE)),
    }
}

/// How long a fetch waits at the broker if it leaves out partitions of which enough is fetched ahead: soon they may be needed.
pub(crate) const HURRIED_WAIT: Duration = Duration::from_millis(20);
