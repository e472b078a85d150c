//! One transaction: rows, indexes and events, all or none.

use std::ops::DerefMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tidegate_format::{EventValue, ModelId, PartitionId};
use tidegate_outbox::{PublishSettings, Published, Publisher, TopicDefaults, register_event_type};
use tidegate_store::{Store, Txn};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::db::Shared;
use crate::event::Subject;
use crate::once::Once;
use crate::prefetch::PrefetchTxn;
use crate::relationship;
use crate::row::{self, Place};
use crate::write::{Before, destination_keys};
use crate::{Error, Model, NewEvent, Query, StoreTrouble, Write, WriteOptions};

/// A transaction of a [`Db`](crate::Db): one snapshot, its own writes, and one commit. Dropping it rolls back.
///
/// It is a handle: what [`Db::transaction`](crate::Db::transaction) hands out is of no use once the work has returned
/// ([`Error::Over`]). Calls that overlap wait for one another.
pub struct Tx<S: Store> {
    open: Arc<Mutex<Option<Open<S>>>>,
    ended: Arc<Ended>,
    trouble: StoreTrouble,
    shared: Arc<Shared<S>>,
}

/// What no handle of a transaction may do any more.
#[derive(Debug, Default)]
struct Ended {
    /// Begin any call.
    is_sealed: AtomicBool,
    /// Commit.
    is_abandoned: AtomicBool,
}

/// What a transaction has while it is open.
pub(crate) struct Open<S: Store> {
    pub(crate) txn: PrefetchTxn<S::Txn>,
    publisher: Publisher<Arc<PublishSettings>>,
    pub(crate) now_ms: i64,
    /// Whether an event was published once by its id.
    pub(crate) has_unique_ids: bool,
    /// A write began, and has not written its last row yet.
    pub(crate) is_half_written: bool,
}

/// Lets nobody go on with a transaction ([`Tx::seal`]).
pub struct Seal<S: Store>(Tx<S>);

impl<S: Store> Seal<S> {
    /// Waits until no call is under way and no [guard](Tx::store) is held, and lets none begin from then on ([`Error::Over`]).
    /// Who ran the work can commit it then, and waits for nobody.
    pub async fn close(self) {
        let _nobody_is_at_work = self.0.open.lock().await;
        self.0.ended.is_sealed.store(true, Ordering::SeqCst);
    }
}

impl<S: Store> Open<S> {
    /// The partitions whose relay has something to look at after the commit.
    pub(crate) fn touched(&self) -> Vec<PartitionId> {
        self.publisher.touched()
    }
}

impl<S: Store> Tx<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>, txn: S::Txn) -> Self {
        let now_ms = shared.store.now_ms();
        let random = Uuid::from_u128(shared.ambient.random());
        let publisher = Publisher::new(&txn, shared.publish.clone(), now_ms, random);
        let trouble = StoreTrouble::default();
        let open = Open {
            txn: PrefetchTxn::new(txn, trouble.clone()),
            publisher,
            now_ms,
            has_unique_ids: false,
            is_half_written: false,
        };
        Self { open: Arc::new(Mutex::new(Some(open))), ended: Arc::default(), trouble, shared }
    }

    /// Another handle on the same transaction.
    pub(crate) fn share(&self) -> Self {
        Self {
            open: self.open.clone(),
            ended: self.ended.clone(),
            trouble: self.trouble.clone(),
            shared: self.shared.clone(),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<S>> {
        &self.shared
    }

    /// Ends the transaction for all handles.
    pub(crate) async fn close(&self) -> Result<Open<S>, Error> {
        let open = self.open.lock().await.take();
        open.filter(|_| !self.ended.is_abandoned.load(Ordering::SeqCst)).ok_or(Error::Over)
    }

    /// Ends the transaction without effect, for all handles, and waits for none that is at work: what that does comes to
    /// nothing, and the snapshot goes with it.
    pub(crate) fn abandon(&self) {
        self.ended.is_abandoned.store(true, Ordering::SeqCst);
        self.ended.is_sealed.store(true, Ordering::SeqCst);
        if let Ok(mut open) = self.open.try_lock() {
            *open = None;
        }
    }

    async fn open(&self) -> Result<MutexGuard<'_, Option<Open<S>>>, Error> {
        let open = self.open.lock().await;
        if self.ended.is_sealed.load(Ordering::SeqCst) { Err(Error::Over) } else { Ok(open) }
    }

    pub(crate) async fn lock(&self) -> Result<impl DerefMut<Target = Open<S>> + '_, Error> {
        MutexGuard::try_map(self.open().await?, Option::as_mut).map_err(|_| Error::Over)
    }

    pub(crate) async fn lock_to_write(&self) -> Result<impl DerefMut<Target = Open<S>> + '_, Error> {
        let open = self.lock().await?;
        if open.is_half_written { Err(Error::HalfWritten) } else { Ok(open) }
    }

    /// The store's own transaction: keys of every kind, Tidegate's as well, and nothing looks at what is written there. For
    /// Tidegate's own crates. An application has [`user`](Self::user). It stays locked until the guard is dropped.
    ///
    /// # Errors
    /// [`Error::Over`].
    #[doc(hidden)]
    pub async fn raw_store(&self) -> Result<impl DerefMut<Target = impl Txn + use<S>> + '_, Error> {
        let open = MutexGuard::try_map(self.open().await?, |open| Some(&mut open.as_mut()?.txn));
        open.map_err(|_| Error::Over)
    }

    /// Tells, also after the end of the transaction, whether the store was away in its midst or refused its commit for no
    /// reason of its own: whoever runs the work of others can tell that from a failure of theirs.
    #[must_use]
    pub fn store_trouble(&self) -> StoreTrouble {
        self.trouble.clone()
    }

    /// What lets nobody else go on with this transaction, once whoever got it should be done with it.
    #[must_use]
    pub fn seal(&self) -> Seal<S> {
        Seal(self.share())
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

    /// The row with an id, on which the transaction depends: it fails with [`Error::Conflict`] (and runs again) if the
    /// row is written or deleted before it commits, or comes into being. Without this a transaction that writes other
    /// rows does not notice.
    ///
    /// Guard no row that many transactions depend on: on some stores two that guard one row conflict.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn find_guarded<M: Model>(&self, id: impl Into<ModelId>) -> Result<Option<M>, Error> {
        let place = Place::of::<M>(id.into())?;
        let mut open = self.lock_to_write().await?;
        let row = open.txn.get(&place.row_key).await?;
        open.txn.guard(place.row_key);
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

    /// Starts a query for the rows of `M` whose field `field` names a row of `P`, by id: the way back along a
    /// [`Reference`](crate::Reference).
    pub fn referencing<M: Model, P: Model>(
        &self,
        parent: impl Into<ModelId>,
        field: &str,
    ) -> Query<'_, S, M> {
        Query::by_reference(self, P::TABLE, parent.into(), field)
    }

    /// Puts the rows into models that their relationships name: `tags`, or `author.company` for one within another.
    /// Each row is read once.
    ///
    /// # Errors
    /// [`Error::Query`] for a relationship that a model does not have, and as [`find`](Self::find).
    pub async fn hydrate<M: Model>(&self, models: &mut [M], relationships: &[&str]) -> Result<(), Error> {
        let paths: Vec<String> = relationships.iter().map(|path| (*path).to_owned()).collect();
        relationship::hydrate(models, &paths, &mut self.lock().await?.txn).await
    }

    /// Writes a row that must not exist.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Unique`], [`Error::ReferenceMissing`], [`Error::Input`], [`Error::Publish`], and what
    /// the store says.
    pub async fn insert<M: Model>(&self, model: &M) -> Result<(), Error> {
        self.insert_with(model, &WriteOptions::default()).await
    }

    /// As [`insert`](Self::insert), with options.
    ///
    /// # Errors
    /// As there.
    pub async fn insert_with<M: Model>(&self, model: &M, options: &WriteOptions) -> Result<(), Error> {
        self.write(model, Before::Absent, options).await.map(drop)
    }

    /// Writes a row that must exist.
    ///
    /// # Errors
    /// [`Error::Missing`], and as [`insert`](Self::insert).
    pub async fn update<M: Model>(&self, model: &M) -> Result<(), Error> {
        self.update_with(model, &WriteOptions::default()).await
    }

    /// As [`update`](Self::update), with options.
    ///
    /// # Errors
    /// As there.
    pub async fn update_with<M: Model>(&self, model: &M, options: &WriteOptions) -> Result<(), Error> {
        self.write(model, Before::Present, options).await.map(drop)
    }

    /// Writes a row, whether or not it exists, and says which it was.
    ///
    /// # Errors
    /// As [`insert`](Self::insert), but for [`Error::Exists`].
    pub async fn save<M: Model>(&self, model: &M) -> Result<Write, Error> {
        self.save_with(model, &WriteOptions::default()).await
    }

    /// As [`save`](Self::save), with options.
    ///
    /// # Errors
    /// As there.
    pub async fn save_with<M: Model>(&self, model: &M, options: &WriteOptions) -> Result<Write, Error> {
        self.write(model, Before::Either, options).await
    }

    /// Removes a row with its index entries and returns it; none if there was none. Rows that name it are deleted or
    /// updated with it, as their [`Reference`](crate::Reference) says.
    ///
    /// # Errors
    /// [`Error::Referenced`] if one of those forbids it, [`Error::TooManyReferences`] and [`Error::TooDeep`] if they
    /// are too many for one transaction, as [`find`](Self::find), and [`Error::Publish`].
    pub async fn delete<M: Model>(&self, id: impl Into<ModelId>) -> Result<Option<M>, Error> {
        self.delete_with(id, &WriteOptions::default()).await
    }

    /// As [`delete`](Self::delete), with options. They are for the events of this row, not for those of rows that are
    /// deleted or updated with it.
    ///
    /// # Errors
    /// As there.
    pub async fn delete_with<M: Model>(
        &self,
        id: impl Into<ModelId>,
        options: &WriteOptions,
    ) -> Result<Option<M>, Error> {
        let place = Place::of::<M>(id.into())?;
        let mut open = self.lock_to_write().await?;
        self.delete_row(&mut open, &place, options).await
    }

    /// Publishes an event that is no model's: it enters its topic's log if the transaction commits, when it is due. None
    /// if it has a [unique id](NewEvent::unique_id) and was published before.
    ///
    /// # Errors
    /// [`Error::Publish`], and what the store says. The event is not written then.
    pub async fn publish(&self, event: NewEvent) -> Result<Option<Published>, Error> {
        let mut guard = self.lock_to_write().await?;
        let open = &mut *guard;
        let (event_type, topic) = event.destination(None);
        open.txn.fetch(vec![], destination_keys(event_type, topic)).await?;
        self.publish_one(open, event, None).await
    }

    /// Publishes a record as it is, without CloudEvents' attributes: a dead letter, or what comes from elsewhere. `create` is
    /// what the topic gets if it is not there; without it, what the settings say.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_record(
        &self,
        topic: &str,
        create: Option<&TopicDefaults>,
        record: &EventValue,
    ) -> Result<Published, Error> {
        let mut guard = self.lock_to_write().await?;
        let open = &mut *guard;
        Ok(open.publisher.publish_record(&mut open.txn, topic, create, record).await?)
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
    ) -> Result<Option<Published>, Error> {
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

    async fn write<M: Model>(
        &self,
        model: &M,
        before: Before,
        options: &WriteOptions,
    ) -> Result<Write, Error> {
        let mut open = self.lock_to_write().await?;
        self.write_row(&mut open, model, before, options).await
    }

    /// Publishes an event; none if its unique id was published before.
    pub(crate) async fn publish_one(
        &self,
        open: &mut Open<S>,
        event: NewEvent,
        subject: Option<&Subject<'_>>,
    ) -> Result<Option<Published>, Error> {
        let settings = &self.shared.settings;
        let mut once = None;
        if let Some(id) = event.once_id() {
            let new = Once::of(&settings.source, id, open.now_ms, settings.unique_id_window_ms)?;
            if new.is_known(&mut open.txn, open.now_ms).await? {
                return Ok(None);
            }
            once = Some(new);
        }
        let id = uuid::Builder::from_random_bytes(self.shared.ambient.random().to_be_bytes()).into_uuid();
        let event = event.complete(subject, &settings.source, open.now_ms, id);
        let published = open.publisher.publish(&mut open.txn, &event).await?;
        if let Some(once) = once {
            once.put(&mut open.txn);
            open.has_unique_ids = true;
        }
        Ok(Some(published))
    }
}
