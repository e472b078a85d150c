//! Two owners of which the first is paused: before it begins, between begin and commit, and after its commit; on every kind
//! of store.

use tidegate_format::{OwnerEpoch, ProducerId};
use tidegate_store::faulty::{CommitFault, FaultyStore, On, Point};
use tidegate_store::{CommitError, Store, commit_settled, settle};

use crate::fixture::{
    Backend, Embedded, GroupError, ID, InMemory, NOW_MS, append_group, append_one, faulty, idempotent, own,
    sequences, state,
};
use crate::{LogError, OffsetError, Ownership, Retention};

const PAUSED: i64 = 1;
const LATER: i64 = 2;

fn fenced() -> LogError {
    LogError::Fenced { id: ID, held: OwnerEpoch(0), found: Some(OwnerEpoch(1)) }
}

/// Lets the first of two owners append while it is held at `point`, and meanwhile the second one take over and append.
/// Gives what the first one's append came to.
async fn race<S: Store>(store: &S, point: Point) -> (FaultyStore<S>, Ownership, Result<(), GroupError>) {
    let first = faulty(store);
    let owner = own(&first, 1).await;
    let mut gate = first.faults().hold(On::next(), point);
    let append = tokio::spawn({
        let first = first.clone();
        async move { append_group(&first, &owner, &[idempotent(PAUSED, 0, 10, 1)]).await.map(|_| ()) }
    });
    gate.reached().await;
    let second = own(store, 2).await;
    append_one(store, &second, &idempotent(LATER, 0, 20, 1)).await.expect("the second owner writes");
    gate.release();
    let outcome = append.await.expect("the first owner does not panic");
    (first, owner, outcome)
}

async fn append_again(store: &impl Store, owner: &Ownership) -> Result<(), GroupError> {
    append_group(store, owner, &[idempotent(PAUSED, 0, 11, 1)]).await.map(|_| ())
}

async fn an_owner_that_was_replaced_before_it_begins_is_fenced<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let (first, owner, outcome) = race(&store, Point::BeforeBegin).await;
    assert_eq!(outcome, Err(GroupError::Log(fenced())));
    assert_eq!(append_again(&first, &owner).await, Err(GroupError::Log(fenced())));
    assert_eq!(sequences(&store).await, [20]);
}

async fn an_owner_that_was_replaced_after_it_began_cannot_commit<B: Backend>() {
    for point in [Point::AfterBegin, Point::BeforeCommit] {
        let backend = B::new();
        let store = backend.store();
        let (first, owner, outcome) = race(&store, point).await;
        assert_eq!(outcome, Err(GroupError::Commit(CommitError::Conflict)), "{point:?}");
        assert_eq!(append_again(&first, &owner).await, Err(GroupError::Log(fenced())));
        assert_eq!(sequences(&store).await, [20]);
    }
}

async fn what_an_owner_committed_before_it_was_replaced_stays_and_is_its_last<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let (first, owner, outcome) = race(&store, Point::AfterCommit).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(append_again(&first, &owner).await, Err(GroupError::Log(fenced())));
    assert_eq!(sequences(&store).await, [10, 20]);
}

async fn everything_else_that_an_owner_does_is_fenced_too<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let owner = own(&store, 1).await;
    append_one(&store, &owner, &idempotent(PAUSED, 0, 0, 3)).await.expect("owned");
    let mut begun = store.begin().await.expect("a store that works");
    crate::delete_records(&mut begun, &owner, tidegate_format::Offset(2)).await.expect("still owned");
    own(&store, 2).await;
    assert_eq!(commit_settled(&store, begun).await, Err(CommitError::Conflict));
    let mut txn = store.begin().await.expect("a store that works");
    let deleted = crate::delete_records(&mut txn, &owner, tidegate_format::Offset(2)).await;
    assert_eq!(deleted, Err(OffsetError::Log(fenced())));
    let retention = Retention { retention_ms: Some(0), retention_bytes: None };
    assert_eq!(crate::retain(&mut txn, &owner, &retention, i64::MAX).await, Err(fenced()));
    let expired = crate::expire_producers(&mut txn, &owner, ProducerId(0), 10, i64::MAX, 1).await;
    assert_eq!(expired, Err(fenced()));
}

async fn each_owner_has_a_higher_epoch_and_batches_carry_it<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    for epoch in 0..3 {
        let owner = own(&store, 1).await;
        assert_eq!(owner.epoch, OwnerEpoch(epoch));
        append_one(&store, &owner, &idempotent(1, 0, epoch, 1)).await.expect("owned");
    }
    let batches = crate::fixture::read_all(&store, 0).await;
    let epochs: Vec<_> = batches
        .iter()
        .map(|batch| tidegate_protocol::batch::check(batch).expect("intact").partition_leader_epoch)
        .collect();
    assert_eq!(epochs, [0, 1, 2]);
}

async fn a_dropped_partition_is_written_by_nobody_any_more<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let owner = own(&store, 1).await;
    append_one(&store, &owner, &idempotent(1, 0, 0, 1)).await.expect("owned");
    let rows = async || {
        let (start, end) = tidegate_format::partition_range(ID);
        let range = tidegate_store::KeyRange::new(start, end);
        let mut txn = store.begin().await.expect("a store that works");
        tidegate_store::Txn::scan_keys(&mut txn, &range, 10, tidegate_store::Direction::Forward).await
    };
    let mut left = rows().await.expect("a store that works");
    left.retain(|key| *key != tidegate_format::PartitionStateKey { id: ID }.encode());
    let paused = faulty(&store);
    let mut gate = paused.faults().hold(On::next(), Point::BeforeCommit);
    let append =
        tokio::spawn(
            async move { append_group(&paused, &owner, &[idempotent(1, 0, 1, 1)]).await.map(|_| ()) },
        );
    gate.reached().await;
    crate::end_partition(&store, ID).await.expect("a store that works");
    gate.release();
    assert_eq!(append.await.expect("no panic"), Err(GroupError::Commit(CommitError::Conflict)));
    let mut txn = store.begin().await.expect("a store that works");
    assert_eq!(rows().await, Ok(left), "all but the state is as it was");
    let fenced = LogError::Fenced { id: ID, held: OwnerEpoch(0), found: None };
    assert_eq!(owner.load_state(&mut txn).await, Err(fenced));
}

/// Sends a batch as a producer does: again and again until it is answered.
async fn send_until_answered<S: Store>(store: &FaultyStore<S>, owner: &Ownership, sequence: i32) -> i64 {
    loop {
        match append_group(store, owner, &[idempotent(PAUSED, 0, sequence, 1)]).await {
            Ok((_, mut outcomes)) => {
                let outcome = outcomes.pop().expect("one outcome");
                return outcome.expect("in sequence").base_offset.0;
            }
            Err(GroupError::Commit(CommitError::Conflict)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn a_commit_whose_answer_was_lost_is_settled_and_nothing_is_in_the_log_twice<B: Backend>() {
    for fault in [CommitFault::LostApplied, CommitFault::LostNotApplied, CommitFault::LostLate] {
        let backend = B::new();
        let alone = backend.store();
        let store = faulty(&alone);
        let owner = own(&store, 1).await;
        for sequence in 0..6 {
            if sequence % 2 == 1 {
                store.faults().fail_commit(On::next(), fault.clone());
            }
            assert_eq!(send_until_answered(&store, &owner, sequence).await, i64::from(sequence), "{fault:?}");
        }
        while let Some(late) = store.deliver_late().await {
            assert_eq!(late, Err(CommitError::Conflict), "settled is settled");
        }
        assert_eq!(sequences(&alone).await, [0, 1, 2, 3, 4, 5], "{fault:?}");
    }
}

async fn an_outcome_that_the_store_cannot_tell_stays_unknown_until_it_can<B: Backend>() {
    let backend = B::new();
    let alone = backend.store();
    let store = faulty(&alone);
    let owner = own(&store, 1).await;
    store.faults().fail_commit(On::next(), CommitFault::LostApplied);
    let mut gate = store.faults().hold(On::next(), Point::AfterCommit);
    let append = tokio::spawn({
        let store = store.clone();
        async move { append_group(&store, &owner, &[idempotent(PAUSED, 0, 0, 1)]).await.map(|_| ()) }
    });
    gate.reached().await;
    store.faults().go_away();
    gate.release();
    let Err(GroupError::Commit(unknown)) = append.await.expect("no panic") else {
        panic!("the answer was lost")
    };
    assert!(matches!(unknown, CommitError::Unknown { .. }));
    assert_eq!(settle(&store, unknown.clone()).await, Err(unknown.clone()));
    store.faults().come_back();
    assert_eq!(settle(&store, unknown).await, Ok(()));
    assert_eq!(state(&alone).await.next_offset.0, 1);
    let repeat = append_one(&store, &owner, &crate::fixture::at(idempotent(PAUSED, 0, 0, 1), NOW_MS)).await;
    assert!(repeat.expect("known").repeated);
}

/// Each case on each kind of store.
macro_rules! on {
    ($($module:ident $backend:ident)*; $cases:tt) => { $(on!(@ $module $backend $cases);)* };
    (@ $module:ident $backend:ident { $($case:ident)* }) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case::<super::$backend>().await;
                }
            )*
        }
    };
}

on! { in_memory InMemory embedded Embedded; {
    an_owner_that_was_replaced_before_it_begins_is_fenced
    an_owner_that_was_replaced_after_it_began_cannot_commit
    what_an_owner_committed_before_it_was_replaced_stays_and_is_its_last
    everything_else_that_an_owner_does_is_fenced_too
    each_owner_has_a_higher_epoch_and_batches_carry_it
    a_dropped_partition_is_written_by_nobody_any_more
    a_commit_whose_answer_was_lost_is_settled_and_nothing_is_in_the_log_twice
    an_outcome_that_the_store_cannot_tell_stays_unknown_until_it_can
} }
