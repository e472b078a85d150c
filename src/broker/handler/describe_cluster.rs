//! DescribeCluster, versions 0 to 2.
//!
//! From 1 the caller says whether it asks for brokers or controllers (only brokers are served), from 2 fenced brokers can
//! be asked for (there are none).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::{CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED};
use crate::Broker;
use crate::dispatch::{Answer, Caller};

/// Kafka's number for "brokers" among endpoint types.
const ENDPOINT_BROKERS: i8 = 1;
/// Kafka's number for "controllers".
const ENDPOINT_CONTROLLERS: i8 = 2;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: DescribeClusterRequest,
) -> Answer<DescribeClusterResponse> {
    if caller.version >= 1 && request.endpoint_type != ENDPOINT_BROKERS {
        let message = "only the endpoints of brokers (1) are served";
        let error = match request.endpoint_type {
            ENDPOINT_CONTROLLERS => ResponseError::MismatchedEndpointType,
            _ => ResponseError::UnsupportedEndpointType,
        };
        return Answer::Now(
            DescribeClusterResponse::default()
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_static_str(message))),
        );
    }
    let asked = request.include_cluster_authorized_operations;
    let this = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(broker.settings.broker_id))
        .with_host(StrBytes::from_string(broker.advertised.host.clone()))
        .with_port(i32::from(broker.advertised.port));
    Answer::Now(
        DescribeClusterResponse::default()
            .with_cluster_id(StrBytes::from_string(broker.cluster_id.clone()))
            .with_controller_id(BrokerId(broker.settings.broker_id))
            .with_brokers(vec![this])
            .with_cluster_authorized_operations(if asked {
                CLUSTER_OPERATIONS
            } else {
                OPERATIONS_NOT_ASKED
            }),
    )
}
