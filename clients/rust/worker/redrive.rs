//! Sends dead letters back to the topic that they come from: all, those of a key, or single ones.
//!
//! Which were is known by what the group `{group}.redrive` has committed in the topic of dead letters: all before the
//! offset, so that its lag is what may be left, and those noted beside it. It is committed after the brokers have
//! acknowledged what was sent: if it is interrupted, some are sent twice, and none is lost.
//!
//! Of a dead letter that is not whole, the record is sent that it comes from, or each of the batch, if its topic still keeps
//! that. If not, there is nothing to send, and it is passed over.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_protocol::error::ResponseError;

use super::dead_letter::{
    DEAD_LETTER_LAST_OFFSET, DEAD_LETTER_LEFT_OUT, DEAD_LETTER_OFFSET, DEAD_LETTER_PARTITION,
    DEAD_LETTER_TOPIC, PREFIX, dead_letter_topic,
};
use super::sent_back::SentBack;
use crate::offsets::{self, Committed, Committer, OffsetSpec, list_offsets};
use crate::{
    Client, ClientOptions, Compression, Consumer, ConsumerOptions, ConsumerRecord, Error, Producer,
    ProducerOptions, ProducerRecord, SCHEDULE_ID_HEADER, Start, TopicPartition,
};

/// How often a record was sent back, as a decimal number.
pub const REDRIVEN: &str = "tidegate-redriven";

/// The largest record that is sent back, in bytes, before it is compressed.
const RECORD_MAX_BYTES: usize = 32 << 20;
/// Dead letters that are under way at a time.
const AT_A_TIME: usize = 500;

/// Which dead letters are sent back, of those that were not before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetters {
    /// All.
    All,
    /// Those with this key.
    Key(Bytes),
    /// Those at these places in the topic of dead letters: partitions and offsets.
    At(BTreeSet<(i32, i64)>),
}

/// Sends the dead letters of a group and a topic back to the topic that they come from, at most `max` of them: those that
/// were there when this was called and were not sent back before. Says how many that were.
///
/// A dead letter that is not whole ([`DEAD_LETTER_LEFT_OUT`]) is passed over if its topic no longer keeps the record.
///
/// A record that comes back has its key, value and headers, without those of a dead letter and with [`REDRIVEN`]. It is under no
/// schedule's name any more (`tidegate-schedule-id`): what waits under that name by now is another, and stays. All groups that
/// read the topic see it again.
///
/// # Errors
/// As any call; what was sent back until then counts.
pub async fn redrive(
    options: ClientOptions,
    topic: &str,
    group: &str,
    max: Option<u64>,
) -> Result<u64, Error> {
    redrive_only(options, topic, group, &DeadLetters::All, max).await
}

/// As [`redrive`], of some dead letters only. The others wait where they are; those that were sent back are passed over when
/// the rest is.
///
/// ```no_run
/// # use tidegate::{ClientOptions, DeadLetters, Error, redrive_only};
/// # async fn run() -> Result<(), Error> {
/// let options = || ClientOptions::new("127.0.0.1:9092");
/// // The one at offset 17 of `orders.billing.dlq`, partition 0; then all of one order.
/// redrive_only(options(), "orders", "billing", &DeadLetters::At([(0, 17)].into()), None).await?;
/// redrive_only(options(), "orders", "billing", &DeadLetters::Key("order-1".into()), None).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As there; and `Invalid` if there is no dead letter at a place that was named, or more single ones are sent back than can be
/// noted: then nothing was sent.
pub async fn redrive_only(
    options: ClientOptions,
    topic: &str,
    group: &str,
    which: &DeadLetters,
    max: Option<u64>,
) -> Result<u64, Error> {
    let letters = dead_letter_topic(topic, group).map_err(|error| Error::Invalid(error.to_string()))?;
    let client = Client::connect(ClientOptions { allow_auto_create_topics: false, ..options }).await?;
    let committer = Committer::outsider(&format!("{group}.redrive"));
    let mut places = match places(&client, &letters, &committer.group).await {
        Err(error) if error.code() == Some(ResponseError::UnknownTopicOrPartition) => BTreeMap::new(),
        places => places?,
    };
    narrow(&mut places, which, &letters)?;
    let mut consumer = Consumer::new(client.clone(), ConsumerOptions::default())?;
    consumer.assign(places.iter().map(|(at, place)| (at.clone(), Start::Offset(place.from))))?;
    let producer = Producer::new(client.clone(), producer_options())?;
    let mut left = max.unwrap_or(u64::MAX);
    let mut sent = 0;
    while !places.is_empty() && left > 0 {
        let count_max = AT_A_TIME.min(usize::try_from(left).unwrap_or(AT_A_TIME));
        let (mut chosen, mut changed) = (Vec::new(), BTreeMap::new());
        while chosen.len() < count_max && !places.is_empty() {
            let letter = consumer.recv().await?;
            let at = letter.topic_partition();
            // What came in since this was called is for the next time.
            let Some(place) = places.get_mut(&at) else { continue };
            let is_chosen = place.look_at(&letter, which);
            if is_chosen || *which == DeadLetters::All {
                changed.insert(at.clone(), place.sent.clone());
            }
            if place.from >= place.end {
                places.remove(&at);
            }
            if is_chosen {
                chosen.push(letter);
            }
        }
        let changed = changed.into_iter().map(|(at, sent)| Ok((at, sent.to_committed()?)));
        let changed = changed.collect::<Result<BTreeMap<TopicPartition, Committed>, Error>>()?;
        let count = send(&client, &producer, chosen, topic).await?;
        offsets::commit(&client, &committer, &changed).await?;
        sent += count;
        left -= count;
    }
    producer.close().await;
    Ok(sent)
}

/// What came compressed goes back compressed: its topic may take it in no other way.
fn producer_options() -> ProducerOptions {
    ProducerOptions {
        compression: Compression::Zstd,
        max_record_bytes: RECORD_MAX_BYTES,
        ..ProducerOptions::default()
    }
}

/// Sends dead letters back, and waits until they are in the log. Says how many that were.
async fn send(
    client: &Client,
    producer: &Producer,
    letters: Vec<ConsumerRecord>,
    topic: &str,
) -> Result<u64, Error> {
    let mut receipts = Vec::with_capacity(letters.len());
    let mut count = 0;
    for letter in letters {
        let (partition, offset) = (letter.partition, letter.offset);
        let records = records_of(client, letter, topic).await?;
        if records.is_empty() {
            tracing::warn!(
                topic,
                partition,
                offset,
                "a dead letter is not whole, and its record is gone: passed over"
            );
            continue;
        }
        count += 1;
        for record in records {
            receipts.push(producer.enqueue(send_back(record, topic)).await?);
        }
    }
    producer.flush().await;
    for receipt in receipts {
        receipt.wait().await?;
    }
    Ok(count)
}

/// What a dead letter stands for, as dead letters that are whole: itself, or what its topic still has at its place. None if that
/// is gone.
async fn records_of(
    client: &Client,
    letter: ConsumerRecord,
    topic: &str,
) -> Result<Vec<ConsumerRecord>, Error> {
    if letter.header(DEAD_LETTER_LEFT_OUT).is_none() {
        return Ok(vec![letter]);
    }
    let text = |name: &str| letter.header(name).and_then(|value| std::str::from_utf8(value).ok());
    let number = |name: &str| text(name).and_then(|number| number.parse::<i64>().ok());
    let partition = number(DEAD_LETTER_PARTITION).and_then(|partition| i32::try_from(partition).ok());
    let (Some(partition), Some(first)) = (partition, number(DEAD_LETTER_OFFSET)) else { return Ok(vec![]) };
    let last = number(DEAD_LETTER_LAST_OFFSET).unwrap_or(first);
    let at = TopicPartition::new(text(DEAD_LETTER_TOPIC).unwrap_or(topic), partition);
    let bound = async |spec| {
        let found = list_offsets(client, &BTreeMap::from([(at.clone(), spec)])).await.remove(&at);
        match found.unwrap_or(Ok(None)) {
            Err(error) if error.code() == Some(ResponseError::UnknownTopicOrPartition) => Ok(None),
            found => found,
        }
    };
    let (start, end) = (bound(OffsetSpec::Earliest).await?, bound(OffsetSpec::Latest).await?);
    if !start.zip(end).is_some_and(|(start, end)| start <= first && first <= last && last < end) {
        return Ok(vec![]);
    }
    let mut consumer = Consumer::new(client.clone(), ConsumerOptions::default())?;
    consumer.assign([(at, Start::Offset(first))])?;
    let mut records = vec![];
    let mut next = first;
    while next <= last {
        let record = match consumer.recv().await {
            Ok(record) => record,
            // It is too large for this consumer too.
            Err(Error::Batch(_)) => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        if record.offset != next || record.bytes() > RECORD_MAX_BYTES {
            return Ok(vec![]);
        }
        next += 1;
        let mut headers = record.headers;
        headers.retain(|(name, _)| !name.starts_with(PREFIX));
        headers.extend(letter.headers.iter().filter(|(name, _)| name.starts_with(PREFIX)).cloned());
        records.push(ConsumerRecord { key: record.key, value: record.value, headers, ..letter.clone() });
    }
    Ok(records)
}

/// What is read of a partition.
#[derive(Debug)]
struct Place {
    /// The first one that is there.
    first: i64,
    /// The next one to look at, and the end of those.
    from: i64,
    end: i64,
    sent: SentBack,
}

impl Place {
    /// Whether one is sent back, which is noted then.
    fn look_at(&mut self, letter: &ConsumerRecord, which: &DeadLetters) -> bool {
        let offset = letter.offset;
        let was_before = self.sent.contains(offset);
        let is_chosen = offset < self.end
            && !was_before
            && match which {
                DeadLetters::All => true,
                DeadLetters::Key(key) => letter.key.as_ref() == Some(key),
                DeadLetters::At(places) => places.contains(&(letter.partition, offset)),
            };
        self.from = offset + 1;
        match which {
            DeadLetters::All => self.sent.add_before(self.end.min(offset + 1)),
            _ if is_chosen => self.sent.add(offset),
            _ => {}
        }
        is_chosen
    }
}

/// Leaves of the places what is to be looked at.
fn narrow(
    places: &mut BTreeMap<TopicPartition, Place>,
    which: &DeadLetters,
    letters: &str,
) -> Result<(), Error> {
    if let DeadLetters::At(wanted) = which {
        for (partition, offset) in wanted {
            let place = places.get(&TopicPartition::new(letters, *partition));
            if !place.is_some_and(|place| (place.first..place.end).contains(offset)) {
                return Err(Error::Invalid(format!(
                    "there is no dead letter at offset {offset} of {letters}, partition {partition}"
                )));
            }
        }
        for (at, place) in places.iter_mut() {
            let of_partition = || wanted.range((at.partition, i64::MIN)..=(at.partition, i64::MAX));
            let to_send = |offset: &i64| !place.sent.contains(*offset);
            let mut offsets = of_partition().map(|(_, offset)| *offset).filter(to_send);
            let first = offsets.next();
            place.from = first.unwrap_or(place.end);
            place.end = offsets.next_back().or(first).map_or(place.end, |last| last + 1);
        }
    }
    places.retain(|_, place| place.from < place.end);
    Ok(())
}

/// What there is in each partition.
async fn places(
    client: &Client,
    letters: &str,
    group: &str,
) -> Result<BTreeMap<TopicPartition, Place>, Error> {
    let partitions = client.topic(letters).await?.partition_count(letters);
    let all: Vec<TopicPartition> =
        (0..partitions).map(|partition| TopicPartition::new(letters, partition)).collect();
    let committed: BTreeMap<TopicPartition, Committed> =
        offsets::committed(client, group, Some(&all)).await?;
    let mut places = BTreeMap::new();
    let of = |spec| all.iter().map(|at| (at.clone(), spec)).collect::<BTreeMap<_, _>>();
    let starts = list_offsets(client, &of(OffsetSpec::Earliest)).await;
    let ends = list_offsets(client, &of(OffsetSpec::Latest)).await;
    for ((at, start), (_, end)) in starts.into_iter().zip(ends) {
        let first = start?.unwrap_or(0);
        let sent = SentBack::read(committed.get(&at), first);
        let from = sent.next();
        places.insert(at, Place { first, from, end: end?.unwrap_or(0), sent });
    }
    Ok(places)
}

/// The record that a dead letter was.
pub(super) fn send_back(letter: ConsumerRecord, topic: &str) -> ProducerRecord {
    let number = |value: &Bytes| std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
    let before = letter.header(REDRIVEN).and_then(number).unwrap_or(0);
    let origin = letter.header(DEAD_LETTER_TOPIC).and_then(|name| std::str::from_utf8(name).ok());
    let origin = origin.unwrap_or(topic).to_owned();
    let mut headers = letter.headers;
    // Under its name it would take the place of what waits there since.
    let goes = |name: &str| name.starts_with(PREFIX) || [REDRIVEN, SCHEDULE_ID_HEADER].contains(&name);
    headers.retain(|(name, _)| !goes(name));
    headers.push((REDRIVEN.to_owned(), Some((before + 1).to_string().into())));
    ProducerRecord { key: letter.key, value: letter.value, headers, ..ProducerRecord::to(origin) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::dead_letter;
    use super::super::settle::Burial;
    use super::*;

    #[test]
    fn what_is_sent_back_is_the_record_that_it_was() {
        let own = ("trace".to_owned(), Some(Bytes::from_static(b"abc")));
        let record = ConsumerRecord {
            topic: Arc::from("orders"),
            partition: 3,
            offset: 42,
            timestamp_ms: 7,
            key: Some(Bytes::from_static(b"k")),
            value: None,
            headers: vec![own.clone()],
        };
        let mut back = record.clone();
        for time in ["1", "2"] {
            let letter = dead_letter::encode(&back, "billing", &Burial::whole("no".to_owned(), 6), 99);
            let letter = ConsumerRecord { topic: Arc::from("dlq"), headers: letter.headers, ..back.clone() };
            let sent = send_back(letter, "another");
            assert_eq!((sent.topic.as_str(), &sent.key, &sent.value), ("orders", &record.key, &record.value));
            assert_eq!(sent.headers, [own.clone(), (REDRIVEN.to_owned(), Some(time.into()))]);
            back.headers = sent.headers;
        }
    }
}
