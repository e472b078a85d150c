//! Reading without writing: one snapshot, no conflict, nothing to commit.

use tidegate_format::ModelId;
use tidegate_store::Store;

use crate::{Db, Error, Model, Query, Tx, UserSpace};

/// Everything as it was at one moment. It can be kept as long as the store keeps what was overwritten since.
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
        Ok(Snapshot(self.begin().await?))
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

    /// The application's own keys. What is written to them here goes nowhere.
    pub fn user(&self) -> UserSpace<'_, S> {
        self.0.user()
    }
}
