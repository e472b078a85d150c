//! A broker on a cluster, with an idempotent producer and a group of two at work, and the ledger of what they do.

use tidegate_tests::admin::{committed_offsets, create_topic};
use tidegate_tests::broker::{Broker, on};
use tidegate_tests::ledger::Ledger;
use tidegate_tests::log_reader::read_log;
use tidegate_tests::member::Member;
use tidegate_tests::producer::LedgerProducer;
use tidegate_tests::shared_ledger::SharedLedger;
use tidegate_tests::tikv_cluster::OwnCluster;

const TOPIC: &str = "orders";
const GROUP: &str = "shipping";
const PARTITIONS: i32 = 4;
const KEYS: u32 = 200;

/// What is at work.
pub(crate) struct Load {
    pub(crate) broker: Broker,
    pub(crate) ledger: SharedLedger,
    pub(crate) producer: LedgerProducer,
    members: Vec<Member>,
}

impl Load {
    /// A broker that finds out soon that its store is away, with clients that have begun.
    pub(crate) fn start(cluster: &OwnCluster) -> Self {
        let namespace = cluster.namespace("load");
        let broker =
            Broker::start_with(&[&on(&namespace)[..], &["--tikv-request-timeout-ms", "1000"]].concat());
        create_topic(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
        let ledger = SharedLedger::new(PARTITIONS);
        let producer = LedgerProducer::new(broker.bootstrap(), TOPIC, "none", KEYS, &ledger);
        let join = |name| Member::join(broker.bootstrap(), GROUP, TOPIC, name, &[], &ledger);
        let members = vec![join("one"), join("two")];
        let mut load = Self { broker, ledger, producer, members };
        load.ledger.wait_until("a group of two shares the topic", |ledger| ledger.ownership() == [2, 2]);
        load.go_on(2_000);
        load
    }

    /// Produces so many more, and waits until all that were produced are acknowledged and committed by the group.
    pub(crate) fn go_on(&mut self, count: u32) {
        self.producer.send(count);
        let sent = self.producer.sent();
        self.ledger.wait_until(&format!("{sent} are acknowledged and committed"), |ledger| {
            ledger.acknowledged() == sent && ledger.committed() == sent
        });
    }

    /// The final account: none lost, none twice, each key in order, the broker still the same process.
    pub(crate) fn check(mut self) {
        self.producer.flush();
        let bootstrap = self.broker.bootstrap().to_owned();
        assert_eq!(
            self.ledger.read(Ledger::committed_offsets),
            committed_offsets(&bootstrap, GROUP, TOPIC, PARTITIONS)
        );
        self.members.into_iter().for_each(Member::leave);
        self.ledger.audit(&read_log(&bootstrap, TOPIC, PARTITIONS), self.producer.produced());
        assert!(self.broker.is_running(), "it recovered by itself");
    }
}
