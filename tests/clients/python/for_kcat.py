"""What kcat cannot do by itself: create topics with settings, and give a record a timestamp.

    for_kcat.py BOOTSTRAP create TOPIC PARTITIONS [NAME=VALUE...]
    for_kcat.py BOOTSTRAP schedule TOPIC     `sooner`, `later` and `never` (schedule flight-7); prints the first two's times
"""

import sys

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

import smoke

bootstrap, verb, topic, *rest = sys.argv[1:]
if verb == "create":
    settings = dict(setting.split("=", 1) for setting in rest[1:])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    created = admin.create_topics([NewTopic(topic, int(rest[0]), 1, config=settings)])
    created[topic].result(smoke.HANG_AFTER_S)
elif verb == "schedule":
    now = smoke.now_ms()
    later, sooner = now + 14000, now + 10000
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap})
    schedule = [("tidegate-schedule-id", "flight-7")]
    for value, timestamp, headers in [("later", later, []), ("sooner", sooner, []), ("never", now + 12000, schedule)]:
        on_delivery = lambda error, _: failures.append(error) if error else None
        producer.produce(topic, value, "flight-7", timestamp=timestamp, headers=headers, on_delivery=on_delivery)
    assert producer.flush(smoke.HANG_AFTER_S) == 0 and not failures, failures
    print(sooner, later)
else:
    sys.exit(__doc__)
