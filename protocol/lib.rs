//! The Kafka wire protocol as Tidegate speaks it: framing, record batches, the version table.
