//! Handlers that block their thread, or keep their transaction from whoever would end it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tidegate::store::Txn;
use tidegate::{Event, Outcome, RetryPolicy, Tx};
use tidegate_broker::BrokerStore;

use super::stage::{Stage, enter, enter_it, until};

const TIMEOUT: Duration = Duration::from_millis(300);

/// On a machine that stands still for a moment every handler takes longer than that, now and then.
const RETRY: RetryPolicy =
    RetryPolicy { retries_max: u32::MAX, first_ms: 20, max_ms: 50, jitter_percent: 50 };

/// What blocks the thread of whoever comes to it first, until it is opened, or dropped.
#[derive(Clone)]
struct Wall(Arc<WallState>);

struct WallState {
    opening: Mutex<mpsc::Receiver<()>>,
    is_met: AtomicBool,
    is_passed: AtomicBool,
}

impl Wall {
    fn new() -> (mpsc::Sender<()>, Self) {
        let (open, opening) = mpsc::channel();
        let (is_met, is_passed) = (AtomicBool::new(false), AtomicBool::new(false));
        (open, Self(Arc::new(WallState { opening: Mutex::new(opening), is_met, is_passed })))
    }

    /// Whether somebody has come to it.
    fn is_met(&self) -> bool {
        self.0.is_met.load(Ordering::SeqCst)
    }

    /// Whether who has blocked there goes on.
    fn is_passed(&self) -> bool {
        self.0.is_passed.load(Ordering::SeqCst)
    }

    fn block_the_first(&self) {
        if self.0.is_met.swap(true, Ordering::SeqCst) {
            return;
        }
        // An end is an opening too.
        let _ = self.0.opening.lock().expect("nobody panics").recv();
        self.0.is_passed.store(true, Ordering::SeqCst);
    }
}

/// Number 0 is entered, and then blocks its thread with all that it holds, the first time that it gets so far.
async fn block_once(
    event: Event,
    tx: Tx<BrokerStore>,
    wall: Wall,
) -> Result<Outcome, tidegate::model::Error> {
    enter(&event, &tx).await?;
    if event.json::<i64>().expect("a number") == 0 && !wall.is_met() {
        let mut held = tx.raw_store().await?;
        wall.block_the_first();
        held.put("a key that is never written".into(), "a value".into());
    }
    Ok(Outcome::Ack)
}

/// One event blocks; that and all others are handled nevertheless.
async fn check_block(may_block: bool) {
    let stage = Stage::open(2).await;
    let (open, wall) = Wall::new();
    let blocking = wall.clone();
    let worker = stage.member().retry(RETRY).may_block(may_block).handler_timeout(TIMEOUT);
    let worker =
        worker.start(move |event, tx| block_once(event, tx, blocking.clone())).await.expect("it starts");
    stage.send(0..100, 10).await;
    stage.until_handled(100).await;
    assert!(wall.is_met() && !wall.is_passed(), "and the try that came to the wall blocks to this moment");
    stage.check(100, 10).await;
    open.send(()).expect("it waits for this");
    until("it to go on", async || wall.is_passed()).await;
    worker.stop().await.expect("it stops");
    stage.check(100, 10).await;
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_with_its_transaction_locked_takes_nobody_along() {
    check_block(false).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_handler_that_may_block_takes_nobody_along_where_there_is_one_thread() {
    check_block(true).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_handler_that_may_block_may_do_so_before_its_future_is_there() {
    let stage = Stage::open(1).await;
    let (open, wall) = Wall::new();
    let blocking = wall.clone();
    let worker = stage.member().retry(RETRY).may_block(true).handler_timeout(TIMEOUT);
    let worker = worker.start(move |event: Event, tx| {
        if event.json::<i64>().expect("a number") == 0 {
            blocking.block_the_first();
        }
        enter_it(event, tx)
    });
    let worker = worker.await.expect("it starts");
    stage.send(0..20, 4).await;
    stage.until_handled(20).await;
    assert!(wall.is_met() && !wall.is_passed(), "and the try that came to the wall blocks to this moment");
    open.send(()).expect("it waits for this");
    until("it to go on", async || wall.is_passed()).await;
    worker.stop().await.expect("it stops");
    stage.check(20, 4).await;
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_kept_from_its_commit_has_failed_and_is_tried_again() {
    let stage = Stage::open(1).await;
    let is_kept = Arc::<AtomicBool>::default();
    let kept = is_kept.clone();
    let worker = stage.member().retry(RETRY).handler_timeout(TIMEOUT);
    let worker = worker.start(move |event: Event, tx: Tx<BrokerStore>| {
        let kept = kept.clone();
        async move {
            if kept.load(Ordering::SeqCst) {
                return enter_it(event, tx).await;
            }
            let (locked, is_locked) = tokio::sync::oneshot::channel();
            tokio::spawn(async move {
                let _held = tx.raw_store().await;
                kept.store(true, Ordering::SeqCst);
                let _ = locked.send(());
                std::future::pending::<()>().await;
            });
            let _ = is_locked.await;
            Ok(Outcome::Ack)
        }
    });
    let worker = worker.await.expect("it starts");
    stage.send(0..1, 1).await;
    stage.until_handled(1).await;
    stage.check(1, 1).await;
    assert!(is_kept.load(Ordering::SeqCst) && worker.figures().failures >= 1);
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}
