//! Handlers that fail: what is parked, what waits, what becomes a dead letter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tidegate::store::{Clock, MemoryStore, SystemClock};
use tidegate::{
    DEAD_LETTER_ATTEMPTS, DEAD_LETTER_CAUSE, DEAD_LETTER_GROUP, DEAD_LETTER_OFFSET, DEAD_LETTER_PARTITION,
    DEAD_LETTER_TOPIC, DeadLetters, Event, NewTopic, Outcome, Producer, ProducerOptions, ProducerRecord,
    RetryPolicy, TopicPartition, Worker,
};

use super::stage::{DEAD_LETTERS, GROUP, Stage, TOPIC, enter, enter_it, until};

fn number(event: &Event) -> i64 {
    event.json().expect("every event is a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_key_waits_in_order_and_all_others_go_on() {
    let stage = Stage::open(1).await;
    let is_well = Arc::new(AtomicBool::new(false));
    let well = is_well.clone();
    let worker = stage.member().retry(RetryPolicy { retries_max: u32::MAX, ..retry_soon() });
    let worker = worker.start(move |event: Event, tx| {
        let well = well.clone();
        async move {
            if event.key() == Some("3") && !well.load(Ordering::SeqCst) {
                return Err("out of order".to_owned());
            }
            enter(&event, &tx).await.map_err(|error| error.to_string())
        }
    });
    let worker = worker.await.expect("it starts");
    stage.send(0..100, 5).await;
    stage.until_handled(80).await;
    until("the key's records to be parked", async || stage.noted().await == (0, 20)).await;
    assert_eq!(stage.committed().await, 100, "the partition is not held up");
    for name in ["tidegate_consumer_group_parked_records", "tidegate_consumer_group_lag_records"] {
        assert_eq!(stage.metric(name).await, 20, "{name}");
    }
    // What is parked goes on in the next worker, and survives the first.
    worker.stop().await.expect("it stops");
    assert_eq!(stage.noted().await.1, 20);
    is_well.store(true, Ordering::SeqCst);
    let next = stage.member().start(enter_it).await.expect("it starts");
    stage.until_handled(100).await;
    stage.check(100, 5).await;
    next.stop().await.expect("it stops");
    stage.broker.stop().await;
}

fn retry_soon() -> RetryPolicy {
    RetryPolicy { retries_max: 2, first_ms: 10, max_ms: 20, jitter_percent: 50 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panics_and_errors_take_the_retry_path_and_end_as_dead_letters() {
    let stage = Stage::open(1).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let worker = stage.member().start(move |event: Event, tx| {
        let counted = counted.clone();
        assert_ne!(number(&event), 4, "this is a panic before there is a future");
        async move {
            // Whatever it writes before it fails is gone.
            enter(&event, &tx).await.map_err(|error| error.to_string())?;
            match number(&event) {
                0 => Err("broken".to_owned()),
                1 => {
                    counted.fetch_add(1, Ordering::SeqCst);
                    panic!("this is the panic of a handler");
                }
                3 => Ok(Outcome::Reject("unwanted".to_owned())),
                _ => Ok(Outcome::Ack),
            }
        }
    });
    let worker = worker.await.expect("it starts");
    stage.send(0..20, 20).await;
    let letters = stage.read(DEAD_LETTERS, 4).await;
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
    let mut told: Vec<_> = letters
        .iter()
        .map(|letter| {
            let header = |name: &str| text(letter.header(name).expect("it says so"));
            assert_eq!(
                (header(DEAD_LETTER_TOPIC), header(DEAD_LETTER_PARTITION)),
                (TOPIC.to_owned(), "0".to_owned())
            );
            assert_eq!(header(DEAD_LETTER_GROUP), GROUP);
            let value = text(letter.value.as_ref().expect("the record's value"));
            assert_eq!(header(DEAD_LETTER_OFFSET), value, "offsets are the numbers");
            (value, header(DEAD_LETTER_ATTEMPTS), header(DEAD_LETTER_CAUSE))
        })
        .collect();
    told.sort();
    let told: Vec<_> =
        told.iter().map(|(n, tries, cause)| (n.as_str(), tries.as_str(), cause.as_str())).collect();
    let expected = [
        ("0", "3", "broken"),
        ("1", "3", "the handler panicked: this is the panic of a handler"),
        ("3", "1", "unwanted"),
    ];
    let (before, in_futures) = told.split_last().expect("there are four");
    assert_eq!(in_futures, expected);
    assert_eq!((before.0, before.1), ("4", "3"));
    assert!(before.2.contains("this is a panic before there is a future"), "{}", before.2);
    assert_eq!(tries.load(Ordering::SeqCst), 3, "at once, and two retries");
    stage.until_handled(16).await;
    until("nothing to be left", async || stage.noted().await == (0, 0)).await;
    let ledgers = stage.ledgers().await;
    let failed = [0, 1, 3, 4].map(|failed| failed.to_string());
    assert!(failed.iter().all(|failed| !ledgers.contains_key(failed)), "no model is half written");
    until("them to be counted", async || worker.figures().dead_letters >= 4).await;
    assert_eq!(worker.figures().dead_letters, 4);
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}

/// Alone, as any other could take as long on a machine that stands still for a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_never_ends_takes_the_retry_path_and_ends_as_a_dead_letter() {
    let stage = Stage::open(1).await;
    let worker = stage.member().handler_timeout(Duration::from_millis(200));
    let worker = worker.start(|event: Event, tx| async move {
        enter(&event, &tx).await?;
        std::future::pending::<Result<Outcome, tidegate::model::Error>>().await
    });
    let worker = worker.await.expect("it starts");
    stage.send(0..1, 1).await;
    let letters = stage.read(DEAD_LETTERS, 1).await;
    let header = |name: &str| String::from_utf8(letters[0].header(name).expect("it says so").to_vec());
    let told = [DEAD_LETTER_ATTEMPTS, DEAD_LETTER_CAUSE].map(|name| header(name).expect("text"));
    assert_eq!(told, ["3", "the handler took longer than 200ms"]);
    until("nothing to be left", async || stage.noted().await == (0, 0)).await;
    assert!(stage.ledgers().await.is_empty(), "no model is half written");
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_put_off_comes_at_its_time_and_its_key_waits() {
    let stage = Stage::open(1).await;
    let due_ms = stage.now_ms() + 2_000;
    let worker = stage.member().start(move |event: Event, tx| async move {
        if number(&event) == 0 && SystemClock.now_ms() < due_ms {
            return Ok(Outcome::RetryAt(due_ms));
        }
        assert_eq!(event.failures(), 0, "it has not failed");
        enter(&event, &tx).await.map(|()| Outcome::Ack)
    });
    let worker = worker.await.expect("it starts");
    stage.send(0..10, 2).await;
    stage.until_handled(5).await;
    let keys: Vec<String> = stage.ledgers().await.into_keys().collect();
    // On a machine that stood still until then, it was due.
    if stage.now_ms() < due_ms {
        assert_eq!(keys, ["1"], "the other key goes on");
    }
    stage.until_handled(10).await;
    assert!(stage.now_ms() >= due_ms);
    stage.check(10, 2).await;
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_too_many_parked_the_partition_pauses_and_goes_on_when_there_is_room() {
    let stage = Stage::open(1).await;
    let is_well = Arc::new(AtomicBool::new(false));
    let well = is_well.clone();
    let worker = stage.member().parked_max(10).retry(RetryPolicy { retries_max: u32::MAX, ..retry_soon() });
    let worker = worker.start(move |event: Event, tx| {
        let well = well.clone();
        async move {
            if !well.load(Ordering::SeqCst) {
                return Err("not yet".to_owned());
            }
            enter(&event, &tx).await.map_err(|error| error.to_string())
        }
    });
    let worker = worker.await.expect("it starts");
    stage.send(0..200, 200).await;
    until("the partition to pause", async || stage.noted().await.1 == 10).await;
    until("what is parked to be tried again", async || worker.figures().failures > 40).await;
    until("the committed offset to follow", async || stage.committed().await == 10).await;
    assert_eq!(stage.noted().await.1, 10);
    is_well.store(true, Ordering::SeqCst);
    stage.until_handled(200).await;
    stage.check(200, 200).await;
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_drops_what_is_parked_and_everything_is_handled_again() {
    let stage = Stage::open(1).await;
    let fails = |event: Event, tx| async move {
        if number(&event) % 2 == 0 {
            return Err("even".to_owned());
        }
        enter(&event, &tx).await.map_err(|error| error.to_string())
    };
    let hours = RetryPolicy { first_ms: 3_600_000, ..retry_soon() };
    let hours = RetryPolicy { max_ms: 3_600_000, ..hours };
    let worker = stage.member().retry(hours).start(fails).await.expect("it starts");
    stage.send(0..20, 20).await;
    stage.until_handled(10).await;
    until("the others to be parked", async || stage.noted().await == (0, 10)).await;
    worker.stop().await.expect("it stops");
    let admin = stage.admin().await;
    admin.set_group_offsets(GROUP, &[(TopicPartition::new(TOPIC, 0), 0)]).await.expect("nobody is in it");
    assert_eq!(stage.noted().await, (0, 0));
    let worker = stage.member().start(enter_it).await.expect("it starts");
    stage.until_handled(30).await;
    let ledgers = stage.ledgers().await;
    assert_eq!((ledgers["1"].len(), ledgers["2"].len()), (2, 1), "odd ones twice, as it was reset");
    worker.stop().await.expect("it stops");
    admin.delete_group(GROUP).await.expect("nobody is in it");
    assert_eq!(stage.noted().await, (0, 0));
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_commits_itself_commits_its_progress_too() {
    let stage = Stage::open(1).await;
    let worker = stage.member().start(|event: Event, tx| async move {
        enter(&event, &tx).await?;
        tx.commit().await?;
        Ok::<_, tidegate::model::Error>(Outcome::Ack)
    });
    let worker = worker.await.expect("it starts");
    stage.send(0..20, 4).await;
    stage.until_handled(20).await;
    stage.check(20, 4).await;
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_sent_back_once_and_handled_then() {
    let stage = Stage::open(1).await;
    let is_well = Arc::new(AtomicBool::new(false));
    let well = is_well.clone();
    let worker = stage.member().start(move |event: Event, tx| {
        let well = well.clone();
        async move {
            if number(&event) % 2 == 0 && !well.load(Ordering::SeqCst) {
                return Ok(Outcome::Reject("even".to_owned()));
            }
            enter(&event, &tx).await.map(|()| Outcome::Ack)
        }
    });
    let worker = worker.await.expect("it starts");
    let redrive = async |max| tidegate::redrive(stage.client(), TOPIC, GROUP, max).await.expect("it sends");
    assert_eq!(redrive(None).await, 0, "there is no dead letter, and no topic for them");
    stage.send(0..10, 10).await;
    let letters = stage.read(DEAD_LETTERS, 5).await;
    assert_eq!(letters.len(), 5);
    is_well.store(true, Ordering::SeqCst);
    assert_eq!((redrive(Some(2)).await, redrive(None).await, redrive(None).await), (2, 3, 0));
    stage.until_handled(10).await;
    let ledgers = stage.ledgers().await;
    assert!((0..10).all(|number| ledgers[&number.to_string()] == [number]), "{ledgers:?}");
    until("the committed offset to follow", async || stage.committed().await == 15).await;
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}

/// A worker that rejects every event until it is well.
async fn start_ill(stage: &Stage, is_well: &Arc<AtomicBool>) -> Worker {
    let well = is_well.clone();
    let worker = stage.member().start(move |event: Event, tx| {
        let well = well.clone();
        async move {
            if !well.load(Ordering::SeqCst) {
                return Ok(Outcome::Reject("not now".to_owned()));
            }
            enter(&event, &tx).await.map(|()| Outcome::Ack)
        }
    });
    worker.await.expect("it starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_dead_letters_are_sent_back_by_place_or_key_and_passed_over_with_the_rest() {
    let stage = Stage::open(1).await;
    let is_well = Arc::new(AtomicBool::new(false));
    let worker = start_ill(&stage, &is_well).await;
    let redrive = async |which: DeadLetters, max| {
        tidegate::redrive_only(stage.client(), TOPIC, GROUP, &which, max).await
    };
    let at = |offsets: &[i64]| DeadLetters::At(offsets.iter().map(|offset| (0, *offset)).collect());
    let key = |key: &'static str| DeadLetters::Key(key.into());
    let nowhere = redrive(at(&[0]), None).await.expect_err("there is no dead letter");
    assert!(nowhere.to_string().contains("no dead letter at offset 0"), "{nowhere}");
    assert_eq!(redrive(key("1"), None).await, Ok(0));
    stage.send(0..14, 5).await;
    let letters = stage.read(DEAD_LETTERS, 14).await;
    let offset_of = |number: i64| {
        let text = number.to_string();
        letters
            .iter()
            .find(|letter| letter.value.as_deref() == Some(text.as_bytes()))
            .expect("it is there")
            .offset
    };
    is_well.store(true, Ordering::SeqCst);
    let beyond = redrive(at(&[offset_of(7), 14]), None).await.expect_err("the second is not there");
    assert!(beyond.to_string().contains("offset 14"), "{beyond}");
    assert_eq!(redrive(at(&[offset_of(7), offset_of(3)]), None).await, Ok(2));
    assert_eq!(redrive(at(&[offset_of(3)]), None).await, Ok(0), "it was before");
    assert_eq!(redrive(key("2"), Some(1)).await, Ok(1));
    assert_eq!(redrive(key("2"), None).await, Ok(1), "7 was sent back by its place");
    stage.until_handled(4).await;
    let ledgers = stage.ledgers().await;
    assert_eq!(ledgers.keys().collect::<Vec<_>>(), ["2", "3"], "the others wait");
    assert_eq!((ledgers["2"].len(), &ledgers["3"]), (3, &vec![3]));
    assert_eq!(redrive(DeadLetters::All, Some(4)).await, Ok(4));
    assert_eq!(redrive(DeadLetters::All, None).await, Ok(6));
    assert_eq!(redrive(DeadLetters::All, None).await, Ok(0));
    stage.until_handled(14).await;
    let mut numbers: Vec<i64> = stage.ledgers().await.into_values().flatten().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..14).collect::<Vec<_>>(), "each once");
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_is_sent_back_leaves_alone_what_waits_under_its_schedule_by_now() {
    let stage = Stage::on(MemoryStore::new(Arc::new(SystemClock)).into(), 1).await;
    let configs = vec![("tidegate.delivery".to_owned(), "scheduled".to_owned())];
    let topic = NewTopic { name: TOPIC.to_owned(), partitions: Some(1), configs };
    stage.admin().await.create_topic(&topic).await.expect("a new topic");
    let is_well = Arc::new(AtomicBool::new(false));
    let worker = start_ill(&stage, &is_well).await;
    let producer = Producer::connect(stage.client(), ProducerOptions::default()).await.expect("it listens");
    let schedule = async |number: i64, due_ms: i64| {
        let record = ProducerRecord::to(TOPIC).key("1").value(number.to_string());
        producer.schedule("reminder", due_ms, record).await.expect("it is held")
    };
    schedule(1, stage.now_ms() + 50).await;
    assert_eq!(stage.read(DEAD_LETTERS, 1).await.len(), 1);
    assert_eq!(schedule(2, stage.now_ms() + 3_600_000).await.offset, None, "it waits");
    is_well.store(true, Ordering::SeqCst);
    assert_eq!(tidegate::redrive(stage.client(), TOPIC, GROUP, None).await, Ok(1));
    stage.until_handled(1).await;
    assert_eq!(stage.ledgers().await["1"], [1]);
    let still_waits = stage.db.transaction(|tx| async move { tx.cancel_schedule(TOPIC, "reminder").await });
    assert_eq!(still_waits.await, Ok(true));
    producer.close().await;
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}
