//! The task that sends what is ready, and takes in the answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_protocol::batch::BatchError;
use tidegate_protocol::error::ResponseError;
use tidegate_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use tidegate_protocol::messages::{ApiKey, InitProducerIdRequest, ProduceRequest, ProduceResponse};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::Shared;
use super::accumulator::{Comeback, Ready, Sending};
use super::batch::{Appended, Batch};
use super::sequence::ProducerId;
use super::verdict::{Verdict, verdict, verdict_without_answer};
use crate::client::{Target, topic_name};
use crate::error::accepted;
use crate::net::pool::Purpose;
use crate::{Client, Error, Metadata};

/// All in-sync replicas.
const ACKS_ALL: i16 = -1;
/// The first version of Produce that names topics by id.
const PRODUCE_BY_TOPIC_ID: i16 = 13;
/// How long to wait before looking again, if nothing is known that would say when.
const IDLE_WAIT: Duration = Duration::from_secs(60);

/// Sends until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let woken = shared.wake.notified();
        if let Err(error) = ensure_producer_id(&shared).await {
            give_up(&shared, &error);
        }
        let producer = *shared.producer_id();
        let ready = if shared.options.idempotent && producer.is_none() {
            Ready::default()
        } else {
            let metadata = shared.client.metadata();
            let wait = shared.client.backoff_delay(1);
            shared.accumulator().take_ready(Instant::now(), producer, wait, |topic, partition| {
                metadata.leader(topic, partition).ok()
            })
        };
        let next = ready.next.unwrap_or_else(|| Instant::now() + IDLE_WAIT);
        act(&shared, ready);
        tokio::select! {
            () = woken => {}
            () = sleep_until(next) => {}
        }
    }
}

fn act(shared: &Arc<Shared>, ready: Ready) {
    let after = Duration::from_millis(shared.options.delivery_timeout_ms);
    for batch in ready.expired {
        shared.settle(&batch, Err(Error::TimedOut { what: "delivery", after }));
    }
    if ready.exhausted {
        *shared.producer_id() = None;
    }
    if !ready.unroutable.is_empty() {
        let topics: Vec<String> = ready.unroutable.into_iter().collect();
        tokio::spawn(refresh(shared.clone(), topics));
    }
    for (leader, request) in ready.requests {
        tokio::spawn(send(shared.clone(), leader, request));
    }
}

/// Gets a producer id, if batches wait that need one. Tries until it has one.
async fn ensure_producer_id(shared: &Shared) -> Result<(), Error> {
    let needed =
        shared.options.idempotent && shared.producer_id().is_none() && shared.accumulator().has_waiting();
    if !needed {
        return Ok(());
    }
    let request = |version: i16| {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        if version >= 3 { request.with_producer_id((-1).into()).with_producer_epoch(-1) } else { request }
    };
    let response = shared
        .client
        .call_checked(Target::Any, request, |response| {
            accepted(ApiKey::InitProducerId, response.error_code, None)
        })
        .await?;
    *shared.producer_id() = Some(ProducerId { id: response.producer_id.0, epoch: response.producer_epoch });
    Ok(())
}

/// Nothing can be sent: everything that waits fails.
fn give_up(shared: &Shared, error: &Error) {
    let batches = shared.accumulator().drain();
    batches.iter().for_each(|batch| shared.settle(batch, Err(error.clone())));
}

async fn refresh(shared: Arc<Shared>, topics: Vec<String>) {
    if let Err(error) = shared.client.look_again(&topics).await {
        tracing::debug!(%error, "metadata could not be refreshed");
        sleep(shared.client.backoff_delay(1)).await;
    }
    shared.wake.notify_one();
}

/// Sends one request, and does with each batch what its answer asks for.
async fn send(shared: Arc<Shared>, leader: i32, request: Vec<Sending>) {
    let (mut sendable, unsendable) = encode(&shared, request);
    let metadata = shared.client.metadata();
    let answers = exchange(&shared.client, leader, &metadata, &mut sendable).await;
    {
        let mut accumulator = shared.accumulator();
        accumulator.request_over(leader);
        for (sending, error) in unsendable {
            if let (Some(batch), _) = accumulator.came_back(sending, Comeback::Refused) {
                shared.settle(&batch, Err(error.into()));
            }
        }
    }
    let mut stale = BTreeSet::new();
    for sending in sendable {
        let answer = match &answers {
            Ok(answers) => {
                answers.get(&(sending.topic.clone(), sending.partition)).cloned().ok_or_else(no_answer)
            }
            Err(error) => Err(error.clone()),
        };
        stale.extend(take_in(&shared, sending, answer));
    }
    if shared.abandoned.load(Ordering::Acquire) {
        give_up(&shared, &Error::Closed);
        return;
    }
    shared.wake.notify_one();
    if !stale.is_empty() {
        refresh(shared, stale.into_iter().collect()).await;
    }
}

fn no_answer() -> Error {
    Error::Invalid("the broker's answer leaves a partition out".into())
}

/// Encodes the batches; those that do not fit the format are apart.
fn encode(shared: &Shared, request: Vec<Sending>) -> (Vec<Sending>, Vec<(Sending, BatchError)>) {
    let mut sendable = Vec::with_capacity(request.len());
    let mut unsendable = Vec::new();
    for mut sending in request {
        match sending.batch.encode(shared.options.compression) {
            Ok(()) => sendable.push(sending),
            Err(error) => unsendable.push((sending, error)),
        }
    }
    (sendable, unsendable)
}

/// What the broker says of one batch.
#[derive(Clone, Debug)]
struct Answer {
    error: Option<ResponseError>,
    detail: Option<String>,
    appended: Appended,
}

impl Answer {
    fn outcome(self, verdict: Verdict) -> Result<Appended, Error> {
        match self.error {
            None => Ok(self.appended),
            Some(_) if verdict == Verdict::Delivered => {
                Ok(Appended { base_offset: None, append_time_ms: None })
            }
            Some(error) => Err(Error::Refused { api: ApiKey::Produce, error, detail: self.detail }),
        }
    }
}

type Answers = HashMap<(String, i32), Answer>;

async fn exchange(
    client: &Client,
    leader: i32,
    metadata: &Metadata,
    request: &mut [Sending],
) -> Result<Answers, Error> {
    if request.is_empty() {
        return Ok(Answers::new());
    }
    let connection = client.broker(leader, Purpose::General).await?;
    let mut version = connection.version::<ProduceRequest>()?;
    let id_of = |topic: &str| metadata.topics.get(topic).map_or(Uuid::nil(), |topic| topic.id);
    if request.iter().any(|sending| id_of(&sending.topic).is_nil()) {
        version = version.min(PRODUCE_BY_TOPIC_ID - 1);
    }
    let mut topics: BTreeMap<&str, Vec<PartitionProduceData>> = BTreeMap::new();
    for sending in request.iter_mut() {
        // From here on the broker may have it.
        sending.batch.uncertain = true;
        let data = PartitionProduceData::default()
            .with_index(sending.partition)
            .with_records(Some(sending.batch.encoded().clone()));
        topics.entry(&sending.topic).or_default().push(data);
    }
    let by_id = version >= PRODUCE_BY_TOPIC_ID;
    let topic_data = topics.into_iter().map(|(topic, partitions)| {
        let data = TopicProduceData::default().with_partition_data(partitions);
        if by_id { data.with_topic_id(id_of(topic)) } else { data.with_name(topic_name(topic)) }
    });
    let timeout_ms = i32::try_from(client.options().request_timeout_ms).unwrap_or(i32::MAX);
    let message = ProduceRequest::default()
        .with_acks(ACKS_ALL)
        .with_timeout_ms(timeout_ms)
        .with_topic_data(topic_data.collect());
    let response = connection.start(version, &message, Duration::ZERO).await?.wait().await?;
    Ok(answers(&response, by_id, request, id_of))
}

/// The answers by topic and partition; topics that are named by id get the name that was asked for.
fn answers(
    response: &ProduceResponse,
    by_id: bool,
    request: &[Sending],
    id_of: impl Fn(&str) -> Uuid,
) -> Answers {
    let names: HashMap<Uuid, &str> =
        request.iter().map(|sending| (id_of(&sending.topic), &*sending.topic)).collect();
    let mut answers = Answers::new();
    for topic in &response.responses {
        let name = if by_id { names.get(&topic.topic_id).copied() } else { Some(&*topic.name.0) };
        let Some(name) = name else { continue };
        for partition in &topic.partition_responses {
            let known = |number: i64| Some(number).filter(|number| *number >= 0);
            let answer = Answer {
                error: ResponseError::try_from_code(partition.error_code),
                detail: partition.error_message.as_ref().map(ToString::to_string),
                appended: Appended {
                    base_offset: known(partition.base_offset),
                    append_time_ms: known(partition.log_append_time_ms),
                },
            };
            answers.insert((name.to_owned(), partition.index), answer);
        }
    }
    answers
}

/// Does with a batch what its answer asks for. Returns its topic if what is known of that has proved wrong.
fn take_in(shared: &Shared, mut sending: Sending, answer: Result<Answer, Error>) -> Option<String> {
    let (verdict, outcome) = match answer {
        Ok(answer) => {
            let verdict = verdict(answer.error);
            // What is refused was not appended by an attempt before either; what is to be retried may have been.
            sending.batch.uncertain &= verdict == Verdict::Retry;
            (verdict, answer.outcome(verdict))
        }
        Err(error) => (verdict_without_answer(&error), Err(error)),
    };
    let mut accumulator = shared.accumulator();
    let not_before = Instant::now() + shared.client.backoff_delay(sending.batch.failures + 1);
    let comeback = match verdict {
        Verdict::Delivered => {
            accumulator.delivered(&sending.topic, sending.partition);
            shared.settle(&sending.batch, outcome);
            return None;
        }
        Verdict::Retry => Comeback::Retry { not_before },
        Verdict::RetryNextEpoch => Comeback::RetryNextEpoch { not_before },
        Verdict::Refused => Comeback::Refused,
    };
    if let Err(error) = &outcome {
        tracing::debug!(topic = sending.topic, partition = sending.partition, %error, ?comeback, "a batch came back");
    }
    let topic = (verdict == Verdict::Retry).then(|| sending.topic.clone());
    let (refused, exhausted) = accumulator.came_back(sending, comeback);
    drop(accumulator);
    if exhausted {
        *shared.producer_id() = None;
    }
    if let Some(batch) = refused {
        shared.settle(&batch, outcome);
    }
    topic
}

impl Shared {
    /// Tells whoever waits for the batch, and frees its memory.
    pub(super) fn settle(&self, batch: &Batch, result: Result<Appended, Error>) {
        batch.settle(result);
        self.memory.add_permits(batch.bytes);
    }
}
