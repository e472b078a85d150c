//! The worker against a broker in this process: each event has its effect once, in the order of its key, whatever happens
//! to handlers, workers and brokers.

mod batches;
mod failures;
mod kill;
mod rebalances;
mod stage;
mod stores;
mod zombies;
