//! What the proofs share: the real binary as a process that can be killed, stock clients that keep a ledger, and raw
//! connections. The proofs themselves are in `proofs/`; `README.md` says which of them answers which promise.
//!
//! It looks at a broker only from outside: nothing here links the broker, its store or its formats. It refuses to wait by
//! sleeping: it waits for a condition, and a deadline only fails a test that hangs.

pub mod admin;
pub mod admin_http;
pub mod broker;
pub mod certificates;
pub mod deadline;
pub mod exposition;
mod frozen;
pub mod kept_port;
pub mod ledger;
pub mod log_reader;
pub mod member;
pub mod producer;
pub mod program;
pub mod prometheus;
pub mod refusals;
pub mod schedule_book;
pub mod scheduled_topic;
pub mod shared_ledger;
pub mod store_under_test;
pub mod tcp_proxy;
pub mod test_process;
pub mod tikv_cluster;
pub mod tikv_process;
pub mod wire;
