//! What should be there of the group that handles events in order, in batches: how far it has come in a partition, how the event
//! in front has failed, what was filed, what was given up.

use std::collections::BTreeMap;

use super::application::{FILING, Says, says};
use super::expected::{Expected, WAITS_MS};
use crate::ConsumerRecord;
use crate::worker::failed::FailedRecord;
use crate::worker::ordered::Batch;

/// A partition, as the group has left it.
#[derive(Debug, Default)]
pub(super) struct Filed {
    /// The committed offset, and what is noted beside it.
    pub(super) front: Front,
    /// What was filed, in order.
    pub(super) offsets: Vec<i64>,
    /// What was given up: how often it was tried, and why.
    pub(super) buried: BTreeMap<i64, (u32, String)>,
}

/// Where a partition is: every commit of a worker changes that, and is made only where nothing has changed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Front {
    pub(super) committed: i64,
    pub(super) noted: Option<FailedRecord>,
}

/// A batch that was tried.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) partition: i32,
    /// Where the partition was, as far as the worker knew.
    pub(super) front: Front,
    pub(super) to: i64,
    pub(super) offsets: Vec<i64>,
    pub(super) failures: u32,
}

/// What has to come of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Comes {
    /// All of it is filed.
    Filed,
    /// Its one event is given up.
    Buried { attempts: u32, cause: String },
    /// Its one event has failed, or all of it is put off.
    Noted(FailedRecord),
    /// Half of it is tried next.
    Halved,
}

impl Tried {
    pub(super) fn of<R>(partition: i32, batch: &Batch<R>) -> Self {
        Self {
            partition,
            front: Front { committed: batch.from, noted: batch.noted },
            to: batch.to,
            offsets: batch.records.iter().map(|(offset, _)| *offset).collect(),
            failures: batch.failures(),
        }
    }

    /// Where the partition is after this has come of it.
    pub(super) fn front_after(&self, comes: &Comes) -> Front {
        match comes {
            // One without records only renews what is there.
            Comes::Filed if self.offsets.is_empty() => self.front,
            Comes::Filed | Comes::Buried { .. } => Front { committed: self.to, noted: None },
            Comes::Noted(failed) => Front { noted: Some(*failed), ..self.front },
            Comes::Halved => self.front,
        }
    }
}

impl Expected {
    /// What comes of a batch that is tried at this time.
    pub(super) fn comes_of(&self, tried: &Tried, now_ms: i64) -> Comes {
        let record = |offset: &i64| -> &ConsumerRecord { &self.records[&(tried.partition, *offset)] };
        let said = tried
            .offsets
            .iter()
            .map(|offset| says(self.seed, FILING, record(offset), tried.failures, now_ms));
        let said = said.into_iter().find(|said| *said != Says::Ack);
        let cause = match said {
            None => return Comes::Filed,
            Some(Says::RetryAt(due_ms)) => {
                let (offset, failures) = (tried.offsets[0], tried.failures);
                return Comes::Noted(FailedRecord { offset, failures, due_ms });
            }
            Some(_) if tried.offsets.len() > 1 => return Comes::Halved,
            Some(Says::Reject(cause)) => return Comes::Buried { attempts: tried.failures + 1, cause },
            Some(Says::Panic(cause)) => format!("the handler panicked: {cause}"),
            Some(Says::Fail(cause)) => cause,
            Some(Says::Ack) => unreachable!("it was passed over"),
        };
        let (offset, failures) = (tried.offsets[0], tried.failures + 1);
        match WAITS_MS.get(tried.failures as usize) {
            Some(wait_ms) => Comes::Noted(FailedRecord { offset, failures, due_ms: now_ms + wait_ms }),
            None => Comes::Buried { attempts: failures, cause },
        }
    }

    /// A batch was tried, and this was committed.
    pub(super) fn batch_ended(&mut self, tried: &Tried, comes: &Comes, now_ms: i64) {
        let filed = self.filed.get_mut(&tried.partition).expect("it has such a partition");
        assert_eq!(
            filed.front, tried.front,
            "whoever was there first has changed what others see: {tried:?}"
        );
        if let Some(failed) = tried.front.noted.filter(|failed| tried.offsets.contains(&failed.offset)) {
            let is_alone = tried.offsets.len() == 1;
            assert!(is_alone || failed.failures == 0, "what failed is tried alone: {tried:?}");
            assert!(failed.due_ms <= now_ms, "it is tried when it is due: {tried:?} at {now_ms}");
        }
        filed.front = tried.front_after(comes);
        match comes {
            Comes::Filed => filed.offsets.extend(&tried.offsets),
            Comes::Buried { attempts, cause } => {
                filed.buried.insert(tried.offsets[0], (*attempts, cause.clone()));
            }
            Comes::Noted(_) | Comes::Halved => {}
        }
    }
}
