//! Events of dependent transactions enter the log in their order, however long the first paused before its commit.

use std::time::Duration;

use tidegate_store::faulty::{On, Point};
use tidegate_store::{ManualClock, Store, TikvOptions, TikvStore, Txn};
use tidegate_tests::tikv_cluster::TikvCluster;
use uuid::Uuid;

use crate::Publisher;
use crate::fixture::{
    Backend, Embedded, InMemory, Owner, create_topic, event, faulty, memory_store, partition, publish,
    publish_settings, values_of, waiting,
};

const PAUSES_MS: [i64; 3] = [1, 10_000, 30_000];
/// On TiKV time is the oracle's, which nobody can move: pauses in the same proportion to a shorter `commit.max.ms`.
const TIKV_COMMIT_MAX_MS: u64 = 1_000;
const TIKV_PAUSES_MS: [i64; 3] = [1, 2_000, 6_000];
/// Those who publish while T1 pauses, one after the other.
const OTHERS: usize = 10;

/// Time that goes by while T1 pauses.
trait Time {
    async fn advance(&self, ms: i64);
}

impl Time for ManualClock {
    async fn advance(&self, ms: i64) {
        Self::advance(self, ms);
    }
}

/// Time that can only be waited for.
struct RealTime;

impl Time for RealTime {
    async fn advance(&self, ms: i64) {
        tokio::time::sleep(Duration::from_millis(ms.unsigned_abs())).await;
    }
}

/// T1 publishes and pauses for `pause_ms` before it commits by `commit`, while others publish and are relayed; T3 begins
/// after it and publishes under the same key.
async fn check_order<S: Store, T: Time>(
    store: &S,
    time: &T,
    pause_ms: i64,
    commit: impl AsyncFnOnce(S::Txn, Others<'_, S, T>),
) {
    create_topic(store, 1).await;
    let mut owner = Owner::of(store, partition(0)).await;
    publish(store, event("k", "T0")).await.expect("published");
    owner.drain(store).await;
    let settings = publish_settings();
    let mut t1 = store.begin().await.expect("a snapshot");
    let mut publisher = Publisher::new(&t1, &settings, store.now_ms(), Uuid::new_v4());
    publisher.publish(&mut t1, &event("k", "T1")).await.expect("published");
    commit(t1, Others { store, owner: &mut owner, time, pause_ms }).await;
    publish(store, event("k", "T3")).await.expect("published");
    owner.drain(store).await;
    let values = values_of(store, partition(0)).await;
    let of_key: Vec<&String> = values.iter().filter(|value| value.starts_with('T')).collect();
    assert_eq!(of_key, ["T0", "T1", "T3"], "after a pause of {pause_ms} ms");
    assert_eq!(values.iter().filter(|value| value.starts_with("other")).count(), OTHERS);
    assert_eq!(waiting(store, partition(0)).await, (0, 0, 0));
}

/// Those who publish and are relayed meanwhile.
struct Others<'a, S, T> {
    store: &'a S,
    owner: &'a mut Owner,
    time: &'a T,
    pause_ms: i64,
}

impl<S: Store, T: Time> Others<'_, S, T> {
    /// Takes as long as the pause.
    async fn publish_and_relay(self) {
        let mut left_ms = self.pause_ms;
        for n in 0..OTHERS {
            let step_ms = (self.pause_ms / 10).max(1).min(left_ms);
            left_ms -= step_ms;
            self.time.advance(step_ms).await;
            publish(self.store, event("other", &format!("other {n}"))).await.expect("published");
            assert_eq!(self.owner.drain(self.store).await, 1, "others are not held up");
        }
    }
}

/// The transaction is open all the time.
async fn check_open<S: Store>(store: &S, time: &impl Time, pause_ms: i64) {
    check_order(store, time, pause_ms, async |t1, others| {
        others.publish_and_relay().await;
        t1.commit().await.expect("nobody else writes what it writes");
    })
    .await;
}

/// The commit was asked for, and is held up on its way to the store.
async fn check_held_up<S: Store>(store: S, time: &impl Time, pause_ms: i64) {
    let store = faulty(store);
    check_order(&store, time, pause_ms, async |t1, others| {
        let mut gate = store.faults().hold(On::next(), Point::BeforeCommit);
        let committing = async { t1.commit().await.expect("nobody else writes what it writes") };
        let meanwhile = async {
            gate.reached().await;
            others.publish_and_relay().await;
            gate.release();
        };
        tokio::join!(committing, meanwhile);
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_pauses_before_its_commit_comes_before_those_that_depend_on_it() {
    async fn check(backend: impl Backend, pause_ms: i64) {
        check_open(&backend.open(), &backend.clock(), pause_ms).await;
    }
    for pause_ms in PAUSES_MS {
        check(InMemory::new(), pause_ms).await;
        check(Embedded::new(), pause_ms).await;
    }
}

#[tokio::test]
async fn a_commit_that_is_held_up_on_its_way_comes_before_those_that_depend_on_it() {
    async fn check(backend: impl Backend, pause_ms: i64) {
        check_held_up(backend.open(), &backend.clock(), pause_ms).await;
    }
    for pause_ms in PAUSES_MS {
        check(InMemory::new(), pause_ms).await;
        check(Embedded::new(), pause_ms).await;
    }
}

async fn tikv(cluster: &TikvCluster) -> TikvStore {
    let address = cluster.fresh_namespace().parse().expect("an address");
    let options = TikvOptions { commit_max_ms: TIKV_COMMIT_MAX_MS, clients: 1, ..TikvOptions::new(address) };
    TikvStore::connect(options).await.expect("the cluster is there")
}

async fn check_on_tikv(cluster: &TikvCluster, pause_ms: i64) {
    let (open, held_up) = (tikv(cluster).await, tikv(cluster).await);
    assert_eq!(open.order_lag_ms(), TIKV_COMMIT_MAX_MS, "a relay looks back no further");
    tokio::join!(check_open(&open, &RealTime, pause_ms), check_held_up(held_up.clone(), &RealTime, pause_ms));
    open.shutdown().await;
    held_up.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_on_tikv_where_pauses_are_longer_than_a_relay_looks_back() {
    let cluster = TikvCluster::shared();
    let [short, long, longest] = TIKV_PAUSES_MS.map(|pause_ms| check_on_tikv(&cluster, pause_ms));
    tokio::join!(short, long, longest);
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
