//! The figures that are read when they are asked for: partitions, groups, lag, what waits, the store.
//!
//! One snapshot of the store gives all of them. What is deleted is not in it, and so disappears. If the store cannot be
//! read, what does not come from it is told all the same, and that the broker is not ready.

use tidegate_format::PartitionId;
use tidegate_store::{AnyStore, Store};
use tokio::sync::Mutex;
use tracing::warn;

use super::exposition::Exposition;
use super::groups::load_groups;
use super::lag::{AppendTimes, FiguresError, Logs, load_lags, load_states};
use super::pending::PendingCounts;
use super::render::{self, PartitionFigures};
use crate::Broker;
use crate::metrics::names;

/// Reads the figures; one scrape at a time, as they share what was found out before.
#[derive(Debug, Default)]
pub(crate) struct Scraper {
    memory: Mutex<Memory>,
}

/// What is expensive to find out.
#[derive(Debug, Default)]
struct Memory {
    append_times: AppendTimes,
    pending: PendingCounts,
}

impl Scraper {
    /// The figures as Prometheus reads them.
    pub(crate) async fn scrape(&self, broker: &Broker, is_ready: bool) -> String {
        let mut text = Exposition::default();
        let read = self.read(broker, &mut text).await;
        if let Err(error) = &read {
            warn!(%error, "/metrics lacks what is read from the store");
            text = Exposition::default();
        }
        render::broker(&mut text, broker, is_ready && read.is_ok());
        match &broker.store {
            AnyStore::Embedded(store) => {
                render::store(&mut text, &store.metrics());
                render::clock(&mut text, store.clock_jump_ms());
            }
            AnyStore::Tikv(store) => render::tikv(&mut text, &store.metrics()),
            AnyStore::Memory(_) | AnyStore::Faulty(_) => {}
        }
        text.finish()
    }

    async fn read(&self, broker: &Broker, text: &mut Exposition) -> Result<(), FiguresError> {
        let mut memory = self.memory.lock().await;
        let Memory { append_times, pending } = &mut *memory;
        let max = broker.settings.metrics_series_max;
        let topics = broker.catalogue.all().await;
        let mut txn = broker.store.begin().await?;
        let now_ms = broker.store.now_ms();

        let mut states = load_states(&mut txn, &topics).await?;
        let groups = load_groups(&mut txn, max).await?;
        let recent = |id, offset| broker.partitions.recent_append_version(id, offset);
        let logs = Logs { topics: &topics, states: &states, recent, now_ms };
        let lags = load_lags(&mut txn, &logs, append_times, max).await?;

        let mut partitions =
            topics.iter().flat_map(|topic| topic.partition_ids().map(|id| (topic.name.clone(), id)));
        let (topic_names, ids): (Vec<String>, Vec<PartitionId>) = partitions.by_ref().take(max).unzip();
        let truncated = partitions.next().is_some() || groups.truncated || lags.truncated;
        let pending = pending.load(&mut txn, &ids).await?;
        let rows = ids.iter().zip(topic_names).zip(pending).map(|((id, topic), pending)| PartitionFigures {
            topic,
            partition: id.partition.to_string(),
            state: states.remove(id),
            pending,
        });
        let rows: Vec<PartitionFigures> = rows.collect();

        render::partitions(text, &topics, &rows, broker.settings.broker_id);
        render::waiting(text, &rows, now_ms);
        render::groups(text, &groups.rows, &lags.rows);
        text.single(&names::METRICS_TRUNCATED, f64::from(u8::from(truncated)));
        Ok(())
    }
}
