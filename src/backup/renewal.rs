//! What a restore changes, so that nothing that happened after the backup was taken is taken for something else.
//!
//! The store that the backup is of has gone on: it gave out producer ids, and its partitions changed owners and were
//! written in epochs that the backup does not know. Clients of then come back to the restored store. So
//! - every partition's epoch leaps: whoever read records that are not there any more finds by the epoch that the log was
//!   cut (KIP-320), and does not take other records at the same offsets for theirs. Partitions that nobody owned yet get
//!   a state row for the same reason;
//! - producer ids leap: none is handed out twice.
//!
//! Everything else is taken over byte by byte.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidegate_format::{
    BrokerId, Kind, Offset, OwnerEpoch, PartitionId, PartitionIndex, PartitionState, PartitionStateKey,
    ProducerId, ProducerIdBlockKey, ProducerIdBlockValue, TimestampMaxima, TopicId, TopicValue,
};

use crate::ContentError;
use crate::contents::{Place, kind_of, place_of};

/// By how much the epoch of each partition is raised: more owners than the store can have had since the backup.
pub const EPOCH_LEAP: i32 = 1 << 20;
/// By how much producer ids are raised: more than can have been handed out since.
pub const PRODUCER_ID_LEAP: i64 = 1 << 40;
/// Nobody owns a partition that was restored.
const NO_BROKER: BrokerId = BrokerId(-1);
/// No record has been appended yet.
const NO_TIMESTAMP_MS: i64 = -1;

/// The changes, for the entries of one backup in their order.
#[derive(Debug, Default)]
pub struct Renewal {
    /// Partitions of topics whose state row has not come yet.
    without_state: BTreeSet<PartitionId>,
    next_producer_id: i64,
}

impl Renewal {
    /// What is to be written for an entry of the backup; none for what comes with [`rest`](Self::rest).
    ///
    /// # Errors
    /// If the entry is none that belongs into a backup, or does not decode.
    pub fn renew(&mut self, key: Bytes, value: Bytes) -> Result<Option<(Bytes, Bytes)>, ContentError> {
        let kind = kind_of(&key)?;
        if place_of(kind) != Place::Entries {
            return Ok(None);
        }
        match kind {
            Kind::Topic => {
                let TopicValue { id, partitions, .. } = TopicValue::decode(value.clone())?;
                self.without_state.extend(partition_ids(id, partitions));
            }
            Kind::PartitionState => {
                let PartitionStateKey { id } = PartitionStateKey::decode(&key)?;
                self.without_state.remove(&id);
                let state = leapt(PartitionState::decode(value)?)?;
                return Ok(Some((key, state.encode())));
            }
            Kind::ProducerIdBlock => {
                self.next_producer_id = ProducerIdBlockValue::decode(value)?.next.0;
                return Ok(None);
            }
            _ => {}
        }
        Ok(Some((key, value)))
    }

    /// What is to be written beside the entries, once all of them were renewed.
    ///
    /// # Errors
    /// If producer ids are used up.
    pub fn rest(self) -> Result<impl Iterator<Item = (Bytes, Bytes)>, ContentError> {
        let next = self.next_producer_id.checked_add(PRODUCER_ID_LEAP);
        let next = ProducerId(next.ok_or(ContentError::UsedUp { kind: Kind::ProducerIdBlock })?);
        let producer_ids = (ProducerIdBlockKey.encode(), ProducerIdBlockValue { next }.encode());
        let state = |id| (PartitionStateKey { id }.encode(), never_owned().encode());
        Ok(std::iter::once(producer_ids).chain(self.without_state.into_iter().map(state)))
    }
}

fn partition_ids(topic: TopicId, partitions: i32) -> impl Iterator<Item = PartitionId> {
    (0..partitions).map(move |partition| PartitionId { topic, partition: PartitionIndex(partition) })
}

fn leapt(state: PartitionState) -> Result<PartitionState, ContentError> {
    let epoch = state.epoch.0.checked_add(EPOCH_LEAP);
    let epoch = OwnerEpoch(epoch.ok_or(ContentError::UsedUp { kind: Kind::PartitionState })?);
    Ok(PartitionState { epoch, owner: NO_BROKER, ..state })
}

fn never_owned() -> PartitionState {
    PartitionState {
        log_start: Offset(0),
        next_offset: Offset(0),
        owner: NO_BROKER,
        epoch: OwnerEpoch(EPOCH_LEAP),
        log_bytes: 0,
        appended_bytes: 0,
        maxima: TimestampMaxima::new(NO_TIMESTAMP_MS, []),
        commit_token: 0,
    }
}
