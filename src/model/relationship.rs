//! Relationships: fields that take the rows that other fields name, when a query asks for them.
//!
//! Rows are read in batches, each once for all models that name it. What was taken in is not kept with the model: a
//! write stores the ids alone.

use std::collections::HashMap;

use bytes::Bytes;
use futures::future::BoxFuture;
use tidegate_format::ModelId;
use tidegate_store::{ReadError, Txn};

use crate::entries::row_key;
use crate::prefetch::PrefetchTxn;
use crate::row;
use crate::{Error, Model, QueryError};

/// How many rows are read in one round.
const ROUND_ROWS: usize = 1_000;

/// Reads the rows that models name.
pub struct RelatedRows<'a>(&'a mut dyn GetRows);

/// What of a transaction relationships need, whatever its store.
pub(crate) trait GetRows: Send {
    fn get_rows<'a>(&'a mut self, keys: &'a [Bytes]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, ReadError>>;
}

impl<T: Txn> GetRows for PrefetchTxn<T> {
    fn get_rows<'a>(&'a mut self, keys: &'a [Bytes]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        Box::pin(self.get_many(keys))
    }
}

/// How a relationship's rows get into models: [`fill`] with the fields filled in.
pub type Fill<M> = for<'a> fn(&'a mut [M], Vec<String>, RelatedRows<'a>) -> BoxFuture<'a, Result<(), Error>>;

/// A field that takes the rows that another field names.
///
/// ```
/// # use std::sync::Arc;
/// # use serde::{Deserialize, Serialize};
/// # use tidegate_model::{Db, DbSettings, Error, NoWakeup, Model};
/// # use tidegate_store::{MemoryStore, SystemClock};
/// #[derive(Clone, Serialize, Deserialize, Model)]
/// # #[model(crate = tidegate_model)]
/// #[model(table = "authors", referenced_by(Book))]
/// struct Author {
///     id: String,
/// }
///
/// #[derive(Clone, Serialize, Deserialize, Model)]
/// # #[model(crate = tidegate_model)]
/// #[model(table = "books")]
/// struct Book {
///     id: i64,
///     #[model(references = Author, on_delete = restrict)]
///     author_id: String,
///     #[serde(default)]
///     #[model(relationship = author_id)]
///     author: Option<Author>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let store = MemoryStore::new(Arc::new(SystemClock));
/// # let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
/// db.transaction(|tx| async move {
///     tx.insert(&Author { id: "ada".to_owned() }).await?;
///     tx.insert(&Book { id: 1, author_id: "ada".to_owned(), author: None }).await
/// })
/// .await?;
/// let snapshot = db.snapshot().await?;
/// let plain = snapshot.list::<Book>().first().await?.expect("a book");
/// assert!(plain.author.is_none());
/// let filled = snapshot.list::<Book>().relationship("author").first().await?.expect("a book");
/// assert_eq!(filled.author.expect("its author").id, "ada");
/// # Ok(())
/// # }
/// ```
pub struct Relationship<M: 'static> {
    name: &'static str,
    fill: Fill<M>,
}

impl<M> Relationship<M> {
    /// A relationship with a name, by which queries ask for it. `fill` calls [`fill`].
    #[must_use]
    pub const fn new(name: &'static str, fill: Fill<M>) -> Self {
        Self { name, fill }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// A field that rows go into: `Vec<T>` takes those that are there, in the order of their ids, `Option<T>` the first.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot take related rows",
    label = "neither a `Vec` nor an `Option` of a model"
)]
pub trait Related {
    /// The model whose rows they are.
    type Model: Model;

    /// The field with these rows.
    fn from_rows(rows: Vec<Self::Model>) -> Self;
}

impl<T: Model> Related for Vec<T> {
    type Model = T;

    fn from_rows(rows: Vec<T>) -> Self {
        rows
    }
}

impl<T: Model> Related for Option<T> {
    type Model = T;

    fn from_rows(rows: Vec<T>) -> Self {
        rows.into_iter().next()
    }
}

/// Puts the rows that `ids` names into models by `set`, after the relationships `nested` of those rows are filled.
/// Rows that are not there are left out.
#[must_use]
pub fn fill<'a, M: Model, R: Related + 'static>(
    models: &'a mut [M],
    nested: Vec<String>,
    rows: RelatedRows<'a>,
    ids: fn(&M) -> Vec<ModelId>,
    set: fn(&mut M, R),
) -> BoxFuture<'a, Result<(), Error>> {
    Box::pin(async move {
        let wanted: Vec<Vec<ModelId>> = models.iter().map(ids).collect();
        let found = read::<R::Model>(&wanted, &mut *rows.0).await?;
        let mut counts = Vec::with_capacity(models.len());
        let mut flat: Vec<R::Model> = vec![];
        for ids in &wanted {
            let before = flat.len();
            for id in ids {
                if let Some(row) = found.get(id) {
                    flat.push(row::decode_row(row.clone(), id)?);
                }
            }
            counts.push(flat.len() - before);
        }
        hydrate(&mut flat, &nested, &mut *rows.0).await?;
        let mut flat = flat.into_iter();
        for (model, count) in models.iter_mut().zip(counts) {
            set(model, R::from_rows(flat.by_ref().take(count).collect()));
        }
        Ok(())
    })
}

/// The rows of a table that are named, each read once.
async fn read<T: Model>(
    wanted: &[Vec<ModelId>],
    rows: &mut dyn GetRows,
) -> Result<HashMap<ModelId, Bytes>, Error> {
    let mut ids: Vec<&ModelId> = wanted.iter().flatten().collect();
    ids.sort_unstable();
    ids.dedup();
    let mut found = HashMap::with_capacity(ids.len());
    for round in ids.chunks(ROUND_ROWS) {
        let keys: Vec<Bytes> = round.iter().map(|id| row_key(T::TABLE, id)).collect();
        let values = rows.get_rows(&keys).await?;
        let there = round.iter().zip(values).filter_map(|(id, row)| Some(((*id).clone(), row?)));
        found.extend(there);
    }
    Ok(found)
}

/// Fills the relationships that `paths` name: `tags`, or `author.company` for one within another.
pub(crate) async fn hydrate<M: Model>(
    models: &mut [M],
    paths: &[String],
    rows: &mut dyn GetRows,
) -> Result<(), Error> {
    let mut by_name: Vec<(&Relationship<M>, Vec<String>)> = vec![];
    for path in paths {
        let (name, rest) =
            path.split_once('.').map_or((path.as_str(), None), |(name, rest)| (name, Some(rest)));
        let relationship = M::relationships().iter().find(|known| known.name == name).ok_or_else(|| {
            let known = M::relationships().iter().map(Relationship::name).collect();
            QueryError::UnknownRelationship { table: M::TABLE, relationship: name.to_owned(), known }
        })?;
        match by_name.iter_mut().find(|(known, _)| known.name == name) {
            Some((_, nested)) => nested.extend(rest.map(str::to_owned)),
            None => by_name.push((relationship, rest.map(str::to_owned).into_iter().collect())),
        }
    }
    for (relationship, nested) in by_name {
        (relationship.fill)(models, nested, RelatedRows(&mut *rows)).await?;
    }
    Ok(())
}
