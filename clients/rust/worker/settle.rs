//! What is written of a record that failed, in a transaction of its own, and what instead if that is too large.
//!
//! What always holds: whatever a record's size, something can be written of it. What is too large to be parked becomes a dead
//! letter at once; what is too large to be one whole is one without its value, or with its place alone.

use std::sync::Arc;

use tidegate_format::EventValue;
use tidegate_outbox::{PublishError, batch_bytes_alone};
use tidegate_store::{CommitError, Store};

use super::attempt::{Ended, Place};
use super::context::{Context, Stop};
use super::dead_letter::{self, LETTER_MAX_BYTES, LeftOut, dead_letter_topic};
use super::figures::count;
use super::lane::Lane;
use super::parked;
use super::progress::{Claim, Progress};
use super::retry::Verdict;
use crate::model::Error;
use crate::{ConsumerRecord, Tx};

/// What is written of a record that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Park { due_ms: i64, failures: u32, cause: Option<String> },
    Bury(Burial),
}

/// A dead letter that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Burial {
    pub(crate) cause: String,
    pub(crate) attempts: u32,
    /// What it has not of the record, and why.
    pub(crate) left_out: Option<LeftOut>,
}

/// What was written of a record that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Parked(i64),
    Buried,
}

impl From<Verdict> for Fate {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::TryAgain { due_ms, failures, cause } => Self::Park { due_ms, failures, cause },
            Verdict::DeadLetter { cause, attempts } => Self::Bury(Burial::whole(cause, attempts)),
        }
    }
}

impl Fate {
    /// What is written instead, after this was refused; none if not for its size, or nothing is smaller.
    pub(crate) fn instead(&self, refused: &Error) -> Option<Self> {
        match self {
            Self::Park { failures, cause, .. } if is_too_large(refused) => {
                let (cause, attempts) = match cause {
                    Some(cause) => (cause.as_str(), *failures),
                    None => ("it was put off", failures + 1),
                };
                let cause = format!("too large to be kept for another try: {refused}; {cause}");
                Some(Self::Bury(Burial::whole(cause, attempts)))
            }
            Self::Park { .. } => None,
            Self::Bury(burial) => burial.instead(refused).map(Self::Bury),
        }
    }
}

impl Burial {
    /// With all that the record has.
    pub(crate) fn whole(cause: String, attempts: u32) -> Self {
        Self { cause, attempts, left_out: None }
    }

    /// As [`Fate::instead`].
    pub(crate) fn instead(&self, refused: &Error) -> Option<Self> {
        let left_out = match &self.left_out {
            _ if !is_too_large(refused) => return None,
            None => LeftOut { is_all: false, why: refused.to_string() },
            Some(LeftOut { is_all: false, why }) => LeftOut { is_all: true, why: why.clone() },
            Some(LeftOut { is_all: true, .. }) => return None,
        };
        Some(Self { left_out: Some(left_out), ..self.clone() })
    }
}

/// Whether the store, or the topic, has refused something for its size.
pub(crate) fn is_too_large(refused: &Error) -> bool {
    matches!(
        refused,
        Error::Commit(CommitError::TooLarge { .. }) | Error::Publish(PublishError::TooLarge { .. })
    )
}

/// Whether a dead letter was refused for good, and not for its size alone.
pub(crate) fn is_refused(error: &Error) -> bool {
    matches!(error, Error::Publish(_))
}

impl<S: Store> Context<S> {
    /// Settles a record that was not parked before.
    pub(crate) async fn settle(
        &self,
        place: &Place,
        lane: &Lane,
        record: &Arc<ConsumerRecord>,
        known: i64,
        mut fate: Fate,
    ) -> Ended {
        let (progress, offset) = (&place.progress, record.offset);
        loop {
            let write = &fate;
            let settled = self.db.transaction(|tx| async move {
                let claim = progress.claim(&mut *tx.raw_store().await?, lane, offset, known).await?;
                if claim != Claim::Mine {
                    return Ok((claim, None));
                }
                let settled = self.write(&tx, progress, lane, record, write).await?;
                Ok((claim, Some(settled)))
            });
            match settled.await {
                Ok((_, Some(settled))) => return self.settled(settled),
                Ok((claim, None)) => return self.claimed(claim),
                Err(error) => match fate.instead(&error) {
                    Some(instead) => fate = instead,
                    None => return self.give_back(place, offset, &Stop::Store(error)),
                },
            }
        }
    }

    /// Writes what becomes of a record that this transaction has claimed.
    pub(crate) async fn write(
        &self,
        tx: &Tx<S>,
        progress: &Progress,
        lane: &Lane,
        record: &ConsumerRecord,
        fate: &Fate,
    ) -> Result<Settled, Error> {
        let row = match fate {
            Fate::Park { due_ms, failures, cause } => {
                parked::failed(record, *failures, *due_ms, cause.clone())
            }
            Fate::Bury(burial) => match self.bury(tx, record, burial).await {
                Ok(()) => return Ok(Settled::Buried),
                Err(error) if is_refused(&error) && fate.instead(&error).is_none() => {
                    // It is not lost: it stays parked until somebody has seen to it.
                    let topic = &record.topic;
                    tracing::error!(%topic, offset = record.offset, %error, "a dead letter cannot be written");
                    let due_ms = self.now_ms().saturating_add(self.policy.max_ms.into());
                    let cause = format!("{}; the dead letter was refused: {error}", burial.cause);
                    parked::failed(record, burial.attempts, due_ms, Some(cause))
                }
                Err(error) => return Err(error),
            },
        };
        progress.park(&mut *tx.raw_store().await?, lane, record.offset, &row);
        Ok(Settled::Parked(row.due_ms))
    }

    /// Writes a dead letter.
    pub(crate) async fn bury(
        &self,
        tx: &Tx<S>,
        record: &ConsumerRecord,
        burial: &Burial,
    ) -> Result<(), Error> {
        let letter = dead_letter::encode(record, &self.group, burial, self.now_ms());
        self.send_letter(tx, &record.topic, &letter).await
    }

    /// Writes what lies in the dead letters of `topic`.
    pub(crate) async fn send_letter(
        &self,
        tx: &Tx<S>,
        topic: &str,
        letter: &EventValue,
    ) -> Result<(), Error> {
        let letters = dead_letter_topic(topic, &self.group).expect("it was checked at the start");
        let actual = batch_bytes_alone(letter);
        if actual > LETTER_MAX_BYTES {
            return Err(
                PublishError::TooLarge { what: "record batch", actual, limit: LETTER_MAX_BYTES }.into()
            );
        }
        tx.publish_record(&letters, Some(&dead_letter::topic_defaults()), letter).await.map(drop)
    }

    pub(super) fn settled(&self, settled: Settled) -> Ended {
        match settled {
            Settled::Parked(due_ms) => {
                count(&self.counters.parked, 1);
                Ended::ParkedUntil(due_ms)
            }
            Settled::Buried => {
                count(&self.counters.dead_letters, 1);
                Ended::Handled
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_large() -> Error {
        Error::Commit(CommitError::TooLarge { what: "value bytes", actual: 9, limit: 7 })
    }

    #[test]
    fn what_is_refused_for_its_size_is_written_smaller_until_it_is_its_place_alone() {
        let parked = Fate::Park { due_ms: 9, failures: 1, cause: Some("no".into()) };
        let Some(Fate::Bury(whole)) = parked.instead(&too_large()) else { panic!("it is buried") };
        assert_eq!((whole.attempts, &whole.left_out), (1, &None));
        let why =
            "too large to be kept for another try: value bytes of 9 is over the limit of 7, nothing applied";
        assert_eq!(whole.cause, format!("{why}; no"));
        let without_value = whole.instead(&too_large()).expect("smaller");
        let place_alone = without_value.instead(&too_large()).expect("smaller");
        let is_all = |burial: &Burial| burial.left_out.as_ref().map(|left_out| left_out.is_all);
        assert_eq!((is_all(&without_value), is_all(&place_alone)), (Some(false), Some(true)));
        assert_eq!(place_alone.instead(&too_large()), None);
    }

    #[test]
    fn what_is_refused_for_another_reason_stays_as_it_is() {
        let put_off = Fate::Park { due_ms: 9, failures: 0, cause: None };
        let conflict = Error::Conflict { attempts: 16 };
        assert_eq!(put_off.instead(&conflict), None);
        assert_eq!(Burial::whole("no".into(), 1).instead(&conflict), None);
        let Some(Fate::Bury(whole)) = put_off.instead(&too_large()) else { panic!("it is buried") };
        assert_eq!(whole.attempts, 1, "it was tried once");
    }
}
