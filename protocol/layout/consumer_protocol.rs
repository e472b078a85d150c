//! What consumers tell each other through their coordinator: subscriptions and assignments.
//!
//! Source: `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment` of the same definitions.

use super::Kind::{Array, Bytes, Fixed, Struct, Text};
use super::{Field, Kind, Layout, NEVER, all, body, since};

const TOPIC_PARTITIONS: Kind = Struct(&[
    all(Text),             // topic
    all(Array(&Fixed(4))), // partitions
]);

const SUBSCRIPTION_FIELDS: &[Field] = &[
    all(Array(&Text)),                  // topics
    all(Bytes),                         // user_data
    since(1, Array(&TOPIC_PARTITIONS)), // owned_partitions
    since(2, Fixed(4)),                 // generation_id
    since(3, Text),                     // rack_id
];

pub(crate) const SUBSCRIPTION: Layout = body(NEVER, SUBSCRIPTION_FIELDS);

pub(crate) const ASSIGNMENT: Layout = body(
    NEVER,
    &[
        all(Array(&TOPIC_PARTITIONS)), // assigned_partitions
        all(Bytes),                    // user_data
    ],
);
