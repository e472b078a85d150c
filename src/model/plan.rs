//! From what a query asks for to the keys that answer it.

use std::ops::Bound;

use tidegate_format::{FormatError, IndexKey, IndexValue};
use tidegate_store::KeyRange;

use crate::{Index, Model, QueryError};

/// A value that was asked for; none if it was NaN.
pub(crate) type Asked = Option<IndexValue>;

/// The keys of the entries with these values, and in this range of the field after them.
pub(crate) fn key_range<M: Model>(
    index: &Index<M>,
    values: Vec<Asked>,
    range: Option<(Bound<Asked>, Bound<Asked>)>,
) -> Result<KeyRange, QueryError> {
    let given = values.len() + usize::from(range.is_some());
    let fields = index.fields();
    if given > fields.len() {
        let last_field = fields.last().expect("an index has at least one field").name();
        return Err(QueryError::TooManyValues { table: M::TABLE, index: index.name(), last_field, given });
    }
    let mut prefix = Vec::with_capacity(given);
    for value in values {
        prefix.push(check_value(index, prefix.len(), value)?);
    }
    let at = prefix.len();
    let all = keys_of(index, &prefix)?;
    let Some((start, end)) = range else { return Ok(all) };

    let mut keys_at = |value: Asked| -> Result<KeyRange, QueryError> {
        prefix.truncate(at);
        prefix.push(check_value(index, at, value)?);
        keys_of(index, &prefix)
    };
    let start = match start {
        Bound::Unbounded => all.start,
        Bound::Included(value) => keys_at(value)?.start,
        Bound::Excluded(value) => keys_at(value)?.end,
    };
    let end = match end {
        Bound::Unbounded => all.end,
        Bound::Included(value) => keys_at(value)?.end,
        Bound::Excluded(value) => keys_at(value)?.start,
    };
    Ok(KeyRange { start, end })
}

fn check_value<M: Model>(index: &Index<M>, at: usize, value: Asked) -> Result<IndexValue, QueryError> {
    let definition = &index.fields()[at];
    let (table, index, field, expected) =
        (M::TABLE, index.name(), definition.name(), definition.field_type());
    let value = value.ok_or(QueryError::NotANumber { table, index, field })?;
    let wrong = |found| QueryError::WrongType { table, index, field, expected, found };
    Ok(definition.fold(expected.take(value).map_err(wrong)?))
}

fn keys_of<M: Model>(index: &Index<M>, values: &[IndexValue]) -> Result<KeyRange, QueryError> {
    let too_long = |cause: FormatError| QueryError::TooLong { table: M::TABLE, index: index.name(), cause };
    let (start, end) = IndexKey::range(M::TABLE, index.name(), values).map_err(too_long)?;
    Ok(KeyRange { start, end })
}
