//! Events of dependent transactions enter the log in their order, however long the first paused before its commit.

use std::time::Duration;

use tidegate_store::faulty::{On, Point};
use tidegate_store::{
    CommitError, Committed, ManualClock, Store, TikvOptions, TikvStore, TransactionLimits, Txn,
};
use tidegate_tests::tikv_cluster::TikvCluster;
use uuid::Uuid;

use crate::fixture::{
    Backend, Embedded, InMemory, Owner, create_topic, event, faulty, memory_store, partition, publish,
    publish_settings, values_of, waiting,
};
use crate::relay::RelaySettings;
use crate::{Event, Publisher};

const PAUSES_MS: [i64; 3] = [1, 10_000, 30_000];
/// On TiKV time is the oracle's, which nobody can move: pauses in the same proportion to a relay that looks back less far.
/// It need not look back at all here, as no commit is under way while it moves events.
const TIKV_LOOK_BACK_MS: i64 = 1_000;
const TIKV_PAUSES_MS: [i64; 3] = [1, 2_000, 6_000];
/// How long TiKV may take for a commit or a read. It is no promise here, and a machine that pauses breaks a shorter one.
const TIKV_PATIENCE_MS: u64 = 60_000;
/// Those who publish while T1 pauses, one after the other.
const OTHERS: usize = 10;

/// Time that goes by while T1 pauses.
trait Time {
    /// How far a relay looks back.
    const LOOK_BACK_MS: i64;
    /// How often a transaction is run at most. Nobody else writes what it writes, but on TiKV a conflict is also what comes
    /// of a commit whose answer the machine has held up for long: an application runs it again then.
    const ATTEMPTS_MAX: usize;

    async fn advance(&self, ms: i64);
}

impl Time for ManualClock {
    const LOOK_BACK_MS: i64 = 0;
    const ATTEMPTS_MAX: usize = 1;

    async fn advance(&self, ms: i64) {
        Self::advance(self, ms);
    }
}

/// Time that can only be waited for.
struct RealTime;

impl Time for RealTime {
    const LOOK_BACK_MS: i64 = TIKV_LOOK_BACK_MS;
    const ATTEMPTS_MAX: usize = 10;

    async fn advance(&self, ms: i64) {
        tokio::time::sleep(Duration::from_millis(ms.unsigned_abs())).await;
    }
}

/// Begins a transaction that publishes an event.
async fn publishing<S: Store>(store: &S, event: &Event) -> S::Txn {
    let settings = publish_settings();
    let mut txn = store.begin().await.expect("a snapshot");
    let mut publisher = Publisher::new(&txn, &settings, store.now_ms(), Uuid::new_v4());
    publisher.publish(&mut txn, event).await.expect("published");
    txn
}

/// Runs a transaction until it is applied; how often that was.
async fn until_applied<T: Time>(
    _: &T,
    mut run: impl AsyncFnMut() -> Result<Committed, CommitError>,
) -> usize {
    for attempt in 1..=T::ATTEMPTS_MAX {
        match run().await {
            Ok(_) => return attempt,
            Err(error) => assert_eq!(error, CommitError::Conflict),
        }
    }
    panic!("it conflicts with nobody, {} times", T::ATTEMPTS_MAX)
}

/// Publishes an event in a transaction of its own.
async fn publish_alone<S: Store, T: Time>(store: &S, time: &T, event: &Event) {
    until_applied(time, async || publishing(store, event).await.commit().await).await;
}

/// Moves everything that is due, looking back as far as the time wants it; how many records that were.
async fn drain<S: Store, T: Time>(owner: &mut Owner, store: &S, _: &T) -> usize {
    let settings = RelaySettings { overlap_ms: T::LOOK_BACK_MS, ..RelaySettings::default() };
    let mut records = 0;
    loop {
        let turn = owner.turn_with(store, &settings).await;
        records += turn.records;
        if !turn.more {
            return records;
        }
    }
}

/// T1 publishes and pauses for `pause_ms` before it commits by `commit`, while others publish and are relayed; T3 begins
/// after it and publishes under the same key.
async fn check_order<S: Store, T: Time>(
    store: &S,
    time: &T,
    pause_ms: i64,
    commit: impl AsyncFn(S::Txn, Others<'_, S, T>) -> Result<Committed, CommitError>,
) {
    create_topic(store, 1).await;
    let mut owner = Owner::of(store, partition(0)).await;
    publish_alone(store, time, &event("k", "T0")).await;
    drain(&mut owner, store, time).await;
    let attempts = until_applied(time, async || {
        let t1 = publishing(store, &event("k", "T1")).await;
        commit(t1, Others { store, owner: &mut owner, time, pause_ms }).await
    })
    .await;
    publish_alone(store, time, &event("k", "T3")).await;
    drain(&mut owner, store, time).await;
    let values = values_of(store, partition(0)).await;
    let of_key: Vec<&String> = values.iter().filter(|value| value.starts_with('T')).collect();
    assert_eq!(of_key, ["T0", "T1", "T3"], "after a pause of {pause_ms} ms");
    assert_eq!(values.iter().filter(|value| value.starts_with("other")).count(), attempts * OTHERS);
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
            publish_alone(self.store, self.time, &event("other", &format!("other {n}"))).await;
            assert_eq!(drain(self.owner, self.store, self.time).await, 1, "others are not held up");
        }
    }
}

/// The transaction is open all the time.
async fn check_open<S: Store>(store: &S, time: &impl Time, pause_ms: i64) {
    check_order(store, time, pause_ms, async |t1, others| {
        others.publish_and_relay().await;
        t1.commit().await
    })
    .await;
}

/// The commit was asked for, and is held up on its way to the store.
async fn check_held_up<S: Store>(store: S, time: &impl Time, pause_ms: i64) {
    let store = faulty(store);
    check_order(&store, time, pause_ms, async |t1, others| {
        let mut gate = store.faults().hold(On::next(), Point::BeforeCommit);
        let meanwhile = async {
            gate.reached().await;
            others.publish_and_relay().await;
            gate.release();
        };
        tokio::join!(t1.commit(), meanwhile).0
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
    let defaults = TikvOptions::new(address);
    let options = TikvOptions {
        clients: 1,
        connect_timeout_ms: TIKV_PATIENCE_MS,
        request_timeout_ms: TIKV_PATIENCE_MS,
        commit_max_ms: TIKV_PATIENCE_MS,
        limits: TransactionLimits { max_ms: 10 * TIKV_PATIENCE_MS, ..defaults.limits },
        ..defaults
    };
    TikvStore::connect(options).await.expect("the cluster is there")
}

async fn check_on_tikv(cluster: &TikvCluster, pause_ms: i64) {
    let (open, held_up) = (tikv(cluster).await, tikv(cluster).await);
    assert_eq!(open.order_lag_ms(), TIKV_PATIENCE_MS, "a relay of ours would look back that far");
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
