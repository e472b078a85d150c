//! The connections that a client keeps, by address and purpose.
//!
//! Requests on one connection are answered in order, so what may take long (a fetch, a join) has a connection of its
//! own. A connection that was lost is made again when it is next asked for, after a wait that grows with each failure.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Instant, sleep_until};

use super::Connection;
use super::backoff::Backoff;
use crate::{ClientOptions, Error};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Questions that are answered at once, and produce.
    General,
    /// Long polls for records.
    Fetch,
    /// Membership of a group.
    Group,
    /// The broker's store: one of several, numbered.
    Store(usize),
}

type Slots = HashMap<(String, Purpose), Arc<tokio::sync::Mutex<Slot>>>;

#[derive(Debug)]
pub(crate) struct Pool {
    options: Arc<ClientOptions>,
    backoff: Backoff,
    slots: Mutex<Slots>,
}

#[derive(Debug)]
struct Slot {
    connection: Option<Connection>,
    failures: u32,
    not_before: Instant,
}

impl Pool {
    pub(crate) fn new(options: Arc<ClientOptions>) -> Self {
        let backoff = Backoff::new(options.backoff_first_ms, options.backoff_max_ms);
        Self { options, backoff, slots: Mutex::default() }
    }

    /// A connection to `address`; made now if there is none that works. After failures it waits before it tries.
    pub(crate) async fn get(&self, address: &str, purpose: Purpose) -> Result<Connection, Error> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let empty = || Slot { connection: None, failures: 0, not_before: Instant::now() };
            slots
                .entry((address.to_owned(), purpose))
                .or_insert_with(|| Arc::new(tokio::sync::Mutex::new(empty())))
                .clone()
        };
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        if slot.connection.take().is_some() {
            // A broker that accepts and then drops connections is not to be asked in a tight loop either.
            self.failed(&mut slot);
        }
        sleep_until(slot.not_before).await;
        match Connection::connect(address, &self.options).await {
            Ok(connection) => {
                slot.connection = Some(connection.clone());
                slot.failures = 0;
                Ok(connection)
            }
            Err(error) => {
                tracing::debug!(address, %error, failures = slot.failures, "no connection");
                self.failed(&mut slot);
                Err(error)
            }
        }
    }

    fn failed(&self, slot: &mut Slot) {
        slot.failures = slot.failures.saturating_add(1);
        slot.not_before = Instant::now() + self.backoff.random_delay(slot.failures);
    }

    /// An address to which there is a connection for this purpose that works.
    pub(crate) fn connected_address(&self, purpose: Purpose) -> Option<String> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connected = slots.iter().filter(|((_, of), slot)| {
            *of == purpose
                && slot.try_lock().is_ok_and(|slot| slot.connection.as_ref().is_some_and(|c| !c.is_closed()))
        });
        connected.next().map(|((address, _), _)| address.clone())
    }
}
