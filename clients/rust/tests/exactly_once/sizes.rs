//! Events that are large: they came compressed, and what they are then no row, no topic or no memory may be able to hold. None of
//! them holds anything up, and none is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate::store::{MemoryStore, SystemClock, TransactionLimits};
use tidegate::{
    Compression, ConsumerOptions, ConsumerRecord, DEAD_LETTER_BYTES, DEAD_LETTER_CAUSE,
    DEAD_LETTER_LAST_OFFSET, DEAD_LETTER_LEFT_OUT, DEAD_LETTER_OFFSET, Event, Outcome, Producer,
    ProducerOptions, ProducerRecord, RetryPolicy, Tx, Worker,
};
use tidegate_broker::BrokerStore;

use super::application::consumer_options;
use super::stage::{DEAD_LETTERS, GROUP, Stage, TOPIC, enter, until};

const LARGE_BYTES: usize = 2 << 20;

/// Sends events with these numbers, keys and sizes, each in a batch of its own.
async fn send(stage: &Stage, events: &[(i64, &str, usize)]) {
    let compression = Compression::Zstd;
    let options = ProducerOptions { compression, max_record_bytes: 16 << 20, ..ProducerOptions::default() };
    let producer = Producer::connect(stage.client(), options).await.expect("it listens");
    for (number, key, bytes) in events {
        // A number as JSON, whatever its size.
        let number = number.to_string();
        let value = format!("{number}{}", " ".repeat(bytes - number.len()));
        producer
            .send(ProducerRecord::to(TOPIC).key((*key).to_owned()).value(value))
            .await
            .expect("delivered");
    }
    producer.close().await;
}

/// A worker whose handler rejects these numbers, and fails at those, until it is well.
async fn start(
    stage: &Stage,
    consumer: ConsumerOptions,
    is_in_order: bool,
    is_well: &Arc<AtomicBool>,
    rejects: &'static [i64],
    fails: &'static [i64],
) -> Worker {
    let well = is_well.clone();
    let handle = move |event: Event, tx: Tx<BrokerStore>| {
        let is_well = well.load(Ordering::SeqCst);
        async move {
            let number: i64 = event.json().expect("a number");
            if !is_well && rejects.contains(&number) {
                return Ok(Outcome::Reject("unwanted".to_owned()));
            }
            if !is_well && fails.contains(&number) {
                return Err("broken".to_owned());
            }
            enter(&event, &tx).await.map_err(|error| error.to_string())?;
            Ok(Outcome::Ack)
        }
    };
    let worker = stage.member().consumer_options(consumer).batch_max(1);
    // What is parked stays so until it is well; in order, nothing else would go on.
    let retries_max = if is_in_order { 2 } else { u32::MAX };
    let worker = worker.retry(RetryPolicy { retries_max, first_ms: 20, max_ms: 50, jitter_percent: 50 });
    if is_in_order {
        let one = move |mut events: Vec<Event>, tx| handle(events.remove(0), tx);
        return worker.start_batches(one).await.expect("it starts");
    }
    worker.start(handle).await.expect("it starts")
}

fn header<'a>(letter: &'a ConsumerRecord, name: &str) -> &'a str {
    std::str::from_utf8(letter.header(name).expect("it says so")).expect("text")
}

/// The dead letters, once there are so many. Whoever asked for their topic before would create it, for smaller records.
async fn buried(stage: &Stage, worker: &Worker, count: usize) -> Vec<ConsumerRecord> {
    until("events to be buried", async || worker.figures().dead_letters >= count as u64).await;
    stage.read(DEAD_LETTERS, count).await
}

async fn redrive(stage: &Stage) -> u64 {
    tidegate::redrive(stage.client(), TOPIC, GROUP, None).await.expect("it sends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_event_that_came_compressed_is_buried_whole_and_sent_back_compressed() {
    for is_in_order in [false, true] {
        let stage = Stage::open(1).await;
        let is_well = Arc::<AtomicBool>::default();
        let worker = start(&stage, consumer_options(), is_in_order, &is_well, &[1], &[]).await;
        send(&stage, &[(0, "a", 1), (1, "a", LARGE_BYTES), (2, "a", 1)]).await;
        let letters = buried(&stage, &worker, 1).await;
        assert_eq!(letters[0].value.as_ref().map(bytes::Bytes::len), Some(LARGE_BYTES));
        assert_eq!(letters[0].header(DEAD_LETTER_LEFT_OUT), None);
        stage.until_handled(2).await;
        is_well.store(true, Ordering::SeqCst);
        assert_eq!(redrive(&stage).await, 1);
        stage.until_handled(3).await;
        assert_eq!(stage.ledgers().await["a"], [0, 2, 1]);
        worker.stop().await.expect("it stops");
        stage.broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_row_can_hold_is_buried_without_its_value_and_nothing_waits_for_it() {
    // Number 0 is rejected. 2 fails and cannot be parked. 4 fails and is parked, and 5 cannot be parked behind it. In order
    // nothing is parked.
    let events = [
        (0, "a", LARGE_BYTES),
        (1, "a", 1),
        (2, "b", LARGE_BYTES),
        (3, "b", 1),
        (4, "c", 1),
        (5, "c", LARGE_BYTES),
        (6, "c", 1),
    ];
    for is_in_order in [false, true] {
        let limits = TransactionLimits { max_value_bytes: 256 << 10, ..TransactionLimits::default() };
        let store = MemoryStore::with_limits(Arc::new(SystemClock), limits);
        let stage = Stage::on(BrokerStore::from(store), 1).await;
        stage.create_topic(TOPIC).await;
        let is_well = Arc::<AtomicBool>::default();
        let (fails, offsets): (&[i64], _) =
            if is_in_order { (&[2], vec!["0", "2"]) } else { (&[2, 4], vec!["0", "2", "5"]) };
        let worker = start(&stage, consumer_options(), is_in_order, &is_well, &[0], fails).await;
        send(&stage, &events).await;
        let letters = buried(&stage, &worker, offsets.len()).await;
        let mut told: Vec<_> = letters
            .iter()
            .map(|letter| {
                assert_eq!((letter.value.as_ref(), letter.key.is_some()), (None, true));
                assert!(header(letter, DEAD_LETTER_LEFT_OUT).starts_with("value: value bytes of 20"));
                assert_eq!(header(letter, DEAD_LETTER_BYTES), (LARGE_BYTES + 1).to_string());
                (header(letter, DEAD_LETTER_OFFSET), header(letter, DEAD_LETTER_CAUSE))
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), offsets);
        assert_eq!(told[0].1, "unwanted");
        if is_in_order {
            assert_eq!(told[1].1, "broken");
        } else {
            assert!(told[1].1.starts_with("too large to be kept for another try: value bytes of 20"));
            assert!(told[1].1.ends_with("broken"), "{}", told[1].1);
            assert!(told[2].1.starts_with("it waits behind an event of its key"), "{}", told[2].1);
        }
        is_well.store(true, Ordering::SeqCst);
        let sent_back = redrive(&stage).await;
        assert_eq!(sent_back, letters.len() as u64);
        stage.until_handled(events.len()).await;
        let mut numbers: Vec<i64> = stage.ledgers().await.into_values().flatten().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..7).collect::<Vec<_>>(), "each once, the large ones by their records");
        let end = i64::try_from(events.len() + letters.len()).expect("a few");
        until("the committed offset to follow", async || stage.committed().await == end).await;
        assert_eq!((stage.noted().await, worker.figures().given_back), ((0, 0), 0));
        worker.stop().await.expect("it stops");
        stage.broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_cannot_be_read_becomes_one_dead_letter_and_its_partition_goes_on() {
    for is_in_order in [false, true] {
        let stage = Stage::open(1).await;
        let is_well = Arc::<AtomicBool>::default();
        let consumer = ConsumerOptions { max_decompressed_bytes: 64 << 10, ..consumer_options() };
        send(&stage, &[(0, "a", 1), (1, "a", LARGE_BYTES), (2, "a", 1), (3, "b", LARGE_BYTES)]).await;
        let worker = start(&stage, consumer, is_in_order, &is_well, &[], &[]).await;
        let letters = buried(&stage, &worker, 2).await;
        for (letter, offset) in letters.iter().zip(["1", "3"]) {
            assert_eq!((&letter.key, &letter.value), (&None, &None));
            assert_eq!(
                (header(letter, DEAD_LETTER_OFFSET), header(letter, DEAD_LETTER_LAST_OFFSET)),
                (offset, offset)
            );
            let cause = header(letter, DEAD_LETTER_CAUSE);
            assert!(cause.ends_with("cannot be read: the records take more than 65536 bytes"), "{cause}");
        }
        until("the committed offset to follow", async || stage.committed().await == 4).await;
        assert_eq!(stage.ledgers().await["a"], [0, 2]);
        let counted = async || {
            let figures = worker.figures();
            (figures.unreadable, figures.dead_letters, figures.handled) == (2, 2, 2)
        };
        until("them to be counted", counted).await;
        worker.stop().await.expect("it stops");

        // A worker that may take more can read what is sent back.
        let worker = start(&stage, consumer_options(), is_in_order, &is_well, &[], &[]).await;
        assert_eq!(redrive(&stage).await, 2);
        stage.until_handled(4).await;
        assert_eq!((&stage.ledgers().await["a"], &stage.ledgers().await["b"]), (&vec![0, 2, 1], &vec![3]));
        worker.stop().await.expect("it stops");
        stage.broker.stop().await;
    }
}
