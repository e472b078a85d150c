//! Reading a partition: by its status, the tail cache and the store, without its task.

use metrics::counter;
use tidegate_format::{Offset, OrderVersion, OwnerEpoch, PartitionId};
use tidegate_log::{
    AdmittedBatch, EpochEnd, ReadLimit, ReadResult, TimestampedOffset, epoch_end_offset, find_by_timestamp,
    find_max_timestamp,
};
use tidegate_outbox::hold::{HoldRejection, HoldRules, Plan, plan};
use tidegate_protocol::batch::NO_TIMESTAMP;
use tidegate_store::Store;

use super::{PartitionError, PartitionHosts, Status, StatusWatch};
use crate::metrics::names;
use crate::topics::TopicConfig;

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetQuery {
    /// The first that can be read.
    Earliest,
    /// The one after the last that can be read.
    Latest,
    /// That of the first record with the highest timestamp.
    MaxTimestamp,
    /// That of the first record at or after a time, in milliseconds since the Unix epoch.
    AtOrAfter(i64),
}

impl<S: Store> PartitionHosts<S> {
    /// Where a partition stands.
    pub(crate) async fn status(&self, id: PartitionId) -> Result<Status, PartitionError> {
        Ok(self.shared.partition(id)?.load_status(&self.shared.store).await?)
    }

    /// Sees each change of the status from now on.
    pub(crate) fn watch(&self, id: PartitionId) -> Result<StatusWatch, PartitionError> {
        Ok(self.shared.partition(id)?.watch())
    }

    /// The epoch of a partition's owner, if it is known without a look at the store.
    pub(crate) fn known_epoch(&self, id: PartitionId) -> Option<OwnerEpoch> {
        let partition = self.shared.partitions().get(&id).cloned();
        Some(partition?.status()?.epoch)
    }

    /// The bytes of the batches in a log.
    pub(crate) async fn log_bytes(&self, id: PartitionId) -> Result<u64, PartitionError> {
        Ok(self.status(id).await?.log_bytes)
    }

    /// When a record entered the log, if its batch is among the newest, which are in memory.
    pub(crate) fn recent_append_version(&self, id: PartitionId, offset: Offset) -> Option<OrderVersion> {
        self.shared.cache.append_version_at(id, offset)
    }

    /// Reads from an offset on.
    pub(crate) async fn read(
        &self,
        id: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<ReadResult, ReadPartitionError> {
        let status = self.status(id).await?;
        let Status { log_start, high_watermark, .. } = status;
        // Who has room for nothing costs neither a look at the store nor a page that was read ahead.
        let takes_none = limit.max_bytes == 0 && !limit.at_least_one;
        if from == high_watermark || (takes_none && (log_start..high_watermark).contains(&from)) {
            return Ok(ReadResult { batches: Default::default(), log_start, high_watermark });
        }
        if from >= log_start
            && let Some(batches) = self.shared.cache.read(id, from, limit)
        {
            counter!(names::TAIL_CACHE_READS, "result" => "hit").increment(1);
            // What was pushed after the status was read is committed all the same.
            let high_watermark = batches.end().map_or(high_watermark, |end| high_watermark.max(end));
            return Ok(ReadResult { batches, log_start, high_watermark });
        }
        let mut result = None;
        if from >= log_start {
            let ahead = self.shared.read_ahead.take(id, from, limit, high_watermark).await;
            result = ahead.map(|batches| ReadResult { batches, log_start, high_watermark });
        }
        let source = if result.is_some() { "ahead" } else { "miss" };
        counter!(names::TAIL_CACHE_READS, "result" => source).increment(1);
        let result = match result {
            Some(result) => result,
            None => self.shared.load_page(id, from, limit).await?,
        };
        self.shared.begin_reading_ahead(id, &result, limit);
        Ok(result)
    }

    /// Finds an offset; none if there is no such record.
    pub(crate) async fn find_offset(
        &self,
        id: PartitionId,
        query: OffsetQuery,
    ) -> Result<Option<TimestampedOffset>, PartitionError> {
        let status = self.status(id).await?;
        let edge = |offset, epoch: OwnerEpoch| {
            Some(TimestampedOffset { offset, timestamp_ms: NO_TIMESTAMP, leader_epoch: epoch.0 })
        };
        let room = self.shared.limits.decompressed_max_bytes;
        let mut txn = match query {
            OffsetQuery::Latest => return Ok(edge(status.high_watermark, status.epoch)),
            OffsetQuery::Earliest if status.log_start == status.high_watermark => {
                return Ok(edge(status.log_start, status.epoch));
            }
            _ => self.shared.store.begin().await?,
        };
        match query {
            OffsetQuery::MaxTimestamp => Ok(find_max_timestamp(&mut txn, id, room).await?),
            OffsetQuery::AtOrAfter(target_ms) => Ok(find_by_timestamp(&mut txn, id, target_ms, room).await?),
            OffsetQuery::Earliest | OffsetQuery::Latest => {
                let epoch = tidegate_log::epoch_at(&mut txn, id, status.log_start).await?;
                Ok(edge(status.log_start, epoch.unwrap_or(status.epoch)))
            }
        }
    }

    /// Where the records of an epoch end; none if the epoch is later than the owner's.
    pub(crate) async fn epoch_end(
        &self,
        id: PartitionId,
        epoch: OwnerEpoch,
    ) -> Result<Option<EpochEnd>, PartitionError> {
        self.shared.partition(id)?;
        let mut txn = self.shared.store.begin().await?;
        Ok(epoch_end_offset(&mut txn, id, epoch).await?)
    }

    /// Looks into a batch for a scheduled topic, away from the tasks that serve others.
    pub(crate) async fn plan(
        &self,
        batch: AdmittedBatch,
        topic: &TopicConfig,
    ) -> Result<Plan, HoldRejection> {
        let rules = HoldRules {
            decompressed_max_bytes: self.shared.limits.decompressed_max_bytes,
            max_message_bytes: topic.max_message_bytes,
            timestamp_before_max_ms: topic.timestamp_before_max_ms,
            timestamp_after_max_ms: topic.timestamp_after_max_ms,
        };
        let _permit = self.shared.plans.acquire().await.expect("the semaphore is never closed");
        let now_ms = self.shared.store.now_ms();
        match tokio::task::spawn_blocking(move || plan(batch, &rules, now_ms)).await {
            Ok(planned) => planned,
            Err(stopped) => std::panic::resume_unwind(stopped.into_panic()),
        }
    }
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadPartitionError {
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error("the offset is outside of {log_start} to {high_watermark}")]
    OutOfRange { log_start: Offset, high_watermark: Offset },
}
