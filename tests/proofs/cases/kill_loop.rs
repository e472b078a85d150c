//! `kill -9` under load, again and again: an idempotent producer and a committing group go on as if nothing had
//! happened. `TIDEGATE_KILL_ROUNDS` raises the number of rounds.

use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_tests::admin::{committed_offsets, create_topic};
use tidegate_tests::ledger::Ledger;
use tidegate_tests::log_reader::read_log;
use tidegate_tests::member::Member;
use tidegate_tests::producer::LedgerProducer;
use tidegate_tests::shared_ledger::SharedLedger;

use super::STORE;

const TOPIC: &str = "orders";
const GROUP: &str = "shipping";
const PARTITIONS: i32 = 4;

const ROUNDS: u32 = 20;

/// As `TIDEGATE_KILL_ROUNDS` says, and never fewer than are promised.
fn rounds() -> u32 {
    let asked = std::env::var("TIDEGATE_KILL_ROUNDS").ok();
    let rounds = asked.map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    assert!(rounds >= ROUNDS, "TIDEGATE_KILL_ROUNDS={rounds}: tests/README.md promises {ROUNDS}");
    rounds
}

#[test]
fn nothing_is_lost_or_repeated_over_rounds_of_kill_under_load() {
    let rounds = rounds();
    let mut broker = STORE.start_broker();
    create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    let bootstrap = broker.bootstrap().to_owned();
    let ledger = SharedLedger::new(PARTITIONS);
    let mut producer = LedgerProducer::new(&bootstrap, TOPIC, "lz4", 100, &ledger);
    let members = ["one", "two"].map(|name| Member::join(&bootstrap, GROUP, TOPIC, name, &[], &ledger));
    // The same moments in every run, as far as counting records can make them the same.
    let mut moments = StdRng::seed_from_u64(20);
    let began = Instant::now();

    for round in 1..=rounds {
        // Killed somewhere in the middle of 2,000 records that are on their way, while commits are on theirs.
        let before = ledger.read(Ledger::acknowledged);
        let committed = ledger.read(Ledger::committed);
        producer.send(2_000);
        let moment = moments.random_range(1..2_000);
        ledger.wait_until(&format!("round {round}: {moment} more are acknowledged"), |ledger| {
            ledger.acknowledged() >= before + moment && ledger.committed() > committed
        });
        broker.kill();
        broker.restart();
    }

    producer.flush();
    let sent = producer.sent();
    ledger.wait_until("all are committed", |ledger| ledger.committed() == sent);
    assert_eq!(
        ledger.read(Ledger::committed_offsets),
        committed_offsets(&bootstrap, GROUP, TOPIC, PARTITIONS)
    );
    members.into_iter().for_each(Member::leave);
    ledger.audit(&read_log(&bootstrap, TOPIC, PARTITIONS), producer.produced());
    println!("{rounds} kills under load, {sent} records, {:.1} s", began.elapsed().as_secs_f64());
}
