//! Index definitions: which fields, in which order, and of which rows.

use tidegate_format::{IndexKey, IndexValue, UniqueKey, check_table_name};

use crate::const_text::ConstText;
use crate::entries::Entries;
use crate::row::Place;
use crate::{Error, Field, InputError, Model};

/// The most entries that one row may have in one index.
pub const INDEX_ENTRIES_MAX: usize = 1_000;

/// An index: a row is found by the values of the fields, in their order.
///
/// A row of a field without a value is not in it, one with several values has an entry for each. Entries sort as the
/// values do: negative numbers, times and any text included. An index whose condition or meaning changes needs another
/// name: what the entries of the old one say is not what the new one asks.
///
/// ```
/// # use std::sync::Arc;
/// # use serde::{Deserialize, Serialize};
/// # use tidegate_model::{Db, DbSettings, Error, NoWakeup, Model};
/// # use tidegate_store::{MemoryStore, SystemClock};
/// #[derive(Serialize, Deserialize, Model)]
/// # #[model(crate = tidegate_model)]
/// #[model(table = "parcels")]
/// #[model(index(name = "by_city_and_weight", fields = [to.city, weight]))]
/// #[model(index(name = "lost_by_city", fields = [to.city], when = |parcel| parcel.is_lost))]
/// struct Parcel {
///     id: i64,
///     #[model(unique, ignore_case)]
///     code: String,
///     #[model(index)]
///     labels: Vec<String>,
///     to: Address,
///     weight: f64,
///     is_lost: bool,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Address {
///     city: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let store = MemoryStore::new(Arc::new(SystemClock));
/// # let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
/// let parcel = |id: i64| Parcel {
///     id,
///     code: format!("P{id}"),
///     labels: vec!["fragile".to_owned(), "express".to_owned()],
///     to: Address { city: "Delft".to_owned() },
///     weight: 2.5 - id as f64,
///     is_lost: id == 4,
/// };
/// let parcel = &parcel;
/// db.transaction(|tx| async move {
///     for id in 0..5 {
///         tx.insert(&parcel(id)).await?;
///     }
///     Ok(())
/// })
/// .await?;
/// let found = db.snapshot().await?;
/// assert_eq!(found.query::<Parcel>("by_code").value("p3").count().await?, 1);
/// assert_eq!(found.query::<Parcel>("by_labels").value("express").count().await?, 5);
/// assert_eq!(found.query::<Parcel>("by_city_and_weight").value("Delft").range(..0.0).count().await?, 2);
/// assert_eq!(found.query::<Parcel>("lost_by_city").first().await?.map(|parcel| parcel.id), Some(4));
/// let taken = &Parcel { code: "p0".to_owned(), ..parcel(9) };
/// let refused = db.transaction(|tx| async move { tx.insert(taken).await }).await;
/// assert!(matches!(refused, Err(Error::Unique { index: "by_code", .. })));
/// # Ok(())
/// # }
/// ```
pub struct Index<M: 'static> {
    name: &'static str,
    fields: &'static [Field<M>],
    condition: Option<fn(&M) -> bool>,
    is_unique: bool,
}

impl<M> Index<M> {
    /// An index with a name (by the rules of [`Model::TABLE`]) and at least one field. A row of which a field has no
    /// value is not in it; one of which a field has several has an entry for each.
    ///
    /// # Panics
    /// If it has no field: when the program is compiled, in a constant.
    #[must_use]
    pub const fn new(name: &'static str, fields: &'static [Field<M>]) -> Self {
        if fields.is_empty() {
            let text = ConstText::of(&["index `", name, "` has no field: it needs one at least"]);
            panic!("{}", text.as_str());
        }
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
