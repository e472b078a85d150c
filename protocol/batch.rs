//! Record batches v2: the unit in which records travel and are stored.
//!
//! A batch is opaque bytes from the producer's socket over the log to the consumer's socket. What the broker
//! needs of it is in a header of fixed size: [`BatchHeader`] reads it, [`check`] proves lengths, magic and
//! CRC, [`split`] cuts a payload into its batches, [`patch`] and [`patched_prefix`] assign the offset (which
//! the CRC does not cover), [`rewrite_log_append_time`] gives it the broker's clock. Only scheduled topics and
//! clients look inside: [`records`] and [`decode_records`] read, [`BatchBuilder`] and [`encode_batch`] write.
//!
//! It refuses magic 0 and 1 (message sets before Kafka 0.11), and it never decompresses more than the caller
//! allows. Duplicate header names, their order, and the difference between null and empty are kept.
//!
//! What always holds: [`patch`] and [`rewrite_log_append_time`] of a checked batch give a batch that passes
//! [`check`]; no bytes make anything here panic.
//!
//! Source of the layout: Kafka's "Record Batch" (documentation, implementation/messageformat) and
//! `org.apache.kafka.common.record.DefaultRecordBatch`, `DefaultRecord`.

mod builder;
mod check;
mod compression;
mod error;
mod header;
mod record;
mod varint;

#[cfg(test)]
mod batch_tests;

pub use builder::{BatchBuilder, BatchOptions, encode_batch};
pub use check::{
    CheckedBatch, check, check_produced, patch, patched_prefix, rewrite_log_append_time, rewrite_producer,
    split, split_fetched,
};
pub use compression::{Compression, compress, decompress};
pub use error::BatchError;
pub use header::{
    BatchHeader, HEADER_LEN, MAGIC, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, PREFIX_LEN,
    TimestampType, increment_sequence,
};
pub use record::{Record, Records, decode_records, records};
