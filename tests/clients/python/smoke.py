"""What the programs for the Python clients share: the records, what must come of them, and how a check is reported."""

import sys
import time
from collections import defaultdict

RECORDS = 1000
KEYS = 50
PARTITIONS = 3
HANG_AFTER_S = 120
SCHEDULED = {"tidegate.delivery": "scheduled"}


def records(first, count):
    """(key, value) of records first .. first + count; a key's values count up."""
    for n in range(first, first + count):
        yield f"key-{n % KEYS}".encode(), str(n).encode()


class Hang:
    """Fails a check that would go on for ever."""

    def __init__(self):
        self.deadline = time.monotonic() + HANG_AFTER_S

    def check(self, what):
        assert time.monotonic() < self.deadline, f"hung: {what}"


class Received:
    """What a group got: complete, none twice, each key's in order."""

    def __init__(self, first, count):
        self.expected = set(range(first, first + count))
        self.seen = set()
        self.last_of_key = defaultdict(lambda: -1)
        self.hang = Hang()

    def take(self, key, value):
        n = int(value)
        assert key == f"key-{n % KEYS}".encode(), f"record {n} has key {key}"
        assert n in self.expected, f"record {n} is not among those expected"
        assert n not in self.seen, f"record {n} came twice"
        assert n > self.last_of_key[key], f"record {n} came after {self.last_of_key[key]} of the same key"
        self.seen.add(n)
        self.last_of_key[key] = n

    def complete(self):
        self.hang.check(f"{len(self.seen)} of {len(self.expected)} records came")
        return self.seen == self.expected


class Schedule:
    """Records of one partition that come when they are due, in that order, but for the cancelled one.

    `first` is to be acknowledged before `make` is called: then the client is warm, and what follows is with the broker
    seconds before it is due.
    """

    first = b"now"

    def __init__(self):
        self.due = {self.first: now_ms()}
        self.expected = [b"now", b"sooner", b"later"]
        self.got = []
        self.hang = Hang()

    def make(self):
        """(value, timestamp, headers) of the records to produce, in this order."""
        now = now_ms()
        self.due.update({b"later": now + 12000, b"sooner": now + 10000})
        schedule = [("tidegate-schedule-id", b"flight-7")]
        return [
            (b"later", self.due[b"later"], []),
            (b"sooner", self.due[b"sooner"], []),
            (b"never", now + 11000, schedule),
            (None, now, schedule),
        ]

    def take(self, value, timestamp):
        assert value in self.due, f"{value} must never come"
        assert timestamp == self.due[value], f"{value} was given {self.due[value]} and has {timestamp}"
        early = self.due[value] - now_ms()
        assert early <= 0, f"{value} came {early} ms early"
        self.got.append(value)
        assert self.got == self.expected[: len(self.got)], f"order: {self.got}"

    def complete(self):
        self.hang.check(f"came: {self.got}")
        return self.got == self.expected


def now_ms():
    return time.time_ns() // 1_000_000


def arguments():
    """BOOTSTRAP PREFIX [LEFT-OUT-CHECK...]"""
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} BOOTSTRAP PREFIX [LEFT-OUT-CHECK...]")
    return sys.argv[1], sys.argv[2], sys.argv[3:]


def run(*checks):
    """Runs the checks in order; prints a line for each that holds and ends at the first that does not."""
    _, _, left_out = arguments()
    for check in checks:
        if check.__name__ not in left_out:
            check()
            print(f"ok {check.__name__}", flush=True)
