//! Queries: rows by an index, by a reference, or by id, page by page.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use tidegate_format::{IndexKey, ModelId, ModelKey, ReferenceKey, check_table_name};
use tidegate_store::{Direction, KeyRange, ScanLimit, Store, Txn};

use crate::built::By;
use crate::entries::row_key;
use crate::plan::{self, Asked};
use crate::row::{self, Place};
use crate::tx::Open;
use crate::{Cursor, Error, Index, InputError, Model, QueryError, Reference, ToIndexValue, Tx, relationship};

/// How many rows a page has if the query does not say.
pub const PAGE_LIMIT_DEFAULT: usize = 100;
/// The most rows of a page; a higher limit is taken as this one.
pub const PAGE_LIMIT_MAX: usize = 10_000;
/// A page ends early once its rows have this many bytes.
pub const PAGE_MAX_BYTES: usize = 16 << 20;

/// How many rows are read at a time, so that a page of large rows ends in time.
const ROUND_ROWS: usize = 128;

/// How many keys are counted at a time.
const ROUND_KEYS: usize = 10_000;

/// Which keys a query reads.
#[derive(Clone, Debug)]
enum Source {
    Table,
    Index(String),
    Reference { parent_table: &'static str, parent: ModelId, field: String },
}

/// The keys that answer a query, and whose they are.
struct Resolved {
    range: KeyRange,
    /// The index or the reference; none if the keys are the rows' own.
    by: Option<By>,
}

/// A query over one table. Values are for the index's fields in their order; a range is for the field after them.
///
/// ```
/// # use std::sync::Arc;
/// # use serde::{Deserialize, Serialize};
/// # use tidegate_model::{Db, DbSettings, Error, NoWakeup, Model};
/// # use tidegate_store::{MemoryStore, SystemClock};
/// #[derive(Serialize, Deserialize, Model)]
/// # #[model(crate = tidegate_model)]
/// #[model(table = "trips")]
/// #[model(index(name = "by_line_and_day", fields = [line, day]))]
/// struct Trip {
///     id: i64,
///     line: String,
///     day: i64,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let store = MemoryStore::new(Arc::new(SystemClock));
/// # let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
/// db.transaction(|tx| async move {
///     for id in 0..10 {
///         tx.insert(&Trip { id, line: "A".to_owned(), day: id - 5 }).await?;
///     }
///     Ok(())
/// })
/// .await?;
/// let snapshot = db.snapshot().await?;
/// let trips = || snapshot.query::<Trip>("by_line_and_day").value("A");
/// assert_eq!(trips().range(-2..2).count().await?, 4);
/// assert_eq!(trips().reverse().first().await?.map(|trip| trip.day), Some(4));
///
/// let page = trips().limit(6).fetch().await?;
/// let next = page.next.expect("there are more");
/// assert_eq!(trips().limit(6).cursor(next.as_str()).fetch().await?.rows.len(), 4);
/// # Ok(())
/// # }
/// ```
#[must_use = "a query does nothing until it is fetched"]
pub struct Query<'t, S: Store, M> {
    tx: &'t Tx<S>,
    source: Source,
    values: Vec<Asked>,
    range: Option<(Bound<Asked>, Bound<Asked>)>,
    limit: usize,
    direction: Direction,
    cursor: Option<Cursor>,
    relationships: Vec<String>,
    model: PhantomData<fn() -> M>,
}

impl<S: Store, M> Clone for Query<'_, S, M> {
    fn clone(&self) -> Self {
        Self {
            tx: self.tx,
            source: self.source.clone(),
            values: self.values.clone(),
            range: self.range.clone(),
            limit: self.limit,
            direction: self.direction,
            cursor: self.cursor.clone(),
            relationships: self.relationships.clone(),
            model: PhantomData,
        }
    }
}

/// One page of a query's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, or their ids, in the query's order.
    pub rows: Vec<T>,
    /// What continues after them; none if there is no more.
    pub next: Option<Cursor>,
}

/// What a page was read from.
struct Found<T> {
    rows: Vec<T>,
    last_key: Option<Bytes>,
    has_more: bool,
}

impl<'t, S: Store, M: Model> Query<'t, S, M> {
    pub(crate) fn by_index(tx: &'t Tx<S>, index: &str) -> Self {
        Self { source: Source::Index(index.to_owned()), ..Self::by_id(tx) }
    }

    pub(crate) fn by_reference(
        tx: &'t Tx<S>,
        parent_table: &'static str,
        parent: ModelId,
        field: &str,
    ) -> Self {
        let source = Source::Reference { parent_table, parent, field: field.to_owned() };
        Self { source, ..Self::by_id(tx) }
    }

    pub(crate) fn by_id(tx: &'t Tx<S>) -> Self {
        Self {
            tx,
            source: Source::Table,
            values: vec![],
            range: None,
            limit: PAGE_LIMIT_DEFAULT,
            direction: Direction::Forward,
            cursor: None,
            relationships: vec![],
            model: PhantomData,
        }
    }

    /// Only rows with this value in the index's next field.
    pub fn value(mut self, value: impl ToIndexValue) -> Self {
        self.values.push(value.to_index_value());
        self
    }

    /// Only rows in this range of the field after those of [`value`](Self::value).
    pub fn range<V: ToIndexValue>(mut self, range: impl RangeBounds<V>) -> Self {
        let bound = |bound: Bound<&V>| bound.map(ToIndexValue::to_index_value);
        self.range = Some((bound(range.start_bound()), bound(range.end_bound())));
        self
    }

    /// At most this many rows, from 1 to [`PAGE_LIMIT_MAX`].
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, PAGE_LIMIT_MAX);
        self
    }

    /// The last rows first.
    pub fn reverse(mut self) -> Self {
        self.direction = Direction::Backward;
        self
    }

    /// Goes on where a page of the same query ended.
    pub fn cursor(mut self, cursor: impl Into<Cursor>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// Puts the rows that a relationship of the model names into each row: `tags`, or `author.company` for one within
    /// another. Not for [`ids`](Self::ids) and [`count`](Self::count).
    pub fn relationship(mut self, path: impl Into<String>) -> Self {
        self.relationships.push(path.into());
        self
    }

    /// One page of rows. By an index over a field with several values, a row comes once for each that is asked for.
    ///
    /// # Errors
    /// [`Error::Query`] if the index cannot answer this, or not yet, or the cursor is another query's, and what the store
    /// says.
    pub async fn fetch(self) -> Result<Page<M>, Error> {
        let Resolved { range, by } = self.resolve()?;
        let rest = self.rest_of(&range)?;
        let mut open = self.tx.lock().await?;
        let mut found = match by {
            Some(by) => self.read_by_key(&mut open, &rest, by).await?,
            None => self.read_by_id(&mut open, &rest).await?,
        };
        relationship::hydrate(&mut found.rows, &self.relationships, &mut open.txn).await?;
        Ok(self.page(found, &range))
    }

    /// The first row.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn first(self) -> Result<Option<M>, Error> {
        Ok(self.limit(1).fetch().await?.rows.pop())
    }

    /// All rows, one after the other, read a page of [`limit`](Self::limit) at a time; other calls of the transaction
    /// come in between.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch), in the stream, which then ends.
    pub fn stream(self) -> impl Stream<Item = Result<M, Error>> + Send + 't {
        let pages = stream::try_unfold(Some(self), |query: Option<Self>| async move {
            let Some(query) = query else { return Ok::<_, Error>(None) };
            let Page { rows, next } = query.clone().fetch().await?;
            let rest = next.map(|cursor| query.cursor(cursor));
            Ok(Some((stream::iter(rows.into_iter().map(Ok)), rest)))
        });
        pages.try_flatten()
    }

    /// How many rows there are, without reading them and whatever the limit. By an index over a field with several
    /// values, how many entries.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn count(self) -> Result<u64, Error> {
        let Resolved { range, by } = self.resolve()?;
        let mut rest = self.rest_of(&range)?;
        let mut open = self.tx.lock().await?;
        self.require(&mut open, by).await?;
        let mut count = 0;
        while !rest.is_empty() {
            let keys = open.txn.scan_keys(&rest, ROUND_KEYS, Direction::Forward).await?;
            count += u64::try_from(keys.len()).expect("a bounded number");
            let Some(last) = keys.last().filter(|_| keys.len() == ROUND_KEYS) else { break };
            rest.start = KeyRange::successor(last);
        }
        Ok(count)
    }

    /// One page of ids, without reading the rows.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn ids(self) -> Result<Page<ModelId>, Error> {
        let Resolved { range, by } = self.resolve()?;
        let rest = self.rest_of(&range)?;
        let mut open = self.tx.lock().await?;
        self.require(&mut open, by).await?;
        let mut keys = self.scan_keys(&mut open, &rest).await?;
        let has_more = keys.len() > self.limit;
        keys.truncate(self.limit);
        let rows = keys.iter().map(|key| id_in(key, by)).collect::<Result<_, _>>()?;
        Ok(self.page(Found { rows, last_key: keys.pop(), has_more }, &range))
    }

    /// The keys that answer the query, and whose they are.
    fn resolve(&self) -> Result<Resolved, Error> {
        check_table_name(M::TABLE).map_err(InputError::Name)?;
        match &self.source {
            Source::Table => {
                let (start, end) = ModelKey::range(M::TABLE);
                Ok(Resolved { range: KeyRange { start, end }, by: None })
            }
            Source::Index(name) => {
                let index = M::indexes().iter().find(|index| index.name() == name).ok_or_else(|| {
                    let known = M::indexes().iter().map(Index::name).collect();
                    QueryError::UnknownIndex { table: M::TABLE, index: name.clone(), known }
                })?;
                let range = plan::key_range(index, self.values.clone(), self.range.clone())?;
                Ok(Resolved { range, by: Some(By::Index(index.name())) })
            }
            Source::Reference { parent_table, parent, field } => {
                let is_asked =
                    |known: &&Reference<M>| known.field() == field && known.parent_table() == *parent_table;
                let reference = M::references().iter().find(is_asked).ok_or_else(|| {
                    let (field, parent_table) = (field.clone(), *parent_table);
                    QueryError::UnknownReference { table: M::TABLE, field, parent_table }
                })?;
                let parent = Place::in_table(parent_table, parent.clone())?.id_bytes;
                let (start, end) = ReferenceKey::range_field(parent_table, &parent, M::TABLE, field);
                let by = By::Reference { field: reference.field(), parent_table };
                Ok(Resolved { range: KeyRange { start, end }, by: Some(by) })
            }
        }
    }

    fn rest_of(&self, range: &KeyRange) -> Result<KeyRange, QueryError> {
        match &self.cursor {
            Some(cursor) => cursor.rest_of(range, self.direction, M::TABLE),
            None => Ok(range.clone()),
        }
    }

    fn page<T>(&self, found: Found<T>, range: &KeyRange) -> Page<T> {
        let last_key = found.last_key.filter(|_| found.has_more);
        let next = last_key.map(|key| Cursor::after(&key, range, self.direction));
        Page { rows: found.rows, next }
    }

    /// Refuses an index or a reference that does not have all rows. The table's list of them comes in the round of the
    /// page's rows, or in one of its own if there are none.
    async fn require(&self, open: &mut Open<S>, by: Option<By>) -> Result<(), Error> {
        let Some(by) = by else { return Ok(()) };
        let definition = self.tx.shared().definition::<M>();
        definition.require(&mut open.txn, by).await
    }

    /// The keys of the page, and one more if there is one.
    async fn scan_keys(&self, open: &mut Open<S>, range: &KeyRange) -> Result<Vec<Bytes>, Error> {
        if range.is_empty() {
            return Ok(vec![]);
        }
        Ok(open.txn.scan_keys(range, self.limit + 1, self.direction).await?)
    }

    async fn read_by_key(&self, open: &mut Open<S>, range: &KeyRange, by: By) -> Result<Found<M>, Error> {
        let mut keys = self.scan_keys(open, range).await?;
        let mut has_more = keys.len() > self.limit;
        keys.truncate(self.limit);
        let list_key = self.tx.shared().definition::<M>().key.clone();
        let mut rows = Vec::with_capacity(keys.len());
        let mut bytes = 0;
        for round in keys.chunks(ROUND_ROWS) {
            if bytes >= PAGE_MAX_BYTES {
                has_more = true;
                break;
            }
            let ids = round.iter().map(|key| id_in(key, Some(by))).collect::<Result<Vec<_>, _>>()?;
            let row_keys: Vec<Bytes> = ids.iter().map(|id| row_key(M::TABLE, id)).collect();
            let found = open.txn.fetch(row_keys, [list_key.clone()]).await?;
            self.require(open, Some(by)).await?;
            for (id, row) in ids.into_iter().zip(found) {
                let Some(row) = row else {
                    return Err(Error::Dangling { table: M::TABLE, index: by.name(), id });
                };
                bytes += row.len();
                rows.push(row::decode_row(row, &id)?);
            }
        }
        self.require(open, Some(by)).await?;
        let last_key = rows.len().checked_sub(1).map(|last| keys.swap_remove(last));
        Ok(Found { rows, last_key, has_more })
    }

    async fn read_by_id(&self, open: &mut Open<S>, range: &KeyRange) -> Result<Found<M>, Error> {
        let limit = ScanLimit { count: self.limit + 1, value_bytes: PAGE_MAX_BYTES };
        let mut found = open.txn.scan(range, limit, self.direction).await?;
        let bytes: usize = found.iter().map(|(_, row)| row.len()).sum();
        let has_more = found.len() > self.limit || bytes >= PAGE_MAX_BYTES;
        found.truncate(self.limit);
        let last_key = found.last().map(|(key, _)| key.clone());
        let decode = |(key, row): (Bytes, Bytes)| row::decode_row(row, &id_in(&key, None)?);
        let rows = found.into_iter().map(decode).collect::<Result<_, _>>()?;
        Ok(Found { rows, last_key, has_more })
    }
}

/// The id at the end of a key.
fn id_in(key: &[u8], by: Option<By>) -> Result<ModelId, Error> {
    let id = match by {
        Some(By::Index(_)) => IndexKey::decode(key)?.id,
        Some(By::Reference { .. }) => ReferenceKey::decode(key)?.id,
        None => ModelKey::decode(key)?.id,
    };
    Ok(ModelId::decode(&id)?)
}
