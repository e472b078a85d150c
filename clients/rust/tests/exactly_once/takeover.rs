//! Members of a group in processes of their own, one of which is killed in the midst of its work, again and again: those that are
//! left take its partitions over.

use tidegate::store::Store;
use tidegate::{ConsumerOptions, Event, Outcome, Tidegate, Tx};
use tidegate_tests::test_process::TestProcess;

use super::application::{Application, consumer_options};
use super::stage::{GROUP, Stage, enter, in_time, until};

/// Set for a process that is a member: where its broker listens.
const BROKER: &str = "TIDEGATE_TEST_MEMBER_BROKER";
const TEST: &str = "takeover::a_survivor_takes_over_from_a_member_that_was_killed_and_repeats_nothing";
const ROUNDS: usize = 6;
const PARTITIONS: i32 = 4;
/// Members between two kills.
const MEMBERS: usize = 2;
/// Events that come in per round, and their keys.
const PER_ROUND: i64 = 80;
const KEYS: i64 = 11;
/// After how long a member that was killed is missed.
const SESSION_MS: i32 = 1_000;

/// Fails now and then, so that some are parked when their partitions go to another.
async fn handle<S: Store>(event: Event, tx: Tx<S>) -> Result<Outcome, String> {
    let number: i64 = event.json().expect("a number");
    enter(&event, &tx).await.map_err(|error| error.to_string())?;
    if event.failures() == 0 && number % 6 == 0 {
        return Err("the first time".to_owned());
    }
    Ok(Outcome::Ack)
}

/// Handles what comes, as a member that nobody knows from before, until it is killed.
async fn work(broker: &str) {
    let tidegate = Tidegate::connect(broker).await.expect("it listens");
    let consumer = ConsumerOptions { session_timeout_ms: SESSION_MS, ..consumer_options() };
    let member = Application::of(&tidegate, PARTITIONS).member().consumer_options(consumer);
    let _worker = member.start(handle).await.expect("it starts");
    std::future::pending::<()>().await;
}

/// Waits until the group is at rest with so many members, each with partitions of its own.
async fn until_shared(stage: &Stage, members: usize) {
    let admin = stage.admin().await;
    until("the members to share the partitions", async || {
        let group = admin.describe_group(GROUP).await.expect("it answers");
        let all_share = group.members.iter().all(|member| !member.assignment.is_empty());
        group.state == "Stable" && group.members.len() == members && all_share
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_takes_over_from_a_member_that_was_killed_and_repeats_nothing() {
    if let Ok(broker) = std::env::var(BROKER) {
        return work(&broker).await;
    }
    let stage = Stage::open(PARTITIONS).await;
    let address = stage.broker.listen().to_string();
    let mut members = std::collections::VecDeque::new();
    let mut sent = 0;
    for _ in 0..super::kill::rounds(ROUNDS) {
        while members.len() < MEMBERS {
            members.push_back(TestProcess::start(TEST, &[(BROKER, &address)]));
        }
        until_shared(&stage, MEMBERS).await;
        stage.send(sent..sent + PER_ROUND, KEYS).await;
        stage.until_handled(usize::try_from(sent + PER_ROUND / 4).expect("positive")).await;
        members.pop_front().expect("there are two").kill();
        sent += PER_ROUND;
        // Nobody comes in its place before the survivor has done all of it.
        stage.until_handled(usize::try_from(sent).expect("positive")).await;
    }
    stage.check(sent, KEYS).await;
    drop(members);
    in_time("the broker to stop", stage.broker.stop()).await;
}
