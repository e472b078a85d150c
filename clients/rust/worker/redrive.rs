//! Sends dead letters back to the topic that they come from.
//!
//! How far that has come is the committed offset of the group `{group}.redrive` in the topic of dead letters, so its lag is
//! what was not sent back yet. It is committed after the brokers have acknowledged what was sent: if it is interrupted, some
//! are sent twice, and none is lost.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_protocol::error::ResponseError;

use super::dead_letter::{DEAD_LETTER_TOPIC, PREFIX, dead_letter_topic};
use crate::offsets::{self, Committed, Committer, OffsetSpec, list_offsets};
use crate::{
    Client, ClientOptions, Consumer, ConsumerOptions, ConsumerRecord, Error, Producer, ProducerOptions,
    ProducerRecord, Start, TopicPartition,
};

/// How often a record was sent back, as a decimal number.
pub const REDRIVEN: &str = "tidegate-redriven";

/// Dead letters that are under way at a time.
const AT_A_TIME: usize = 500;

/// Sends the dead letters of a group and a topic back to the topic that they come from, at most `max` of them: those that
/// were there when this was called and were not sent back before. Says how many that were.
///
/// A record that comes back has its key, value and headers, without those of a dead letter and with [`REDRIVEN`]. All groups
/// that read the topic see it again.
///
/// # Errors
/// As any call; what was sent back until then counts.
pub async fn redrive(
    options: ClientOptions,
    topic: &str,
    group: &str,
    max: Option<u64>,
) -> Result<u64, Error> {
    let letters = dead_letter_topic(topic, group).map_err(|error| Error::Invalid(error.to_string()))?;
    let client = Client::connect(ClientOptions { allow_auto_create_topics: false, ..options }).await?;
    let committer = Committer::outsider(&format!("{group}.redrive"));
    let mut ends = match places(&client, &letters, &committer.group).await {
        Err(error) if error.code() == Some(ResponseError::UnknownTopicOrPartition) => return Ok(0),
        places => places?,
    };
    let mut consumer = Consumer::new(client.clone(), ConsumerOptions::default())?;
    let starts = ends.iter().map(|(at, (start, _))| (at.clone(), Start::Offset(*start)));
    consumer.assign(starts)?;
    ends.retain(|_, (start, end)| start < end);
    let producer = Producer::new(client.clone(), ProducerOptions::default())?;
    let (mut sent, mut left) = (0, max.unwrap_or(u64::MAX));
    while !ends.is_empty() && left > 0 {
        let (mut receipts, mut done) = (Vec::new(), BTreeMap::new());
        while receipts.len() < AT_A_TIME && left > 0 && !ends.is_empty() {
            let letter = consumer.recv().await?;
            let at = letter.topic_partition();
            // What came in since this was called is for the next time.
            let Some((_, end)) = ends.get(&at) else { continue };
            let next = letter.offset + 1;
            if next >= *end {
                ends.remove(&at);
            }
            done.insert(at, Committed::at(next));
            receipts.push(producer.enqueue(send_back(letter, topic)).await?);
            left -= 1;
        }
        let count = receipts.len() as u64;
        producer.flush().await;
        for receipt in receipts {
            receipt.wait().await?;
        }
        offsets::commit(&client, &committer, &done).await?;
        sent += count;
    }
    producer.close().await;
    Ok(sent)
}

/// Where to begin in each partition, and where it ends now.
async fn places(
    client: &Client,
    letters: &str,
    group: &str,
) -> Result<BTreeMap<TopicPartition, (i64, i64)>, Error> {
    let partitions = client.topic(letters).await?.partition_count(letters);
    let all: Vec<TopicPartition> =
        (0..partitions).map(|partition| TopicPartition::new(letters, partition)).collect();
    let committed = offsets::committed(client, group, Some(&all)).await?;
    let mut places = BTreeMap::new();
    let of = |spec| all.iter().map(|at| (at.clone(), spec)).collect::<BTreeMap<_, _>>();
    let starts = list_offsets(client, &of(OffsetSpec::Earliest)).await;
    let ends = list_offsets(client, &of(OffsetSpec::Latest)).await;
    for ((at, start), (_, end)) in starts.into_iter().zip(ends) {
        let first = start?.unwrap_or(0);
        let start = committed.get(&at).map_or(first, |committed| committed.offset.max(first));
        places.insert(at, (start, end?.unwrap_or(0)));
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
    headers.retain(|(name, _)| !name.starts_with(PREFIX) && name != REDRIVEN);
    headers.push((REDRIVEN.to_owned(), Some((before + 1).to_string().into())));
    ProducerRecord { key: letter.key, value: letter.value, headers, ..ProducerRecord::to(origin) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::dead_letter;
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
            let letter = dead_letter::encode(&back, "billing", "no".to_owned(), 6, 99);
            let letter = ConsumerRecord { topic: Arc::from("dlq"), headers: letter.headers, ..back.clone() };
            let sent = send_back(letter, "another");
            assert_eq!((sent.topic.as_str(), &sent.key, &sent.value), ("orders", &record.key, &record.value));
            assert_eq!(sent.headers, [own.clone(), (REDRIVEN.to_owned(), Some(time.into()))]);
            back.headers = sent.headers;
        }
    }
}
