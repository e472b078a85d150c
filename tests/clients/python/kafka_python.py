"""kafka-python (pure Python) as an application uses it."""

import concurrent.futures
import threading
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

import smoke

BOOTSTRAP, PREFIX, _ = smoke.arguments()
TOPIC = f"{PREFIX}-immediate"
SCHEDULED = f"{PREFIX}-scheduled"
GROUP = f"{PREFIX}-group"
members = []
admin_client = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def create_topic(name, partitions, settings):
    admin_client.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])


def create():
    create_topic(TOPIC, smoke.PARTITIONS, {"retention.ms": "86400000"})
    try:
        create_topic(TOPIC, 1, {})
    except TopicAlreadyExistsError:
        pass
    else:
        raise AssertionError("a topic was created twice")


def member(topic):
    return KafkaConsumer(
        topic,
        bootstrap_servers=BOOTSTRAP,
        group_id=GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )


def join():
    """Each member polls in a thread of its own, as an application's would: one that is not in `poll` when it is told its
    assignment forgets that and joins again (kafka-python 3.0), and two that take turns may go on so for ever."""
    hang = smoke.Hang()
    members.extend([member(TOPIC), member(TOPIC)])
    joined = threading.Event()

    def share():
        first, second = (consumer.assignment() for consumer in members)
        return first and second and not first & second and len(first | second) == smoke.PARTITIONS

    def poll(consumer):
        while not joined.is_set():
            assert not consumer.poll(timeout_ms=1000), "an empty topic delivered something"

    with concurrent.futures.ThreadPoolExecutor() as pool:
        polls = [pool.submit(poll, consumer) for consumer in members]
        try:
            while not share():
                hang.check("two members share the topic")
                assert not any(poll.done() for poll in polls), "a member has given up"
                time.sleep(0.05)
        finally:
            joined.set()
    for poll in polls:
        poll.result()


def send(batch):
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all", compression_type="gzip", enable_idempotence=True)
    futures = [producer.send(TOPIC, value, key) for key, value in batch]
    producer.flush(timeout=smoke.HANG_AFTER_S)
    places = {(place.partition, place.offset) for place in (future.get(0) for future in futures)}
    producer.close()
    return places


def produce():
    places = send(smoke.records(0, smoke.RECORDS))
    assert len(places) == smoke.RECORDS, "two records were acknowledged at one place"


def take(consumers, received):
    while not received.complete():
        for consumer in consumers:
            for batch in consumer.poll(timeout_ms=100).values():
                for record in batch:
                    received.take(record.key, record.value)
    for consumer in consumers:
        consumer.commit()
        consumer.close()


def consume():
    take(members, smoke.Received(0, smoke.RECORDS))


def resume():
    send(smoke.records(smoke.RECORDS, 10))
    take([member(TOPIC)], smoke.Received(smoke.RECORDS, 10))


def scheduled():
    create_topic(SCHEDULED, 1, smoke.SCHEDULED)
    plan = smoke.Schedule()
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all", enable_idempotence=True)

    def send_at(value, timestamp, headers):
        return producer.send(SCHEDULED, value, b"flight-7", timestamp_ms=timestamp, headers=headers)

    send_at(plan.first, plan.due[plan.first], []).get(smoke.HANG_AFTER_S)
    for future in [send_at(*record) for record in plan.make()]:
        future.get(smoke.HANG_AFTER_S)
    producer.close()
    consumer = member(SCHEDULED)
    while not plan.complete():
        for batch in consumer.poll(timeout_ms=100).values():
            for record in batch:
                plan.take(record.value, record.timestamp)
    consumer.close()


def admin():
    consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP)
    partitions = [TopicPartition(TOPIC, p) for p in range(smoke.PARTITIONS)]
    ends = consumer.end_offsets(partitions)
    assert sum(ends.values()) == smoke.RECORDS + 10, ends
    # All were produced after the epoch: looked up by that time, each partition answers its first record.
    by_time = consumer.offsets_for_times({partition: 1 for partition in partitions})
    assert [found.offset for found in by_time.values()] == [0] * smoke.PARTITIONS, by_time
    consumer.close()
    committed = admin_client.list_group_offsets([GROUP])[GROUP]
    mine = {partition: offset.offset for partition, offset in committed.items() if partition.topic == TOPIC}
    assert mine == ends, (mine, ends)
    admin_client.delete_topics([TOPIC])


smoke.run(create, join, produce, consume, resume, scheduled, admin)
