//! Topics: their names, ids, partitions and configuration.
//!
//! The store is what counts; [`Catalogue`] keeps a copy in memory, so that no request reads it from the store. Refuses
//! to know what is in a partition.

mod catalogue;
mod config;

pub(crate) use catalogue::{Catalogue, Topic, TopicError, Topics};
pub(crate) use config::{CONFIGS, ConfigDefinition, TimestampType, TopicConfig};
