//! The task that fetches ahead: one long poll at a time to each broker, and look-ups of places that are not known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tidegate_protocol::StrBytes;
use tidegate_protocol::error::ResponseError;
use tidegate_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use tidegate_protocol::messages::fetch_response::PartitionData;
use tidegate_protocol::messages::{ApiKey, FetchRequest, FetchResponse};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::partitions::{HURRIED_WAIT, Plan, Wish};
use super::{AutoOffsetReset, Shared};
use crate::client::topic_name;
use crate::error::accepted;
use crate::net::pool::Purpose;
use crate::offsets::{OffsetSpec, list_offsets};
use crate::{Error, Metadata};

/// The first version of Fetch that names topics by id.
const FETCH_BY_TOPIC_ID: i16 = 13;
/// No session: every request names all its partitions.
const NO_SESSION_EPOCH: i32 = -1;
/// How long to wait before looking again, if nothing is known that would say when.
const IDLE_WAIT: Duration = Duration::from_secs(60);
/// How long a partition rests whose answer makes no sense.
const REST: Duration = Duration::from_secs(1);

/// What is over.
enum Done {
    Fetch { leader: i32, failed: bool },
    LookUp,
    Refresh,
}

/// Fetches until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut under_way: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
    let mut busy: HashSet<i32> = HashSet::new();
    let mut failures: HashMap<i32, u32> = HashMap::new();
    let mut refreshing = false;
    loop {
        let woken = shared.fetch_wake.notified();
        let metadata = shared.client.metadata();
        let leader = |topic: &str, partition: i32| metadata.leader(topic, partition).ok();
        let Plan { fetches, lookups, unroutable, next } =
            shared.partitions().plan(Instant::now(), |leader| busy.contains(&leader), leader);
        for (leader, (wishes, leaves_out)) in fetches {
            busy.insert(leader);
            let failed = failures.get(&leader).copied().unwrap_or(0);
            under_way.push(Box::pin(fetch(
                shared.clone(),
                metadata.clone(),
                leader,
                wishes,
                leaves_out,
                failed,
            )));
        }
        if !lookups.is_empty() {
            under_way.push(Box::pin(look_up(shared.clone(), lookups)));
        }
        if unroutable && !std::mem::replace(&mut refreshing, true) {
            under_way.push(Box::pin(refresh(shared.clone())));
        }
        let next = next.unwrap_or_else(|| Instant::now() + IDLE_WAIT);
        tokio::select! {
            () = woken => {}
            () = sleep_until(next) => {}
            Some(done) = under_way.next() => match done {
                Done::Fetch { leader, failed } => {
                    busy.remove(&leader);
                    let before = failures.remove(&leader).unwrap_or(0);
                    if failed {
                        failures.insert(leader, before.saturating_add(1));
                    }
                }
                Done::LookUp => {}
                Done::Refresh => refreshing = false,
            }
        }
    }
}

async fn refresh(shared: Arc<Shared>) -> Done {
    let topics: Vec<String> =
        shared.partitions().assignment().into_iter().map(|partition| partition.topic).collect();
    if let Err(error) = shared.client.look_again(&topics).await {
        tracing::debug!(%error, "metadata could not be refreshed");
    }
    // Not in a tight loop: a leader that is not there now is not there at once.
    sleep(shared.client.backoff_delay(1)).await;
    Done::Refresh
}

async fn fetch(
    shared: Arc<Shared>,
    metadata: Arc<Metadata>,
    leader: i32,
    wishes: Vec<Wish<i64>>,
    leaves_out: bool,
    failures: u32,
) -> Done {
    let answer = exchange(&shared, &metadata, leader, &wishes, leaves_out).await;
    let not_before = Instant::now() + shared.client.backoff_delay(failures + 1);
    let failed = answer.is_err();
    let stale = match answer {
        Ok(mut answer) => {
            let mut stale = false;
            for wish in &wishes {
                let key = (wish.partition.topic.clone(), wish.partition.partition);
                stale |= take_in(&shared, wish, answer.remove(&key), not_before);
            }
            stale
        }
        Err(error) => {
            if !error.is_retriable() {
                shared.report(error);
            }
            for wish in &wishes {
                shared.partitions().failed(wish, not_before);
            }
            true
        }
    };
    shared.data.notify_one();
    if stale && let Err(error) = shared.client.refresh(&[]).await {
        tracing::debug!(%error, "metadata could not be refreshed");
    }
    Done::Fetch { leader, failed }
}

async fn exchange(
    shared: &Shared,
    metadata: &Metadata,
    leader: i32,
    wishes: &[Wish<i64>],
    leaves_out: bool,
) -> Result<HashMap<(String, i32), PartitionData>, Error> {
    let options = &shared.options;
    let connection = shared.client.broker(leader, Purpose::Fetch).await?;
    let mut version = connection.version::<FetchRequest>()?;
    let id_of = |topic: &str| metadata.topics.get(topic).map_or(Uuid::nil(), |topic| topic.id);
    if wishes.iter().any(|wish| id_of(&wish.partition.topic).is_nil()) {
        version = version.min(FETCH_BY_TOPIC_ID - 1);
    }
    let by_id = version >= FETCH_BY_TOPIC_ID;
    let mut topics: BTreeMap<&str, Vec<FetchPartition>> = BTreeMap::new();
    for wish in wishes {
        let partition = FetchPartition::default()
            .with_partition(wish.partition.partition)
            .with_fetch_offset(wish.what)
            .with_partition_max_bytes(options.partition_max_bytes);
        topics.entry(&wish.partition.topic).or_default().push(partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        let wanted = FetchTopic::default().with_partitions(partitions);
        if by_id { wanted.with_topic_id(id_of(topic)) } else { wanted.with_topic(topic_name(topic)) }
    });
    let hurried = i32::try_from(HURRIED_WAIT.as_millis()).unwrap_or(i32::MAX);
    let wait_ms = if leaves_out { options.fetch_max_wait_ms.min(hurried) } else { options.fetch_max_wait_ms };
    let request = FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(options.fetch_min_bytes)
        .with_max_bytes(options.fetch_max_bytes)
        .with_topics(topics.collect());
    let request = if version <= 14 { request.with_replica_id((-1).into()) } else { request };
    let request = if version >= 7 { request.with_session_epoch(NO_SESSION_EPOCH) } else { request };
    let request = if version >= 11 { request.with_rack_id(StrBytes::new()) } else { request };
    let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
    let response = connection.start(version, &request, wait).await?.wait().await?;
    accepted(ApiKey::Fetch, response.error_code, None)?;
    Ok(by_partition(response, by_id, wishes, id_of))
}

/// The answers by topic and partition; topics that are named by id get the name that was asked for.
fn by_partition(
    response: FetchResponse,
    by_id: bool,
    wishes: &[Wish<i64>],
    id_of: impl Fn(&str) -> Uuid,
) -> HashMap<(String, i32), PartitionData> {
    let names: HashMap<Uuid, &str> =
        wishes.iter().map(|wish| (id_of(&wish.partition.topic), wish.partition.topic.as_str())).collect();
    let mut answers = HashMap::new();
    for topic in response.responses {
        let name = if by_id { names.get(&topic.topic_id).copied() } else { Some(&*topic.topic.0) };
        let Some(name) = name else { continue };
        for partition in topic.partitions {
            answers.insert((name.to_owned(), partition.partition_index), partition);
        }
    }
    answers
}

/// Does with one partition's answer what it asks for. Says whether what is known of the cluster has proved wrong.
fn take_in(shared: &Shared, wish: &Wish<i64>, answer: Option<PartitionData>, not_before: Instant) -> bool {
    let mut partitions = shared.partitions();
    let Some(answer) = answer else {
        // A broker may leave out what has nothing new.
        partitions.failed(wish, not_before);
        return false;
    };
    let error = match ResponseError::try_from_code(answer.error_code) {
        None => {
            let records = answer.records.unwrap_or_default();
            match partitions.fetched(wish, records, answer.high_watermark) {
                Ok(()) => return false,
                Err(error) => error,
            }
        }
        Some(ResponseError::OffsetOutOfRange) => {
            let reset = match shared.options.auto_offset_reset {
                AutoOffsetReset::Earliest => Some(OffsetSpec::Earliest),
                AutoOffsetReset::Latest => Some(OffsetSpec::Latest),
                AutoOffsetReset::Fail => None,
            };
            if let Some(spec) = reset {
                tracing::info!(partition = %wish.partition, offset = wish.what, ?spec, "the offset is out of range");
                partitions.look_up(wish, spec, not_before);
                return false;
            }
            refused(ResponseError::OffsetOutOfRange)
        }
        Some(error) if error.is_retriable() => {
            tracing::debug!(partition = %wish.partition, %error, "a fetch failed");
            partitions.failed(wish, not_before);
            return true;
        }
        Some(error) => refused(error),
    };
    if partitions.failed(wish, Instant::now() + REST) {
        drop(partitions);
        shared.report(error);
    }
    false
}

fn refused(error: ResponseError) -> Error {
    Error::Refused { api: ApiKey::Fetch, error, detail: None }
}

async fn look_up(shared: Arc<Shared>, wishes: Vec<Wish<OffsetSpec>>) -> Done {
    let wanted: BTreeMap<_, _> = wishes.iter().map(|wish| (wish.partition.clone(), wish.what)).collect();
    let found = list_offsets(&shared.client, &wanted).await;
    let not_before = Instant::now() + shared.client.backoff_delay(1);
    let mut stale = false;
    for wish in wishes {
        let mut partitions = shared.partitions();
        match found.get(&wish.partition) {
            Some(Ok(Some(offset))) => partitions.found(&wish, *offset),
            // No record is that late: the next one that comes.
            Some(Ok(None)) if wish.what != OffsetSpec::Latest => {
                partitions.look_up(&wish, OffsetSpec::Latest, not_before);
            }
            Some(Err(error)) if !error.is_retriable() => {
                if partitions.failed(&wish, Instant::now() + REST) {
                    drop(partitions);
                    shared.report(error.clone());
                }
            }
            _ => stale |= partitions.failed(&wish, not_before),
        }
    }
    if stale && let Err(error) = shared.client.refresh(&[]).await {
        tracing::debug!(%error, "metadata could not be refreshed");
    }
    Done::LookUp
}
