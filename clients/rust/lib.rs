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
pub use tidegate_model as model;
pub use tidegate_model::{
    Db, DbSettings, Model, ModelId, NewEvent, Query, Snapshot, Tx, Write, WriteOptions,
};
pub use tidegate_protocol::batch::Compression;
pub use tidegate_protocol::error::ResponseError;
pub use tidegate_store as store;
pub use topic_partition::TopicPartition;
pub use worker::{
    DEAD_LETTER_ATTEMPTS, DEAD_LETTER_CAUSE, DEAD_LETTER_GROUP, DEAD_LETTER_OFFSET, DEAD_LETTER_PARTITION,
    DEAD_LETTER_TIME, DEAD_LETTER_TIMESTAMP, DEAD_LETTER_TOPIC, DeadLetters, Event, IntoOutcome, Outcome,
    REDRIVEN, RetryPolicy, Worker, WorkerBuilder, WorkerError, WorkerFigures, dead_letter_topic, redrive,
    redrive_only, run_worker,
};
