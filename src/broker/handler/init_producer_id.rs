//! InitProducerId, versions 0 to 5.
//!
//! From 3 a producer may tell the id and epoch that it had, both or neither; without a transactional id it gets a new id
//! all the same, as from Kafka. There are no Kafka transactions here, so a transactional id is refused.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use tracing::warn;

use crate::Broker;
use crate::dispatch::{Answer, Caller};

/// No id and no epoch, of a producer that tells none and in an answer without any.
const NO_PRODUCER: (i64, i16) = (-1, -1);

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _caller: &Caller,
    request: InitProducerIdRequest,
) -> Answer<InitProducerIdResponse> {
    let names_half = (request.producer_id.0 == NO_PRODUCER.0) != (request.producer_epoch == NO_PRODUCER.1);
    if request.transactional_id.is_some() || names_half {
        return Answer::Now(answer(Err(ResponseError::InvalidRequest)));
    }
    let broker = broker.clone();
    Answer::Later(Box::pin(async move {
        answer(broker.partitions.next_producer_id().await.map(|id| id.0).map_err(|error| {
            warn!(%error, "no producer id");
            ResponseError::CoordinatorNotAvailable
        }))
    }))
}

fn answer(id: Result<i64, ResponseError>) -> InitProducerIdResponse {
    let (code, (producer, epoch)) = match id {
        Ok(producer) => (0, (producer, 0)),
        Err(error) => (error.code(), NO_PRODUCER),
    };
    InitProducerIdResponse::default()
        .with_error_code(code)
        .with_producer_id(ProducerId(producer))
        .with_producer_epoch(epoch)
}
