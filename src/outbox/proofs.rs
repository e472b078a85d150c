//! Promises that hold across the files of this crate, on every backend of the store.

mod kill;
mod model;
mod order;
mod race;
mod random;
