//! References: fields that name rows of other tables, which must be there, and what becomes of the row when they go.
//!
//! Always holds: a row that names another is found from there by an entry under the other's id, written and removed
//! with the row. A row that is new guards what it names, so that of it and the other's deletion one commits.

use tidegate_format::{ModelId, ReferenceKey};

use crate::const_text::ConstText;
use crate::entries::{Entries, Parent, row_key};
use crate::row::Place;
use crate::{Error, ForgetModelId, Model, ToModelIds};

/// What becomes of a row when one that it names is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// The deletion is refused with [`Error::Referenced`].
    Restrict,
    /// It is deleted as well, in the same transaction and with its own events.
    Cascade,
    /// It is updated to name nothing there any more, in the same transaction and with its own events.
    SetNull,
}

/// A field that names rows of another table.
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
/// let refused = db.transaction(|tx| async move { tx.delete::<Author>("ada").await }).await;
/// assert!(matches!(refused, Err(Error::Referenced { .. })));
/// let books = db.snapshot().await?.referencing::<Book, Author>("ada", "author_id").count().await?;
/// assert_eq!(books, 1);
/// # Ok(())
/// # }
/// ```
pub struct Reference<M: 'static> {
    field: &'static str,
    parent_table: &'static str,
    on_delete: OnDelete,
    ids: fn(&M) -> Vec<ModelId>,
    forget: Option<fn(&mut M, &ModelId)>,
}

impl<M: Model> Reference<M> {
    /// A field whose ids are rows of `P`, which must list this model's table in [`Model::CHILDREN`]. Rows that are
    /// there already are found from `P` once [`Db::backfill`](crate::Db::backfill) has been through them; until then rows
    /// of `P` are not deleted ([`QueryError::NotBuilt`](crate::QueryError::NotBuilt)).
    ///
    /// # Panics
    /// If `P` does not list it: when the program is compiled, in a constant.
    #[must_use]
    pub const fn restrict<P: Model>(field: &'static str, ids: fn(&M) -> Vec<ModelId>) -> Self {
        Self::new::<P>(field, OnDelete::Restrict, ids, None)
    }

    /// As [`restrict`](Self::restrict), with [`OnDelete::Cascade`].
    ///
    /// # Panics
    /// As [`restrict`](Self::restrict).
    #[must_use]
    pub const fn cascade<P: Model>(field: &'static str, ids: fn(&M) -> Vec<ModelId>) -> Self {
        Self::new::<P>(field, OnDelete::Cascade, ids, None)
    }

    /// As [`restrict`](Self::restrict), with [`OnDelete::SetNull`]: `forget` takes an id out of the field.
    ///
    /// # Panics
    /// As [`restrict`](Self::restrict).
    #[must_use]
    pub const fn set_null<P: Model>(
        field: &'static str,
        ids: fn(&M) -> Vec<ModelId>,
        forget: fn(&mut M, &ModelId),
    ) -> Self {
        Self::new::<P>(field, OnDelete::SetNull, ids, Some(forget))
    }

    const fn new<P: Model>(
        field: &'static str,
        on_delete: OnDelete,
        ids: fn(&M) -> Vec<ModelId>,
        forget: Option<fn(&mut M, &ModelId)>,
    ) -> Self {
        if !contains(P::CHILDREN, M::TABLE) {
            let text = ConstText::of(&[
                "field `",
                field,
                "` of table `",
                M::TABLE,
                "` references table `",
                P::TABLE,
                "`, whose model does not list it: #[model(referenced_by(TheReferencingModel))]",
            ]);
            panic!("{}", text.as_str());
        }
        Self { field, parent_table: P::TABLE, on_delete, ids, forget }
    }

    /// The field's name.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// The table that it names rows of.
    #[must_use]
    pub const fn parent_table(&self) -> &'static str {
        self.parent_table
    }

    /// What becomes of the row when what it names goes.
    #[must_use]
    pub const fn on_delete(&self) -> OnDelete {
        self.on_delete
    }

    /// The ids that a row names.
    #[must_use]
    pub fn ids(&self, model: &M) -> Vec<ModelId> {
        (self.ids)(model)
    }

    pub(crate) fn forget(&self, model: &mut M, parent: &ModelId) {
        self.forget.expect("a reference that is set to null has it")(model, parent);
    }

    /// The keys by which a row is found from what it names.
    pub(crate) fn collect(&self, model: &M, place: &Place, entries: &mut Entries) -> Result<(), Error> {
        for id in self.ids(model) {
            let parent = Place::in_table(self.parent_table, id)?;
            let key = ReferenceKey {
                parent_table: self.parent_table.to_owned(),
                parent: parent.id_bytes,
                table: M::TABLE.to_owned(),
                field: self.field.to_owned(),
                id: place.id_bytes.clone(),
            };
            let reference_key = key.encode();
            if entries.add(reference_key.clone()) {
                let (field, table, id) = (self.field, self.parent_table, parent.id);
                let row_key = row_key(table, &id);
                entries.parents.push(Parent { field, table, id, reference_key, row_key });
            }
        }
        Ok(())
    }
}

/// The ids in a field, for code that the derive writes.
#[doc(hidden)]
pub fn ids_in(field: &impl ToModelIds) -> Vec<ModelId> {
    field.to_model_ids()
}

/// Takes an id out of a field, for code that the derive writes.
#[doc(hidden)]
pub fn forget_in(field: &mut impl ForgetModelId, id: &ModelId) {
    field.forget_model_id(id);
}

/// Whether a list has a name, when the program is compiled.
const fn contains(list: &[&str], name: &str) -> bool {
    let mut at = 0;
    while at < list.len() {
        if equals(list[at].as_bytes(), name.as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

const fn equals(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}
