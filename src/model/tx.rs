//! One transaction: rows, indexes and events, all or none.

use std::collections::HashSet;
use std::ops::DerefMut;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_format::{
    EventTypeKey, MARKER, ManifestValue, ModelId, PartitionId, TopicKey, check_event_type, check_topic_name,
};
use tidegate_outbox::{PublishSettings, Published, Publisher, register_event_type};
use tidegate_store::{Store, Txn};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::db::Shared;
use crate::event::Subject;
use crate::prefetch::PrefetchTxn;
use crate::row::{self, Place};
use crate::{Error, Model, NewEvent, Query, Write};

/// A transaction of a [`Db`](crate::Db): one snapshot, its own writes, and one commit. Dropping it rolls back.
///
/// It is a handle: what [`Db::transaction`](crate::Db::transaction) hands out is of no use once the work has returned
/// ([`Error::Over`]). Calls that overlap wait for one another.
pub struct Tx<S: Store> {
    open: Arc<Mutex<Option<Open<S>>>>,
    shared: Arc<Shared<S>>,
}

/// What a transaction has while it is open.
pub(crate) struct Open<S: Store> {
    pub(crate) txn: PrefetchTxn<S::Txn>,
    publisher: Publisher<Arc<PublishSettings>>,
    now_ms: i64,
    /// A write began, and has not written its last row yet.
    pub(crate) is_half_written: bool,
}

impl<S: Store> Open<S> {
    /// The partitions whose relay has something to look at after the commit.
    pub(crate) fn touched(&self) -> Vec<PartitionId> {
        self.publisher.touched()
    }
}

/// What a row must be before it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Absent,
    Present,
    Either,
}

impl<S: Store> Tx<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>, txn: S::Txn) -> Self {
        let now_ms = shared.store.now_ms();
        let random = Uuid::from_u128(shared.ambient.random());
        let publisher = Publisher::new(&txn, shared.publish.clone(), now_ms, random);
        let open = Open { txn: PrefetchTxn::new(txn), publisher, now_ms, is_half_written: false };
        Self { open: Arc::new(Mutex::new(Some(open))), shared }
    }

    /// Another handle on the same transaction.
    pub(crate) fn share(&self) -> Self {
        Self { open: self.open.clone(), shared: self.shared.clone() }
    }

    pub(crate) fn shared(&self) -> &Shared<S> {
        &self.shared
    }

    /// Ends the transaction for all handles.
    pub(crate) async fn close(&self) -> Result<Open<S>, Error> {
        self.open.lock().await.take().ok_or(Error::Over)
    }

    pub(crate) async fn lock(&self) -> Result<impl DerefMut<Target = Open<S>> + '_, Error> {
        MutexGuard::try_map(self.open.lock().await, Option::as_mut).map_err(|_| Error::Over)
    }

    async fn lock_to_write(&self) -> Result<impl DerefMut<Target = Open<S>> + '_, Error> {
        let open = self.lock().await?;
        if open.is_half_written { Err(Error::HalfWritten) } else { Ok(open) }
    }

    /// The store's own transaction, for rows that are no models. It stays locked until the guard is dropped.
    ///
    /// # Errors
    /// [`Error::Over`].
    pub async fn store(&self) -> Result<impl DerefMut<Target = impl Txn + use<S>> + '_, Error> {
        let open = MutexGuard::try_map(self.open.lock().await, |open| Some(&mut open.as_mut()?.txn));
        open.map_err(|_| Error::Over)
    }

    /// What is *now* for this transaction, in milliseconds since the Unix epoch by the store's clock.
    ///
    /// # Errors
    /// [`Error::Over`].
    pub async fn now_ms(&self) -> Result<i64, Error> {
        Ok(self.lock().await?.now_ms)
    }

    /// The row with an id.
    ///
    /// # Errors
    /// [`Error::Input`] for an id that cannot be, [`Error::NewerSchema`] and [`Error::Decode`] for a row that this
    /// release cannot read, and what the store says.
    pub async fn find<M: Model>(&self, id: impl Into<ModelId>) -> Result<Option<M>, Error> {
        let place = Place::of::<M>(id.into())?;
        let row = self.lock().await?.txn.get(&place.row_key).await?;
        row.map(|row| row::decode_row(row, &place.id)).transpose()
    }

    /// The rows with these ids, in their order, in one round.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn find_many<M: Model>(
        &self,
        ids: impl IntoIterator<Item = impl Into<ModelId>>,
    ) -> Result<Vec<Option<M>>, Error> {
        let places = ids.into_iter().map(|id| Place::of::<M>(id.into())).collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<Bytes> = places.iter().map(|place| place.row_key.clone()).collect();
        let rows = self.lock().await?.txn.get_many(&keys).await?;
        let decode = |(row, place): (Option<Bytes>, &Place)| {
            row.map(|row| row::decode_row(row, &place.id)).transpose()
        };
        rows.into_iter().zip(&places).map(decode).collect()
    }

    /// Starts a query by an index.
    pub fn query<M: Model>(&self, index: &str) -> Query<'_, S, M> {
        Query::by_index(self, index)
    }

    /// Starts a query over the whole table, by id.
    pub fn list<M: Model>(&self) -> Query<'_, S, M> {
        Query::by_id(self)
    }

    /// Writes a row that must not exist.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Input`], [`Error::Publish`], and what the store says.
    pub async fn insert<M: Model>(&self, model: &M) -> Result<(), Error> {
        self.write(model, Before::Absent).await.map(drop)
    }

    /// Writes a row that must exist.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Input`], [`Error::Publish`], and what the store says.
    pub async fn update<M: Model>(&self, model: &M) -> Result<(), Error> {
        self.write(model, Before::Present).await.map(drop)
    }

    /// Writes a row, whether or not it exists, and says which it was.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::Publish`], and what the store says.
    pub async fn save<M: Model>(&self, model: &M) -> Result<Write, Error> {
        self.write(model, Before::Either).await
    }

    /// Removes a row with its index entries and returns it; none if there was none.
    ///
    /// # Errors
    /// As [`find`](Self::find), and [`Error::Publish`].
    pub async fn delete<M: Model>(&self, id: impl Into<ModelId>) -> Result<Option<M>, Error> {
        let place = Place::of::<M>(id.into())?;
        let mut guard = self.lock_to_write().await?;
        let open = &mut *guard;
        let found = open.txn.get_many(&[place.row_key.clone(), place.manifest_key.clone()]).await?;
        let [Some(row), manifest] = <[_; 2]>::try_from(found).expect("as many values as keys") else {
            return Ok(None);
        };
        let model: M = row::decode_row(row, &place.id)?;
        let manifest = manifest.map(ManifestValue::decode).transpose()?;
        let events = model.events(Write::Delete);
        open.txn.fetch(vec![], catalogue_keys(&events, M::TABLE)).await?;
        let subject = Subject { table: M::TABLE, id: place.id.to_string(), body: None };
        self.publish_all(open, events, &subject).await?;
        open.txn.delete(place.row_key);
        if let Some(manifest) = manifest {
            manifest.index_keys.into_iter().for_each(|key| open.txn.delete(key));
            open.txn.delete(place.manifest_key);
        }
        open.is_half_written = false;
        Ok(Some(model))
    }

    /// Publishes an event that is no model's: it enters its topic's log if the transaction commits, when it is due.
    ///
    /// # Errors
    /// [`Error::Publish`], and what the store says. The event is not written then.
    pub async fn publish(&self, event: NewEvent) -> Result<Published, Error> {
        let mut guard = self.lock_to_write().await?;
        let open = &mut *guard;
        let (event_type, topic) = event.destination(None);
        open.txn.fetch(vec![], destination_keys(event_type, topic)).await?;
        self.publish_one(open, event, None).await
    }

    /// Publishes an event under a schedule's name, to be held until `due_ms` (milliseconds since the Unix epoch). What
    /// waits under that name is replaced.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn schedule(
        &self,
        schedule: impl Into<String>,
        due_ms: i64,
        event: NewEvent,
    ) -> Result<Published, Error> {
        self.publish(event.schedule(schedule).due_at(due_ms)).await
    }

    /// Moves what waits under a schedule's name to another due time. False if nothing does.
    ///
    /// # Errors
    /// [`Error::Publish`], and what the store says.
    pub async fn reschedule(&self, topic: &str, schedule: &str, due_ms: i64) -> Result<bool, Error> {
        let mut guard = self.lock_to_write().await?;
        let open = &mut *guard;
        Ok(open.publisher.reschedule(&mut open.txn, topic, schedule, due_ms).await?)
    }

    /// Cancels what waits under a schedule's name. False if nothing does: it was delivered, cancelled or never there.
    ///
    /// # Errors
    /// What the store says.
    pub async fn cancel_schedule(&self, topic: &str, schedule: &str) -> Result<bool, Error> {
        let mut guard = self.lock_to_write().await?;
        let open = &mut *guard;
        Ok(open.publisher.cancel(&mut open.txn, topic, schedule).await?)
    }

    /// Enters into the catalogue which topic an event type belongs to, in place of an earlier entry.
    ///
    /// # Errors
    /// [`Error::Publish`] if either name is not allowed.
    pub async fn register_event_type(&self, event_type: &str, topic: &str) -> Result<(), Error> {
        let mut guard = self.lock_to_write().await?;
        Ok(register_event_type(&mut guard.txn, event_type, topic)?)
    }

    async fn write<M: Model>(&self, model: &M, before: Before) -> Result<Write, Error> {
        let place = Place::of::<M>(model.id())?;
        let body = row::encode_body(model, &place.id, self.shared.settings.model_max_bytes)?;
        let index_keys = row::index_keys(model, &place)?;
        let mut on_insert = vec![];
        let mut on_update = vec![];
        if before != Before::Present {
            on_insert = model.events(Write::Insert);
        }
        if before != Before::Absent {
            on_update = model.events(Write::Update);
        }

        let mut guard = self.lock_to_write().await?;
        let open = &mut *guard;
        let mut keys = vec![place.row_key.clone()];
        if before != Before::Absent {
            keys.push(place.manifest_key.clone());
        }
        let catalogue = catalogue_keys(on_insert.iter().chain(&on_update), M::TABLE);
        let mut found = open.txn.fetch(keys, catalogue).await?.into_iter();
        let exists = found.next().flatten().is_some();
        let manifest = found.next().flatten().map(ManifestValue::decode).transpose()?.unwrap_or_default();
        match (before, exists) {
            (Before::Absent, true) => return Err(Error::Exists { table: M::TABLE, id: place.id }),
            (Before::Present, false) => return Err(Error::Missing { table: M::TABLE, id: place.id }),
            _ => {}
        }

        let (write, events) = if exists { (Write::Update, on_update) } else { (Write::Insert, on_insert) };
        let subject = Subject { table: M::TABLE, id: place.id.to_string(), body: Some(&body) };
        self.publish_all(open, events, &subject).await?;
        open.txn.growing();
        open.txn.put(place.row_key, row::encode_row::<M>(body));
        put_index(&mut open.txn, place.manifest_key, &manifest.index_keys, index_keys);
        open.is_half_written = false;
        Ok(write)
    }

    /// Publishes the events of a row that is about to be written. If one is refused (or the call is dropped) those
    /// before it are written already, and the transaction cannot be committed any more.
    async fn publish_all(
        &self,
        open: &mut Open<S>,
        events: Vec<NewEvent>,
        subject: &Subject<'_>,
    ) -> Result<(), Error> {
        for event in events {
            self.publish_one(open, event, Some(subject)).await?;
            open.is_half_written = true;
        }
        Ok(())
    }

    async fn publish_one(
        &self,
        open: &mut Open<S>,
        event: NewEvent,
        subject: Option<&Subject<'_>>,
    ) -> Result<Published, Error> {
        let id = uuid::Builder::from_random_bytes(self.shared.ambient.random().to_be_bytes()).into_uuid();
        let event = event.complete(subject, &self.shared.settings.source, open.now_ms, id);
        Ok(open.publisher.publish(&mut open.txn, &event).await?)
    }
}

/// Replaces the index entries of a row, and its manifest, as far as they differ.
fn put_index(txn: &mut impl Txn, manifest_key: Bytes, old: &[Bytes], new: Vec<Bytes>) {
    if old == new {
        return;
    }
    let kept: HashSet<&Bytes> = old.iter().filter(|key| new.contains(key)).collect();
    for key in new.iter().filter(|key| !kept.contains(key)) {
        txn.put(key.clone(), MARKER);
    }
    for key in old.iter().filter(|key| !kept.contains(key)) {
        txn.delete(key.clone());
    }
    if new.is_empty() {
        txn.delete(manifest_key);
    } else {
        txn.put(manifest_key, ManifestValue { index_keys: new }.encode());
    }
}

/// The rows that publishing these events of a table's rows will look at, as far as they are known beforehand.
fn catalogue_keys<'a>(events: impl IntoIterator<Item = &'a NewEvent>, table: &'static str) -> Vec<Bytes> {
    let destinations = events.into_iter().map(|event| event.destination(Some(table)));
    destinations.flat_map(|(event_type, topic)| destination_keys(event_type, topic)).collect()
}

fn destination_keys(event_type: &str, topic: &str) -> Vec<Bytes> {
    let mut keys = Vec::with_capacity(2);
    if check_event_type(event_type).is_ok() {
        keys.push(EventTypeKey { name: event_type.to_owned() }.encode());
    }
    if check_topic_name(topic).is_ok() {
        keys.push(TopicKey { name: topic.to_owned() }.encode());
    }
    keys
}
