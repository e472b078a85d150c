//! What a Rust application links to talk to Tidegate, or to any broker that speaks the Kafka protocol.
//!
//! - [`Tidegate`]: the front door, whether the store is in this process, a broker's, or on TiKV;
//! - [`Producer`]: batches, compresses and sends records, idempotently, and says where each one went;
//! - [`Consumer`]: reads topics, alone or as a member of a group;
//! - [`Admin`]: topics, configurations, groups, offsets;
//! - [`Client`]: what they are built on, a cluster's connections and metadata;
//! - [`Worker`]: handles events exactly once, with transactions of models;
//! - [`RemoteStore`]: the store of a broker, through its port;
//! - [`model`]: typed models with indexes, references and events in one transaction, over a [`store`].
//!
//! An application depends on this crate alone: what it may have to name of others is in [`model`] (errors, limits of
//! events, what topics get that are created by their first event, records that are published as they are), in [`store`]
//! (errors of the store, addresses and options of TiKV, clocks) and in `broker` (settings of a broker in this process, with
//! the feature `embedded`).
//!
//! ```
//! # #[cfg(feature = "embedded")]
//! # mod embedded {
//! use tidegate::broker::StartError;
//! use tidegate::broker::settings::{Settings, StoreAddress};
//! use tidegate::model::{
//!     CommitError, CommitToken, Error, EventLimits, EventValue, FormatError, InputError, LoadError, NameError,
//!     PartitionId, PublishError, PublishSettings, Published, QueryError, ReadError, TopicDefaults,
//! };
//! use tidegate::store::{TikvAddress, TikvOpenError, TikvOptions, TikvTls, TransactionLimits};
//! use tidegate::{Bytes, DbSettings, OpenError, OpenOptions};
//!
//! fn options(directory: &str) -> OpenOptions {
//!     let mut options = OpenOptions::new(directory);
//!     options.settings = Settings { num_partitions: 3, store: StoreAddress::Embedded, ..Settings::default() };
//!     let limits = EventLimits { event_max_bytes: 64 << 10, ..EventLimits::default() };
//!     let create_topics = Some(TopicDefaults { partitions: 3, ..TopicDefaults::default() });
//!     options.db = DbSettings { publish: PublishSettings { limits, create_topics }, ..DbSettings::default() };
//!     options
//! }
//!
//! /// A dead letter, say.
//! fn record(value: Bytes) -> EventValue {
//!     EventValue { value: Some(value), ..EventValue::default() }
//! }
//!
//! /// Whether somebody else has to do something about it.
//! fn is_final(error: &Error) -> bool {
//!     match error {
//!         Error::Publish(PublishError::Name { cause, .. }) | Error::Input(InputError::Name(cause)) => {
//!             let _: &NameError = cause;
//!             true
//!         }
//!         Error::Publish(PublishError::Load(LoadError::Format(_))) | Error::Format(_) => true,
//!         Error::Commit(CommitError::DiskFull { .. }) => true,
//!         _ => false,
//!     }
//! }
//! # fn others(_: (StartError, TikvAddress, TikvOpenError, TikvOptions, TikvTls, TransactionLimits)) {}
//! # fn more(_: (CommitToken, FormatError, PartitionId, Published, QueryError, ReadError, OpenError)) {}
//! # }
//! ```
//!
//! It is pure Rust on tokio. It speaks the classic group protocol and record batches v2, always asks for `acks=all`, and
//! refuses older message formats. It neither encrypts nor authenticates yet, and does not take part in transactions.

mod admin;
mod client;
mod consumer;
mod error;
mod hint;
mod net;
mod offsets;
mod options;
mod producer;
mod remote;
#[cfg(test)]
mod testing;
mod tidegate;
mod topic_partition;
mod worker;

pub use admin::{
    Admin, ClusterBroker, ClusterDescription, CommittedOffset, ConfigEntry, DescribedGroup, GroupMember,
    ListedGroup, NewTopic,
};
pub use bytes::Bytes;
pub use client::{BrokerAddress, Client, Metadata, Partition, Topic};
pub use consumer::{
    Assignor, AutoOffsetReset, Consumer, ConsumerOptions, ConsumerRecord, OffsetCommitter, RebalanceListener,
    Start,
};
pub use error::Error;
pub use hint::HintFigures;
pub use net::{Connection, Reply, Transport, Versions};
pub use offsets::{Committed, OffsetSpec};
pub use options::ClientOptions;
pub use producer::{Delivery, Producer, ProducerOptions, ProducerRecord, Receipt, SCHEDULE_ID_HEADER};
pub use remote::{RemoteOptions, RemoteStore, RemoteTxn};
#[cfg(feature = "embedded")]
pub use tidegate::OpenOptions;
pub use tidegate::{AppStore, AppTxn, OpenError, Tidegate};
/// The broker of [`Tidegate::open`], with its settings.
#[cfg(feature = "embedded")]
pub use tidegate_broker as broker;
pub use tidegate_model as model;
pub use tidegate_model::{
    Db, DbSettings, Model, ModelId, NewEvent, Query, Snapshot, Tx, Write, WriteOptions,
};
pub use tidegate_protocol::batch::Compression;
pub use tidegate_protocol::error::ResponseError;
pub use tidegate_store as store;
pub use topic_partition::TopicPartition;
pub use worker::{
    DEAD_LETTER_ATTEMPTS, DEAD_LETTER_BYTES, DEAD_LETTER_CAUSE, DEAD_LETTER_GROUP, DEAD_LETTER_LAST_OFFSET,
    DEAD_LETTER_LEFT_OUT, DEAD_LETTER_OFFSET, DEAD_LETTER_PARTITION, DEAD_LETTER_TIME, DEAD_LETTER_TIMESTAMP,
    DEAD_LETTER_TOPIC, DeadLetters, Event, HandlerError, IntoOutcome, Outcome, REDRIVEN, RetryPolicy, Worker,
    WorkerBuilder, WorkerError, WorkerFigures, dead_letter_topic, redrive, redrive_only, run_worker,
};
