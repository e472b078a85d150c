//! Reading several partitions at once, and waiting until there is enough: woken by appends, never polling.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tidegate_format::{Offset, OwnerEpoch, PartitionId};
use tidegate_log::{ReadLimit, ReadResult};
use tidegate_store::Store;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{PartitionHosts, ReadPartitionError, Status, StatusWatch};

/// What a consumer wants of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) id: PartitionId,
    pub(crate) from: Offset,
    pub(crate) max_bytes: usize,
    /// The epoch that the consumer takes for the owner's; none if it does not know.
    pub(crate) epoch: Option<OwnerEpoch>,
}

/// How much a consumer wants of all its partitions, and how long it waits for that.
#[derive(Clone, Debug)]
pub(crate) struct PollLimits {
    pub(crate) min_bytes: usize,
    pub(crate) max_bytes: usize,
    pub(crate) until: Instant,
    /// Ends the wait early.
    pub(crate) cancelled: CancellationToken,
}

impl<S: Store> PartitionHosts<S> {
    /// Reads what is wanted, in the order of `wants`; waits until there are `min_bytes`, the time is up, or there is an
    /// error to tell. The first batch of all is given even if it is larger than the limits.
    pub(crate) async fn poll(
        &self,
        wants: &[Want],
        limits: &PollLimits,
    ) -> Vec<Result<ReadResult, ReadPartitionError>> {
        let mut watches: Vec<StatusWatch> =
            wants.iter().filter_map(|want| self.watch(want.id).ok()).collect();
        loop {
            let seen: Vec<Option<Status>> = watches.iter_mut().map(StatusWatch::see).collect();
            let (results, readable) = self.read_all(wants, limits.max_bytes).await;
            let enough =
                readable >= limits.min_bytes || results.iter().any(Result::is_err) || watches.is_empty();
            if enough || Instant::now() >= limits.until || limits.cancelled.is_cancelled() {
                return results;
            }
            let missing = (limits.min_bytes - readable) as u64;
            tokio::select! {
                () = sleep_until(limits.until) => {}
                () = limits.cancelled.cancelled() => {}
                () = wait_for(missing, &mut watches, &seen) => {}
            }
        }
    }

    /// Reads what is wanted, and tells how many bytes there are to be read within the limits. Where a partition has more
    /// than it may give, that is the limit: the batch that would go beyond it is there as well, and who waited for so many
    /// bytes would wait in vain. (Kafka cuts that batch in two.)
    async fn read_all(
        &self,
        wants: &[Want],
        max_bytes: usize,
    ) -> (Vec<Result<ReadResult, ReadPartitionError>>, usize) {
        let mut results = Vec::with_capacity(wants.len());
        let (mut room, mut readable) = (max_bytes, 0_usize);
        let mut is_first = true;
        for want in wants {
            let limit = ReadLimit { max_bytes: want.max_bytes.min(room), at_least_one: is_first };
            let result = self.read_in_epoch(want, limit).await;
            if let Ok(read) = &result {
                let bytes = read.batches.bytes;
                let has_more = read.batches.end().unwrap_or(want.from) < read.high_watermark;
                readable = readable.saturating_add(if has_more { bytes.max(limit.max_bytes) } else { bytes });
                is_first &= bytes == 0;
                // Once there is no room for what a partition has, the others are not read only to be left out as well.
                let is_full = has_more && bytes == 0 && room < want.max_bytes;
                room = if is_full { 0 } else { room.saturating_sub(bytes) };
            }
            results.push(result);
        }
        (results, readable)
    }

    async fn read_in_epoch(&self, want: &Want, limit: ReadLimit) -> Result<ReadResult, ReadPartitionError> {
        if let Some(epoch) = want.epoch {
            self.status(want.id).await?.check_epoch(epoch)?;
        }
        self.read(want.id, want.from, limit).await
    }
}

/// Waits until so many bytes were appended since what was seen, or anything but an append has happened.
async fn wait_for(missing: u64, watches: &mut [StatusWatch], seen: &[Option<Status>]) {
    let mut changes: FuturesUnordered<_> =
        (0..).zip(watches).map(|(place, watch)| change(place, watch)).collect();
    let mut appended = vec![0; seen.len()];
    while let Some((place, watch)) = changes.next().await {
        let (Some(before), Some(now)) = (seen[place], watch.see()) else { return };
        if now.epoch != before.epoch || now.log_start != before.log_start {
            return;
        }
        appended[place] = now.appended_bytes.saturating_sub(before.appended_bytes);
        if appended.iter().sum::<u64>() >= missing {
            return;
        }
        changes.push(change(place, watch));
    }
}

async fn change(place: usize, watch: &mut StatusWatch) -> (usize, &mut StatusWatch) {
    watch.changed().await;
    (place, watch)
}
