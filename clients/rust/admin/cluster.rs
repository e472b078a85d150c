//! The cluster itself.

use tidegate_protocol::messages::{ApiKey, DescribeClusterRequest};

use super::Admin;
use crate::Error;
use crate::client::Target;
use crate::error::accepted;

/// A cluster and its brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// The broker that manages topics.
    pub controller: Option<i32>,
    /// Its brokers, by id.
    pub brokers: Vec<ClusterBroker>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterBroker {
    /// Its id.
    pub id: i32,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// The rack it stands in, if it says.
    pub rack: Option<String>,
}

/// Ask for brokers, not for controllers.
const ENDPOINT_BROKERS: i8 = 1;

impl Admin {
    /// The cluster and its brokers.
    ///
    /// # Errors
    /// `Refused`, or as any call.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, Error> {
        let request = |version: i16| {
            let request = DescribeClusterRequest::default();
            if version >= 1 { request.with_endpoint_type(ENDPOINT_BROKERS) } else { request }
        };
        let response = self.client.call_checked(Target::Any, request, |response| {
            accepted(ApiKey::DescribeCluster, response.error_code, response.error_message.as_deref())
        });
        let response = response.await?;
        let mut brokers: Vec<ClusterBroker> = response
            .brokers
            .iter()
            .map(|broker| ClusterBroker {
                id: broker.broker_id.0,
                host: broker.host.to_string(),
                port: broker.port,
                rack: broker.rack.as_ref().map(ToString::to_string),
            })
            .collect();
        brokers.sort_by_key(|broker| broker.id);
        Ok(ClusterDescription {
            cluster_id: response.cluster_id.to_string(),
            controller: Some(response.controller_id.0).filter(|id| *id >= 0),
            brokers,
        })
    }
}
