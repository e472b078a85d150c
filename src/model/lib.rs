//! Typed models with indexes, written together with their events.
//!
//! What it is: a [`Model`] is a serde type with an id, a table, [`Index`]es and the events that its writes announce. A
//! [`Db`] runs transactions over a store: rows, index entries and events are one commit, and a transaction that loses
//! against another runs again. [`Query`] reads a table by an index, page by page.
//!
//! What it refuses to do: it scans no table to answer what no index answers; it replays no commit whose outcome is not
//! known; it delivers nothing (the outbox's relay does, woken after each commit).
//!
//! What always holds: a row, its index entries, its manifest and its events are committed together or not at all; an
//! index has exactly the entries of the rows as they were last written, also after the index's definition changed; an
//! index entry holds nothing of its model but the indexed values and the id.
//!
//! ```
//! use std::sync::Arc;
//! use serde::{Deserialize, Serialize};
//! use tidegate_model::{Db, DbSettings, Field, Index, Model, ModelId, NewEvent, Write};
//! use tidegate_outbox::NoWakeup;
//! use tidegate_store::{MemoryStore, SystemClock};
//!
//! #[derive(Serialize, Deserialize)]
//! struct User {
//!     name: String,
//!     email: Option<String>,
//! }
//!
//! impl Model for User {
//!     const TABLE: &'static str = "users";
//!
//!     fn id(&self) -> ModelId {
//!         self.name.as_str().into()
//!     }
//!
//!     fn indexes() -> &'static [Index<Self>] {
//!         // Users without an e-mail address are not in the index.
//!         const INDEXES: &[Index<User>] =
//!             &[Index::new("by_email", &[Field::str("email", |user| user.email.as_deref())])];
//!         INDEXES
//!     }
//!
//!     fn events(&self, write: Write) -> Vec<NewEvent> {
//!         match write {
//!             Write::Insert => vec![NewEvent::new("user.registered")],
//!             Write::Update | Write::Delete => vec![],
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tidegate_model::Error> {
//! let store = MemoryStore::new(Arc::new(SystemClock));
//! let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
//! let ada = &User { name: "ada".into(), email: Some("ada@example.org".into()) };
//! let found = db
//!     .transaction(|tx| async move {
//!         tx.insert(ada).await?;
//!         tx.query::<User>("by_email").value("ada@example.org").first().await
//!     })
//!     .await?;
//! assert_eq!(found.map(|user| user.name), Some("ada".into()));
//! # Ok(())
//! # }
//! ```

mod ambient;
mod backfill;
mod built;
mod const_text;
mod cursor;
mod db;
mod entries;
mod error;
mod event;
mod field;
mod finite;
mod id;
mod index;
mod index_value;
mod model;
mod offset;
mod once;
mod options;
mod plan;
mod prefetch;
mod query;
mod reference;
mod relationship;
mod release;
mod retry;
mod row;
mod settings;
mod snapshot;
mod times;
mod trouble;
mod tx;
mod upgrade;
mod user;
mod verify;
mod write;

pub use ambient::{Ambient, SystemAmbient};
pub use backfill::{BACKFILL_ROWS, Backfilled};
pub use built::ChildReference;
pub use cursor::Cursor;
pub use db::Db;
pub use error::{Error, InputError, QueryError};
pub use event::NewEvent;
pub use field::Field;
pub use futures::future::BoxFuture;
pub use id::{ForgetModelId, ToModelId, ToModelIds};
pub use index::{INDEX_ENTRIES_MAX, Index};
pub use index_value::{FieldType, IndexField, TimeMs, ToIndexValue, Values};
pub use model::{Model, Stamp, Write};
pub use options::WriteOptions;
pub use query::{PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PAGE_MAX_BYTES, Page, Query};
pub use reference::{OnDelete, Reference};
pub use relationship::{Fill, Related, RelatedRows, Relationship, fill};
pub use release::{RELEASE_LEVELS_MAX, RELEASE_ROWS_ALL_MAX, RELEASE_ROWS_MAX, Release};
pub use retry::RetryPolicy;
pub use settings::DbSettings;
pub use snapshot::Snapshot;
pub use tidegate_format::{
    EventValue, Float, FormatError, IndexValue, Kind, ModelId, NameError, PartitionId, PartitionIndex,
    TopicId,
};
/// Writes a [`Model`] from a struct and its attributes.
pub use tidegate_model_derive::Model;
pub use tidegate_outbox::{
    EventLimits, LoadError, NoWakeup, PublishError, PublishSettings, Published, TopicDefaults, Wakeup,
};
pub use tidegate_store::{CommitError, CommitToken, Outcome, ReadError, Store};
pub use trouble::StoreTrouble;
pub use tx::{Seal, Tx};
pub use upgrade::{Upgrade, UpgradeError};
pub use user::{USER_SCAN_MAX, UserSpace, UserView};
pub use verify::{DIFFERENCES_MAX, Difference, DifferenceKind, Verified};

/// What code that the derive writes calls.
#[doc(hidden)]
pub mod derived {
    pub use crate::built::references_to;
    pub use crate::index_value::{IndexBytes, field_type_of, put_bytes};
    pub use crate::reference::{forget_in, ids_in};
    pub use crate::times::{HasTime, set_time};
}

#[cfg(test)]
mod blog;
#[cfg(test)]
mod blog_oracle;
#[cfg(test)]
mod blog_property_tests;
#[cfg(test)]
mod built_tests;
#[cfg(test)]
mod db_tests;
#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod kind_tests;
#[cfg(test)]
mod offset_tests;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod query_tests;
#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod release_tests;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod tx_tests;
#[cfg(test)]
mod upkeep_tests;
#[cfg(test)]
mod user_tests;
