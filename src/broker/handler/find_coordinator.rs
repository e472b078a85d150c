//! FindCoordinator, versions 0 to 6.
//!
//! 0 knows groups only; from 1 the key has a type; from 4 several keys can be asked for, each with an answer of its own.
//! Only groups have a coordinator.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::group_errors::check_group_of_offsets;
use crate::Broker;
use crate::dispatch::{Answer, Caller};

/// Kafka's number for groups among key types.
const KEY_GROUP: i8 = 0;
/// That for transactions.
const KEY_TRANSACTION: i8 = 1;
/// The first version that asks for several keys.
const KEYS_SINCE: i16 = 4;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: FindCoordinatorRequest,
) -> Answer<FindCoordinatorResponse> {
    if caller.version >= KEYS_SINCE {
        let coordinators = request
            .coordinator_keys
            .into_iter()
            .map(|key| find(broker, caller.version, request.key_type, key));
        return Answer::Now(FindCoordinatorResponse::default().with_coordinators(coordinators.collect()));
    }
    let found = find(broker, caller.version, request.key_type, request.key);
    let mut response = FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port);
    if caller.version >= 1 {
        response.error_message = found.error_message;
    }
    Answer::Now(response)
}

fn find(broker: &Broker, version: i16, key_type: i8, key: StrBytes) -> Coordinator {
    let refused = |code: i16, message: &'static str| {
        Coordinator::default()
            .with_key(key.clone())
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(code)
            .with_error_message(Some(StrBytes::from_static_str(message)))
    };
    if key_type != KEY_GROUP {
        let message = "only groups (0) have coordinators here: transactions and share groups are not served";
        // librdkafka, which speaks the earlier versions, asks again for ever on any other code, and says nothing.
        let ends_librdkafka = key_type == KEY_TRANSACTION && version < KEYS_SINCE;
        let error = if ends_librdkafka {
            ResponseError::TransactionalIdAuthorizationFailed
        } else {
            ResponseError::InvalidRequest
        };
        return refused(error.code(), message);
    }
    if let Err(code) = check_group_of_offsets(&key) {
        return refused(code, "a group's id has at most 512 bytes");
    }
    Coordinator::default()
        .with_key(key)
        .with_error_message(None)
        .with_node_id(BrokerId(broker.settings.broker_id))
        .with_host(StrBytes::from_string(broker.advertised.host.clone()))
        .with_port(i32::from(broker.advertised.port))
}
