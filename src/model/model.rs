//! What a type says about itself to be kept as a model.

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_format::ModelId;
use tidegate_store::Store;

use crate::{ChildReference, Error, Index, NewEvent, Reference, Relationship, Release, Upgrade};

/// What is done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// It was not there and is now.
    Insert,
    /// It was there and is replaced.
    Update,
    /// It was there and is gone.
    Delete,
}

/// When a row is written, and what was there.
#[derive(Debug)]
pub struct Stamp<'a, M> {
    /// What is *now* for the transaction, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The row that is replaced; none if there is none, or if the model has no [`TIMES`](Model::TIMES).
    pub before: Option<&'a M>,
    /// Whether this is only to see if anything else changes: the time of the last change is then that of `before`.
    pub is_trial: bool,
}

/// A type whose values are rows of a table. `#[derive(Model)]` writes this down from attributes.
///
/// Rows are kept as JSON, which has no NaN and no infinite numbers: a row with one is refused by the name of its field. So is one
/// whose lists and maps are within one another more than 120 levels deep, as it could not be read again.
/// Fields that are added later need `#[serde(default)]` or one more of [`UPGRADES`](Model::UPGRADES).
pub trait Model: Serialize + DeserializeOwned + Send + Sync + Sized + 'static {
    /// The table's name: 1 to 128 ASCII letters, digits, `.`, `_` and `-`. It is also the topic of its events, unless
    /// an event says otherwise: events of one topic and key keep their order.
    const TABLE: &'static str;

    /// What leads from each form of the rows to the next. A row carries the number of its form, which is one more than
    /// there were upgrades when it was written: append to this list, and never take anything from it.
    const UPGRADES: &'static [Upgrade] = &[];

    /// Whether writing a row as it is already is no write: nothing is stored and no event announced. The order of maps does not
    /// count, that of lists does: a `HashSet` is written in another one each time, a `BTreeSet` is not.
    const SKIPS_UNCHANGED: bool = false;

    /// Whether [`stored`](Model::stored) looks at the time or at the row before.
    const TIMES: bool = false;

    /// The tables whose rows name rows of this one, each of which [`release`](Model::release) knows.
    const CHILDREN: &'static [&'static str] = &[];

    /// The id: a number, a UUID, or text of 1 to 512 bytes. It is the key of the model's events.
    fn id(&self) -> ModelId;

    /// The indexes that the table has. Rows that are there already get into a new one by
    /// [`Db::backfill`](crate::Db::backfill).
    fn indexes() -> &'static [Index<Self>] {
        &[]
    }

    /// Which fields name rows of other tables, and what becomes of the row when one of those is deleted.
    fn references() -> &'static [Reference<Self>] {
        &[]
    }

    /// Which fields take rows of other tables when a query asks for them.
    fn relationships() -> &'static [Relationship<Self>] {
        &[]
    }

    /// The events that a write announces, in their order. For an update or insert `self` is the new row as it is kept
    /// ([`stored`](Model::stored): with its times set, and without what relationships took), for a deletion the one that
    /// goes. It may be called before it is known whether the write is taken, and more than once.
    fn events(&self, write: Write) -> Vec<NewEvent> {
        let _ = write;
        vec![]
    }

    /// The row as it is kept, if that differs from `self`: without what [`relationships`](Model::relationships) took,
    /// and with its times set.
    fn stored(&self, stamp: &Stamp<'_, Self>) -> Option<Self> {
        let _ = stamp;
        None
    }

    /// By which fields rows of [`CHILDREN`](Model::CHILDREN) name rows of this table. Written by
    /// [`children!`](crate::children) or by the derive.
    #[must_use]
    fn named_by() -> Vec<ChildReference> {
        vec![]
    }

    /// Lets go a row of one of [`CHILDREN`](Model::CHILDREN) of a row of this table that is being deleted. Written by
    /// [`children!`](crate::children) or by the derive.
    fn release<S: Store>(release: Release<'_, S>) -> BoxFuture<'_, Result<(), Error>> {
        release.refuse()
    }
}

/// The number of the form that rows have now.
pub(crate) fn schema_version<M: Model>() -> u32 {
    u32::try_from(M::UPGRADES.len()).expect("a list in the program") + 1
}
