//! Errors, named by what the caller must do.

use tidegate_format::{FormatError, ModelId, NameError};
use tidegate_outbox::{LoadError, PublishError};
use tidegate_store::{CommitError, CommitToken, ReadError};

/// Why a call or a transaction failed. Unless it is [`Error::Unknown`], nothing of the transaction was applied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The store did not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is stored is not what this release writes.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Other transactions came first, each time: the rows are written by too many at once, or the work takes too long.
    #[error("another transaction came first, {attempts} times")]
    Conflict {
        /// How often it was tried.
        attempts: u32,
    },
    /// It may or may not have been applied, and the store does not say: ask [`Db::outcome`](crate::Db::outcome) once it
    /// is back, and do not run it again before.
    #[error("outcome unknown ({token})")]
    Unknown {
        /// What to ask by.
        token: CommitToken,
    },
    /// The commit was refused.
    #[error(transparent)]
    Commit(CommitError),
    /// The transaction was committed or rolled back before this call.
    #[error("the transaction is over")]
    Over,
    /// A write failed after it was begun, and the transaction went on nevertheless: it cannot be committed.
    #[error("a write of this transaction failed half way, so it cannot be committed")]
    HalfWritten,
    /// There is a row with this id: update or save it, or choose another id.
    #[error("{table} {id} exists")]
    Exists {
        /// The table.
        table: &'static str,
        /// The id.
        id: ModelId,
    },
    /// There is no row with this id: insert or save it.
    #[error("{table} {id} does not exist")]
    Missing {
        /// The table.
        table: &'static str,
        /// The id.
        id: ModelId,
    },
    /// Another row has the values that this one is to have in a unique index.
    #[error("index {table}.{index} is unique: {holder} has the values of {id} already")]
    Unique {
        /// The table.
        table: &'static str,
        /// The index.
        index: &'static str,
        /// The row that was to be written.
        id: ModelId,
        /// The row that has the values.
        holder: ModelId,
    },
    /// A field names a row that is not there: write that first, or name another.
    #[error("{table} {id}: field {field} names {parent_table} {parent_id}, which does not exist")]
    ReferenceMissing {
        /// The table.
        table: &'static str,
        /// The row that was to be written.
        id: ModelId,
        /// The field.
        field: &'static str,
        /// The table that it names rows of.
        parent_table: &'static str,
        /// The row that is not there.
        parent_id: ModelId,
    },
    /// A row cannot be deleted because another one names it: delete or change that first.
    #[error("{table} {id} is referenced by field {by_field} of {by_table} {by_id}")]
    Referenced {
        /// The table.
        table: &'static str,
        /// The row that was to be deleted.
        id: ModelId,
        /// The table of the row that names it.
        by_table: String,
        /// The field that does.
        by_field: String,
        /// The row that names it.
        by_id: ModelId,
    },
    /// More rows name a row than are let go in one transaction: delete or change them first, in several.
    #[error("{table} {id} is referenced by more than {limit} rows, too many for one transaction")]
    TooManyReferences {
        /// The table.
        table: &'static str,
        /// The row that was to be deleted.
        id: ModelId,
        /// How many are let go.
        limit: usize,
    },
    /// Deleting what names what names it and so on goes down further than it may.
    #[error("deleting {table} {id} goes down more than {limit} levels of references")]
    TooDeep {
        /// The table.
        table: &'static str,
        /// The row at the lowest level.
        id: ModelId,
        /// How many levels there may be.
        limit: u32,
    },
    /// The row was written by a later release of the application.
    #[error("{table} {id} has schema version {found}, this release knows up to {supported}")]
    NewerSchema {
        /// The table.
        table: &'static str,
        /// The id.
        id: ModelId,
        /// The row's version.
        found: u32,
        /// The model's version.
        supported: u32,
    },
    /// The row does not deserialise: its type changed without a new schema version.
    #[error("{table} {id} cannot be read: {reason}")]
    Decode {
        /// The table.
        table: &'static str,
        /// The id.
        id: ModelId,
        /// What serde says.
        reason: String,
    },
    /// Another release of the application writes the table and does not keep this index or reference, so that it cannot
    /// be filled: run the back-fill again once all that write the table have the definition.
    #[error("{table} is written by a release that does not keep {index}, which cannot be filled meanwhile")]
    OtherDefinition {
        /// The table.
        table: &'static str,
        /// The index, or the field of the reference.
        index: &'static str,
    },
    /// An index or a reference has an entry for a row that is not there: rows were written past this library.
    /// [`Db::repair`](crate::Db::repair) removes it.
    #[error("index {table}.{index} has an entry for {id}, which does not exist")]
    Dangling {
        /// The table.
        table: &'static str,
        /// The index, or the field of the reference.
        index: &'static str,
        /// The id.
        id: ModelId,
    },
    /// What was handed in cannot be stored.
    #[error(transparent)]
    Input(#[from] InputError),
    /// What was asked for cannot be answered.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// An event was refused.
    #[error(transparent)]
    Publish(PublishError),
}

impl From<PublishError> for Error {
    /// A store that does not answer has refused nothing.
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Load(LoadError::Read(error)) => Self::Read(error),
            PublishError::Load(LoadError::Format(error)) => Self::Format(error),
            refused => Self::Publish(refused),
        }
    }
}

impl Error {
    /// Whether it says nothing of what was asked for: the store was away, its disk was full, or other transactions came first.
    /// The same may go well later. Of [`Error::Unknown`] it may have gone well already.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Read(error) => matches!(error, ReadError::Unavailable { .. }),
            Self::Commit(error) => match error {
                CommitError::Unavailable { .. }
                | CommitError::DiskFull { .. }
                | CommitError::Conflict
                | CommitError::Unknown { .. } => true,
                CommitError::Expired { .. } | CommitError::TooLarge { .. } => false,
            },
            Self::Conflict { .. } | Self::Unknown { .. } => true,
            _ => false,
        }
    }
}

/// Why a model cannot be stored. Correct it; trying again gives the same answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InputError {
    /// The name of a table or index is not allowed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The id is empty.
    #[error("{table}: the id is empty")]
    IdEmpty {
        /// The table.
        table: &'static str,
    },
    /// The id is too long.
    #[error("{table}: an id of {actual} bytes is over the limit of {limit}")]
    IdTooLong {
        /// The table.
        table: &'static str,
        /// Its length, in bytes.
        actual: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// The model is too large.
    #[error("{table} {id}: {actual} bytes are over the limit of {limit} (model.max.bytes)")]
    TooLarge {
        /// The table.
        table: &'static str,
        /// The id.
        id: ModelId,
        /// Its size as JSON, in bytes.
        actual: usize,
        /// The largest allowed.
        limit: usize,
    },
    /// The model does not serialise to JSON.
    #[error("{table} {id} cannot be written: {reason}")]
    Encode {
        /// The table.
        table: &'static str,
        /// The id.
        id: ModelId,
        /// What serde says.
        reason: String,
    },
    /// A field is a number that is not finite, which JSON cannot say and which would not come back.
    #[error("{table} {id}: field {field} is not a finite number")]
    NotFinite {
        /// The table.
        table: &'static str,
        /// The id.
        id: ModelId,
        /// The field, with those that it is within.
        field: String,
    },
    /// A partition that there is not.
    #[error("there is no partition {partition} of topic {topic:?}")]
    NoPartition {
        /// The topic.
        topic: String,
        /// The partition's number.
        partition: i32,
    },
    /// An offset below zero.
    #[error("{offset} is no offset: the first is 0")]
    OffsetNegative {
        /// What was given.
        offset: i64,
    },
    /// An indexed field is NaN, which has no place in an order.
    #[error("index {table}.{index}: field {field} is NaN")]
    NotANumber {
        /// The table.
        table: &'static str,
        /// The index.
        index: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A row has too many entries in one index.
    #[error(
        "index {table}.{index}: {id} has {actual} entries up to field {field}, over the limit of {limit}"
    )]
    TooManyEntries {
        /// The table.
        table: &'static str,
        /// The index.
        index: &'static str,
        /// The field.
        field: &'static str,
        /// The id.
        id: ModelId,
        /// How many.
        actual: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The id of an event that is to be published once is empty or too long, or its source is too long.
    #[error("an event's {what} of {actual} bytes is not between 1 and {limit}")]
    UniqueId {
        /// Which of the two.
        what: &'static str,
        /// Its length, in bytes.
        actual: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A key of the application's own is too long.
    #[error("a key of {actual} bytes is over the limit of {limit}")]
    UserKeyTooLong {
        /// Its length, in bytes.
        actual: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A value of the application's own is empty, which a store cannot tell from a missing one.
    #[error("a value is empty: delete the key, or store a byte")]
    UserValueEmpty,
    /// The indexed values are too long together.
    #[error("index {table}.{index}: the values of {id} do not fit: {cause}")]
    IndexKey {
        /// The table.
        table: &'static str,
        /// The index.
        index: &'static str,
        /// The id.
        id: ModelId,
        /// How long they are, and how long they may be.
        cause: FormatError,
    },
}

/// Why a query cannot be answered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// The model has no such index.
    #[error("{table} has no index {index:?}; it has: {}", known.join(", "))]
    UnknownIndex {
        /// The table.
        table: &'static str,
        /// What was asked for.
        index: String,
        /// The indexes that there are.
        known: Vec<&'static str>,
    },
    /// The index, or the reference of this field, is new or was not kept for a while, and does not have all rows yet:
    /// run [`Db::backfill`](crate::Db::backfill) until it is done.
    #[error("index {table}.{index} does not have all rows yet: a back-fill of {table} brings them in")]
    NotBuilt {
        /// The table.
        table: &'static str,
        /// The index, or the field of the reference.
        index: &'static str,
    },
    /// The model has no such relationship.
    #[error("{table} has no relationship {relationship:?}; it has: {}", known.join(", "))]
    UnknownRelationship {
        /// The table.
        table: &'static str,
        /// What was asked for.
        relationship: String,
        /// The relationships that there are.
        known: Vec<&'static str>,
    },
    /// The model has no such reference.
    #[error("{table} has no reference {field:?} to {parent_table}")]
    UnknownReference {
        /// The table.
        table: &'static str,
        /// The field that was asked for.
        field: String,
        /// The table that it was to name rows of.
        parent_table: &'static str,
    },
    /// More values (a range counts as one) were given than the index has fields.
    #[error("index {table}.{index} ends with field {last_field}: {given} values are too many")]
    TooManyValues {
        /// The table.
        table: &'static str,
        /// The index.
        index: &'static str,
        /// The index's last field.
        last_field: &'static str,
        /// How many were given.
        given: usize,
    },
    /// A value is of another type than its field.
    #[error("index {table}.{index}: field {field} is {expected:?}, the value is {found:?}")]
    WrongType {
        /// The table.
        table: &'static str,
        /// The index.
        index: &'static str,
        /// The field.
        field: &'static str,
        /// The field's type.
        expected: crate::FieldType,
        /// The value's type.
        found: crate::FieldType,
    },
    /// A value is NaN, which is before and after nothing.
    #[error("index {table}.{index}: the value for field {field} is NaN")]
    NotANumber {
        /// The table.
        table: &'static str,
        /// The index.
        index: &'static str,
        /// The field.
        field: &'static str,
    },
    /// The values are longer than any entry can be.
    #[error("index {table}.{index}: {cause}")]
    TooLong {
        /// The table.
        table: &'static str,
        /// The index.
        index: &'static str,
        /// How long they are, and how long they may be.
        cause: FormatError,
    },
    /// The cursor is not one that this library gave.
    #[error("the cursor is malformed")]
    CursorMalformed,
    /// The cursor belongs to a query with another index, other values, another range or another direction.
    #[error("the cursor belongs to another query than this one on {table}")]
    CursorOfAnotherQuery {
        /// The table.
        table: &'static str,
    },
}
