//! The worker, in the broker's process, through its port and on TiKV: each event has its effect once, in the order of its
//! key, whatever happens to handlers, workers, brokers and stores.

mod application;
mod batches;
mod blocking;
mod chain;
mod failures;
mod kill;
mod patient;
mod port;
mod rebalances;
mod sizes;
mod stage;
mod stores;
mod takeover;
mod tikv;
mod topics;
mod zombies;
