//! The shell: sockets, tasks, clock, configuration, metrics, admin HTTP.
//!
//! What it is: the one crate that puts the others together. [`RunningBroker::start`] takes settings and a store and
//! serves Kafka clients until it is told to stop. What it refuses to do: it decides nothing about records, groups or
//! schedules that a crate below it could decide. What always holds: a reply leaves only after what it says is durable.

mod admin;
mod advertised;
mod broker;
mod cluster;
mod dispatch;
mod embedded;
mod event_types;
mod extension;
mod garbage;
mod group_host;
mod handler;
mod lease;
mod metrics;
mod net;
mod partition_host;
mod running;
pub mod settings;
mod tikv;
mod topics;

pub use advertised::{Advertised, AdvertisedError};
pub(crate) use broker::Broker;
pub use embedded::embedded_options;
pub use lease::{LeaseError, LeaseHolder};
pub use net::Entry;
pub use running::{Ports, RunningBroker, StartError, kafka_uuid};
pub use tikv::tikv_options;

/// The store that a broker runs on, chosen at run time.
pub type BrokerStore = tidegate_store::AnyStore;
