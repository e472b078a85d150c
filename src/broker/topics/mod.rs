//! Topics: their names, ids, partitions and configuration.
//!
//! The store is what counts; [`Catalogue`] keeps a copy in memory, so that hardly a request reads them from it. Refuses
//! to know what is in a partition.

mod catalogue;
#[cfg(test)]
mod catalogue_tests;
mod config;
mod dropped;
#[cfg(test)]
mod dropped_tests;
mod follow;
mod topic;

pub(crate) use catalogue::{Catalogue, TopicError};
pub(crate) use config::{CONFIGS, ConfigDefinition, TimestampType, TopicConfig};
pub(crate) use follow::FollowingWakeup;
pub(crate) use topic::{Topic, Topics};
