//! Renews a lease until it is told to stop, or finds that another has taken it.

use metrics::counter;
use tidegate_format::{BrokerKey, BrokerValue};
use tidegate_store::{CommitError, Store, Txn, commit_settled};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::term::Term;
use super::{Lease, LeaseError, LeaseHolder, Standing};
use crate::metrics::names;

/// How long giving the lease back may take: who starts next waits for it otherwise.
const RELEASE_MAX: Duration = Duration::from_secs(2);

/// The holder's side of a lease.
pub(crate) struct Keeper<S: Store> {
    store: S,
    me: LeaseHolder,
    term: Term,
    standing: watch::Sender<Standing>,
}

/// What a renewal has found.
enum Renewal {
    Done,
    /// Another broker's row is there, or none.
    Taken(Option<LeaseHolder>),
}

impl<S: Store> Keeper<S> {
    pub(super) fn new(store: S, me: LeaseHolder, term: Term) -> (Lease, Self) {
        let (standing, watched) = watch::channel(Standing::Until { at: term.ends(), trouble: None });
        (Lease(watched), Self { store, me, term, standing })
    }

    /// Renews until `stop`, and then gives the lease back; or until it is lost.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let is_lost = tokio::select! {
            () = self.renew_until_lost() => true,
            () = stop.cancelled() => false,
        };
        if is_lost {
            // Whoever waits for an answer is waiting for the end of the process.
            stop.cancelled().await;
            return;
        }
        match timeout(RELEASE_MAX, self.release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(%error, "the lease was not given back: the next broker waits for its end");
            }
            Err(_) => warn!("the lease was not given back in time: the next broker waits for its end"),
        }
    }

    async fn renew_until_lost(&mut self) {
        let mut failing = false;
        sleep_until(self.term.renewal()).await;
        loop {
            let sent = Instant::now();
            match self.renew().await {
                Ok(Renewal::Done) => {
                    self.term.renew(sent);
                    counter!(names::LEASE_RENEWALS).increment(1);
                    self.stand(Standing::Until { at: self.term.ends(), trouble: None });
                    if std::mem::take(&mut failing) {
                        info!("this broker's lease is renewed again");
                    }
                    sleep_until(self.term.renewal()).await;
                }
                Ok(Renewal::Taken(by)) => return self.lose(by.as_ref()),
                Err(LeaseError::Commit(CommitError::Conflict)) => {
                    // Another writes the row: who, the next attempt sees.
                    sleep(self.term.retry_after()).await;
                }
                Err(error) => {
                    counter!(names::LEASE_RENEWALS_FAILED).increment(1);
                    if !failing {
                        warn!(%error, "this broker's lease cannot be renewed; what only the holder may say is not said once it lapses");
                    }
                    failing = true;
                    self.stand(Standing::Until { at: self.term.ends(), trouble: Some(error.to_string()) });
                    sleep(self.term.retry_after()).await;
                }
            }
        }
    }

    async fn renew(&mut self) -> Result<Renewal, LeaseError> {
        let mut txn = self.store.begin().await?;
        let key = BrokerKey { id: self.me.id }.encode();
        let row = txn.get(&key).await?.map(BrokerValue::decode).transpose()?;
        let Some(found) = row.filter(|found| found.incarnation == self.me.value.incarnation) else {
            let others = super::load_brokers(&mut txn).await?;
            return Ok(Renewal::Taken(others.into_iter().next()));
        };
        let renewed = BrokerValue { renewals: found.renewals + 1, ..self.me.value.clone() };
        txn.put(key, renewed.encode());
        commit_settled(&self.store, txn).await?;
        Ok(Renewal::Done)
    }

    fn lose(&self, to: Option<&LeaseHolder>) {
        let lease_ms = self.me.value.lease_ms;
        let why = format!("this broker did not renew its lease of {lease_ms} ms in time");
        let reason = match to {
            Some(holder) => format!("{why}, and {holder} has taken the namespace over"),
            None => format!("{why}, and another broker has taken the namespace over and gone"),
        };
        error!(reason, "this broker's lease is lost: it stops");
        self.stand(Standing::Lost { reason });
    }

    /// Removes the row, if it is this broker's.
    async fn release(&mut self) -> Result<(), LeaseError> {
        self.stand(Standing::Lost { reason: "this broker has given its lease back".to_owned() });
        let mut txn = self.store.begin().await?;
        let key = BrokerKey { id: self.me.id }.encode();
        let row = txn.get(&key).await?.map(BrokerValue::decode).transpose()?;
        if row.is_some_and(|found| found.incarnation == self.me.value.incarnation) {
            txn.delete(key);
            commit_settled(&self.store, txn).await?;
        }
        Ok(())
    }

    fn stand(&self, standing: Standing) {
        self.standing.send_replace(standing);
    }
}
