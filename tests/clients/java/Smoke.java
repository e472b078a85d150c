import static java.nio.charset.StandardCharsets.UTF_8;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** kafka-clients (Java) as an application uses it: BOOTSTRAP PREFIX [LEFT-OUT-CHECK...]; see ../README.md. */
public final class Smoke {
    private static final int RECORDS = 1000;
    private static final int KEYS = 50;
    private static final int PARTITIONS = 3;
    private static final Duration POLL = Duration.ofMillis(100);
    private static final Duration HANG_AFTER = Duration.ofSeconds(120);

    private final String bootstrap;
    private final String topic;
    private final String scheduledTopic;
    private final String group;
    private final Admin admin;
    private final List<Consumer<String, String>> members = new ArrayList<>();

    private Smoke(String bootstrap, String prefix) {
        this.bootstrap = bootstrap;
        this.topic = prefix + "-immediate";
        this.scheduledTopic = prefix + "-scheduled";
        this.group = prefix + "-group";
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 2) {
            throw new IllegalArgumentException("usage: Smoke BOOTSTRAP PREFIX [LEFT-OUT-CHECK...]");
        }
        Set<String> leftOut = new HashSet<>(Arrays.asList(arguments).subList(2, arguments.length));
        Smoke smoke = new Smoke(arguments[0], arguments[1]);
        try {
            check("create", leftOut, smoke::create);
            check("join", leftOut, smoke::join);
            check("produce", leftOut, smoke::produce);
            check("consume", leftOut, smoke::consume);
            check("resume", leftOut, smoke::resume);
            check("scheduled", leftOut, smoke::scheduled);
            check("admin", leftOut, smoke::administer);
        } catch (Exception | AssertionError failure) {
            failure.printStackTrace();
            // Client threads may be left behind by a failure.
            System.exit(1);
        }
        smoke.admin.close();
    }

    private interface Check {
        void run() throws Exception;
    }

    private static void check(String name, Set<String> leftOut, Check check) throws Exception {
        if (!leftOut.contains(name)) {
            check.run();
            System.out.println("ok " + name);
        }
    }

    private static void expect(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(String.valueOf(what));
        }
    }

    private static <T> T done(Future<T> future) throws Exception {
        return future.get(HANG_AFTER.toSeconds(), TimeUnit.SECONDS);
    }

    private static <E> void expectRefused(Class<E> error, KafkaFuture<?> future) throws Exception {
        try {
            done(future);
        } catch (ExecutionException refused) {
            expect(error.isInstance(refused.getCause()), refused);
            return;
        }
        throw new AssertionError("not refused: expected " + error);
    }

    private KafkaFuture<Void> createTopic(String name, int partitions, Map<String, String> configs) {
        return admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all();
    }

    private void create() throws Exception {
        done(createTopic(topic, PARTITIONS, Map.of("retention.ms", "86400000")));
        TopicDescription description = done(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
        expect(description.partitions().size() == PARTITIONS, description);
        expect(description.partitions().stream().allMatch(partition -> partition.leader() != null), description);
        expectRefused(TopicExistsException.class, createTopic(topic, 1, Map.of()));
        expectRefused(InvalidConfigurationException.class, createTopic(topic + "-x", 1, Map.of("retention.ms", "soon")));
    }

    private Consumer<String, String> member(String subscription) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", group);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        Consumer<String, String> consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(List.of(subscription));
        return consumer;
    }

    private void join() {
        long deadline = deadline();
        members.add(member(topic));
        members.add(member(topic));
        while (members.stream().anyMatch(consumer -> consumer.assignment().isEmpty())) {
            expect(System.nanoTime() < deadline, "hung: two members share the topic");
            for (Consumer<String, String> consumer : members) {
                expect(consumer.poll(POLL).isEmpty(), "an empty topic delivered something");
            }
        }
    }

    /** The client's defaults are acks=all and idempotence. */
    private KafkaProducer<String, String> producer() {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "compression.type", "lz4");
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    private Set<String> send(int first, int count) throws Exception {
        List<Future<RecordMetadata>> answers = new ArrayList<>();
        try (KafkaProducer<String, String> producer = producer()) {
            for (int n = first; n < first + count; n++) {
                answers.add(producer.send(new ProducerRecord<>(topic, "key-" + n % KEYS, Integer.toString(n))));
            }
        }
        Set<String> places = new HashSet<>();
        for (Future<RecordMetadata> answer : answers) {
            RecordMetadata place = done(answer);
            places.add(place.partition() + "@" + place.offset());
        }
        return places;
    }

    private void produce() throws Exception {
        expect(send(0, RECORDS).size() == RECORDS, "two records were acknowledged at one place");
    }

    private void take(List<Consumer<String, String>> consumers, int first, int count) {
        long deadline = deadline();
        Set<Integer> seen = new HashSet<>();
        Map<String, Integer> lastOfKey = new HashMap<>();
        while (seen.size() < count) {
            expect(System.nanoTime() < deadline, "hung: " + seen.size() + " of " + count + " records came");
            for (Consumer<String, String> consumer : consumers) {
                for (ConsumerRecord<String, String> record : consumer.poll(POLL)) {
                    int n = Integer.parseInt(record.value());
                    expect(record.key().equals("key-" + n % KEYS), record);
                    expect(n >= first && n < first + count, "not expected: " + record);
                    expect(seen.add(n), "came twice: " + record);
                    Integer last = lastOfKey.put(record.key(), n);
                    expect(last == null || last < n, "came after " + last + " of the same key: " + record);
                }
            }
        }
        for (Consumer<String, String> consumer : consumers) {
            consumer.commitSync();
            consumer.close();
        }
    }

    private void consume() {
        take(members, 0, RECORDS);
    }

    private void resume() throws Exception {
        send(RECORDS, 10);
        take(List.of(member(topic)), RECORDS, 10);
    }

    private void scheduled() throws Exception {
        done(createTopic(scheduledTopic, 1, Map.of("tidegate.delivery", "scheduled")));
        Map<String, Long> due = new HashMap<>();
        RecordHeader schedule = new RecordHeader("tidegate-schedule-id", "flight-7".getBytes(UTF_8));
        try (KafkaProducer<String, String> producer = producer()) {
            // Once this is acknowledged the client is warm: what follows is with the broker seconds before it is due.
            long start = System.currentTimeMillis();
            due.put("now", start);
            done(producer.send(new ProducerRecord<>(scheduledTopic, null, start, "flight-7", "now")));
            long now = System.currentTimeMillis();
            due.put("later", now + 12000);
            due.put("sooner", now + 10000);
            List<Future<RecordMetadata>> answers = new ArrayList<>();
            answers.add(producer.send(new ProducerRecord<>(scheduledTopic, null, now + 12000, "flight-7", "later")));
            answers.add(producer.send(new ProducerRecord<>(scheduledTopic, null, now + 10000, "flight-7", "sooner")));
            answers.add(producer.send(
                new ProducerRecord<>(scheduledTopic, null, now + 11000, "flight-7", "never", List.of(schedule))));
            answers.add(producer.send(
                new ProducerRecord<>(scheduledTopic, null, now, "flight-7", null, List.of(schedule))));
            for (Future<RecordMetadata> answer : answers) {
                done(answer);
            }
        }
        List<String> expected = List.of("now", "sooner", "later");
        List<String> got = new ArrayList<>();
        long deadline = deadline();
        try (Consumer<String, String> consumer = member(scheduledTopic)) {
            while (!got.equals(expected)) {
                expect(System.nanoTime() < deadline, "hung: came: " + got);
                for (ConsumerRecord<String, String> record : consumer.poll(POLL)) {
                    expect(due.containsKey(record.value()), "must never come: " + record);
                    expect(record.timestamp() == due.get(record.value()), "another timestamp: " + record);
                    expect(System.currentTimeMillis() >= record.timestamp(), "came early: " + record);
                    got.add(record.value());
                    expect(got.equals(expected.subList(0, got.size())), "order: " + got);
                }
            }
        }
    }

    private void administer() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        expect(retention(resource).equals("86400000"), retention(resource));
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET);
        done(admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all());
        expect(retention(resource).equals("3600000"), retention(resource));

        expect(done(admin.describeCluster().nodes()).size() == 1, "one node");
        expect(groups().contains(group), groups());
        ConsumerGroupDescription described =
            done(admin.describeConsumerGroups(List.of(group)).all()).get(group);
        expect(described.groupState() == GroupState.EMPTY && described.members().isEmpty(), described);

        Map<TopicPartition, OffsetSpec> latest = new HashMap<>();
        Map<TopicPartition, OffsetSpec> byTime = new HashMap<>();
        for (int partition = 0; partition < PARTITIONS; partition++) {
            latest.put(new TopicPartition(topic, partition), OffsetSpec.latest());
            byTime.put(new TopicPartition(topic, partition), OffsetSpec.forTimestamp(1));
        }
        Map<TopicPartition, ListOffsetsResultInfo> ends = done(admin.listOffsets(latest).all());
        expect(ends.values().stream().mapToLong(ListOffsetsResultInfo::offset).sum() == RECORDS + 10, ends);
        Map<TopicPartition, ListOffsetsResultInfo> firsts = done(admin.listOffsets(byTime).all());
        expect(firsts.values().stream().allMatch(found -> found.offset() == 0), firsts);
        Map<TopicPartition, OffsetAndMetadata> committed =
            done(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
        ends.forEach((partition, end) -> expect(committed.get(partition).offset() == end.offset(), committed));

        TopicPartition first = new TopicPartition(topic, 0);
        done(admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(5))).all());
        ListOffsetsResultInfo start = done(admin.listOffsets(Map.of(first, OffsetSpec.earliest())).all()).get(first);
        expect(start.offset() == 5, start);
        done(admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(7))).all());
        expect(done(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).get(first).offset() == 7, first);
        done(admin.deleteConsumerGroupOffsets(group, Set.of(first)).all());
        expect(done(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).get(first) == null, first);
        done(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(PARTITIONS + 1))).all());
        done(admin.deleteConsumerGroups(List.of(group)).all());
        expect(!groups().contains(group), groups());
        done(admin.deleteTopics(List.of(topic)).all());
        expect(!done(admin.listTopics().names()).contains(topic), "the deleted topic is listed");
    }

    private String retention(ConfigResource resource) throws Exception {
        Config config = done(admin.describeConfigs(List.of(resource)).all()).get(resource);
        return config.get("retention.ms").value();
    }

    private Collection<String> groups() throws Exception {
        return done(admin.listGroups().all()).stream().map(listing -> listing.groupId()).toList();
    }

    private static long deadline() {
        return System.nanoTime() + HANG_AFTER.toNanos();
    }
}
