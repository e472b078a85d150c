//! What AlterConfigs and IncrementalAlterConfigs have in common: which resources can be changed, what is wrong with a
//! request whatever it changes, and one answer for each resource, in their order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::{RESOURCE_TOPIC, resource_kind, topic_error};
use crate::Broker;

/// A resource whose configuration is to be changed, as one of the two requests says it.
pub(super) trait Alteration: Sync {
    /// The answer about one resource.
    type Answer;

    /// Kafka's number for its type, and its name.
    fn resource(&self) -> (i8, &StrBytes);

    /// The name of each configuration that it changes, and whether what is to be done lacks a value.
    fn changes(&self) -> impl Iterator<Item = (&str, bool)>;

    /// Changes the topic's configurations in place, or says why it does not.
    fn apply(&self, configs: &mut BTreeMap<String, String>) -> Result<(), String>;

    /// The answer, with an error code and a message.
    fn answer(self, code: i16, message: Option<StrBytes>) -> Self::Answer;
}

/// Changes the configurations of each resource, or only says what would come of it.
pub(super) async fn alter_all<A: Alteration>(
    broker: &Arc<Broker>,
    alterations: Vec<A>,
    validate_only: bool,
) -> Vec<A::Answer> {
    let mut times = HashMap::new();
    for (resource_type, name) in alterations.iter().map(A::resource) {
        *times.entry((resource_type, name.clone())).or_insert(0) += 1;
    }
    let mut answers = Vec::with_capacity(alterations.len());
    for alteration in alterations {
        let (resource_type, name) = alteration.resource();
        let once = times.get(&(resource_type, name.clone())) == Some(&1);
        let altered = if once {
            alter(broker, &alteration, validate_only).await
        } else {
            Err(refusal(format!("the request names `{}` more than once", name.as_str())))
        };
        let (code, message) = altered.err().unwrap_or_default();
        answers.push(alteration.answer(code, message));
    }
    answers
}

async fn alter<A: Alteration>(
    broker: &Arc<Broker>,
    alteration: &A,
    validate_only: bool,
) -> Result<(), (i16, Option<StrBytes>)> {
    let (resource_type, topic) = alteration.resource();
    if resource_type != RESOURCE_TOPIC {
        return Err(refusal(format!(
            "the configuration of {} cannot be changed at run time, only that of a topic",
            resource_kind(resource_type)
        )));
    }
    let mut names = HashSet::new();
    for (name, lacks_value) in alteration.changes() {
        if !names.insert(name) {
            return Err(refusal(format!("`{name}` is changed more than once")));
        }
        if lacks_value {
            return Err(refusal(format!("configuration `{name}` has no value")));
        }
    }
    let altered = broker.catalogue.set_configs(topic, validate_only, |configs| alteration.apply(configs));
    altered.await.map(drop).map_err(|error| topic_error(&error))
}

fn refusal(message: String) -> (i16, Option<StrBytes>) {
    (ResponseError::InvalidRequest.code(), Some(StrBytes::from_string(message)))
}
