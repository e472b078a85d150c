//! A broker and a store in one process, and an application on that store.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tidegate::model::Error;
use tidegate::store::{MemoryStore, SystemClock};
use tidegate::{ClientOptions, Db, DbSettings, Event, Outcome, Tx, Worker};
use tidegate_broker::settings::Settings;
use tidegate_broker::{BrokerStore, RunningBroker};

pub(crate) use super::application::{Application, DEAD_LETTERS, GROUP, Ledger, TOPIC, enter};

/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(180);

pub(crate) struct Stage {
    pub(crate) broker: RunningBroker,
    pub(crate) store: BrokerStore,
    application: Application<BrokerStore>,
}

/// What the application does and sees.
impl Deref for Stage {
    type Target = Application<BrokerStore>;

    fn deref(&self) -> &Application<BrokerStore> {
        &self.application
    }
}

impl Stage {
    pub(crate) async fn open(partitions: i32) -> Self {
        let store = BrokerStore::from(MemoryStore::new(Arc::new(SystemClock)));
        let stage = Self::on(store, partitions).await;
        stage.create_topic(TOPIC).await;
        stage
    }

    /// On a store that may have been used before.
    pub(crate) async fn on(store: BrokerStore, partitions: i32) -> Self {
        Self::on_port(store, partitions, ([127, 0, 0, 1], 0).into()).await
    }

    /// As before, on a port where another broker may come after this one.
    pub(crate) async fn on_port(store: BrokerStore, partitions: i32, listen: SocketAddr) -> Self {
        let admin = ([127, 0, 0, 1], 0).into();
        let mut settings = Settings { listen, admin, ..Settings::default() };
        settings.group_initial_rebalance_delay_ms = 0;
        settings.group_min_session_timeout_ms = 1;
        let broker = RunningBroker::start(settings, store.clone()).await.expect("a free port");
        let db = Db::new(store.clone(), DbSettings::default(), broker.wakeup());
        let client = ClientOptions::new(&broker.listen().to_string());
        Self { broker, store, application: Application { db, client, partitions } }
    }

    /// The sum of a metric over the group's partitions, as the admin port tells it.
    pub(crate) async fn metric(&self, name: &str) -> i64 {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.broker.admin()).await.expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        let series = format!("{name}{{group=\"{GROUP}\"");
        let of_group = answer.lines().filter(|line| line.starts_with(&series));
        let values = of_group.filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok());
        values.sum()
    }
}

/// A handler that enters its event into the ledger, and does nothing else.
pub(crate) async fn enter_it(event: Event, tx: Tx<BrokerStore>) -> Result<Outcome, Error> {
    enter(&event, &tx).await?;
    Ok(Outcome::Ack)
}

pub(crate) async fn in_time<T>(what: &str, outcome: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANG_AFTER, outcome).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("hung: {what}"),
    }
}

/// Waits until workers have handled so many events between them: they count after what they count is to be seen.
pub(crate) async fn until_counted(workers: &[&Worker], count: u64) {
    let handled = async || workers.iter().map(|worker| worker.figures().handled).sum::<u64>();
    until("what was handled to be counted", async || handled().await >= count).await;
    assert_eq!(handled().await, count, "each once");
}

/// Waits until a condition holds, looking again whenever something may have happened.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    in_time(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
