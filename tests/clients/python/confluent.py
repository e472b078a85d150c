"""confluent-kafka (librdkafka) as an application uses it."""

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

import smoke

BOOTSTRAP, PREFIX, _ = smoke.arguments()
TOPIC = f"{PREFIX}-immediate"
SCHEDULED = f"{PREFIX}-scheduled"
GROUP = f"{PREFIX}-group"
members = []
admin_client = AdminClient({"bootstrap.servers": BOOTSTRAP})


def done(futures):
    """Waits for all of an admin call's futures and returns their results in order."""
    return [future.result(smoke.HANG_AFTER_S) for future in futures.values()]


def create_topic(name, partitions, settings):
    done(admin_client.create_topics([NewTopic(name, partitions, 1, config=settings)]))


def create():
    create_topic(TOPIC, smoke.PARTITIONS, {"retention.ms": "86400000"})
    topic = admin_client.list_topics(TOPIC, timeout=smoke.HANG_AFTER_S).topics[TOPIC]
    assert len(topic.partitions) == smoke.PARTITIONS, topic.partitions
    assert TOPIC in admin_client.list_topics(timeout=smoke.HANG_AFTER_S).topics, "it is not among all topics"
    try:
        create_topic(TOPIC, 1, {})
    except KafkaException as error:
        assert error.args[0].name() == "TOPIC_ALREADY_EXISTS", error
    else:
        raise AssertionError("a topic was created twice")


def send(batch):
    reports = []
    settings = {"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True, "compression.type": "zstd"}
    producer = Producer(settings)
    for key, value in batch:
        producer.produce(TOPIC, value, key, on_delivery=lambda error, message: reports.append((error, message)))
    assert producer.flush(smoke.HANG_AFTER_S) == 0, "records are left unanswered"
    places = set()
    for error, message in reports:
        assert error is None, error
        places.add((message.partition(), message.offset()))
    return places


def produce():
    places = send(smoke.records(0, smoke.RECORDS))
    assert len(places) == smoke.RECORDS, "two records were acknowledged at one place"
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "none"})
    bounds = [
        consumer.get_watermark_offsets(TopicPartition(TOPIC, p), timeout=smoke.HANG_AFTER_S)
        for p in range(smoke.PARTITIONS)
    ]
    consumer.close()
    assert places == {(p, o) for p, (low, high) in enumerate(bounds) for o in range(low, high)}, bounds


def member():
    consumer = Consumer(
        {
            "bootstrap.servers": BOOTSTRAP,
            "group.id": GROUP,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([TOPIC])
    return consumer


def take(consumers, received):
    while not received.complete():
        for consumer in consumers:
            for message in consumer.consume(500, timeout=0.1):
                assert message.error() is None, message.error()
                received.take(message.key(), message.value())
    for consumer in consumers:
        for partition in consumer.commit(offsets=consumer.position(consumer.assignment()), asynchronous=False):
            assert partition.error is None, partition.error
        consumer.close()


def join():
    hang = smoke.Hang()
    members.extend([member(), member()])
    while any(not consumer.assignment() for consumer in members):
        hang.check("two members share the topic")
        for consumer in members:
            assert consumer.poll(0.1) is None, "an empty topic delivered something"


def consume():
    take(members, smoke.Received(0, smoke.RECORDS))


def resume():
    send(smoke.records(smoke.RECORDS, 10))
    take([member()], smoke.Received(smoke.RECORDS, 10))


def scheduled():
    create_topic(SCHEDULED, 1, smoke.SCHEDULED)
    plan = smoke.Schedule()
    failures = []
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True, "compression.type": "lz4"})

    def send_at(value, timestamp, headers):
        on_delivery = lambda error, _: failures.append(error) if error else None
        key = b"flight-7"
        producer.produce(SCHEDULED, value, key, timestamp=timestamp, headers=headers, on_delivery=on_delivery)

    def flush():
        assert producer.flush(smoke.HANG_AFTER_S) == 0 and not failures, failures

    send_at(plan.first, plan.due[plan.first], [])
    flush()
    for record in plan.make():
        send_at(*record)
    flush()
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": GROUP, "auto.offset.reset": "earliest"})
    consumer.subscribe([SCHEDULED])
    while not plan.complete():
        message = consumer.poll(0.1)
        if message is not None:
            assert message.error() is None, message.error()
            plan.take(message.value(), message.timestamp()[1])
    consumer.close()


def admin():
    resource = ConfigResource(ResourceType.TOPIC, TOPIC)
    (configs,) = done(admin_client.describe_configs([resource]))
    assert configs["retention.ms"].value == "86400000", configs["retention.ms"]
    change = ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
    done(admin_client.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=[change])]))
    (configs,) = done(admin_client.describe_configs([resource]))
    assert configs["retention.ms"].value == "3600000", configs["retention.ms"]

    listed = admin_client.list_consumer_groups().result(smoke.HANG_AFTER_S)
    assert not listed.errors and GROUP in [group.group_id for group in listed.valid], listed.valid
    (description,) = done(admin_client.describe_consumer_groups([GROUP]))
    assert (description.state.name, description.members) == ("EMPTY", []), description.state
    ends = done(admin_client.list_offsets({TopicPartition(TOPIC, p): OffsetSpec.latest() for p in range(smoke.PARTITIONS)}))
    assert sum(end.offset for end in ends) == smoke.RECORDS + 10, ends

    (deleted,) = done(admin_client.delete_records([TopicPartition(TOPIC, 0, 5)]))
    assert deleted.low_watermark == 5, deleted
    done(admin_client.create_partitions([NewPartitions(TOPIC, smoke.PARTITIONS + 1)]))
    done(admin_client.delete_consumer_groups([GROUP]))
    listed = admin_client.list_consumer_groups().result(smoke.HANG_AFTER_S)
    assert GROUP not in [group.group_id for group in listed.valid], listed.valid
    done(admin_client.delete_topics([TOPIC]))


smoke.run(create, join, produce, consume, resume, scheduled, admin)
