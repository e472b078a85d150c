//! Handlers that block their thread, or keep their transaction from whoever would end it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tidegate::store::Txn;
use tidegate::{Event, Outcome, Tx};
use tidegate_broker::BrokerStore;

use super::stage::{Stage, enter, enter_it, until};

const TIMEOUT: Duration = Duration::from_millis(300);

/// What blocks the thread of whoever comes to it, until it is opened, or dropped.
#[derive(Clone)]
struct Wall(Arc<Mutex<mpsc::Receiver<()>>>, Arc<AtomicBool>);

impl Wall {
    fn new() -> (mpsc::Sender<()>, Self) {
        let (open, wall) = mpsc::channel();
        (open, Self(Arc::new(Mutex::new(wall)), Arc::default()))
    }

    /// Whether somebody has blocked there, and goes on.
    fn is_passed(&self) -> bool {
        self.1.load(Ordering::SeqCst)
    }

    fn block(&self) {
        // An end is an opening too.
        let _ = self.0.lock().expect("nobody panics").recv();
        self.1.store(true, Ordering::SeqCst);
    }
}

/// Number 0 is entered, and then blocks its thread with all that it holds, the first time that it is tried.
async fn block_once(
    event: Event,
    tx: Tx<BrokerStore>,
    wall: Wall,
) -> Result<Outcome, tidegate::model::Error> {
    let is_first = event.failures() == 0 && event.json::<i64>().expect("a number") == 0;
    enter(&event, &tx).await?;
    if is_first {
        let mut held = tx.raw_store().await?;
        wall.block();
        held.put("a key that is never written".into(), "a value".into());
    }
    Ok(Outcome::Ack)
}

/// One event blocks; that and all others are handled nevertheless.
async fn check_block(may_block: bool) {
    let stage = Stage::open(2).await;
    let (open, wall) = Wall::new();
    let blocking = wall.clone();
    let worker = stage.member().may_block(may_block).handler_timeout(TIMEOUT);
    let worker =
        worker.start(move |event, tx| block_once(event, tx, blocking.clone())).await.expect("it starts");
    stage.send(0..100, 10).await;
    stage.until_handled(100).await;
    assert!(!wall.is_passed(), "and the first try of it blocks to this moment");
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
    let worker = stage.member().may_block(true).handler_timeout(TIMEOUT);
    let worker = worker.start(move |event: Event, tx| {
        if event.failures() == 0 && event.json::<i64>().expect("a number") == 0 {
            blocking.block();
        }
        enter_it(event, tx)
    });
    let worker = worker.await.expect("it starts");
    stage.send(0..20, 4).await;
    stage.until_handled(20).await;
    assert!(!wall.is_passed(), "and the first try of it blocks to this moment");
    open.send(()).expect("it waits for this");
    until("it to go on", async || wall.is_passed()).await;
    worker.stop().await.expect("it stops");
    stage.check(20, 4).await;
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_kept_from_its_commit_has_failed_and_is_tried_again() {
    let stage = Stage::open(1).await;
    let worker =
        stage.member().handler_timeout(TIMEOUT).start(|event: Event, tx: Tx<BrokerStore>| async move {
            if event.failures() > 0 {
                return enter_it(event, tx).await;
            }
            let (locked, is_locked) = tokio::sync::oneshot::channel();
            tokio::spawn(async move {
                let _held = tx.raw_store().await;
                let _ = locked.send(());
                std::future::pending::<()>().await;
            });
            let _ = is_locked.await;
            Ok(Outcome::Ack)
        });
    let worker = worker.await.expect("it starts");
    stage.send(0..1, 1).await;
    stage.until_handled(1).await;
    stage.check(1, 1).await;
    assert_eq!(worker.figures().failures, 1);
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}
