//! Events of dependent transactions enter the log in their order, however long the first paused before its commit.

use tidegate_store::faulty::{On, Point};
use tidegate_store::{ManualClock, Store, Txn};
use uuid::Uuid;

use crate::Publisher;
use crate::fixture::{
    Backend, Embedded, InMemory, Owner, create_topic, event, faulty, memory_store, partition, publish,
    publish_settings, values_of, waiting,
};

const PAUSES_MS: [i64; 3] = [1, 10_000, 30_000];

/// T1 publishes and pauses for `pause_ms` before it commits by `commit`, while others publish and are relayed; T3 begins
/// after it and publishes under the same key.
async fn check_order<S: Store>(
    store: &S,
    clock: &ManualClock,
    pause_ms: i64,
    commit: impl AsyncFnOnce(S::Txn, &mut dyn FnMut(), Others<'_, S>),
) {
    create_topic(store, 1).await;
    let mut owner = Owner::of(store, partition(0)).await;
    publish(store, event("k", "T0")).await.expect("published");
    owner.drain(store).await;
    let settings = publish_settings();
    let mut t1 = store.begin().await.expect("a snapshot");
    let mut publisher = Publisher::new(&t1, &settings, store.now_ms(), Uuid::new_v4());
    publisher.publish(&mut t1, &event("k", "T1")).await.expect("published");
    let mut left_ms = pause_ms;
    let mut advance = || {
        let step_ms = (pause_ms / 10).max(1).min(left_ms);
        left_ms -= step_ms;
        clock.advance(step_ms);
    };
    commit(t1, &mut advance, Others { store, owner: &mut owner }).await;
    publish(store, event("k", "T3")).await.expect("published");
    owner.drain(store).await;
    let values = values_of(store, partition(0)).await;
    let of_key: Vec<&String> = values.iter().filter(|value| value.starts_with('T')).collect();
    assert_eq!(of_key, ["T0", "T1", "T3"], "after a pause of {pause_ms} ms");
    assert_eq!(values.iter().filter(|value| value.starts_with("other")).count(), 10);
    assert_eq!(waiting(store, partition(0)).await, (0, 0, 0));
}

/// Those who publish and are relayed meanwhile.
struct Others<'a, S> {
    store: &'a S,
    owner: &'a mut Owner,
}

impl<S: Store> Others<'_, S> {
    async fn publish_and_relay(self, advance: &mut dyn FnMut()) {
        for n in 0..10 {
            advance();
            publish(self.store, event("other", &format!("other {n}"))).await.expect("published");
            assert_eq!(self.owner.drain(self.store).await, 1, "others are not held up");
        }
    }
}

/// The transaction is open all the time.
async fn check_open<B: Backend>(backend: B, pause_ms: i64) {
    let store = backend.open();
    check_order(&store, &backend.clock(), pause_ms, async |t1, advance, others| {
        others.publish_and_relay(advance).await;
        t1.commit().await.expect("nobody else writes what it writes");
    })
    .await;
}

/// The commit was asked for, and is held up on its way to the store.
async fn check_held_up<B: Backend>(backend: B, pause_ms: i64) {
    let store = faulty(backend.open());
    check_order(&store, &backend.clock(), pause_ms, async |t1, advance, others| {
        let mut gate = store.faults().hold(On::next(), Point::BeforeCommit);
        let committing = async { t1.commit().await.expect("nobody else writes what it writes") };
        let meanwhile = async {
            gate.reached().await;
            others.publish_and_relay(advance).await;
            gate.release();
        };
        tokio::join!(committing, meanwhile);
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_pauses_before_its_commit_comes_before_those_that_depend_on_it() {
    for pause_ms in PAUSES_MS {
        check_open(InMemory::new(), pause_ms).await;
        check_open(Embedded::new(), pause_ms).await;
    }
}

#[tokio::test]
async fn a_commit_that_is_held_up_on_its_way_comes_before_those_that_depend_on_it() {
    for pause_ms in PAUSES_MS {
        check_held_up(InMemory::new(), pause_ms).await;
        check_held_up(Embedded::new(), pause_ms).await;
    }
}

#[tokio::test]
async fn events_committed_while_a_turn_is_under_way_are_moved_by_the_next_in_their_order() {
    let store = faulty(memory_store().0);
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    publish(&store, event("k", "T1")).await.expect("published");
    let mut gate = store.faults().hold(On::next(), Point::BeforeCommit);
    let turning = async { owner.turn(&store).await };
    let publishing = async {
        gate.reached().await;
        for value in ["T2", "T3"] {
            publish(store.inner(), event("k", value)).await.expect("published");
        }
        gate.release();
    };
    let (turn, ()) = tokio::join!(turning, publishing);
    assert_eq!((turn.records, turn.conflicts), (1, 0));
    assert_eq!(owner.drain(&store).await, 2);
    assert_eq!(values_of(&store, partition(0)).await, ["T1", "T2", "T3"]);
}
