//! Random transactions on models and two workers that handle what these publish, with crashes, against a plain model of what
//! should be there: rows, indexes, unique values, logs, committed offsets, marks, dead letters and what is parked (which records
//! wait, behind which, how often they were tried, when they are due, why they failed).
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
mod rounds;
mod site;
