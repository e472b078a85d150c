//! Queries: rows by an index, or by id, page by page.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use tidegate_format::{IndexKey, ModelId, ModelKey, check_table_name};
use tidegate_store::{Direction, KeyRange, ScanLimit, Store, Txn};

use crate::index::ToIndexValue;
use crate::plan::{self, Asked};
use crate::row;
use crate::tx::Open;
use crate::{Cursor, Error, Index, InputError, Model, QueryError, Tx};

/// How many rows a page has if the query does not say.
pub const PAGE_LIMIT_DEFAULT: usize = 100;
/// The most rows of a page; a higher limit is taken as this one.
pub const PAGE_LIMIT_MAX: usize = 10_000;
/// A page ends early once its rows have this many bytes.
pub const PAGE_MAX_BYTES: usize = 16 << 20;

/// How many rows are read at a time, so that a page of large rows ends in time.
const ROUND_ROWS: usize = 128;

/// A query over one table. Values are for the index's fields in their order; a range is for the field after them.
#[must_use = "a query does nothing until it is fetched"]
pub struct Query<'t, S: Store, M> {
    tx: &'t Tx<S>,
    index: Option<String>,
    values: Vec<Asked>,
    range: Option<(Bound<Asked>, Bound<Asked>)>,
    limit: usize,
    direction: Direction,
    cursor: Option<Cursor>,
    model: PhantomData<fn() -> M>,
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
        Self { index: Some(index.to_owned()), ..Self::by_id(tx) }
    }

    pub(crate) fn by_id(tx: &'t Tx<S>) -> Self {
        Self {
            tx,
            index: None,
            values: vec![],
            range: None,
            limit: PAGE_LIMIT_DEFAULT,
            direction: Direction::Forward,
            cursor: None,
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

    /// One page of rows.
    ///
    /// # Errors
    /// [`Error::Query`] if the index cannot answer this or the cursor is another query's, and what the store says.
    pub async fn fetch(self) -> Result<Page<M>, Error> {
        let (range, index) = self.resolve()?;
        let rest = self.rest_of(&range)?;
        let mut open = self.tx.lock().await?;
        let found = match index {
            Some(index) => self.read_by_index(&mut open, &rest, index).await?,
            None => self.read_by_id(&mut open, &rest).await?,
        };
        Ok(self.page(found, &range))
    }

    /// The first row.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn first(self) -> Result<Option<M>, Error> {
        Ok(self.limit(1).fetch().await?.rows.pop())
    }

    /// One page of ids, without reading the rows.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn ids(self) -> Result<Page<ModelId>, Error> {
        let (range, index) = self.resolve()?;
        let rest = self.rest_of(&range)?;
        let mut open = self.tx.lock().await?;
        let mut keys = self.scan_keys(&mut open, &rest).await?;
        let has_more = keys.len() > self.limit;
        keys.truncate(self.limit);
        let rows = keys.iter().map(|key| id_in(key, index.is_some())).collect::<Result<_, _>>()?;
        Ok(self.page(Found { rows, last_key: keys.pop(), has_more }, &range))
    }

    /// The keys that answer the query, and the index that they are of.
    fn resolve(&self) -> Result<(KeyRange, Option<&'static Index<M>>), Error> {
        check_table_name(M::TABLE).map_err(InputError::Name)?;
        let Some(name) = &self.index else {
            let (start, end) = ModelKey::range(M::TABLE);
            return Ok((KeyRange { start, end }, None));
        };
        let index = M::indexes().iter().find(|index| index.name() == name).ok_or_else(|| {
            let known = M::indexes().iter().map(Index::name).collect();
            QueryError::UnknownIndex { table: M::TABLE, index: name.clone(), known }
        })?;
        let range = plan::key_range(index, self.values.clone(), self.range.clone())?;
        Ok((range, Some(index)))
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

    /// The keys of the page, and one more if there is one.
    async fn scan_keys(&self, open: &mut Open<S>, range: &KeyRange) -> Result<Vec<Bytes>, Error> {
        if range.is_empty() {
            return Ok(vec![]);
        }
        Ok(open.txn.scan_keys(range, self.limit + 1, self.direction).await?)
    }

    async fn read_by_index(
        &self,
        open: &mut Open<S>,
        range: &KeyRange,
        index: &Index<M>,
    ) -> Result<Found<M>, Error> {
        let mut keys = self.scan_keys(open, range).await?;
        let mut has_more = keys.len() > self.limit;
        keys.truncate(self.limit);
        let mut rows = Vec::with_capacity(keys.len());
        let mut bytes = 0;
        for round in keys.chunks(ROUND_ROWS) {
            if bytes >= PAGE_MAX_BYTES {
                has_more = true;
                break;
            }
            let ids = round.iter().map(|key| id_in(key, true)).collect::<Result<Vec<_>, _>>()?;
            let row_key = |id: &ModelId| ModelKey { table: M::TABLE.to_owned(), id: id.encode() }.encode();
            let row_keys: Vec<Bytes> = ids.iter().map(row_key).collect();
            for (id, row) in ids.into_iter().zip(open.txn.get_many(&row_keys).await?) {
                let Some(row) = row else {
                    return Err(Error::Dangling { table: M::TABLE, index: index.name(), id });
                };
                bytes += row.len();
                rows.push(row::decode_row(row, &id)?);
            }
        }
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
        let decode = |(key, row): (Bytes, Bytes)| row::decode_row(row, &id_in(&key, false)?);
        let rows = found.into_iter().map(decode).collect::<Result<_, _>>()?;
        Ok(Found { rows, last_key, has_more })
    }
}

/// The id at the end of a key.
fn id_in(key: &[u8], is_index: bool) -> Result<ModelId, Error> {
    let id = if is_index { IndexKey::decode(key)?.id } else { ModelKey::decode(key)?.id };
    Ok(ModelId::decode(&id)?)
}
