//! Partitions: append, read, idempotent producers, offsets by time, retention.
