//! Appending to one partition within a transaction of the caller.
//!
//! What it is: an [`Appender`] takes any number of batches, of requests or from the outbox, and writes them, what
//! their producers' rows become, and the state row. The caller commits, and only then is anything of it so.
//!
//! What it refuses to do: it never looks into a batch and never commits. A batch that does not follow its producer's
//! last one leaves no trace, and the others go on.
//!
//! What always holds: offsets have no gaps; what the transaction writes, it writes under the fence of
//! [`Ownership::load_state`]; `append_version` and the overall maximum timestamp never fall along the log.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_format::{
    LogKey, LogValue, Offset, OrderVersion, OwnerEpoch, PartitionId, PartitionState, ProducerBatch,
    ProducerId, ProducerKey, ProducerValue,
};
use tidegate_protocol::batch;
use tidegate_store::Txn;

use crate::sequence::{self, Relation};
use crate::{AdmittedBatch, AppendError, LogError, Ownership, SequenceRange, stretch};

/// The offset of what has none yet, because some of it is held until it is due: Kafka's "not known".
pub const UNKNOWN_OFFSET: Offset = Offset(-1);

/// Kafka's default of `producer.id.expiration.ms`: a day.
const PRODUCER_ID_EXPIRATION_MS: i64 = 86_400_000;

/// What became of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record, or [`UNKNOWN_OFFSET`].
    pub base_offset: Offset,
    /// The broker's time that its records carry, on topics that say so, in milliseconds since the Unix epoch.
    pub log_append_time_ms: Option<i64>,
    /// It had been taken before and was not taken again; the answer is that of the first time.
    pub repeated: bool,
}

/// One batch as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// A version of the transaction that appended it.
    pub append_version: OrderVersion,
    /// The batch, ready to send.
    pub batch: Bytes,
}

/// What a transaction has appended, true once it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "readers are told of it after the commit"]
pub struct Appends {
    /// The partition.
    pub id: PartitionId,
    /// The epoch in which it was done.
    pub epoch: OwnerEpoch,
    /// The state of the partition after it.
    pub state: PartitionState,
    /// The batches, in order.
    pub entries: Vec<LogEntry>,
}

/// Appends to one partition within one transaction.
#[derive(Debug)]
pub struct Appender {
    ownership: Ownership,
    state: PartitionState,
    append_version: OrderVersion,
    producer_id_expiration_ms: i64,
    producers: BTreeMap<ProducerId, Producer>,
    entries: Vec<LogEntry>,
}

/// A producer's row, as it was read or as it will be written.
#[derive(Debug)]
struct Producer {
    value: Option<ProducerValue>,
    changed: bool,
}

impl Appender {
    /// Begins to append; the transaction's first step.
    ///
    /// # Errors
    /// [`LogError::Fenced`] if the partition has another owner by now.
    pub async fn begin(txn: &mut impl Txn, ownership: &Ownership) -> Result<Self, LogError> {
        let state = ownership.load_state(txn).await?;
        Ok(Self {
            ownership: *ownership,
            state,
            append_version: OrderVersion(txn.start_version().0),
            producer_id_expiration_ms: PRODUCER_ID_EXPIRATION_MS,
            producers: BTreeMap::new(),
            entries: Vec::new(),
        })
    }

    /// Sets `producer.id.expiration.ms`: after so long without a batch a producer counts as new.
    #[must_use]
    pub fn with_producer_id_expiration_ms(mut self, expiration_ms: i64) -> Self {
        self.producer_id_expiration_ms = expiration_ms;
        self
    }

    /// The partition that is appended to.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.ownership.id
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.state.next_offset
    }

    /// Whether nothing was appended or recorded: then there is nothing to commit, unless the caller wrote something.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.entries.is_empty() && !self.producers.values().any(|producer| producer.changed)
    }

    /// Whether anything is known of a batch's producer at `now_ms`; if not, any sequence number may be its first.
    ///
    /// # Errors
    /// If the store fails or the row does not decode.
    pub async fn knows(
        &mut self,
        txn: &mut impl Txn,
        range: &SequenceRange,
        now_ms: i64,
    ) -> Result<bool, LogError> {
        Ok(self.known(txn, range.producer, now_ms).await?.is_some())
    }

    /// Appends one batch, or finds that it was appended before.
    ///
    /// # Errors
    /// [`AppendError::Sequence`] leaves the transaction as it was; [`AppendError::Log`] ends it.
    pub async fn append(
        &mut self,
        txn: &mut impl Txn,
        batch: &AdmittedBatch,
    ) -> Result<Appended, AppendError> {
        let range = SequenceRange::of(&batch.header);
        if let Some(range) = &range
            && let Some(repeated) = self.find_repeat(txn, range, batch).await?
        {
            return Ok(repeated);
        }
        let base_offset = self.put_batch(txn, batch);
        if let Some(range) = &range {
            self.record(range, base_offset, batch.admitted_at_ms);
        }
        Ok(Appended { base_offset, log_append_time_ms: batch.log_append_time_ms(), repeated: false })
    }

    /// Takes a batch of which some or all records are held until they are due: records the whole batch's sequence
    /// range and appends `rest`, what is left of it without producer fields. If the answer says repeated, neither was
    /// done, and the caller must not hold the records a second time.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn append_held(
        &mut self,
        txn: &mut impl Txn,
        whole: &AdmittedBatch,
        rest: Option<&AdmittedBatch>,
    ) -> Result<Appended, AppendError> {
        let range = SequenceRange::of(&whole.header);
        if let Some(range) = &range
            && let Some(repeated) = self.find_repeat(txn, range, whole).await?
        {
            return Ok(repeated);
        }
        if let Some(rest) = rest {
            assert!(!rest.header.has_producer_id(), "what is left of a batch has no sequence of its own");
            self.put_batch(txn, rest);
        }
        if let Some(range) = &range {
            self.record(range, UNKNOWN_OFFSET, whole.admitted_at_ms);
        }
        Ok(Appended { base_offset: UNKNOWN_OFFSET, log_append_time_ms: None, repeated: false })
    }

    /// Writes the producers' rows and the state row; the transaction's last step before its commit.
    pub fn finish(self, txn: &mut impl Txn) -> Appends {
        let id = self.ownership.id;
        for (producer, Producer { value, changed }) in self.producers {
            if let (Some(value), true) = (value, changed) {
                txn.put(ProducerKey { id, producer }.encode(), value.encode());
            }
        }
        self.ownership.put_state(txn, self.state.clone());
        Appends { id, epoch: self.ownership.epoch, state: self.state, entries: self.entries }
    }

    /// The first answer to a batch that was taken before.
    async fn find_repeat(
        &mut self,
        txn: &mut impl Txn,
        range: &SequenceRange,
        batch: &AdmittedBatch,
    ) -> Result<Option<Appended>, AppendError> {
        let known = self.known(txn, range.producer, batch.admitted_at_ms).await?;
        match sequence::judge(known, range)? {
            Relation::Next => Ok(None),
            Relation::Repeat(first) => Ok(Some(Appended {
                base_offset: first.base_offset,
                log_append_time_ms: batch.log_append_time_ms().map(|_| first.append_time_ms),
                repeated: true,
            })),
        }
    }

    /// What is known of a producer that has not been silent for too long.
    async fn known(
        &mut self,
        txn: &mut impl Txn,
        producer: ProducerId,
        now_ms: i64,
    ) -> Result<Option<&ProducerValue>, LogError> {
        if !self.producers.contains_key(&producer) {
            self.load_producer(txn, producer).await?;
        }
        let known = self.producers.get(&producer).and_then(|producer| producer.value.as_ref());
        Ok(known.filter(|known| !self.has_expired(known, now_ms)))
    }

    async fn load_producer(&mut self, txn: &mut impl Txn, producer: ProducerId) -> Result<(), LogError> {
        let id = self.ownership.id;
        let row = txn.get(&ProducerKey { id, producer }.encode()).await?;
        let value = row.map(ProducerValue::decode).transpose().map_err(LogError::row(id))?;
        self.producers.insert(producer, Producer { value, changed: false });
        Ok(())
    }

    fn has_expired(&self, known: &ProducerValue, now_ms: i64) -> bool {
        sequence::has_expired(known, now_ms, self.producer_id_expiration_ms)
    }

    fn record(&mut self, range: &SequenceRange, base_offset: Offset, append_time_ms: i64) {
        let known = self.producers.remove(&range.producer).and_then(|producer| producer.value);
        let known = known.filter(|known| !self.has_expired(known, append_time_ms));
        let batch = ProducerBatch {
            first_sequence: range.first,
            last_sequence: range.last,
            base_offset,
            append_time_ms,
        };
        let value = Some(sequence::record(known, range, batch, self.append_version));
        self.producers.insert(range.producer, Producer { value, changed: true });
    }

    /// Writes one batch at the end of the log. This is the only copy of its bytes on their way into the store.
    fn put_batch(&mut self, txn: &mut impl Txn, batch: &AdmittedBatch) -> Offset {
        let base_offset = self.state.next_offset;
        let last_offset = base_offset.plus(i64::from(batch.header.last_offset_delta));
        let latest_ms = batch.header.latest_timestamp();
        self.state.maxima = stretch::extend(&self.state.maxima, base_offset, last_offset, latest_ms);
        self.state.next_offset = last_offset.plus(1);
        self.state.log_bytes += batch.bytes.len() as u64;
        self.state.appended_bytes += batch.bytes.len() as u64;
        let value = LogValue {
            append_version: self.append_version,
            maxima: self.state.maxima.clone(),
            end_bytes: self.state.appended_bytes,
            batch: batch.bytes.clone(),
        };
        let value = value.encode();
        let batch_start = value.len() - batch.bytes.len();
        let value = place(value, batch_start, base_offset, self.ownership.epoch);
        let entry = LogEntry {
            base_offset,
            last_offset,
            append_version: self.append_version,
            batch: value.slice(batch_start..),
        };
        txn.growing();
        txn.put(LogKey { id: self.ownership.id, last_offset }.encode(), value);
        self.entries.push(entry);
        base_offset
    }
}

/// Gives the batch in a fresh log value its offset and epoch, in place.
fn place(value: Bytes, batch_start: usize, base_offset: Offset, epoch: OwnerEpoch) -> Bytes {
    let mut value = value.try_into_mut().expect("nobody else holds a value that was just encoded");
    let batch = &mut value[batch_start..];
    let prefix = batch::patched_prefix(batch, base_offset.0, epoch.0);
    batch[..batch::PREFIX_LEN].copy_from_slice(&prefix);
    value.freeze()
}
