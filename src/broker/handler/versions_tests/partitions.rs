//! Records and offsets of partitions.

use bytes::Bytes;
use kafka_protocol::ResponseError as E;
use kafka_protocol::messages as m;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProducerId, TopicName, TransactionalId};
use uuid::Uuid;

use super::fixture::{FLIGHTS, Fixture, MISSING, NOBODYS_ID, batch, text, topic};
use crate::dispatch::RequestError;

/// What a partition is called that is not there, by name and by id.
fn unknown(by_id: bool) -> i16 {
    if by_id { E::UnknownTopicId.code() } else { E::UnknownTopicOrPartition.code() }
}

pub(super) async fn produce(fixture: &Fixture, version: i16) {
    let by_id = version >= 13;
    let data = |index, records| PartitionProduceData::default().with_index(index).with_records(records);
    let to = |name: &TopicName, id: Uuid, data: Vec<PartitionProduceData>| {
        let to = TopicProduceData::default().with_partition_data(data);
        if by_id { to.with_topic_id(id) } else { to.with_name(name.clone()) }
    };
    let mut damaged = batch().to_vec();
    *damaged.last_mut().expect("it has bytes") ^= 1;
    let (name, id) = fixture.new_topic().await;
    let request = m::ProduceRequest::default().with_acks(-1).with_timeout_ms(1_000).with_topic_data(vec![
        to(
            &name,
            id,
            vec![
                data(0, Some(batch())),
                data(7, Some(batch())),
                data(0, Some(damaged.into())),
                data(0, Some(Bytes::from_static(b"too short"))),
            ],
        ),
        to(&topic(MISSING), NOBODYS_ID, vec![data(0, Some(batch()))]),
    ]);
    let answer = fixture.ask(version, &request).await;
    let codes: Vec<_> = answer.responses.iter().flat_map(|topic| &topic.partition_responses).collect();
    let first = codes[0];
    assert_eq!((first.error_code, first.base_offset, first.log_append_time_ms), (0, 0, -1), "v{version}");
    assert_eq!(first.log_start_offset, if version >= 5 { 0 } else { -1 }, "v{version}");
    let expected = [
        0,
        E::UnknownTopicOrPartition.code(),
        E::CorruptMessage.code(),
        E::CorruptMessage.code(),
        unknown(by_id),
    ];
    assert_eq!(
        codes.iter().map(|partition| partition.error_code).collect::<Vec<_>>(),
        expected,
        "v{version}"
    );
    assert_eq!(codes[2].error_message.is_some(), version >= 8, "v{version}");
    let bad_acks = fixture.ask(version, &request.clone().with_acks(2)).await;
    assert_eq!(bad_acks.responses[0].partition_responses[0].error_code, E::InvalidRequiredAcks.code());
    let refused = fixture.try_send(version, &request.with_acks(0)).await;
    assert!(
        matches!(refused, Err(RequestError::Unsent { code: 3, .. })),
        "v{version}: nobody waits for an answer that tells of the errors: {refused:?}"
    );
    let good = to(&name, id, vec![data(0, Some(batch()))]);
    let good = m::ProduceRequest::default().with_acks(0).with_topic_data(vec![good]);
    let unanswered = fixture.try_send(version, &good).await;
    assert!(matches!(unanswered, Ok(None)), "v{version}: nobody waits for an answer: {unanswered:?}");
    let nothing = m::ProduceRequest::default().with_acks(1);
    assert!(fixture.ask(version, &nothing).await.responses.is_empty());
    let null = to(&name, id, vec![data(0, None)]);
    let answer = fixture.ask(version, &nothing.with_topic_data(vec![null])).await;
    assert_ne!(
        answer.responses[0].partition_responses[0].error_code, 0,
        "v{version}: there is nothing in it"
    );
}

pub(super) async fn fetch(fixture: &Fixture, version: i16) {
    let by_id = version >= 13;
    let (name, id) = fixture.new_topic().await;
    let sent = PartitionProduceData::default().with_records(Some(batch()));
    let sent = TopicProduceData::default().with_name(name.clone()).with_partition_data(vec![sent]);
    fixture.ask(9, &m::ProduceRequest::default().with_acks(-1).with_topic_data(vec![sent])).await;
    let partition = |partition, offset| {
        let mut asked = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20);
        if version >= 9 {
            asked.current_leader_epoch = -1;
        }
        asked
    };
    let of = |name: &TopicName, id: Uuid, partitions: Vec<FetchPartition>| {
        let of = FetchTopic::default().with_partitions(partitions);
        if by_id { of.with_topic_id(id) } else { of.with_topic(name.clone()) }
    };
    let ask = async |topics: Vec<FetchTopic>, isolation: i8, session: (i32, i32)| {
        let mut request = m::FetchRequest::default()
            .with_max_wait_ms(0)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_isolation_level(isolation)
            .with_topics(topics);
        if version >= 7 {
            (request.session_id, request.session_epoch) = session;
        }
        fixture.ask(version, &request).await
    };
    let full = (0, if version >= 7 { 0 } else { -1 });
    for isolation in [0, 1] {
        let answer = ask(vec![of(&name, id, vec![partition(0, 0)])], isolation, full).await;
        assert_eq!((answer.error_code, answer.session_id), (0, 0), "v{version}");
        let found = &answer.responses[0].partitions[0];
        assert_eq!(
            (found.error_code, found.high_watermark, found.last_stable_offset),
            (0, 2, 2),
            "v{version}"
        );
        assert_eq!(found.records.as_ref().map(Bytes::len), Some(batch().len()), "v{version}");
        assert_eq!(found.aborted_transactions.is_some(), isolation == 1, "v{version}");
    }
    let topics = vec![
        of(&name, id, vec![partition(0, 99), partition(0, -1), partition(7, 0)]),
        of(&topic(MISSING), NOBODYS_ID, vec![partition(0, 0)]),
    ];
    let answer = ask(topics, 0, full).await;
    let found: Vec<_> = answer.responses.iter().flat_map(|topic| &topic.partitions).collect();
    let out_of_range = E::OffsetOutOfRange.code();
    let expected = [out_of_range, out_of_range, E::UnknownTopicOrPartition.code(), unknown(by_id)];
    assert_eq!(
        found.iter().map(|partition| partition.error_code).collect::<Vec<_>>(),
        expected,
        "v{version}"
    );
    // librdkafka takes null for a broken answer, and never sees the error.
    assert!(found.iter().all(|partition| partition.records.as_ref().is_some_and(Bytes::is_empty)));
    assert!(ask(Vec::new(), 0, full).await.responses.is_empty());
    if version >= 7 {
        for (session, code) in [
            ((0, -1), 0),
            ((5, -1), 0),
            ((5, 0), 0),
            ((5, 1), E::FetchSessionIdNotFound.code()),
            ((0, 3), E::FetchSessionIdNotFound.code()),
        ] {
            let answer = ask(vec![of(&name, id, vec![partition(0, 0)])], 0, session).await;
            assert_eq!((answer.error_code, answer.session_id), (code, 0), "v{version} {session:?}");
        }
    }
    if version >= 9 {
        for (epoch, code) in [(0, 0), (5, E::UnknownLeaderEpoch.code())] {
            let asked = partition(0, 0).with_current_leader_epoch(epoch);
            let answer = ask(vec![of(&name, id, vec![asked])], 0, full).await;
            assert_eq!(answer.responses[0].partitions[0].error_code, code, "v{version}");
        }
    }
}

pub(super) async fn list_offsets(fixture: &Fixture, version: i16) {
    let (name, _) = fixture.new_topic().await;
    let sent = PartitionProduceData::default().with_records(Some(batch()));
    let sent = TopicProduceData::default().with_name(name.clone()).with_partition_data(vec![sent]);
    fixture.ask(9, &m::ProduceRequest::default().with_acks(-1).with_topic_data(vec![sent])).await;
    let at = |partition, timestamp| {
        ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp)
    };
    let since = |first: i16, good: (i16, i64)| {
        if version >= first { good } else { (E::UnsupportedVersion.code(), -1) }
    };
    let cases = [
        (at(0, -1), (0, 2)),
        (at(0, -2), (0, 0)),
        (at(0, -3), since(7, (0, 0))),
        (at(0, -4), since(8, (0, 0))),
        (at(0, -5), since(9, (0, -1))),
        (at(0, -77), (E::UnsupportedVersion.code(), -1)),
        (at(0, 0), (0, 0)),
        (at(0, i64::MAX), (0, -1)),
        (at(7, -1), (E::UnknownTopicOrPartition.code(), -1)),
    ];
    let of = |name: &TopicName, partitions| {
        ListOffsetsTopic::default().with_name(name.clone()).with_partitions(partitions)
    };
    let ask = async |topics: Vec<ListOffsetsTopic>| {
        let answer = fixture.ask(version, &m::ListOffsetsRequest::default().with_topics(topics)).await;
        let found = answer.topics.iter().flat_map(|topic| &topic.partitions);
        found.map(|found| (found.error_code, found.offset)).collect::<Vec<_>>()
    };
    let nowhere = of(&topic(MISSING), vec![at(0, -1)]);
    for (asked, expected) in cases {
        let timestamp = asked.timestamp;
        let found = ask(vec![of(&name, vec![asked]), nowhere.clone()]).await;
        assert_eq!(found, [expected, (E::UnknownTopicOrPartition.code(), -1)], "v{version} at {timestamp}");
    }
    let twice = ask(vec![of(&name, vec![at(0, -1), at(1, -1)]), of(&name, vec![at(0, -2)])]).await;
    let refused = (E::InvalidRequest.code(), -1);
    assert_eq!((twice[0], twice[2]), (refused, refused), "v{version}: it is not said which one counts");
    if version >= 4 {
        let asked = vec![of(&name, vec![at(0, -1).with_current_leader_epoch(5)])];
        assert_eq!(ask(asked).await, [(E::UnknownLeaderEpoch.code(), -1)]);
    }
}

pub(super) async fn offset_for_leader_epoch(fixture: &Fixture, version: i16) {
    let asked = |partition, current, epoch| {
        OffsetForLeaderPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(current)
            .with_leader_epoch(epoch)
    };
    let of = |name, partitions| {
        OffsetForLeaderTopic::default().with_topic(topic(name)).with_partitions(partitions)
    };
    let topics = vec![
        of(FLIGHTS, vec![asked(0, -1, 0), asked(0, -1, 1_000), asked(0, 1_000, 0), asked(7, -1, 0)]),
        of(MISSING, vec![asked(0, -1, 0)]),
    ];
    let answer = fixture.ask(version, &m::OffsetForLeaderEpochRequest::default().with_topics(topics)).await;
    let found: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
    let not_there = E::UnknownTopicOrPartition.code();
    let codes: Vec<_> = found.iter().map(|partition| partition.error_code).collect();
    assert_eq!(codes, [0, 0, E::UnknownLeaderEpoch.code(), not_there, not_there], "v{version}");
    assert_eq!((found[1].leader_epoch, found[1].end_offset), (-1, -1), "an epoch to come");
}

pub(super) async fn delete_records(fixture: &Fixture, version: i16) {
    let (name, _) = fixture.new_topic().await;
    let sent = PartitionProduceData::default().with_records(Some(batch()));
    let sent = TopicProduceData::default().with_name(name.clone()).with_partition_data(vec![sent]);
    fixture.ask(9, &m::ProduceRequest::default().with_acks(-1).with_topic_data(vec![sent])).await;
    let to = |partition, offset| {
        DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset)
    };
    let of = |name: &TopicName, partitions| {
        DeleteRecordsTopic::default().with_name(name.clone()).with_partitions(partitions)
    };
    let topics = vec![
        of(&name, vec![to(0, 1), to(0, 3), to(0, -7), to(0, -1), to(7, 0)]),
        of(&topic(MISSING), vec![to(0, 0)]),
    ];
    let answer = fixture.ask(version, &m::DeleteRecordsRequest::default().with_topics(topics)).await;
    let found = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let found: Vec<_> = found.map(|partition| (partition.error_code, partition.low_watermark)).collect();
    let out_of_range = (E::OffsetOutOfRange.code(), -1);
    let unknown = (E::UnknownTopicOrPartition.code(), -1);
    assert_eq!(found, [(0, 1), out_of_range, out_of_range, (0, 2), unknown, unknown], "v{version}");
}

pub(super) async fn init_producer_id(fixture: &Fixture, version: i16) {
    let mut request = m::InitProducerIdRequest::default().with_transactional_id(None);
    request.transaction_timeout_ms = 60_000;
    let first = fixture.ask(version, &request).await;
    assert_eq!((first.error_code, first.producer_epoch), (0, 0), "v{version}");
    if version >= 3 {
        request = request.with_producer_id(first.producer_id).with_producer_epoch(0);
    }
    let second = fixture.ask(version, &request).await;
    assert!(second.producer_id > first.producer_id, "v{version}: never one twice");
    if version >= 3 {
        let half = request.clone().with_producer_epoch(-1);
        let refused = fixture.ask(version, &half).await;
        let expected = (E::InvalidRequest.code(), -1, -1);
        assert_eq!((refused.error_code, refused.producer_id.0, refused.producer_epoch), expected);
    }
    let transactional = request.with_transactional_id(Some(TransactionalId(text("t"))));
    let refused = fixture.ask(version, &transactional).await;
    assert_eq!((refused.error_code, refused.producer_id), (E::InvalidRequest.code(), ProducerId(-1)));
}
