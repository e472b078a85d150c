//! Transactions that lose, commits whose answer is lost, and what a write costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_store::faulty::{CommitFault, On, Point};
use tidegate_store::{
    CommitError, CommitToken, Committed, Direction, FaultyStore, KeyRange, MemoryStore, Outcome, ReadError,
    ScanLimit, Store, Txn, Version,
};
use tokio::sync::oneshot;

use crate::fixture::{Fixture, Flight, NOW_MS, fixture, memory_store, waiting};
use crate::{Db, DbSettings, Error, Field, Index, Model, ModelId, NewEvent, RetryPolicy, Write};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Counter {
    count: u32,
}

impl Model for Counter {
    const TABLE: &'static str = "counters";

    fn id(&self) -> ModelId {
        1.into()
    }
}

async fn increment<S: Store>(db: &Db<S>) -> Result<u32, Error> {
    db.transaction(|tx| async move {
        let mut counter = tx.find::<Counter>(1).await?.unwrap_or(Counter { count: 0 });
        counter.count += 1;
        tokio::task::yield_now().await;
        tx.save(&counter).await?;
        Ok(counter.count)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_of_concurrent_tasks_is_lost() {
    const TASKS: u32 = 8;
    const INCREMENTS: u32 = 25;
    let retry = RetryPolicy { attempts_max: u32::MAX, ..RetryPolicy::default() };
    let db = Fixture::over(memory_store(), DbSettings { retry, ..DbSettings::default() }).db;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let db = db.clone();
        tasks.spawn(async move {
            for _ in 0..INCREMENTS {
                increment(&db).await.expect("committed in the end");
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("no task panics");
    }
    assert_eq!(increment(&db).await, Ok(TASKS * INCREMENTS + 1));
}

fn faulty_fixture() -> Fixture<FaultyStore<MemoryStore>> {
    let mut nonce = 0;
    let store = FaultyStore::new(memory_store(), move || {
        nonce += 1;
        nonce
    });
    Fixture::over(store, DbSettings::default())
}

/// Inserts a flight, and counts how often that was tried.
async fn insert_counting(db: &Db<FaultyStore<MemoryStore>>) -> (Result<(), Error>, u32) {
    let runs = AtomicU32::new(0);
    let (counted, flight) = (&runs, &Flight::new("KL1", "D7", NOW_MS));
    let result = db
        .transaction(|tx| async move {
            counted.fetch_add(1, Ordering::SeqCst);
            tx.insert(flight).await
        })
        .await;
    (result, runs.into_inner())
}

#[tokio::test]
async fn a_conflict_runs_the_work_again_after_a_pause() {
    let fixture = faulty_fixture();
    for _ in 0..3 {
        fixture.db.store().faults().fail_commit(On::next(), CommitFault::Refused(CommitError::Conflict));
    }
    assert_eq!(insert_counting(&fixture.db).await, (Ok(()), 4));
    assert_eq!(fixture.pauses().len(), 3);
    assert_eq!(fixture.wakeups(), 1);
}

#[tokio::test]
async fn the_attempts_are_bounded() {
    let fixture = faulty_fixture();
    let attempts_max = RetryPolicy::default().attempts_max;
    for _ in 0..attempts_max {
        fixture.db.store().faults().fail_commit(On::next(), CommitFault::Refused(CommitError::Conflict));
    }
    let (result, runs) = insert_counting(&fixture.db).await;
    assert_eq!(result, Err(Error::Conflict { attempts: attempts_max }));
    assert_eq!(runs, attempts_max);
    assert_eq!(fixture.wakeups(), 0);
}

#[tokio::test]
async fn what_running_again_does_not_help_is_not_run_again() {
    let fixture = faulty_fixture();
    let full = CommitError::DiskFull { reserve_bytes: 1 };
    fixture.db.store().faults().fail_commit(On::next(), CommitFault::Refused(full.clone()));
    assert_eq!(insert_counting(&fixture.db).await, (Err(Error::Commit(full)), 1));
}

#[tokio::test]
async fn a_lost_answer_of_an_applied_commit_is_success_without_a_second_run() {
    let fixture = faulty_fixture();
    fixture.db.store().faults().fail_commit(On::next(), CommitFault::LostApplied);
    assert_eq!(insert_counting(&fixture.db).await, (Ok(()), 1));
    assert_eq!(waiting(fixture.db.store(), "flights").await.len(), 2, "each event once");
    assert_eq!(fixture.wakeups(), 1);
}

#[tokio::test]
async fn a_lost_answer_of_a_commit_that_was_not_applied_runs_the_work_again() {
    for fault in [CommitFault::LostNotApplied, CommitFault::LostLate] {
        let fixture = faulty_fixture();
        fixture.db.store().faults().fail_commit(On::next(), fault);
        assert_eq!(insert_counting(&fixture.db).await, (Ok(()), 2));
        let late = fixture.db.store().deliver_late().await;
        assert!(matches!(late, None | Some(Err(CommitError::Conflict))), "settled is settled: {late:?}");
        assert_eq!(waiting(fixture.db.store(), "flights").await.len(), 2, "each event once");
    }
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_given_back_and_nothing_is_run_again() {
    let fixture = faulty_fixture();
    let faults = fixture.db.store().faults();
    faults.fail_commit(On::next(), CommitFault::LostApplied);
    let mut gate = faults.hold(On::next(), Point::AfterCommit);
    let lose = async {
        gate.reached().await;
        faults.go_away();
        gate.release();
    };
    let ((result, runs), ()) = tokio::join!(insert_counting(&fixture.db), lose);
    let Err(Error::Unknown { token }) = result else { panic!("{result:?}") };
    assert_eq!(runs, 1);
    assert!(fixture.db.outcome(&token).await.is_err(), "still away");
    faults.come_back();
    assert_eq!(fixture.db.outcome(&token).await, Ok(Outcome::Applied));
}

#[test]
fn pauses_double_up_to_their_bound_and_are_a_random_share_of_it() {
    let policy = RetryPolicy { attempts_max: 10, backoff_ms: 2, backoff_max_ms: 9 };
    // The largest share of a bound of b microseconds is drawn by a random number of b.
    let longest = |attempts, bound_us| policy.pause(attempts, bound_us);
    for (attempts, bound_ms) in [(1, 2), (2, 4), (3, 8), (4, 9), (5, 9), (40, 9)] {
        assert_eq!(longest(attempts, u128::from(bound_ms) * 1_000_u128), Duration::from_millis(bound_ms));
        assert_eq!(policy.pause(attempts, 0), Duration::ZERO);
        for random in 0..50_u128 {
            let pause =
                policy.pause(attempts, random.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
            assert!(pause <= Duration::from_millis(bound_ms));
        }
    }
}

#[tokio::test]
async fn what_the_store_did_not_do_is_told_whatever_the_work_has_made_of_it() {
    let fixture = faulty_fixture();
    let faults = fixture.db.store().faults();
    let (read, commit) = (fixture.db.begin().await.expect("begun"), fixture.db.begin().await.expect("begun"));
    let (of_read, of_commit) = (read.store_trouble(), commit.store_trouble());
    assert_eq!((of_read.get(), of_commit.get()), (None, None));
    faults.fail_read(On::next(), ReadError::Unavailable { reason: "a test".into() });
    let _swallowed = read.find::<Counter>(1).await;
    commit.save(&Counter { count: 1 }).await.expect("written");
    faults.fail_commit(On::next(), CommitFault::Refused(CommitError::Conflict));
    let _swallowed = commit.commit().await;
    assert!(matches!(of_read.get(), Some(Error::Read(ReadError::Unavailable { .. }))));
    assert_eq!(of_commit.get(), Some(&Error::Conflict { attempts: 1 }));
}

#[tokio::test]
async fn work_that_has_failed_waits_for_nobody_who_has_its_transaction_locked() {
    let db = &fixture().db;
    let (locked, is_locked) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    let mut hands = Some((locked, is_locked, may_go_on, tell));
    let failed = db.transaction(|tx| {
        let (locked, is_locked, may_go_on, tell) = hands.take().expect("it runs once");
        async move {
            tx.save(&Counter { count: 1 }).await?;
            tokio::spawn(async move {
                let held = tx.raw_store().await.expect("it is open");
                locked.send(()).expect("the work waits for it");
                may_go_on.await.expect("it is told");
                drop(held);
                let _ = tell.send((tx.now_ms().await, tx.commit().await));
            });
            is_locked.await.expect("it says so");
            Err::<(), _>(Error::HalfWritten)
        }
    });
    assert_eq!(failed.await, Err(Error::HalfWritten));
    go_on.send(()).expect("it waits for this");
    assert_eq!(told.await, Ok((Err(Error::Over), Err(Error::Over))), "and that cannot commit it");
}

#[tokio::test]
async fn a_sealed_transaction_takes_no_calls_and_can_be_committed() {
    let db = fixture().db;
    let tx = db.begin().await.expect("begun");
    tx.save(&Counter { count: 1 }).await.expect("written");
    tx.seal().close().await;
    assert_eq!(tx.find::<Counter>(1).await.map(drop), Err(Error::Over));
    assert_eq!(tx.commit().await, Ok(()));
    assert!(db.snapshot().await.expect("begun").find::<Counter>(1).await.expect("readable").is_some());
}

#[tokio::test]
async fn work_may_have_an_error_type_of_its_own() {
    #[derive(Debug, PartialEq)]
    enum Refusal {
        Full,
        Database(Error),
    }
    impl From<Error> for Refusal {
        fn from(error: Error) -> Self {
            Self::Database(error)
        }
    }
    let db = fixture().db;
    let full = db
        .try_transaction(|tx| async move {
            tx.find::<Counter>(1).await?;
            Err::<(), _>(Refusal::Full)
        })
        .await;
    assert_eq!(full, Err(Refusal::Full));
    let missing = db
        .try_transaction(|tx| async move { Ok::<_, Refusal>(tx.update(&Counter { count: 1 }).await?) })
        .await;
    assert!(matches!(missing, Err(Refusal::Database(Error::Missing { .. }))));
}

/// A row with two indexes and an event: what the promise of one round is about.
#[derive(Serialize, Deserialize)]
struct Parcel {
    id: i64,
    city: String,
}

impl Model for Parcel {
    const TABLE: &'static str = "parcels";

    fn id(&self) -> ModelId {
        self.id.into()
    }

    fn indexes() -> &'static [Index<Self>] {
        const INDEXES: &[Index<Parcel>] = &[
            Index::new("by_city", &[Field::str("city", |parcel| Some(&parcel.city))]),
            Index::new("by_number", &[Field::i64("number", |parcel| Some(parcel.id))]),
        ];
        INDEXES
    }

    fn events(&self, _write: Write) -> Vec<NewEvent> {
        vec![NewEvent::new("parcel.changed")]
    }
}

#[tokio::test]
async fn a_write_with_indexes_and_an_event_takes_one_round_and_one_commit() {
    let db = Fixture::over(CountingStore::new(memory_store()), DbSettings::default()).db;
    // The first row of a table lists its indexes, and the first event of a topic creates it.
    let first = &Parcel { id: 0, city: "first".into() };
    db.transaction(|tx| async move { tx.insert(first).await }).await.expect("committed");
    db.store().commits.store(0, Ordering::SeqCst);
    let run = async |what: &str, rounds: usize| {
        db.store().rounds.store(0, Ordering::SeqCst);
        let parcel = &Parcel { id: 1, city: format!("{what} city") };
        db.transaction(|tx| async move {
            match what {
                "insert" => tx.insert(parcel).await,
                "update" => tx.update(parcel).await,
                "save" => tx.save(parcel).await.map(drop),
                _ => tx.delete::<Parcel>(1).await.map(drop),
            }
        })
        .await
        .expect("committed");
        assert_eq!(db.store().rounds.load(Ordering::SeqCst), rounds, "{what}");
        assert_eq!(db.store().commits.swap(0, Ordering::SeqCst), 1, "{what}");
    };
    run("insert", 1).await;
    run("update", 1).await;
    run("save", 1).await;
    // The events of a deletion are known when the row is.
    run("delete", 2).await;
    run("insert", 1).await;
}

/// Counts the rounds of reads, and the commits.
#[derive(Clone)]
struct CountingStore {
    inner: MemoryStore,
    rounds: Arc<AtomicUsize>,
    commits: Arc<AtomicUsize>,
}

impl CountingStore {
    fn new(inner: MemoryStore) -> Self {
        Self { inner, rounds: Arc::default(), commits: Arc::default() }
    }
}

struct CountingTxn {
    inner: <MemoryStore as Store>::Txn,
    store: CountingStore,
}

impl CountingTxn {
    fn count(&self) {
        self.store.rounds.fetch_add(1, Ordering::SeqCst);
    }
}

impl Store for CountingStore {
    type Txn = CountingTxn;

    async fn begin(&self) -> Result<CountingTxn, ReadError> {
        Ok(CountingTxn { inner: self.inner.begin().await?, store: self.clone() })
    }

    async fn delete_range(&self, range: KeyRange) -> Result<(), CommitError> {
        self.inner.delete_range(range).await
    }

    async fn outcome(&self, token: &CommitToken) -> Result<Outcome, ReadError> {
        self.inner.outcome(token).await
    }

    fn now_ms(&self) -> i64 {
        self.inner.now_ms()
    }

    fn oldest_open_ms(&self) -> i64 {
        self.inner.oldest_open_ms()
    }
}

impl Txn for CountingTxn {
    fn start_version(&self) -> Version {
        self.inner.start_version()
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.count();
        self.inner.get(key).await
    }

    async fn get_many(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        self.count();
        self.inner.get_many(keys).await
    }

    async fn scan(
        &mut self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        self.count();
        self.inner.scan(range, limit, direction).await
    }

    async fn scan_keys(
        &mut self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
    ) -> Result<Vec<Bytes>, ReadError> {
        self.count();
        self.inner.scan_keys(range, count, direction).await
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.inner.put(key, value);
    }

    fn put_versioned(&mut self, prefix: Bytes, suffix: Bytes, value: Bytes) {
        self.inner.put_versioned(prefix, suffix, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.inner.delete(key);
    }

    fn guard(&mut self, key: Bytes) {
        self.inner.guard(key);
    }

    async fn commit(self) -> Result<Committed, CommitError> {
        self.store.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit().await
    }
}
