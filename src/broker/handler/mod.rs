//! One file per API, named like it. Each opens with the versions it speaks and what differs between them.
//!
//! A handler is `handle(broker, caller, request) -> Answer<Response>`: it returns once everything is begun whose order
//! matters among the requests of one connection, and hands back a future for what takes its time. It refuses with the
//! protocol's own error codes and never ends a connection.

pub(crate) mod alter_configs;
pub(crate) mod api_versions;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod sync_group;

mod configs;
mod fetch_answer;
mod group_errors;
mod partition_errors;
#[cfg(test)]
mod versions_tests;

#[cfg(test)]
mod partition_api_tests;

pub(crate) use fetch_answer::FetchAnswer;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use crate::topics::TopicError;

/// Bits of "authorized operations" when nobody asked for them.
pub(crate) const OPERATIONS_NOT_ASKED: i32 = i32::MIN;
/// READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS on a topic: everything that Kafka
/// knows there, as there is no authorization.
pub(crate) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE on the cluster.
pub(crate) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// Kafka's number for "topic" among configuration resources.
pub(crate) const RESOURCE_TOPIC: i8 = 2;
/// Kafka's number for "broker" among configuration resources.
pub(crate) const RESOURCE_BROKER: i8 = 4;

/// What a resource of this type is called.
pub(crate) fn resource_kind(resource_type: i8) -> String {
    match resource_type {
        RESOURCE_TOPIC => "a topic".to_owned(),
        RESOURCE_BROKER => "a broker".to_owned(),
        8 => "a broker's logger".to_owned(),
        16 => "client metrics".to_owned(),
        32 => "a group".to_owned(),
        other => format!("a resource of type {other}"),
    }
}

/// The error code and message of a topic change that was refused.
pub(crate) fn topic_error(error: &TopicError) -> (i16, Option<StrBytes>) {
    let code = match error {
        TopicError::Exists { .. } => ResponseError::TopicAlreadyExists,
        TopicError::Unknown { .. } => ResponseError::UnknownTopicOrPartition,
        TopicError::InvalidName { .. } => ResponseError::InvalidTopicException,
        TopicError::InvalidPartitions { .. } => ResponseError::InvalidPartitions,
        TopicError::InvalidConfig { .. } => ResponseError::InvalidConfig,
        TopicError::Store { .. } => ResponseError::KafkaStorageError,
    };
    (code.code(), Some(StrBytes::from_string(error.to_string())))
}
