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
            let results = self.read_all(wants, limits.max_bytes).await;
            let bytes: usize = results.iter().flatten().map(|read| read.batches.bytes).sum();
            let enough =
                bytes >= limits.min_bytes || results.iter().any(Result::is_err) || watches.is_empty();
            if enough || Instant::now() >= limits.until || limits.cancelled.is_cancelled() {
                return results;
            }
            let missing = (limits.min_bytes - bytes) as u64;
            tokio::select! {
                () = sleep_until(limits.until) => {}
                () = limits.cancelled.cancelled() => {}
                () = wait_for(missing, &mut watches, &seen) => {}
            }
        }
    }

    async fn read_all(
        &self,
        wants: &[Want],
        max_bytes: usize,
    ) -> Vec<Result<ReadResult, ReadPartitionError>> {
        let mut results = Vec::with_capacity(wants.len());
        let mut bytes = 0;
        for want in wants {
            let limit = ReadLimit {
                max_bytes: want.max_bytes.min(max_bytes.saturating_sub(bytes)),
                at_least_one: bytes == 0,
            };
            let result = self.read_in_epoch(want, limit).await;
            bytes += result.as_ref().map_or(0, |read| read.batches.bytes);
            results.push(result);
        }
        results
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
