"""aiokafka (asyncio) as an application uses it."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

import smoke

BOOTSTRAP, PREFIX, LEFT_OUT = smoke.arguments()
TOPIC = f"{PREFIX}-immediate"
SCHEDULED = f"{PREFIX}-scheduled"
GROUP = f"{PREFIX}-group"


async def create_topic(name, partitions, settings):
    client = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await client.start()
    answer = await client.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
    await client.close()
    ((_, code, *_),) = answer.topic_errors
    return for_code(code).__name__


async def create():
    assert await create_topic(TOPIC, smoke.PARTITIONS, {"retention.ms": "86400000"}) == "NoError"
    assert await create_topic(TOPIC, 1, {}) == "TopicAlreadyExistsError"


async def member(topic):
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=BOOTSTRAP,
        group_id=GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        # As long as others have by default: a machine that stands still for a while throws nobody out.
        session_timeout_ms=45_000,
    )
    await consumer.start()
    return consumer


members = []


async def join():
    hang = smoke.Hang()
    members.extend(await asyncio.gather(member(TOPIC), member(TOPIC)))
    while any(not consumer.assignment() for consumer in members):
        hang.check("two members share the topic")
        for consumer in members:
            assert not await consumer.getmany(timeout_ms=100), "an empty topic delivered something"


async def send(batch):
    settings = {"bootstrap_servers": BOOTSTRAP, "enable_idempotence": True, "compression_type": "gzip"}
    async with AIOKafkaProducer(**settings) as producer:
        futures = [await producer.send(TOPIC, value, key) for key, value in batch]
        return {(place.partition, place.offset) for place in await asyncio.gather(*futures)}


async def produce():
    places = await send(smoke.records(0, smoke.RECORDS))
    assert len(places) == smoke.RECORDS, "two records were acknowledged at one place"


async def take(consumers, received):
    while not received.complete():
        for consumer in consumers:
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                for record in batch:
                    received.take(record.key, record.value)
    for consumer in consumers:
        await consumer.commit()
        await consumer.stop()


async def consume():
    await take(members, smoke.Received(0, smoke.RECORDS))


async def resume():
    await send(smoke.records(smoke.RECORDS, 10))
    await take([await member(TOPIC)], smoke.Received(smoke.RECORDS, 10))


async def scheduled():
    assert await create_topic(SCHEDULED, 1, smoke.SCHEDULED) == "NoError"
    plan = smoke.Schedule()
    async with AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, enable_idempotence=True) as producer:

        async def send_at(value, timestamp, headers):
            return await producer.send(SCHEDULED, value, b"flight-7", timestamp_ms=timestamp, headers=headers)

        await (await send_at(plan.first, plan.due[plan.first], []))
        await asyncio.gather(*[await send_at(*record) for record in plan.make()])
    consumer = await member(SCHEDULED)
    while not plan.complete():
        for batch in (await consumer.getmany(timeout_ms=100)).values():
            for record in batch:
                plan.take(record.value, record.timestamp)
    await consumer.stop()


async def admin():
    client = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await client.start()
    consumer = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP)
    await consumer.start()
    ends = await consumer.end_offsets([TopicPartition(TOPIC, p) for p in range(smoke.PARTITIONS)])
    assert sum(ends.values()) == smoke.RECORDS + 10, ends
    await consumer.stop()
    assert GROUP in [group for group, _ in await client.list_consumer_groups()]
    committed = await client.list_consumer_group_offsets(GROUP)
    mine = {partition: offset.offset for partition, offset in committed.items() if partition.topic == TOPIC}
    assert mine == ends, (mine, ends)
    await client.delete_topics([TOPIC])
    await client.close()


async def main():
    for check in [create, join, produce, consume, resume, scheduled, admin]:
        if check.__name__ not in LEFT_OUT:
            await check()
            print(f"ok {check.__name__}", flush=True)


asyncio.run(main())
