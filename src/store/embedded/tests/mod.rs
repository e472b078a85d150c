//! Tests of the store as a whole.

#![allow(clippy::unwrap_used)]

mod ahead;
mod conformance;
mod failure;
mod hanging;
mod kill;
mod reading;
mod recovery;
mod runs;
mod space;
mod workload;
