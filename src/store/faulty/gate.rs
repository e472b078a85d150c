//! Holding a transaction where it is.

use tokio::sync::oneshot;

/// Where a transaction, or the deletion of a range, can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// It was asked for and has no snapshot yet.
    BeforeBegin,
    /// It has its snapshot, and the caller does not have it yet.
    AfterBegin,
    /// The caller has asked for the commit, and nothing is applied yet.
    BeforeCommit,
    /// The commit has succeeded or failed, and the caller does not know yet.
    AfterCommit,
    /// It is no transaction: a range is to be deleted, and nothing of it is yet.
    BeforeDeleteRange,
}

/// Holds one transaction at a point. Letting it go, or dropping the gate, lets the transaction go on.
#[derive(Debug)]
pub struct Gate {
    reached: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

/// The transaction's side of a gate.
#[derive(Debug)]
pub(super) struct GateStop {
    reached: oneshot::Sender<()>,
    released: oneshot::Receiver<()>,
}

impl Gate {
    pub(super) fn new() -> (Self, GateStop) {
        let (reached_sender, reached) = oneshot::channel();
        let (release, released) = oneshot::channel();
        (Self { reached, release }, GateStop { reached: reached_sender, released })
    }

    /// Waits until a transaction is held here. To be called once.
    ///
    /// # Panics
    /// If the store is dropped before a transaction gets here, or when called again.
    pub async fn reached(&mut self) {
        (&mut self.reached).await.expect("a transaction reaches the gate, and is awaited once");
    }

    /// Lets the transaction go on.
    pub fn release(self) {
        // Nobody waits there if the transaction was given up or never came.
        let _nobody_waits = self.release.send(());
    }
}

impl GateStop {
    /// Stops here until the gate is released or dropped.
    pub(super) async fn wait(self) {
        // Nobody needs to wait for the transaction, and a dropped gate lets it go on.
        let _nobody_waits = self.reached.send(());
        let _dropped = self.released.await;
    }
}
