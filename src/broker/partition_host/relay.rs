//! The relay's turns on a partition's task.

use std::time::Duration;

use metrics::{counter, histogram};
use tidegate_log::LogError;
use tidegate_outbox::relay::{RelayError, Turn};
use tidegate_store::Store;
use tokio::time::Instant;
use tracing::warn;

use super::host::{Fenced, Host};
use crate::metrics::names;

impl<S: Store> Host<S> {
    /// Moves what is due into the log, up to the limits of one turn. Gives whether there was anything.
    pub(super) async fn relay_turn(&mut self) -> Result<bool, Fenced> {
        let deep = self.pace.begin_turn();
        let Some(topic) = self.shared.topics.config(self.partition.id.topic) else {
            // The topic has just been dropped, and the task is about to be told.
            self.pace.failed(Instant::now());
            return Ok(false);
        };
        if deep {
            self.relay.sweep();
        }
        let began = Instant::now();
        let store = &self.shared.store;
        let settings = self.shared.limits.relay(&topic, store.order_lag_ms());
        match self.relay.turn(store, &self.ownership, store.now_ms(), &settings).await {
            Ok(turn) => {
                self.pace.turned(turn.records, turn.more, turn.next_due_ms, Instant::now());
                let moved = turn.records > 0;
                self.record_turn(&turn, began);
                match (turn.state, turn.appends) {
                    (Some(_), Some(appends)) => self.publish(appends),
                    // What was given up as unknown and arrived after all is told by whoever sees it next.
                    (Some(state), None) => self.partition.publish(&state),
                    // Readers may know of more already, and must not be told of less.
                    (None, Some(_)) => self.partition.forget(),
                    (None, None) => {}
                }
                Ok(moved)
            }
            Err(RelayError::Log(LogError::Fenced { .. })) => Err(Fenced),
            Err(error) => {
                warn!(partition = %self.partition.id, %error, "due entries wait: the relay's turn failed");
                self.partition.forget();
                self.pace.failed(Instant::now());
                Ok(false)
            }
        }
    }

    fn record_turn(&self, turn: &Turn, began: Instant) {
        counter!(names::COMMIT_CONFLICTS, names::KIND => "relay").increment(turn.conflicts as u64);
        if turn.records == 0 {
            return;
        }
        histogram!(names::RELAY_TURN_SECONDS).record(began.elapsed().as_secs_f64());
        counter!(names::RELAY_RECORDS).increment(turn.records as u64);
        counter!(names::RELAY_BYTES).increment(turn.bytes as u64);
        counter!(names::OUTBOX_LATE).increment(turn.late as u64);
        let lateness = histogram!(names::SCHEDULE_LATENESS);
        let now_ms = self.shared.store.now_ms();
        for due_ms in &turn.due_ms {
            let late_ms = u64::try_from(now_ms.saturating_sub(*due_ms)).unwrap_or(0);
            lateness.record(Duration::from_millis(late_ms).as_secs_f64());
        }
    }
}
