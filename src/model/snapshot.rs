//! Reading without writing: one snapshot, no conflict, nothing to commit.

use tidegate_format::ModelId;
use tidegate_store::Store;

use crate::{Db, Error, Model, Query, Tx, UserView};

/// Everything as it was at one moment, to be read. Nobody waits for it: no writer conflicts with it, and neither relays nor
/// back-fills are held up while it is open.
///
/// How long it can be kept is up to the store. In process it lasts until it is dropped, and what was overwritten since
/// takes up space until then. On TiKV too, as long as this process runs and reaches the cluster. Through a broker
/// (`Tidegate::connect`) it ends when it was not read from for `extension.session.idle.ms` (a minute), and at the age of
/// `extension.session.max.ms` (ten minutes): reads fail with [`Error::Read`] then, and a new snapshot is to be taken.
///
/// ```
/// # use std::sync::Arc;
/// # use serde::{Deserialize, Serialize};
/// # use tidegate_model::{Db, DbSettings, Error, NoWakeup, Model};
/// # use tidegate_store::{MemoryStore, SystemClock};
/// #[derive(Serialize, Deserialize, Model)]
/// # #[model(crate = tidegate_model)]
/// #[model(table = "counters")]
/// struct Counter {
///     id: String,
///     count: u64,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let store = MemoryStore::new(Arc::new(SystemClock));
/// # let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
/// let before = db.snapshot().await?;
/// let counter = &Counter { id: "visits".to_owned(), count: 1 };
/// db.transaction(|tx| async move { tx.insert(counter).await }).await?;
/// assert!(before.find::<Counter>("visits").await?.is_none());
/// assert!(db.snapshot().await?.find::<Counter>("visits").await?.is_some());
/// # Ok(())
/// # }
/// ```
pub struct Snapshot<S: Store>(Tx<S>);

impl<S: Store> Db<S> {
    /// A snapshot of now.
    ///
    /// # Errors
    /// What the store says.
    pub async fn snapshot(&self) -> Result<Snapshot<S>, Error> {
        let shared = self.shared();
        let txn = shared.store.begin_reading().await?;
        Ok(Snapshot(Tx::new(shared.clone(), txn)))
    }
}

impl<S: Store> Snapshot<S> {
    /// As [`Tx::find`].
    ///
    /// # Errors
    /// As there.
    pub async fn find<M: Model>(&self, id: impl Into<ModelId>) -> Result<Option<M>, Error> {
        self.0.find(id).await
    }

    /// As [`Tx::find_many`].
    ///
    /// # Errors
    /// As there.
    pub async fn find_many<M: Model>(
        &self,
        ids: impl IntoIterator<Item = impl Into<ModelId>>,
    ) -> Result<Vec<Option<M>>, Error> {
        self.0.find_many(ids).await
    }

    /// As [`Tx::query`].
    pub fn query<M: Model>(&self, index: &str) -> Query<'_, S, M> {
        self.0.query(index)
    }

    /// As [`Tx::list`].
    pub fn list<M: Model>(&self) -> Query<'_, S, M> {
        self.0.list()
    }

    /// As [`Tx::referencing`].
    pub fn referencing<M: Model, P: Model>(
        &self,
        parent: impl Into<ModelId>,
        field: &str,
    ) -> Query<'_, S, M> {
        self.0.referencing::<M, P>(parent, field)
    }

    /// As [`Tx::hydrate`].
    ///
    /// # Errors
    /// As there.
    pub async fn hydrate<M: Model>(&self, models: &mut [M], relationships: &[&str]) -> Result<(), Error> {
        self.0.hydrate(models, relationships).await
    }

    /// The application's own keys, to be read.
    ///
    /// ```compile_fail,E0599
    /// # use tidegate_model::{Error, Snapshot, Store};
    /// async fn write<S: Store>(snapshot: Snapshot<S>) -> Result<(), Error> {
    ///     snapshot.user().put("gate/D7", "open").await
    /// }
    /// ```
    pub fn user(&self) -> UserView<'_, S> {
        UserView::of(&self.0)
    }
}
