// kafkajs as an application uses it: BOOTSTRAP PREFIX [LEFT-OUT-CHECK...]; see ../README.md.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The library lies where tests/setup put it, not beside this file.
const require = createRequire(`${process.env.TIDEGATE_TEST_NODE_MODULES ?? import.meta.dirname}/`);
const { CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require("kafkajs");

const [bootstrap, prefix, ...leftOut] = process.argv.slice(2);
const topic = `${prefix}-immediate`;
const scheduledTopic = `${prefix}-scheduled`;
const group = `${prefix}-group`;
const RECORDS = 1000;
const KEYS = 50;
const PARTITIONS = 3;
const HANG_AFTER_MS = 120_000;

const kafka = new Kafka({ brokers: [bootstrap], clientId: prefix, logLevel: logLevel.NOTHING });
const admin = kafka.admin();
const members = [];

/** A promise with its resolve and reject in hand. */
function promise() {
  const made = {};
  made.done = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

function createTopic(name, numPartitions, configEntries) {
  return admin.createTopics({ topics: [{ topic: name, numPartitions, replicationFactor: 1, configEntries }] });
}

async function create() {
  assert.equal(await createTopic(topic, PARTITIONS, [{ name: "retention.ms", value: "86400000" }]), true);
  assert.equal(await createTopic(topic, 1, []), false, "a topic was created twice");
}

/** Joins: each record is given to `member.take`; `member.owned` is how many partitions it has. */
async function join(subscription, take, assigned = () => {}) {
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 45_000 });
  const member = { consumer, take, owned: 0, positions: new Map() };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    member.owned = payload.memberAssignment[subscription]?.length ?? 0;
    assigned();
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [subscription], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      member.positions.set(partition, BigInt(message.offset) + 1n);
      member.take(message);
    },
  });
  return member;
}

async function commitAndLeave(member) {
  const offsets = [...member.positions].map(([partition, offset]) => ({ topic, partition, offset: `${offset}` }));
  await member.consumer.commitOffsets(offsets);
  await member.consumer.disconnect();
}

async function share() {
  const shared = promise();
  const nothing = (message) => shared.reject(new Error(`an empty topic delivered ${message.value}`));
  const look = () => {
    if (members.length === 2 && members.every((member) => member.owned > 0)) shared.resolve();
  };
  members.push(...(await Promise.all([join(topic, nothing, look), join(topic, nothing, look)])));
  look();
  await shared.done;
}

async function send(first, count) {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const numbers = Array.from({ length: count }, (_, index) => first + index);
  const messages = numbers.map((n) => ({ key: `key-${n % KEYS}`, value: `${n}` }));
  const answers = await producer.send({ topic, acks: -1, compression: CompressionTypes.GZIP, messages });
  assert.ok(answers.every((answer) => answer.errorCode === 0), JSON.stringify(answers));
  await producer.disconnect();
}

/** What a group must get: all of first .. first + count, none twice, each key's in order. */
function expecting(first, count) {
  const all = promise();
  const seen = new Set();
  const lastOfKey = new Map();
  const take = (message) => {
    try {
      const n = Number(message.value);
      const key = message.key.toString();
      assert.equal(key, `key-${n % KEYS}`);
      assert.ok(n >= first && n < first + count, `record ${n} is not expected`);
      assert.ok(!seen.has(n), `record ${n} came twice`);
      assert.ok((lastOfKey.get(key) ?? -1) < n, `record ${n} came after ${lastOfKey.get(key)} of the same key`);
      seen.add(n);
      lastOfKey.set(key, n);
      if (seen.size === count) all.resolve();
    } catch (failure) {
      all.reject(failure);
    }
  };
  return { take, done: all.done };
}

let first;

async function produce() {
  first = expecting(0, RECORDS);
  for (const member of members) member.take = first.take;
  await send(0, RECORDS);
  const ends = await admin.fetchTopicOffsets(topic);
  assert.equal(ends.reduce((sum, { high }) => sum + Number(high), 0), RECORDS);
}

async function consume() {
  await first.done;
  for (const member of members) await commitAndLeave(member);
}

async function resume() {
  await send(RECORDS, 10);
  const expected = expecting(RECORDS, 10);
  const member = await join(topic, expected.take);
  await expected.done;
  await commitAndLeave(member);
}

async function scheduled() {
  await createTopic(scheduledTopic, 1, [{ name: "tidegate.delivery", value: "scheduled" }]);
  const headers = { "tidegate-schedule-id": "flight-7" };
  const record = (value, timestamp, more) => ({ key: "flight-7", value, timestamp: `${timestamp}`, ...more });
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  // Once this is acknowledged the client is warm: what follows is with the broker seconds before it is due.
  const due = { now: Date.now() };
  await producer.send({ topic: scheduledTopic, acks: -1, messages: [record("now", due.now)] });
  const now = Date.now();
  due.later = now + 12000;
  due.sooner = now + 10000;
  await producer.send({
    topic: scheduledTopic,
    acks: -1,
    messages: [
      record("later", due.later),
      record("sooner", due.sooner),
      record("never", now + 11000, { headers }),
      record(null, now, { headers }),
    ],
  });
  await producer.disconnect();
  const all = promise();
  const expected = ["now", "sooner", "later"];
  const got = [];
  const member = await join(scheduledTopic, (message) => {
    try {
      const value = message.value?.toString();
      assert.ok(value in due, `${value} must never come`);
      assert.equal(Number(message.timestamp), due[value]);
      assert.ok(Date.now() >= due[value], `${value} came early`);
      got.push(value);
      assert.deepEqual(got, expected.slice(0, got.length));
      if (got.length === expected.length) all.resolve();
    } catch (failure) {
      all.reject(failure);
    }
  });
  await all.done;
  await member.consumer.disconnect();
}

async function administer() {
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ["retention.ms"] }];
  const { resources: described } = await admin.describeConfigs({ resources, includeSynonyms: false });
  assert.equal(described[0].configEntries[0].configValue, "86400000");
  const { groups } = await admin.listGroups();
  assert.ok(groups.some(({ groupId }) => groupId === group), JSON.stringify(groups));
  const { groups: descriptions } = await admin.describeGroups([group]);
  assert.equal(descriptions[0].state, "Empty");
  const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
  assert.equal(partitions.reduce((sum, { offset }) => sum + Number(offset), 0), RECORDS + 10);
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "5" }] });
  await admin.createPartitions({ topicPartitions: [{ topic, count: PARTITIONS + 1 }] });
  await admin.deleteGroups([group]);
  await admin.deleteTopics({ topics: [topic] });
}

const checks = [
  ["create", create],
  ["join", share],
  ["produce", produce],
  ["consume", consume],
  ["resume", resume],
  ["scheduled", scheduled],
  ["admin", administer],
];
let running;
const hang = setTimeout(() => {
  console.error(`${running}: hung`);
  process.exit(1);
}, HANG_AFTER_MS);
await admin.connect();
for (const [name, check] of checks) {
  if (leftOut.includes(name)) continue;
  running = name;
  await check();
  console.log(`ok ${name}`);
}
await admin.disconnect();
clearTimeout(hang);
