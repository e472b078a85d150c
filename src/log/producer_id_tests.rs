use std::collections::BTreeSet;

use tidegate_store::faulty::{CommitFault, On};

use super::*;
use crate::fixture::{faulty, memory};

#[tokio::test]
async fn no_id_is_handed_out_twice_by_any_process_also_after_a_restart() {
    let (store, _) = memory();
    let mut all = BTreeSet::new();
    for restart in 0..3 {
        let processes = [ProducerIds::new(store.clone(), 10), ProducerIds::new(store.clone(), 7)];
        for round in 0..25 {
            for ids in &processes {
                let id = ids.next_id().await.expect("a store that works");
                assert!(all.insert(id), "{id} again, restart {restart}, round {round}");
            }
        }
    }
}

#[tokio::test]
async fn a_block_is_one_commit() {
    let (store, _) = memory();
    let ids = ProducerIds::new(store.clone(), 1000);
    let (first, second) =
        (ids.next_id().await.expect("a block"), ids.next_id().await.expect("the same block"));
    assert_eq!((first, second), (ProducerId(0), ProducerId(1)));
    let other = ProducerIds::new(store, 1000);
    assert_eq!(other.next_id().await, Ok(ProducerId(1000)));
}

#[tokio::test]
async fn a_lost_answer_costs_a_block_and_no_id_twice() {
    let (memory, _) = memory();
    let store = faulty(&memory);
    for fault in [CommitFault::LostApplied, CommitFault::LostNotApplied, CommitFault::LostLate] {
        store.faults().fail_commit(On::next(), fault);
        let (ids, others) = (ProducerIds::new(store.clone(), 5), ProducerIds::new(memory.clone(), 5));
        let mut all = BTreeSet::new();
        for id in [ids.next_id().await, others.next_id().await, ids.next_id().await] {
            assert!(all.insert(id.expect("a store that works")));
        }
    }
}
