//! Random transactions with crashes, against a plain model of what should be there: rows, indexes, unique values,
//! references, events in the log, schedules, events published once, committed offsets and an application's own keys.
//!
//! Each lane of transactions counts its turns in the transactions themselves, so that after a crash the store says which
//! were committed, in which order. The model repeats those, and everything stored has to agree.

mod application;
mod crash;
mod expected;
mod kill;
mod plan;
