//! The store of a broker through its port, against a broker on an embedded store in this process: it does what the store
//! itself does, and a lost answer is settled whatever happens to connection and broker.

mod admission;
mod conformance;
mod fixture;
mod groups;
mod kill;
mod lost_answers;
mod on_tikv;
mod proxy;
mod sessions;
mod user_keys;
