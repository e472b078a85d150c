//! What a cluster says about itself.

use std::collections::BTreeMap;
use std::fmt;

use tidegate_protocol::error::ResponseError;
use tidegate_protocol::messages::metadata_response::MetadataResponseTopic;
use tidegate_protocol::messages::{ApiKey, MetadataResponse};
use tokio::time::Instant;
use uuid::Uuid;

use crate::Error;

/// A snapshot of a cluster's brokers, and of the topics that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// The cluster's id, if it has one.
    pub cluster_id: Option<String>,
    /// The brokers, by id.
    pub brokers: BTreeMap<i32, BrokerAddress>,
    /// The broker that manages topics.
    pub controller: Option<i32>,
    /// Topics, by name; one that was asked for and is not there has an error.
    pub topics: BTreeMap<String, Topic>,
    /// When it was asked for.
    pub(crate) fetched: Option<Instant>,
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its id; nil if the brokers are too old to have one.
    pub id: Uuid,
    /// Whether it is the brokers' own.
    pub internal: bool,
    /// Its partitions, by number.
    pub partitions: BTreeMap<i32, Partition>,
    /// Why nothing is known of it.
    pub error: Option<ResponseError>,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// The broker that leads it, if any.
    pub leader: Option<i32>,
    /// Counts its leaders; -1 if the brokers are too old to say.
    pub leader_epoch: i32,
    /// The brokers that hold it.
    pub replicas: Vec<i32>,
    /// Those of them that are up to date.
    pub in_sync_replicas: Vec<i32>,
}

impl Metadata {
    pub(crate) fn from_response(response: &MetadataResponse, fetched: Instant) -> Self {
        let brokers = response.brokers.iter().filter_map(|broker| {
            // A port that is none would not connect either.
            let port = u16::try_from(broker.port).ok()?;
            Some((broker.node_id.0, BrokerAddress { host: broker.host.to_string(), port }))
        });
        let topics = response.topics.iter().filter_map(|topic| {
            let name = topic.name.as_ref()?;
            Some((name.to_string(), Topic::from_response(topic)))
        });
        Self {
            cluster_id: response.cluster_id.as_ref().map(ToString::to_string),
            brokers: brokers.collect(),
            controller: Some(response.controller_id.0).filter(|id| *id >= 0),
            topics: topics.collect(),
            fetched: Some(fetched),
        }
    }

    /// Where this broker listens.
    ///
    /// # Errors
    /// `Refused` with `BrokerNotAvailable` if it is not known.
    pub fn broker(&self, id: i32) -> Result<&BrokerAddress, Error> {
        self.brokers.get(&id).ok_or_else(|| refused(ResponseError::BrokerNotAvailable))
    }

    /// This topic.
    ///
    /// # Errors
    /// `Refused` with its error, or `UnknownTopicOrPartition`.
    pub fn topic(&self, name: &str) -> Result<&Topic, Error> {
        let topic = self.topics.get(name).ok_or_else(|| refused(ResponseError::UnknownTopicOrPartition))?;
        match topic.error {
            Some(error) => Err(refused(error)),
            None => Ok(topic),
        }
    }

    /// This partition.
    ///
    /// # Errors
    /// `Refused` with the topic's error, or `UnknownTopicOrPartition`.
    pub fn partition(&self, topic: &str, partition: i32) -> Result<&Partition, Error> {
        let known = self.topic(topic)?.partitions.get(&partition);
        known.ok_or_else(|| refused(ResponseError::UnknownTopicOrPartition))
    }

    /// The broker that leads this partition.
    ///
    /// # Errors
    /// As [`Metadata::partition`], or `LeaderNotAvailable`.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<i32, Error> {
        let leader = self.partition(topic, partition)?.leader;
        leader.ok_or_else(|| refused(ResponseError::LeaderNotAvailable))
    }

    /// The number of partitions of this topic; 0 if it is not known.
    #[must_use]
    pub fn partition_count(&self, topic: &str) -> i32 {
        self.topics.get(topic).filter(|topic| topic.error.is_none()).map_or(0, Topic::partition_count)
    }
}

impl Topic {
    fn from_response(topic: &MetadataResponseTopic) -> Self {
        let partitions = topic.partitions.iter().map(|partition| {
            let known = Partition {
                leader: Some(partition.leader_id.0).filter(|id| *id >= 0),
                leader_epoch: partition.leader_epoch,
                replicas: partition.replica_nodes.iter().map(|id| id.0).collect(),
                in_sync_replicas: partition.isr_nodes.iter().map(|id| id.0).collect(),
            };
            (partition.partition_index, known)
        });
        Self {
            id: topic.topic_id,
            internal: topic.is_internal,
            partitions: partitions.collect(),
            error: ResponseError::try_from_code(topic.error_code),
        }
    }

    /// The number of partitions, from 0 on.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).expect("a response of so many partitions does not fit a frame")
    }
}

fn refused(error: ResponseError) -> Error {
    Error::Refused { api: ApiKey::Metadata, error, detail: None }
}
