//! Pages that were read ahead: there when they are wanted, bounded, and never other than what the store has.

use proptest::prelude::*;
use tidegate_format::Offset;
use tidegate_log::{ReadLimit, ReadResult};
use tidegate_store::ReadError;
use tidegate_store::faulty::On;

use super::fixture::{Broker, batch, config, partition};
use crate::settings::Settings;

fn limit(max_bytes: usize) -> ReadLimit {
    ReadLimit { max_bytes, at_least_one: true }
}

/// Without a tail cache, so that everything is behind.
async fn broker(partitions: i32, read_ahead_bytes: usize) -> Broker {
    let settings = Settings { tail_cache_bytes: 0, read_ahead_bytes, ..Settings::default() };
    Broker::with(partitions, config(), settings).await
}

async fn produce(broker: &Broker, index: i32, batches: usize) {
    for _ in 0..batches {
        broker.produce(partition(index), batch("x")).await.expect("a store that works");
    }
}

async fn read(broker: &Broker, index: i32, from: i64, max_bytes: usize) -> ReadResult {
    broker.hosts.read(partition(index), Offset(from), limit(max_bytes)).await.expect("in range")
}

/// The bytes of one batch of [`produce`].
async fn batch_bytes(broker: &Broker) -> usize {
    read(broker, 0, 0, 1).await.batches.bytes
}

/// Lets what was spawned go on until it has to wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Whether a read needs the store.
async fn needs_the_store(broker: &Broker, index: i32, from: i64, max_bytes: usize) -> bool {
    broker.store.faults().go_away();
    let read = broker.hosts.read(partition(index), Offset(from), limit(max_bytes)).await;
    settle().await;
    broker.store.faults().come_back();
    read.is_err()
}

#[tokio::test(start_paused = true)]
async fn the_next_page_of_a_reader_that_is_behind_is_there_when_it_comes() {
    let broker = broker(1, 1 << 20).await;
    produce(&broker, 0, 7).await;
    let page = 2 * batch_bytes(&broker).await;
    assert_eq!(read(&broker, 0, 0, page).await.batches.batches.len(), 2);
    settle().await;
    assert!(!needs_the_store(&broker, 0, 2, page).await);
    assert!(needs_the_store(&broker, 0, 2, page).await, "a page is given once");
    assert!(needs_the_store(&broker, 0, 3, page).await, "nobody was about to come there");
}

#[tokio::test(start_paused = true)]
async fn a_page_stays_for_a_reader_that_has_no_room_for_it_yet() {
    let broker = broker(1, 1 << 20).await;
    produce(&broker, 0, 4).await;
    let page = 2 * batch_bytes(&broker).await;
    read(&broker, 0, 0, page).await;
    settle().await;
    let none = ReadLimit { max_bytes: 0, at_least_one: false };
    let found = broker.hosts.read(partition(0), Offset(2), none).await.expect("in range");
    assert_eq!((found.batches.bytes, found.high_watermark), (0, Offset(4)));
    assert!(broker.hosts.read(partition(0), Offset(5), none).await.is_err(), "what is out of range is told");
    assert!(!needs_the_store(&broker, 0, 2, page).await);
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_its_page_while_that_is_being_read() {
    let broker = broker(1, 1 << 20).await;
    produce(&broker, 0, 4).await;
    let page = 2 * batch_bytes(&broker).await;
    read(&broker, 0, 0, page).await;
    // Nothing has let the task begin.
    let second = read(&broker, 0, 2, page).await;
    assert_eq!((second.batches.batches.len(), second.high_watermark), (2, Offset(4)));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_could_not_be_read_ahead_is_read_when_it_is_wanted() {
    let broker = broker(1, 1 << 20).await;
    produce(&broker, 0, 4).await;
    let page = 2 * batch_bytes(&broker).await;
    read(&broker, 0, 0, page).await;
    broker.store.faults().fail_begin(On::next(), ReadError::Unavailable { reason: "away".into() });
    assert_eq!(read(&broker, 0, 2, page).await.batches.batches.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn pages_that_nobody_comes_for_make_room_for_others() {
    let broker = broker(3, 0).await;
    produce(&broker, 0, 1).await;
    let page = batch_bytes(&broker).await;
    let broker = self::broker(3, 2 * page).await;
    for index in 0..3 {
        produce(&broker, index, 4).await;
        read(&broker, index, 0, page).await;
        settle().await;
    }
    assert!(needs_the_store(&broker, 0, 1, page).await, "that of the one that read first is gone");
    assert!(!needs_the_store(&broker, 1, 1, page).await);
    assert!(!needs_the_store(&broker, 2, 1, page).await);
    read(&broker, 0, 0, 2 * page + 1).await;
    settle().await;
    assert!(needs_the_store(&broker, 0, 2, 2 * page + 1).await, "more at once than there is room for");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_ended_with_the_log_is_read_again_once_the_log_goes_on() {
    let broker = broker(1, 1 << 20).await;
    produce(&broker, 0, 3).await;
    let page = 2 * batch_bytes(&broker).await;
    read(&broker, 0, 0, page).await;
    settle().await;
    produce(&broker, 0, 1).await;
    let next = read(&broker, 0, 2, page).await;
    assert_eq!((next.batches.batches.len(), next.high_watermark), (2, Offset(4)));
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_is_not_given_though_it_was_read_ahead() {
    let broker = broker(1, 1 << 20).await;
    produce(&broker, 0, 6).await;
    let page = 2 * batch_bytes(&broker).await;
    read(&broker, 0, 0, page).await;
    settle().await;
    broker.hosts.delete_records(partition(0), Some(Offset(4))).await.expect("a store that works");
    assert!(broker.hosts.read(partition(0), Offset(2), limit(page)).await.is_err());
    assert_eq!(read(&broker, 0, 4, page).await.log_start, Offset(4));
}

/// Both give the same batches, but that a read from the store may end one batch earlier than its limit.
fn assert_same(found: &ReadResult, fresh: &ReadResult, what: &str) {
    assert_eq!((found.log_start, found.high_watermark), (fresh.log_start, fresh.high_watermark), "{what}");
    let (found, fresh) = (&found.batches.batches, &fresh.batches.batches);
    let both = found.len().min(fresh.len());
    assert_eq!(found[..both], fresh[..both], "{what}");
    assert!(found.len().abs_diff(fresh.len()) <= 1, "{what}: {} and {} batches", found.len(), fresh.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However readers go about, with whatever limits and budget: each read is what a broker reads that has just begun.
    #[test]
    fn what_is_read_is_what_the_store_has(
        steps in prop::collection::vec((0..2_i32, 0..12_i64, 0..400_usize, any::<bool>(), any::<bool>()), 1..60),
        budget in 0..1_500_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let broker = broker(2, budget).await;
            let mut places = [0; 2];
            for (index, jump, max_bytes, jumps, settles) in steps {
                produce(&broker, index, usize::from(jump % 3 == 0)).await;
                let end = broker.hosts.status(partition(index)).await.expect("a store that works").high_watermark;
                let place = &mut places[usize::from(index == 1)];
                if jumps {
                    *place = jump.min(end.0);
                }
                let found = read(&broker, index, *place, max_bytes).await;
                let fresh = read(&broker.restart(), index, *place, max_bytes).await;
                assert_same(&found, &fresh, &format!("partition {index} from {place} with {max_bytes} bytes"));
                *place = found.batches.end().map_or(*place, |end| end.0);
                if settles {
                    settle().await;
                }
            }
        });
    }
}
