//! What consumers of a group tell each other through their coordinator: what each wants, and what each gets.
//!
//! The group protocol's "consumer" type, opaque to the coordinator: a version, then a message of it. A version above those
//! known here is read as the newest known, as Kafka's clients do, since later ones only append.
//!
//! Source: `org.apache.kafka.clients.consumer.internals.ConsumerProtocol`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::consumer_protocol_assignment::{self, ConsumerProtocolAssignment};
use kafka_protocol::messages::consumer_protocol_subscription::{self, ConsumerProtocolSubscription};
use kafka_protocol::protocol::{Decodable, Encodable, Message, StrBytes};

use crate::layout::{self, ASSIGNMENT, Layout, MAX_REQUEST_ELEMENTS, SUBSCRIPTION};

/// The protocol type under which consumers join.
pub const PROTOCOL_TYPE: &str = "consumer";
/// The version that is written: the newest that every client in use reads.
const WRITTEN_VERSION: i16 = 1;

/// The bytes are no subscription or assignment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {what} of a consumer: {detail}")]
pub struct ConsumerProtocolError {
    /// What it should be.
    pub what: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

/// A topic's name and partitions of it.
pub type TopicPartitions = (String, Vec<i32>);

/// What a member wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics.
    pub topics: Vec<String>,
    /// For the assignor alone.
    pub user_data: Option<Bytes>,
    /// The partitions that it has now.
    pub owned: Vec<TopicPartitions>,
}

/// What a member gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Its partitions.
    pub partitions: Vec<TopicPartitions>,
    /// For the assignor alone.
    pub user_data: Option<Bytes>,
}

impl Subscription {
    /// Its bytes in a JoinGroup request.
    ///
    /// # Errors
    /// If a topic's name is longer than the protocol has room for.
    pub fn encode(&self) -> Result<Bytes, ConsumerProtocolError> {
        let owned = self.owned.iter().map(|(topic, partitions)| {
            consumer_protocol_subscription::TopicPartition::default()
                .with_topic(TopicName(text(topic)))
                .with_partitions(partitions.clone())
        });
        let message = ConsumerProtocolSubscription::default()
            .with_topics(self.topics.iter().map(|topic| text(topic)).collect())
            .with_user_data(self.user_data.clone())
            .with_owned_partitions(owned.collect());
        encode("subscription", &message)
    }

    /// Reads a member's subscription. A leader that gets no bytes at all reads no topics.
    ///
    /// # Errors
    /// If the bytes are something else.
    pub fn decode(bytes: Bytes) -> Result<Self, ConsumerProtocolError> {
        let Some(message) = decode::<ConsumerProtocolSubscription>("subscription", &SUBSCRIPTION, bytes)?
        else {
            return Ok(Self::default());
        };
        let owned =
            message.owned_partitions.into_iter().map(|owned| (owned.topic.to_string(), owned.partitions));
        Ok(Self {
            topics: message.topics.iter().map(ToString::to_string).collect(),
            user_data: message.user_data,
            owned: owned.collect(),
        })
    }
}

impl Assignment {
    /// Its bytes in a SyncGroup request.
    ///
    /// # Errors
    /// If a topic's name is longer than the protocol has room for.
    pub fn encode(&self) -> Result<Bytes, ConsumerProtocolError> {
        let partitions = self.partitions.iter().map(|(topic, partitions)| {
            consumer_protocol_assignment::TopicPartition::default()
                .with_topic(TopicName(text(topic)))
                .with_partitions(partitions.clone())
        });
        let message = ConsumerProtocolAssignment::default()
            .with_assigned_partitions(partitions.collect())
            .with_user_data(self.user_data.clone());
        encode("assignment", &message)
    }

    /// Reads an assignment. No bytes at all are no partitions.
    ///
    /// # Errors
    /// If the bytes are something else.
    pub fn decode(bytes: Bytes) -> Result<Self, ConsumerProtocolError> {
        let Some(message) = decode::<ConsumerProtocolAssignment>("assignment", &ASSIGNMENT, bytes)? else {
            return Ok(Self::default());
        };
        let partitions = message.assigned_partitions.into_iter();
        Ok(Self {
            partitions: partitions
                .map(|assigned| (assigned.topic.to_string(), assigned.partitions))
                .collect(),
            user_data: message.user_data,
        })
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn encode(what: &'static str, message: &impl Encodable) -> Result<Bytes, ConsumerProtocolError> {
    let failed = |error: &dyn ToString| ConsumerProtocolError { what, detail: error.to_string() };
    let mut bytes = BytesMut::new();
    bytes.put_i16(WRITTEN_VERSION);
    message.encode(&mut bytes, WRITTEN_VERSION).map_err(|error| failed(&error))?;
    Ok(bytes.freeze())
}

fn decode<T: Decodable + Message>(
    what: &'static str,
    layout: &Layout,
    mut bytes: Bytes,
) -> Result<Option<T>, ConsumerProtocolError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let failed = |error: &dyn ToString| ConsumerProtocolError { what, detail: error.to_string() };
    let version = bytes.try_get_i16().map_err(|error| failed(&error))?;
    if version < T::VERSIONS.min {
        return Err(failed(&format!("version {version}")));
    }
    let version = version.min(T::VERSIONS.max);
    layout::check_start(layout, version, &bytes, MAX_REQUEST_ELEMENTS).map_err(|misfit| failed(&misfit))?;
    T::decode(&mut bytes, version).map(Some).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_partitions() -> impl Strategy<Value = Vec<TopicPartitions>> {
        prop::collection::vec(("[a-z.]{1,8}", prop::collection::vec(0..100, 0..5)), 0..4)
    }

    fn some_user_data() -> impl Strategy<Value = Option<Bytes>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..10).prop_map(Bytes::from))
    }

    #[test]
    fn what_kafka_4_says_is_read() {
        // Version 3 of Kafka's Java client: topic "t", no user data, owns t-0 and t-1 of generation 7, no rack.
        let bytes = [
            &[0, 3, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff][..],
            &[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0xff, 0xff],
        ]
        .concat();
        let expected =
            Subscription { topics: vec!["t".into()], user_data: None, owned: vec![("t".into(), vec![0, 1])] };
        assert_eq!(Subscription::decode(bytes.clone().into()), Ok(expected.clone()));
        // A version of the future appends.
        let mut future = bytes;
        future[1] = 9;
        future.extend_from_slice(b"more");
        assert_eq!(Subscription::decode(future.into()), Ok(expected));
    }

    #[test]
    fn no_bytes_are_no_partitions() {
        assert_eq!(Assignment::decode(Bytes::new()), Ok(Assignment::default()));
        Assignment::decode(Bytes::from_static(&[0])).expect_err("half a version");
        Assignment::decode(Bytes::from_static(&[0xff, 0xff, 0, 0])).expect_err("a negative version");
        Assignment::decode(Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff]))
            .expect_err("two billion topics");
    }

    proptest! {
        #[test]
        fn both_survive_the_round_trip(
            topics in prop::collection::vec("[a-z.]{1,8}", 0..4), user_data in some_user_data(),
            partitions in some_partitions(),
        ) {
            let subscription = Subscription { topics, user_data: user_data.clone(), owned: partitions.clone() };
            let bytes = subscription.encode().expect("it encodes");
            prop_assert_eq!(Subscription::decode(bytes), Ok(subscription));
            let assignment = Assignment { partitions, user_data };
            let bytes = assignment.encode().expect("it encodes");
            prop_assert_eq!(Assignment::decode(bytes), Ok(assignment));
        }

        #[test]
        fn arbitrary_bytes_never_panic(version in 0..5_u8, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let bytes: Bytes = [&[0, version][..], &bytes].concat().into();
            let _ = Subscription::decode(bytes.clone());
            let _ = Assignment::decode(bytes);
        }
    }
}
