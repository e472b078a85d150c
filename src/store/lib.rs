//! The ordered transactional map under everything Tidegate keeps.
//!
//! What it is: a [`Store`] begins transactions ([`Txn`]) over byte keys in lexicographic order, with snapshot
//! isolation, optimistic conflicts and durable commits. Backends: embedded (one directory, nothing to install), a
//! TiKV cluster, in-memory (tests), and wrappers that make any of them fail on purpose. One conformance suite passes on all.
//!
//! What it refuses to do: it knows no topic, group or model; it never interprets a value.
//!
//! What always holds: a commit that was acknowledged is durable; a transaction sees one snapshot and its own
//! writes; of two overlapping transactions that write one key, or of which one writes what the other guards, at
//! most one commits.

mod any;
mod clock;
mod clock_gate;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod embedded;
mod error;
pub mod faulty;
mod limits;
mod memory;
mod oracle;
mod pages;
mod range;
mod settle;
pub mod tikv;
mod txn;
mod version;
pub mod write_set;

pub use any::{AnyStore, AnyTxn};
pub use clock::{Clock, ManualClock, SystemClock};
pub use embedded::{EmbeddedOptions, EmbeddedStore, OpenError, SyncPolicy};
pub use error::{CommitError, CommitToken, ReadError};
pub use faulty::FaultyStore;
pub use limits::TransactionLimits;
pub use memory::{MemoryStore, MemoryTxn};
pub use pages::Pages;
pub use range::{Direction, KeyRange, ScanLimit};
pub use settle::{commit_settled, settle};
pub use tikv::{TikvAddress, TikvOpenError, TikvOptions, TikvStore, TikvTls};
pub use txn::{Committed, Dropped, Outcome, Store, Txn};
pub use version::Version;
