//! The lease of a namespace in virtual time, on a store that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_store::faulty::{CommitFault, On};
use tidegate_store::{FaultyStore, ManualClock, MemoryStore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use tidegate_format::ClusterValue;

type TestStore = FaultyStore<MemoryStore>;

const LEASE: Duration = Duration::from_secs(10);

/// One more process on the same store.
fn process(memory: &MemoryStore) -> TestStore {
    static NONCES: AtomicU64 = AtomicU64::new(1);
    FaultyStore::new(memory.clone(), || u128::from(NONCES.fetch_add(1, Ordering::Relaxed)))
}

async fn namespace() -> MemoryStore {
    let memory = MemoryStore::new(Arc::new(ManualClock::at(1_790_000_000_000)));
    let mut txn = memory.begin().await.expect("in memory");
    txn.put(ClusterKey.encode(), ClusterValue { id: Uuid::from_u128(1) }.encode());
    txn.commit().await.expect("nobody else writes");
    memory
}

fn broker(id: i32, incarnation: u128) -> LeaseHolder {
    let value = BrokerValue {
        host: "host".to_owned(),
        port: 9092,
        rack: None,
        incarnation,
        renewals: 0,
        lease_ms: u32::try_from(LEASE.as_millis()).expect("small"),
    };
    LeaseHolder { id: BrokerId(id), value }
}

/// A broker that keeps its lease.
struct Holder {
    lease: Lease,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Holder {
    async fn start(store: &TestStore, me: LeaseHolder) -> Result<Self, LeaseError> {
        let (lease, keeper) = acquire(store.clone(), me).await?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(keeper.run(stop.clone()));
        Ok(Self { lease, stop, task })
    }

    /// As `kill -9` ends it.
    fn kill(self) {
        self.task.abort();
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("it ends well");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_broker_is_refused_and_told_of_the_first() {
    let memory = namespace().await;
    let first = Holder::start(&process(&memory), broker(1, 7 << 96)).await.expect("nobody holds it");
    for id in [2, 1] {
        let began = Instant::now();
        let refused = Holder::start(&process(&memory), broker(id, 8)).await.err().expect("the first lives");
        assert!(began.elapsed() < LEASE, "{:?}", began.elapsed());
        let message = refused.to_string();
        for part in ["broker 1", "host:9092", "00000007", "10000 ms", "`store`"] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
        assert!(first.lease.is_live());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_renewed_lives_on() {
    let memory = namespace().await;
    let first = Holder::start(&process(&memory), broker(1, 7)).await.expect("nobody holds it");
    for _ in 0..1_000 {
        assert!(first.lease.is_live() && first.lease.trouble().is_none());
        sleep(LEASE / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_killed_is_replaced_after_a_whole_lease_and_who_stopped_at_once() {
    let memory = namespace().await;
    let first = Holder::start(&process(&memory), broker(1, 7)).await.expect("nobody holds it");
    first.stop().await;
    let began = Instant::now();
    let second = Holder::start(&process(&memory), broker(1, 8)).await.expect("it was given back");
    assert_eq!(began.elapsed(), Duration::ZERO);
    second.kill();
    let began = Instant::now();
    let _third = Holder::start(&process(&memory), broker(3, 9)).await.expect("the second is gone");
    assert!((LEASE..LEASE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_was_killed_with_a_renewal_under_way_is_replaced_too() {
    let memory = namespace().await;
    let first = Holder::start(&process(&memory), broker(1, 7)).await.expect("nobody holds it");
    let (key, LeaseHolder { value, .. }) = (BrokerKey { id: BrokerId(1) }.encode(), broker(1, 7));
    first.kill();
    let store = process(&memory);
    let starting = tokio::spawn(async move { Holder::start(&store, broker(1, 8)).await });
    sleep(LEASE / 2).await;
    // It has been looked at by now, and this arrives.
    let mut txn = memory.begin().await.expect("in memory");
    txn.put(key, BrokerValue { renewals: value.renewals + 1, ..value }.encode());
    txn.commit().await.expect("nobody else writes");
    let began = Instant::now();
    let second = starting.await.expect("no panic").expect("the first is gone");
    assert!((LEASE * 9 / 10..LEASE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(second.lease.is_live());
}

#[tokio::test(start_paused = true)]
async fn of_brokers_that_start_at_the_same_time_one_serves() {
    for is_left_behind in [false, true] {
        let memory = namespace().await;
        if is_left_behind {
            Holder::start(&process(&memory), broker(9, 1)).await.expect("nobody holds it").kill();
        }
        let starts = (1..=5).map(|id| {
            let store = process(&memory);
            tokio::spawn(async move { Holder::start(&store, broker(id, id.unsigned_abs().into())).await })
        });
        let mut holders = Vec::new();
        for start in starts.collect::<Vec<_>>() {
            match start.await.expect("no panic") {
                Ok(holder) => holders.push(holder),
                Err(error) => assert!(matches!(error, LeaseError::Held { .. }), "{error}"),
            }
        }
        assert_eq!(holders.len(), 1);
        assert!(holders[0].lease.is_live());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_silences_the_holder_and_takes_nothing_from_it() {
    let memory = namespace().await;
    let store = process(&memory);
    let first = Holder::start(&store, broker(1, 7)).await.expect("nobody holds it");
    store.faults().go_away();
    sleep(LEASE * 3 / 10).await;
    assert!(first.lease.is_live(), "what was renewed is good for its time");
    sleep(LEASE * 6 / 10).await;
    assert!(!first.lease.is_live(), "it ends before anybody else could count it as over");
    let trouble = first.lease.trouble().expect("there is a reason");
    assert!(trouble.contains("the store away"), "{trouble}");
    sleep(LEASE * 10).await;
    store.faults().come_back();
    first.lease.live().await;
    assert!(first.lease.trouble().is_none());
}

#[tokio::test(start_paused = true)]
async fn who_was_away_for_too_long_finds_that_another_has_taken_over() {
    let memory = namespace().await;
    let store = process(&memory);
    let first = Holder::start(&store, broker(1, 7)).await.expect("nobody holds it");
    store.faults().go_away();
    let second = Holder::start(&process(&memory), broker(2, 8)).await.expect("the first is silent");
    assert!(!first.lease.is_live(), "it was silent before the second began");
    store.faults().come_back();
    let reason = first.lease.lost().await;
    assert!(reason.contains("broker 2 at host:9092") && reason.contains("10000 ms"), "{reason}");
    assert!(!first.lease.is_live() && second.lease.is_live());
    // Stopping it takes nothing from the second.
    first.stop().await;
    sleep(LEASE * 2).await;
    assert!(second.lease.is_live());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_is_lost_is_settled_and_the_lease_lives() {
    for fault in [CommitFault::LostApplied, CommitFault::LostNotApplied, CommitFault::LostLate] {
        let memory = namespace().await;
        let store = process(&memory);
        let first = Holder::start(&store, broker(1, 7)).await.expect("nobody holds it");
        for _ in 0..10 {
            store.faults().fail_commit(On::next(), fault.clone());
            sleep(LEASE / 4).await;
            assert!(first.lease.is_live(), "{fault:?}");
        }
        while store.deliver_late().await.is_some() {}
        sleep(LEASE).await;
        assert!(first.lease.is_live(), "{fault:?}");
        first.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn taking_the_lease_is_settled_too() {
    for fault in [CommitFault::LostApplied, CommitFault::LostNotApplied, CommitFault::LostLate] {
        let memory = namespace().await;
        let store = process(&memory);
        store.faults().fail_commit(On::next(), fault.clone());
        let first = Holder::start(&store, broker(1, 7)).await.expect("nobody holds it");
        let _late = store.deliver_late().await;
        sleep(LEASE * 2).await;
        assert!(first.lease.is_live(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_store_that_nobody_shares_needs_no_lease() {
    let lease = Lease::unshared();
    assert!(lease.is_live() && lease.trouble().is_none());
    lease.live().await;
}
