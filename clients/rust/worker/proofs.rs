//! Random transactions on models, two workers that handle what these publish and two that file it in ordered batches, with
//! crashes, against a plain model of what should be there: rows, indexes, unique values, logs, committed offsets, marks, dead
//! letters, what is parked (which records wait, behind which, how often they were tried, when they are due, why they failed)
//! and what is noted of the record that holds a partition of batches up.
//!
//! Transactions and actions of workers run side by side in rounds, in which the clock stands still. Whoever is told of a commit
//! tells the model; what nobody was told of is settled by looking for its trace in the store, and then all that is stored has to
//! agree with the model, to the last row. No socket is involved: records are read from the log, and what a producer would send is
//! appended to it.

mod application;
mod check;
mod crash;
mod doubts;
mod expected;
mod filed;
mod follow;
#[cfg(feature = "embedded")]
mod kill;
mod rounds;
mod site;
mod told;
