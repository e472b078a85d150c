//! The Kafka wire protocol as Tidegate speaks it: bytes in motion.
//!
//! - [`frame`]: the length-prefixed frame, request heads, requests and responses in and out of frames;
//! - [`versions`]: the one table of the APIs and versions that are served;
//! - [`batch`]: record batches v2: look at a header, check, split, patch, and encode and decode records;
//! - [`layout`]: what each message's bytes look like, so that lengths are proven before they are allocated;
//! - [`murmur2`]: the hash by which every Kafka client picks the partition of a key;
//! - [`extension`]: requests of Tidegate's own, by which applications use a broker's store;
//! - [`consumer_protocol`]: what consumers of a group tell each other through their coordinator;
//! - [`error`]: Kafka's error codes.
//!
//! The message structs themselves are those of the `kafka-protocol` crate, re-exported as [`messages`].
//!
//! It refuses to do I/O, to know topics, logs or groups, and to read message formats before v2.
//!
//! What always holds: no input makes a function of this crate panic, and none makes it allocate more than a
//! bound that the caller named or that is a constant here; every length is checked before it is allocated.

pub mod batch;
pub mod consumer_protocol;
pub mod error;
pub mod extension;
pub mod frame;
pub mod layout;
pub mod murmur2;
pub mod versions;

pub use kafka_protocol::messages;
pub use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};
pub use layout::WireLayout;
