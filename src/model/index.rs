//! Index definitions: which fields, in which order, and of which rows.

use tidegate_format::{IndexKey, IndexValue, UniqueKey, check_table_name};

use crate::entries::Entries;
use crate::row::Place;
use crate::{Error, Field, InputError, Model};

/// The most entries that one row may have in one index.
pub const INDEX_ENTRIES_MAX: usize = 1_000;

/// An index: a row is found by the values of the fields, in their order.
pub struct Index<M: 'static> {
    name: &'static str,
    fields: &'static [Field<M>],
    condition: Option<fn(&M) -> bool>,
    is_unique: bool,
}

impl<M> Index<M> {
    /// An index with a name (by the rules of [`Model::TABLE`]) and at least one field. A row of which a field has no
    /// value is not in it; one of which a field has several has an entry for each.
    #[must_use]
    pub const fn new(name: &'static str, fields: &'static [Field<M>]) -> Self {
        assert!(!fields.is_empty(), "an index has at least one field");
        Self { name, fields, condition: None, is_unique: false }
    }

    /// Keeps only the rows in the index for which `condition` holds. Write `Index::<TheModel>::new(…).when(…)`: the
    /// compiler does not find the type behind a call.
    #[must_use]
    pub const fn when(mut self, condition: fn(&M) -> bool) -> Self {
        self.condition = Some(condition);
        self
    }

    /// No two rows in the index may have the same values: the second is refused with [`Error::Unique`].
    #[must_use]
    pub const fn unique(mut self) -> Self {
        self.is_unique = true;
        self
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its fields.
    #[must_use]
    pub const fn fields(&self) -> &'static [Field<M>] {
        self.fields
    }

    /// Whether two rows may not have the same values.
    #[must_use]
    pub const fn is_unique(&self) -> bool {
        self.is_unique
    }
}

impl<M: Model> Index<M> {
    /// The keys of a row's entries; none if the row is not in the index.
    pub(crate) fn collect(&self, model: &M, place: &Place, entries: &mut Entries) -> Result<(), Error> {
        check_table_name(self.name).map_err(InputError::Name)?;
        if self.condition.is_some_and(|holds| !holds(model)) {
            return Ok(());
        }
        let (table, index) = (M::TABLE, self.name);
        let mut combinations = vec![Vec::with_capacity(self.fields.len())];
        for field in self.fields {
            let read = field.values(model);
            if read.has_nan {
                return Err(InputError::NotANumber { table, index, field: field.name() }.into());
            }
            let actual = combinations.len().saturating_mul(read.values.len());
            if actual > INDEX_ENTRIES_MAX {
                let (id, field, limit) = (place.id.clone(), field.name(), INDEX_ENTRIES_MAX);
                return Err(InputError::TooManyEntries { table, index, field, id, actual, limit }.into());
            }
            combinations = with_each(&combinations, &read.values);
        }
        for values in combinations {
            let too_long =
                |cause| Error::from(InputError::IndexKey { table, index, id: place.id.clone(), cause });
            let (table, index) = (table.to_owned(), index.to_owned());
            if self.is_unique {
                let claim = UniqueKey { table: table.clone(), index: index.clone(), values: values.clone() };
                entries.claim(self.name, claim.encode().map_err(too_long)?);
            }
            let key = IndexKey { table, index, values, id: place.id_bytes.clone() };
            entries.add(key.encode().map_err(too_long)?);
        }
        Ok(())
    }
}

/// Every combination followed by every value.
fn with_each(combinations: &[Vec<IndexValue>], values: &[IndexValue]) -> Vec<Vec<IndexValue>> {
    let followed = |combination: &Vec<IndexValue>, value: &IndexValue| {
        let mut longer = combination.clone();
        longer.push(value.clone());
        longer
    };
    let pairs =
        combinations.iter().flat_map(|combination| values.iter().map(move |value| (combination, value)));
    pairs.map(|(combination, value)| followed(combination, value)).collect()
}
