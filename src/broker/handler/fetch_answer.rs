//! The answer to a Fetch, whose batches go to the socket from where they lie.
//!
//! Everything but the batches is encoded by the `kafka-protocol` crate, partition by partition, as if there were no
//! records; the batches are put where it has written that there are none. A test compares the frames with those that
//! the crate makes by itself.

use bytes::{Buf, BufMut, BytesMut};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{ApiKey, FetchResponse, ResponseHeader};
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use tidegate_log::Batches;
use tidegate_protocol::frame::{FrameError, LENGTH_LEN};

use crate::metrics::ErrorCodes;
use crate::net::{AnswerFrame, AnswerFrameBuilder};

/// The first version with an error code and a session.
const WITH_SESSION: i16 = 7;
/// The first version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 12;
/// The first version in which topics have ids.
const WITH_TOPIC_IDS: i16 = 13;
/// Empty records and no tagged fields, in a flexible version.
const NO_RECORDS_FLEXIBLE: &[u8] = &[1, 0];
/// Empty records, in an older one.
const NO_RECORDS: &[u8] = &[0; 4];

/// An answer to a Fetch whose partitions have no records yet, and their records.
pub(crate) struct FetchAnswer {
    pub(super) response: FetchResponse,
    /// One for each partition of the response, in their order.
    pub(super) batches: Vec<Batches>,
}

impl ErrorCodes for FetchAnswer {
    fn each_error(&self, count: &mut dyn FnMut(i16)) {
        self.response.each_error(count);
    }
}

/// A frame without its batches, and where they go.
struct Outline<'a> {
    version: i16,
    bytes: BytesMut,
    gaps: Vec<(usize, &'a Batches)>,
}

impl FetchAnswer {
    /// The whole frame, length included.
    ///
    /// # Errors
    /// If the answer cannot be said in this version, or takes more than 2 GiB.
    pub(crate) fn frame(&self, version: i16, correlation_id: i32) -> Result<AnswerFrame, FrameError> {
        let failed = |detail: String| FrameError::Encode { api: ApiKey::Fetch, version, detail };
        let outline = self.outline(version, correlation_id).map_err(failed)?;
        let size = outline.bytes.len() + outline.gaps.iter().map(|(_, batches)| batches.bytes).sum::<usize>();
        let length = i32::try_from(size).map_err(|_| failed(format!("{size} bytes")))?;
        let mut frame = AnswerFrameBuilder::default();
        frame.put_slice(&length.to_be_bytes());
        let mut from = 0;
        for (to, batches) in outline.gaps {
            frame.put_slice(&outline.bytes[from..to]);
            from = to;
            for batch in &batches.batches {
                frame.put_shared(batch);
            }
        }
        frame.put_slice(&outline.bytes[from..]);
        let frame = frame.finish();
        assert_eq!(frame.remaining(), LENGTH_LEN + size, "the batches have the size that was told");
        Ok(frame)
    }

    fn outline(&self, version: i16, correlation_id: i32) -> Result<Outline<'_>, String> {
        let mut outline = Outline { version, bytes: BytesMut::with_capacity(512), gaps: Vec::new() };
        let header = ResponseHeader::default().with_correlation_id(correlation_id);
        let encoded = header.encode(&mut outline.bytes, FetchResponse::header_version(version));
        encoded.map_err(|error| error.to_string())?;
        outline.bytes.put_i32(self.response.throttle_time_ms);
        if version >= WITH_SESSION {
            outline.bytes.put_i16(self.response.error_code);
            outline.bytes.put_i32(self.response.session_id);
        }
        outline.put_count(self.response.responses.len())?;
        let mut batches = self.batches.iter();
        for topic in &self.response.responses {
            outline.put_topic(topic, &mut batches)?;
        }
        outline.put_no_tagged_fields();
        Ok(outline)
    }
}

impl<'a> Outline<'a> {
    fn put_topic(
        &mut self,
        topic: &FetchableTopicResponse,
        batches: &mut impl Iterator<Item = &'a Batches>,
    ) -> Result<(), String> {
        if self.version >= WITH_TOPIC_IDS {
            self.bytes.put_slice(topic.topic_id.as_bytes());
        } else if self.version >= FLEXIBLE {
            self.put_length(topic.topic.len())?;
            self.bytes.put_slice(topic.topic.as_bytes());
        } else {
            self.bytes.put_i16(i16::try_from(topic.topic.len()).map_err(|error| error.to_string())?);
            self.bytes.put_slice(topic.topic.as_bytes());
        }
        self.put_count(topic.partitions.len())?;
        for partition in &topic.partitions {
            let batches = batches.next().expect("batches for each partition, or none of them");
            self.put_partition(partition, batches)?;
        }
        self.put_no_tagged_fields();
        Ok(())
    }

    fn put_partition(&mut self, partition: &PartitionData, batches: &'a Batches) -> Result<(), String> {
        partition.encode(&mut self.bytes, self.version).map_err(|error| error.to_string())?;
        let no_records = if self.version >= FLEXIBLE { NO_RECORDS_FLEXIBLE } else { NO_RECORDS };
        assert!(self.bytes.ends_with(no_records), "the records are empty, and the last field");
        self.bytes.truncate(self.bytes.len() - no_records.len());
        if self.version >= FLEXIBLE {
            self.put_length(batches.bytes)?;
        } else {
            self.bytes.put_i32(i32::try_from(batches.bytes).map_err(|error| error.to_string())?);
        }
        self.gaps.push((self.bytes.len(), batches));
        self.put_no_tagged_fields();
        Ok(())
    }

    /// How many elements an array has.
    fn put_count(&mut self, count: usize) -> Result<(), String> {
        if self.version >= FLEXIBLE {
            return self.put_length(count);
        }
        self.bytes.put_i32(i32::try_from(count).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// A compact length: one more, in groups of seven bits, the lowest first.
    fn put_length(&mut self, length: usize) -> Result<(), String> {
        let mut rest =
            u32::try_from(length).ok().and_then(|length| length.checked_add(1)).ok_or("too long")?;
        while rest >= 0x80 {
            self.bytes.put_u8(u8::try_from(rest & 0x7F).expect("seven bits") | 0x80);
            rest >>= 7;
        }
        self.bytes.put_u8(u8::try_from(rest).expect("seven bits"));
        Ok(())
    }

    fn put_no_tagged_fields(&mut self) {
        if self.version >= FLEXIBLE {
            self.bytes.put_u8(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::protocol::StrBytes;
    use proptest::prelude::*;
    use tidegate_protocol::frame::encode_response;
    use uuid::Uuid;

    use super::*;

    /// Error code, high watermark, and the batches.
    type Partition = (i16, i64, Vec<Vec<u8>>);

    fn topics() -> impl Strategy<Value = Vec<(String, Vec<Partition>)>> {
        let batches = prop::collection::vec(
            prop_oneof![4 => prop::collection::vec(any::<u8>(), 0..200), 1 => prop::collection::vec(any::<u8>(), 5_000)],
            0..4,
        );
        let partition = (any::<i16>(), any::<i64>(), batches);
        prop::collection::vec(("[a-z]{0,140}", prop::collection::vec(partition, 0..4)), 0..4)
    }

    fn answer(version: i16, topics: &[(String, Vec<Partition>)]) -> FetchAnswer {
        let partition = |(index, (code, watermark, _)): (i32, &Partition)| {
            PartitionData::default()
                .with_partition_index(index)
                .with_error_code(*code)
                .with_high_watermark(*watermark)
                .with_aborted_transactions(None)
        };
        let topic = |(name, partitions): &(String, Vec<Partition>)| {
            let response = FetchableTopicResponse::default()
                .with_partitions((0..).zip(partitions).map(partition).collect());
            if version >= WITH_TOPIC_IDS {
                response.with_topic_id(Uuid::from_u128(name.len() as u128))
            } else {
                response.with_topic(TopicName(StrBytes::from_string(name.clone())))
            }
        };
        let batches = topics.iter().flat_map(|(_, partitions)| partitions).map(|(_, _, batches)| Batches {
            bytes: batches.iter().map(Vec::len).sum(),
            batches: batches.iter().map(|batch| Bytes::from(batch.clone())).collect(),
        });
        FetchAnswer {
            response: FetchResponse::default().with_responses(topics.iter().map(topic).collect()),
            batches: batches.collect(),
        }
    }

    proptest! {
        #[test]
        fn its_frames_are_those_of_the_protocol_crate(topics in topics(), correlation_id in any::<i32>()) {
            for version in 4..=18 {
                let answer = answer(version, &topics);
                let mut response = answer.response.clone();
                let partitions = response.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
                for (partition, batches) in partitions.zip(&answer.batches) {
                    partition.records = Some(Bytes::from(batches.batches.concat()));
                }
                let expected = encode_response(ApiKey::Fetch, version, correlation_id, &response);
                let frame = answer.frame(version, correlation_id).map(|mut frame| {
                    let size = frame.remaining();
                    frame.copy_to_bytes(size)
                });
                prop_assert_eq!(frame, expected, "version {}", version);
            }
        }
    }
}
