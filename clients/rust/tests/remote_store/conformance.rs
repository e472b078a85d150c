//! The suite that every backend passes, through a broker: as it is, and with answers so small that every read of more
//! than a little takes several.

use std::sync::Arc;

use tempfile::TempDir;
use tidegate::RemoteStore;
use tidegate_broker::settings::Settings;
use tidegate_store::conformance::{Backend, DurableBackend};
use tidegate_store::{ManualClock, TransactionLimits};

use crate::fixture::{Broker, any_port, connect, directory};
use crate::user_keys::UserKeys;

/// One byte of every key is the tag of applications' own.
pub(crate) const KEY_MAX_BYTES: usize = 4_095;

/// A broker on a store, and its store through the port.
struct Remote<const SMALL: bool> {
    dir: TempDir,
    clock: ManualClock,
    broker: Broker,
    store: UserKeys<RemoteStore>,
}

async fn open<const SMALL: bool>(dir: TempDir, clock: ManualClock) -> Remote<SMALL> {
    let mut settings = Settings { listen: any_port(), ..Settings::default() };
    if SMALL {
        settings.extension_answer_max_bytes = 64;
    }
    let broker = Broker::open(dir.path(), Arc::new(clock.clone()), settings).await;
    let store = UserKeys(connect(broker.address()).await);
    Remote { dir, clock, broker, store }
}

impl<const SMALL: bool> Backend for Remote<SMALL> {
    type Store = UserKeys<RemoteStore>;

    async fn create() -> Self {
        open(directory(), ManualClock::at(1_700_000_000_000)).await
    }

    fn store(&self) -> &UserKeys<RemoteStore> {
        &self.store
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn limits(&self) -> TransactionLimits {
        TransactionLimits::default()
    }

    fn key_max_bytes(&self) -> usize {
        KEY_MAX_BYTES
    }
}

impl<const SMALL: bool> DurableBackend for Remote<SMALL> {
    async fn reopen(self) -> Self {
        let Self { dir, clock, broker, store } = self;
        drop(store);
        broker.stop().await;
        open(dir, clock).await
    }
}

mod as_served {
    use super::*;

    type Subject = Remote<false>;
    tidegate_store::conformance_tests!(Subject);
    tidegate_store::conformance_unknown_outcome_tests!(Subject);
    tidegate_store::conformance_commit_order_tests!(Subject);
    tidegate_store::conformance_durable_tests!(Subject);
}

mod in_small_answers {
    use super::*;

    type Subject = Remote<true>;
    tidegate_store::conformance_tests!(Subject);
}
