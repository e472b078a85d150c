//! What may come between: conflicts, lost answers, a store that is away, another owner.

use tidegate_format::{BrokerId, PartitionStateKey};
use tidegate_log::take_ownership;
use tidegate_store::faulty::{CommitFault, On, Point};
use tidegate_store::{FaultyStore, KeyRange, ManualClock, MemoryStore, ReadError};

use super::*;
use crate::fixture::{
    NOW_MS, Owner, TOPIC, commit, create_topic, event, faulty, memory_store, partition, publish, scheduled,
    values_of,
};
use crate::schedule;

fn limited(records_max: usize) -> RelaySettings {
    let limits = RelayLimits { records_max, ..RelayLimits::default() };
    RelaySettings { limits, ..RelaySettings::default() }
}

/// A store that fails on demand, with its clock.
fn faulty_store() -> (FaultyStore<MemoryStore>, ManualClock) {
    let (store, clock) = memory_store();
    (faulty(store), clock)
}

/// The operations on the partition's state row, which only its owner writes.
fn of_owner() -> On {
    let state = PartitionStateKey { id: partition(0) }.encode();
    On::next().touching(KeyRange::new(state.clone(), KeyRange::successor(&state)))
}

#[tokio::test]
async fn a_cancel_during_a_turn_halves_it_and_the_others_are_moved() {
    let (store, clock) = faulty_store();
    create_topic(&store, 1).await;
    for n in 0..8 {
        let name = n.to_string();
        publish(&store, scheduled(event("k", &name), &name, NOW_MS + 1)).await.expect("published");
    }
    clock.advance(1);
    let mut owner = Owner::of(&store, partition(0)).await;
    let mut gate = store.faults().hold(of_owner(), Point::BeforeCommit);
    let turning = async { owner.turn(&store).await };
    let cancelling = async {
        gate.reached().await;
        commit(&store, async |_, txn| schedule::cancel(txn, TOPIC, "7").await).await.expect("cancelled");
        gate.release();
    };
    let (turn, ()) = tokio::join!(turning, cancelling);
    assert_eq!((turn.records, turn.conflicts, turn.more), (4, 1, true));
    let turn = owner.turn(&store).await;
    assert_eq!((turn.records, turn.conflicts, turn.more), (3, 0, false));
    assert_eq!(values_of(&store, partition(0)).await, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_turn_that_meets_conflicts_only_gives_up_and_the_next_takes_one_entry() {
    let (store, _) = faulty_store();
    create_topic(&store, 1).await;
    for n in 0..8 {
        publish(&store, event("k", &n.to_string())).await.expect("published");
    }
    let mut owner = Owner::of(&store, partition(0)).await;
    let limits = RelayLimits { attempts_max: 5, ..RelayLimits::default() };
    for _ in 0..limits.attempts_max {
        store.faults().fail_commit(of_owner(), CommitFault::Refused(CommitError::Conflict));
    }
    let settings = RelaySettings { limits, ..RelaySettings::default() };
    let turn = owner.turn_with(&store, &settings).await;
    assert_eq!((turn.records, turn.conflicts, turn.more), (0, 5, true));
    let taken: Vec<usize> = vec![
        owner.turn(&store).await.records,
        owner.turn(&store).await.records,
        owner.turn(&store).await.records,
        owner.turn(&store).await.records,
    ];
    assert_eq!(taken, [1, 2, 4, 1], "doubled by each commit");
}

#[tokio::test]
async fn a_lost_answer_is_settled_and_nothing_is_appended_twice() {
    for (fault, conflicts) in [(CommitFault::LostApplied, 0), (CommitFault::LostNotApplied, 1)] {
        let (store, _) = faulty_store();
        create_topic(&store, 1).await;
        publish(&store, event("k", "v")).await.expect("published");
        let mut owner = Owner::of(&store, partition(0)).await;
        store.faults().fail_commit(of_owner(), fault.clone());
        let turn = owner.turn(&store).await;
        assert_eq!((turn.records, turn.conflicts), (1, conflicts), "{fault:?}");
        assert_eq!(turn.appends.expect("one record").entries[0].base_offset.0, 0);
        assert_eq!(owner.turn(&store).await.records, 0);
        assert_eq!(values_of(&store, partition(0)).await, ["v"], "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_settled_now_is_settled_by_the_next_turn() {
    for (fault, late) in [(CommitFault::LostApplied, false), (CommitFault::LostLate, true)] {
        let (store, _) = faulty_store();
        create_topic(&store, 1).await;
        for value in ["a", "b"] {
            publish(&store, event("k", value)).await.expect("published");
        }
        let mut owner = Owner::of(&store, partition(0)).await;
        store.faults().fail_commit(of_owner(), fault.clone());
        let mut gate = store.faults().hold(of_owner(), Point::AfterCommit);
        let settings = limited(1);
        let turning = owner.relay.turn(&store, &owner.ownership, NOW_MS, &settings);
        let leaving = async {
            gate.reached().await;
            store.faults().go_away();
            gate.release();
        };
        let (turn, ()) = tokio::join!(turning, leaving);
        assert!(matches!(turn, Err(RelayError::Commit(CommitError::Unknown { .. }))), "{turn:?}");
        store.faults().come_back();
        let turn = owner.turn_with(&store, &settings).await;
        assert_eq!(
            turn.state.is_some(),
            late,
            "of what was done before, it does not say where that left off"
        );
        let base_offset = turn.appends.expect("the first record").entries[0].base_offset.0;
        assert_eq!((turn.records, base_offset, turn.conflicts), (1, 0, 0));
        if late {
            assert_eq!(store.deliver_late().await, Some(Err(CommitError::Conflict)));
        }
        assert_eq!(owner.drain(&store).await, 1);
        assert_eq!(values_of(&store, partition(0)).await, ["a", "b"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_fails_the_turn_and_the_next_goes_on() {
    let (store, _) = faulty_store();
    create_topic(&store, 1).await;
    publish(&store, event("k", "v")).await.expect("published");
    let mut owner = Owner::of(&store, partition(0)).await;
    let settings = RelaySettings::default();
    store.faults().go_away();
    let turn = owner.relay.turn(&store, &owner.ownership, NOW_MS, &settings).await;
    assert!(matches!(turn, Err(RelayError::Log(LogError::Read(ReadError::Unavailable { .. })))), "{turn:?}");
    store.faults().come_back();
    let full = CommitError::DiskFull { reserve_bytes: 1 };
    store.faults().fail_commit(of_owner(), CommitFault::Refused(full.clone()));
    let turn = owner.relay.turn(&store, &owner.ownership, NOW_MS, &settings).await;
    assert_eq!(turn, Err(RelayError::Commit(full)));
    assert_eq!(owner.drain(&store).await, 1);
    assert_eq!(values_of(&store, partition(0)).await, ["v"]);
}

#[tokio::test]
async fn a_transaction_too_large_for_the_store_is_made_smaller() {
    let (store, _) = faulty_store();
    create_topic(&store, 1).await;
    for value in ["a", "b"] {
        publish(&store, event("k", value)).await.expect("published");
    }
    let mut owner = Owner::of(&store, partition(0)).await;
    let too_large = CommitError::TooLarge { what: "transaction", actual: 2, limit: 1 };
    store.faults().fail_commit(of_owner(), CommitFault::Refused(too_large));
    assert_eq!(owner.turn(&store).await.records, 1);
    assert_eq!(owner.drain(&store).await, 1);
}

#[tokio::test]
async fn an_earlier_owner_moves_nothing_wherever_it_is_paused() {
    for point in [Point::BeforeBegin, Point::AfterBegin, Point::BeforeCommit, Point::AfterCommit] {
        let (store, _) = faulty_store();
        create_topic(&store, 1).await;
        publish(&store, event("k", "v")).await.expect("published");
        let mut earlier = Owner::of(&store, partition(0)).await;
        let on =
            if matches!(point, Point::BeforeBegin | Point::AfterBegin) { On::next() } else { of_owner() };
        let mut gate = store.faults().hold(on, point);
        let settings = RelaySettings::default();
        let turning = earlier.relay.turn(&store, &earlier.ownership, NOW_MS, &settings);
        let taking_over = async {
            gate.reached().await;
            let (ownership, _) = take_ownership(&store, partition(0), BrokerId(2)).await.expect("taken over");
            let mut later = Owner { ownership, relay: Relay::new(partition(0)) };
            later.drain(&store).await;
            gate.release();
        };
        let (turn, ()) = tokio::join!(turning, taking_over);
        match point {
            Point::AfterCommit => assert_eq!(turn.expect("it came first").records, 1),
            _ => {
                assert!(matches!(turn, Err(RelayError::Log(LogError::Fenced { .. }))), "{point:?}: {turn:?}");
            }
        }
        assert_eq!(values_of(&store, partition(0)).await, ["v"], "{point:?}");
    }
}
