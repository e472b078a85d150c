//! The store on TiKV: the conformance suite that every backend passes, and what only a cluster can do to a store. All on
//! the cluster of `tikv-cluster/`, or on the one that `TIDEGATE_TEST_PD` names (where nothing needs to be stopped).
//!
//! Unlike the other proofs it links the store: what is proved is its interface.

#[path = "tikv_store/bounds.rs"]
mod bounds;
#[path = "tikv_store/busy.rs"]
mod busy;
#[path = "tikv_store/conformance.rs"]
mod conformance;
#[path = "tikv_store/dropped.rs"]
mod dropped;
#[path = "tikv_store/faults.rs"]
mod faults;
#[path = "tikv_store/fixture.rs"]
mod fixture;
#[path = "tikv_store/garbage.rs"]
mod garbage;
#[path = "tikv_store/limits.rs"]
mod limits;
#[path = "tikv_store/opening.rs"]
mod opening;
#[path = "tikv_store/orphans.rs"]
mod orphans;
#[path = "tikv/part_by_part.rs"]
mod part_by_part;
#[path = "tikv_store/settling.rs"]
mod settling;
#[path = "tikv_store/timeouts.rs"]
mod timeouts;
