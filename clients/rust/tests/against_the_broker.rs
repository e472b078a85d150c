//! The Rust client against a Tidegate broker in this process, over its socket: what the tests with a broker made for them
//! cannot show is that both mean the same by what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidegate::{
    Admin, Assignor, AutoOffsetReset, ClientOptions, Consumer, ConsumerOptions, ConsumerRecord, Error,
    NewTopic, OffsetSpec, Producer, ProducerOptions, ProducerRecord, ResponseError, TopicPartition,
};
use tidegate_broker::RunningBroker;
use tidegate_broker::settings::Settings;
use tidegate_store::{Clock, ManualClock, MemoryStore, SystemClock};
use tidegate_tests::kept_port::KeptPort;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const TOPIC: &str = "flights";
const GROUP: &str = "crew";
const PARTITIONS: i32 = 4;
/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(120);

/// A broker, on a store that outlives it.
struct Broker {
    running: RunningBroker,
    store: MemoryStore,
    port: KeptPort,
}

impl Broker {
    async fn start() -> Self {
        Self::by(Arc::new(SystemClock)).await
    }

    /// By another clock than the machine's.
    async fn by(clock: Arc<dyn Clock>) -> Self {
        Self::on(MemoryStore::new(clock), KeptPort::take()).await
    }

    async fn on(store: MemoryStore, port: KeptPort) -> Self {
        let admin = ([127, 0, 0, 1], 0).into();
        let mut settings = Settings { listen: port.address(), admin, ..Settings::default() };
        settings.group_initial_rebalance_delay_ms = 0;
        let running = RunningBroker::start(settings, store.clone().into()).await.expect("a free port");
        Self { running, store, port }
    }

    /// Another one on the same store and port.
    async fn restart(self) -> Self {
        self.running.stop().await;
        Self::on(self.store, self.port).await
    }

    fn client(&self) -> ClientOptions {
        ClientOptions::new(&self.running.listen().to_string())
    }

    async fn admin(&self) -> Admin {
        Admin::connect(self.client()).await.expect("it listens")
    }

    async fn create(&self, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let topic = NewTopic { name: TOPIC.to_owned(), partitions: Some(PARTITIONS), configs };
        self.admin().await.create_topic(&topic).await.expect("a new topic");
    }

    async fn producer(&self) -> Producer {
        Producer::connect(self.client(), ProducerOptions::default()).await.expect("it listens")
    }

    async fn member(&self, assignor: Assignor) -> Consumer {
        let options = ConsumerOptions {
            assignors: vec![assignor],
            auto_offset_reset: AutoOffsetReset::Earliest,
            heartbeat_interval_ms: 20,
            fetch_max_wait_ms: 50,
            ..ConsumerOptions::group(GROUP)
        };
        let mut consumer = Consumer::connect(self.client(), options).await.expect("it listens");
        consumer.subscribe([TOPIC]).expect("it has a group");
        consumer
    }
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

/// Sends records of these numbers, round and round the partitions.
async fn send(producer: &Producer, numbers: std::ops::Range<i32>) {
    for number in numbers {
        let record = ProducerRecord::to(TOPIC).partition(number % PARTITIONS).value(number.to_string());
        let receipt = producer.enqueue(record).await.expect("there is room");
        drop(receipt);
    }
    producer.flush().await;
}

fn number(record: &ConsumerRecord) -> i32 {
    let value = record.value.as_ref().expect("a value");
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).expect("a number")
}

async fn in_time<T>(what: &str, outcome: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANG_AFTER, outcome).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("hung: {what}"),
    }
}

/// Everything that was read: each record once, each partition in order.
#[derive(Default)]
struct Read {
    next: BTreeMap<i32, i64>,
    numbers: BTreeSet<i32>,
}

impl Read {
    fn take(&mut self, record: &ConsumerRecord) {
        let next = self.next.entry(record.partition).or_insert(0);
        assert_eq!(record.offset, *next, "partition {}: in order, without a gap", record.partition);
        *next += 1;
        assert!(self.numbers.insert(number(record)), "a record twice");
    }

    fn is_all_of(&self, count: i32) -> bool {
        self.numbers.iter().copied().eq(0..count)
    }
}

#[tokio::test]
async fn what_is_produced_is_read_once_and_in_order_across_a_restart() {
    let broker = Broker::start().await;
    broker.create(&[]).await;
    let producer = broker.producer().await;
    send(&producer, 0..1_000).await;
    let mut read = Read::default();
    let mut consumer = broker.member(Assignor::Range).await;
    for _ in 0..1_000 {
        read.take(&in_time("the first records", consumer.recv()).await.expect("a record"));
    }
    consumer.commit().await.expect("it is a member");
    let broker = broker.restart().await;
    // The same producer and the same consumer go on, with the sequence numbers and in the generation that they had.
    send(&producer, 1_000..1_100).await;
    for _ in 1_000..1_050 {
        read.take(&in_time("what came after the restart", consumer.recv()).await.expect("a record"));
    }
    in_time("to leave", consumer.close()).await.expect("it commits and leaves");
    // The next member begins where the last one ended.
    let mut consumer = broker.member(Assignor::Range).await;
    while !read.is_all_of(1_100) {
        read.take(&in_time("the rest", consumer.recv()).await.expect("a record"));
    }
    producer.close().await;
    broker.running.stop().await;
}

/// A member that reads until it is told to leave.
struct Member {
    leave: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Member {
    fn run(
        name: &'static str,
        mut consumer: Consumer,
        read: mpsc::UnboundedSender<(&'static str, ConsumerRecord)>,
    ) -> Self {
        let (leave, mut told) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut told => break,
                    record = consumer.recv() => {
                        // Whoever listens may have seen enough.
                        let _heard = read.send((name, record.expect("a record")));
                    }
                }
            }
            consumer.close().await.expect("it commits and leaves");
        });
        Self { leave, task }
    }

    async fn leave(self) {
        self.leave.send(()).expect("it still reads");
        in_time("to leave", self.task).await.expect("no panic");
    }
}

#[tokio::test]
async fn partitions_move_between_members_and_no_record_is_lost_or_read_twice() {
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
        let broker = Broker::start().await;
        broker.create(&[]).await;
        let producer = broker.producer().await;
        let (sender, mut records) = mpsc::unbounded_channel();
        let mut read = Read::default();
        let mut sent = 0;
        // Sends until each of these members has read something that was sent since.
        let mut until_all_have_read = async |names: &[&'static str]| {
            let mut heard = BTreeSet::new();
            while !names.iter().all(|name| heard.contains(name)) || !read.is_all_of(sent) {
                if read.is_all_of(sent) {
                    send(&producer, sent..sent + 2 * PARTITIONS).await;
                    sent += 2 * PARTITIONS;
                }
                let (name, record) = in_time("a record", records.recv()).await.expect("somebody reads");
                heard.insert(name);
                read.take(&record);
            }
        };
        let first = Member::run("first", broker.member(assignor).await, sender.clone());
        until_all_have_read(&["first"]).await;
        let second = Member::run("second", broker.member(assignor).await, sender.clone());
        until_all_have_read(&["first", "second"]).await;
        first.leave().await;
        until_all_have_read(&["second"]).await;
        second.leave().await;
        broker.running.stop().await;
    }
}

#[tokio::test]
async fn a_schedule_is_read_when_it_is_due_and_one_that_was_cancelled_never() {
    // Nothing is due before it is said to be, however long the calls until then take.
    let clock = ManualClock::at(1_772_000_000_000);
    let broker = Broker::by(Arc::new(clock.clone())).await;
    broker.create(&[("tidegate.delivery", "scheduled")]).await;
    let producer = broker.producer().await;
    let mut consumer = broker.member(Assignor::Range).await;
    let due_ms = clock.now_ms() + 500;
    let record = |value: &'static str| ProducerRecord::to(TOPIC).key(value).value(value);
    let held = producer.schedule("cancelled", due_ms, record("cancelled")).await.expect("held");
    assert_eq!(held.offset, None, "it has no place in the log yet");
    producer.schedule("moved", due_ms + 3_600_000, record("moved")).await.expect("held");
    producer.schedule("kept", due_ms, record("kept")).await.expect("held");
    producer.reschedule("moved", due_ms + 1, record("moved")).await.expect("held");
    producer.cancel(TOPIC, "cancelled").await.expect("cancelled");
    let mut read = BTreeSet::new();
    let mut due = async |value: &'static str| {
        let record = in_time("what is due", consumer.recv()).await.expect("a record");
        assert!(clock.now_ms() >= record.timestamp_ms, "{record:?} came early");
        read.insert(record.value.expect("a value"));
        assert!(read.contains(value.as_bytes()), "{read:?}");
    };
    clock.advance(500);
    due("kept").await;
    clock.advance(1);
    due("moved").await;
    broker.running.stop().await;
}

fn code<T>(outcome: Result<T, Error>) -> Option<ResponseError> {
    outcome.err().and_then(|error| error.code())
}

#[tokio::test]
async fn an_administrator_sees_and_changes_topics() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let cluster = admin.describe_cluster().await.expect("it answers");
    let address = broker.running.listen();
    assert_eq!((cluster.brokers.len(), cluster.brokers[0].port), (1, i32::from(address.port())));
    assert_eq!(cluster.controller, Some(cluster.brokers[0].id));

    broker.create(&[("retention.ms", "60000")]).await;
    let again = NewTopic { name: TOPIC.to_owned(), ..NewTopic::default() };
    assert_eq!(code(admin.create_topic(&again).await), Some(ResponseError::TopicAlreadyExists));
    let topics = admin.list_topics().await.expect("it answers").topics;
    assert!(topics.keys().eq([TOPIC]));

    let overridden = async || {
        let configs = admin.describe_topic_configs(TOPIC).await.expect("it is there");
        let own = configs.into_iter().filter(|config| config.is_override);
        own.map(|config| (config.name, config.value.unwrap_or_default())).collect::<Vec<_>>()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(overridden().await, [pair("retention.ms", "60000")]);
    let changes =
        [("retention.ms".to_owned(), None), ("retention.bytes".to_owned(), Some("1000".to_owned()))];
    admin.alter_topic_configs(TOPIC, &changes).await.expect("both can be changed");
    assert_eq!(overridden().await, [pair("retention.bytes", "1000")]);
    let nonsense = [("retention.bytes".to_owned(), Some("much".to_owned()))];
    assert_eq!(code(admin.alter_topic_configs(TOPIC, &nonsense).await), Some(ResponseError::InvalidConfig));

    admin.create_partitions(TOPIC, PARTITIONS + 1).await.expect("one more");
    assert_eq!(code(admin.create_partitions(TOPIC, 1).await), Some(ResponseError::InvalidPartitions));
    admin.delete_topic(TOPIC).await.expect("it is there");
    assert_eq!(code(admin.delete_topic(TOPIC).await), Some(ResponseError::UnknownTopicOrPartition));
    broker.running.stop().await;
}

#[tokio::test]
async fn an_administrator_sees_and_changes_offsets_and_groups() {
    let broker = Broker::start().await;
    broker.create(&[]).await;
    let admin = broker.admin().await;
    let producer = broker.producer().await;
    send(&producer, 0..40).await;
    let offset = async |spec| admin.list_offset(&tp(0), spec).await.expect("it is there");
    assert_eq!((offset(OffsetSpec::Earliest).await, offset(OffsetSpec::Latest).await), (Some(0), Some(10)));
    assert_eq!(offset(OffsetSpec::AtTimestamp(0)).await, Some(0));
    assert_eq!(offset(OffsetSpec::AtTimestamp(i64::MAX)).await, None);
    assert_eq!(admin.delete_records(&tp(0), Some(4)).await, Ok(4));
    assert_eq!(offset(OffsetSpec::Earliest).await, Some(4));
    assert_eq!(code(admin.delete_records(&tp(0), Some(11)).await), Some(ResponseError::OffsetOutOfRange));

    assert_eq!(admin.list_groups().await, Ok(Vec::new()));
    assert_eq!(admin.describe_group(GROUP).await.expect("it answers").state, "Dead");
    let mut consumer = broker.member(Assignor::Range).await;
    in_time("a record", consumer.recv()).await.expect("a record");
    consumer.commit().await.expect("it is a member");
    let listed = admin.list_groups().await.expect("it answers");
    assert_eq!((listed[0].group.as_str(), listed[0].protocol_type.as_str()), (GROUP, "consumer"));
    let described = admin.describe_group(GROUP).await.expect("it is there");
    assert_eq!((described.state.as_str(), described.protocol.as_str()), ("Stable", "range"));
    assert_eq!(described.members[0].assignment, (0..PARTITIONS).map(tp).collect::<Vec<_>>());
    let in_use = admin.set_group_offsets(GROUP, &[(tp(1), 0)]).await;
    assert_eq!(code(in_use), Some(ResponseError::UnknownMemberId));
    assert_eq!(code(admin.delete_group(GROUP).await), Some(ResponseError::NonEmptyGroup));
    let in_use = admin.delete_group_offsets(GROUP, &[tp(0)]).await;
    assert_eq!(code(in_use), Some(ResponseError::GroupSubscribedToTopic));

    in_time("to leave", consumer.close()).await.expect("it commits and leaves");
    let all: Vec<_> = (0..PARTITIONS).map(|partition| (tp(partition), 7)).collect();
    admin.set_group_offsets(GROUP, &all).await.expect("nobody is in it");
    admin.delete_group_offsets(GROUP, &[tp(3)]).await.expect("nobody reads it");
    let committed = admin.list_group_offsets(GROUP).await.expect("it is there");
    let committed: Vec<_> = committed.iter().map(|one| (one.partition.partition, one.offset)).collect();
    assert_eq!(committed, [(0, 7), (1, 7), (2, 7)]);
    admin.delete_group(GROUP).await.expect("nobody is in it");
    assert_eq!(code(admin.delete_group(GROUP).await), Some(ResponseError::GroupIdNotFound));
    producer.close().await;
    broker.running.stop().await;
}
