//! The front door: models, events, records and administration over a store that is reached in one of three ways.
//!
//! What it is: [`Tidegate::open`] has a broker of its own in this process, [`Tidegate::tikv`] writes to a TiKV cluster
//! that brokers serve, [`Tidegate::connect`] uses a broker's store through its port. What an application does with it is
//! the same: [`Tidegate::db`] for models and events, [`Tidegate::producer`], [`Tidegate::consumer`], [`Tidegate::admin`]
//! and [`Tidegate::worker`] for the rest.
//!
//! What it refuses to do: it hides no difference of time. In process a read costs microseconds, elsewhere a round trip.
//!
//! What always holds: isolation, conflicts and errors are the same in all three; after a commit the relays of its
//! partitions are woken, wherever they are.

mod error;
mod store;

#[cfg(feature = "embedded")]
mod own_broker;

use std::sync::Arc;

use tidegate_format::RestoringKey;
use tidegate_model::{DbSettings, NoWakeup, Wakeup};
use tidegate_store::{AnyStore, Store, TikvAddress, TikvOptions, TikvStore, Txn};

pub use error::OpenError;
#[cfg(feature = "embedded")]
pub use own_broker::OpenOptions;
pub use store::{AppStore, AppTxn};

use crate::hint::{HintFigures, Hints};
use crate::{
    Admin, ClientOptions, Consumer, ConsumerOptions, Db, Error, Producer, ProducerOptions, RemoteOptions,
    RemoteStore, Worker, WorkerBuilder,
};

/// An application's way to its store and its brokers.
///
/// ```
/// # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tidegate::{Model, Tidegate};
///
/// #[derive(serde::Serialize, serde::Deserialize, Model)]
/// #[model(table = "flights", events(insert = "flight.scheduled"))]
/// struct Flight {
///     #[model(id)]
///     number: String,
///     gate: String,
/// }
///
/// # let directory = tempfile::tempdir()?;
/// // Or `Tidegate::connect("127.0.0.1:9092")`, or `Tidegate::tikv("tikv://pd:2379/flights", "broker:9092")`.
/// let tidegate = Tidegate::open(directory.path()).await?;
/// let flight = &Flight { number: "KL1".into(), gate: "D7".into() };
/// tidegate.db().transaction(|tx| async move { tx.insert(flight).await }).await?;
/// let found: Option<Flight> = tidegate.db().snapshot().await?.find("KL1").await?;
/// assert_eq!(found.map(|flight| flight.gate), Some("D7".into()));
/// tidegate.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct Tidegate {
    db: Db<AppStore>,
    /// None if no broker is known.
    client: Option<ClientOptions>,
    host: Host,
}

/// What is here beside handles, and ends with [`Tidegate::shutdown`].
enum Host {
    #[cfg(feature = "embedded")]
    OwnBroker(Box<own_broker::OwnBroker>),
    Tikv {
        store: TikvStore,
        hints: Option<Arc<Hints>>,
    },
    Remote,
}

impl Tidegate {
    /// Opens the store in a directory, with a broker of its own in this process, which opens no port: producers, consumers and
    /// workers of this process reach it within. With [`OpenOptions::listen`], stock clients do too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tidegate::{NewEvent, Outcome, Tidegate};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let tidegate = Tidegate::open(directory.path()).await?;
    /// let opened = || NewEvent::new("gate.opened").topic("gates").key("D7");
    /// tidegate.db().transaction(|tx| async move { tx.publish(opened()).await }).await?;
    /// let worker = tidegate.worker()?.group("boards").topics(["gates"]);
    /// let handler = |event: tidegate::Event, tx: tidegate::Tx<tidegate::AppStore>| async move {
    ///     tx.user().put("last", event.key().unwrap_or_default().to_owned()).await?;
    ///     Ok::<_, tidegate::model::Error>(Outcome::Ack)
    /// };
    /// let worker = worker.start(handler).await?;
    /// while tidegate.db().snapshot().await?.user().get("last").await?.is_none() {
    ///     tokio::task::yield_now().await;
    /// }
    /// worker.stop().await?;
    /// tidegate.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`OpenError`]: the directory is in use or damaged, or a setting does not fit.
    #[cfg(feature = "embedded")]
    pub async fn open(path: impl AsRef<std::path::Path>) -> Result<Self, OpenError> {
        Self::open_with(OpenOptions::new(path)).await
    }

    /// As [`open`](Self::open), with every setting of the broker and the database.
    ///
    /// # Errors
    /// As there, and if an address is taken.
    #[cfg(feature = "embedded")]
    pub async fn open_with(options: OpenOptions) -> Result<Self, OpenError> {
        let (own, db_settings) = own_broker::OwnBroker::start(options).await?;
        let store = AppStore::Local(own.store().into());
        let db = Db::new(store, db_settings, own.wakeup());
        let client = Some(own.client_options());
        Ok(Self { db, client, host: Host::OwnBroker(Box::new(own)) })
    }

    /// Reaches a namespace of a TiKV cluster, `tikv://PD:PORT[,PD:PORT...]/NAMESPACE`, which the brokers at these addresses
    /// (host:port, separated by commas) serve: they are told of new events. Without any, events wait for the next sweep of
    /// their partition.
    ///
    /// # Errors
    /// [`OpenError`]: the address is none, or the cluster does not answer.
    pub async fn tikv(address: &str, brokers: &str) -> Result<Self, OpenError> {
        let address: TikvAddress = address.parse()?;
        Self::tikv_with(TikvOptions::new(address), ClientOptions::new(brokers), DbSettings::default()).await
    }

    /// As [`tikv`](Self::tikv), with every setting. `brokers` may name none.
    ///
    /// # Errors
    /// As there.
    pub async fn tikv_with(
        options: TikvOptions,
        brokers: ClientOptions,
        settings: DbSettings,
    ) -> Result<Self, OpenError> {
        let store = TikvStore::connect(options).await?;
        if store.begin().await?.get(&RestoringKey.encode()).await?.is_some() {
            return Err(OpenError::Restoring);
        }
        let client = Some(brokers).filter(|brokers| !brokers.bootstrap.is_empty());
        let hints = client.as_ref().map(|client| Arc::new(Hints::to(client)));
        let wakeup: Arc<dyn Wakeup> = match &hints {
            Some(hints) => hints.clone(),
            None => Arc::new(NoWakeup),
        };
        let db = Db::new(AppStore::Local(AnyStore::from(store.clone())), settings, wakeup);
        Ok(Self { db, client, host: Host::Tikv { store, hints } })
    }

    /// Uses the store of a broker, through its port (host:port; several, separated by commas, are tried in turn).
    ///
    /// ```
    /// # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tidegate::{NewEvent, Tidegate};
    /// # let directory = tempfile::tempdir()?;
    /// # let served = tidegate::OpenOptions::new(directory.path()).listen(([127, 0, 0, 1], 0).into());
    /// # let served = Tidegate::open_with(served).await?;
    /// # let broker = &served.client_options()?.bootstrap[0];
    /// let tidegate = Tidegate::connect(broker).await?;
    /// let published = tidegate.db().transaction(|tx| async move {
    ///     tx.user().put("gate/D7", "open").await?;
    ///     tx.publish(NewEvent::new("gate.opened").key("D7")).await
    /// });
    /// assert!(published.await?.is_some());
    /// # tidegate.shutdown().await;
    /// # served.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`OpenError`]: no broker answers in time, or it does not serve its store there.
    pub async fn connect(brokers: &str) -> Result<Self, OpenError> {
        Self::connect_with(RemoteOptions::new(brokers), DbSettings::default()).await
    }

    /// As [`connect`](Self::connect), with every setting. What `options.client` says holds for producers, consumers, workers and
    /// the administrator, too.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_with(options: RemoteOptions, settings: DbSettings) -> Result<Self, OpenError> {
        let client = options.client.clone();
        let store = RemoteStore::connect(options).await?;
        // The broker wakes the relays itself.
        let db = Db::new(AppStore::Remote(store), settings, Arc::new(NoWakeup));
        Ok(Self { db, client: Some(client), host: Host::Remote })
    }

    /// Models and events.
    #[must_use]
    pub fn db(&self) -> &Db<AppStore> {
        &self.db
    }

    /// Where the broker is, for this client's producers, consumers and workers; and for others, if it has a port.
    ///
    /// # Errors
    /// `Invalid` if it was told of no broker.
    pub fn client_options(&self) -> Result<ClientOptions, Error> {
        let none =
            || Error::Invalid("no broker is known: give Tidegate::tikv the brokers of its namespace".into());
        self.client.clone().ok_or_else(none)
    }

    /// A producer of records.
    ///
    /// # Errors
    /// As [`client_options`](Self::client_options) and [`Producer::connect`].
    pub async fn producer(&self, options: ProducerOptions) -> Result<Producer, Error> {
        Producer::connect(self.client_options()?, options).await
    }

    /// A consumer of records.
    ///
    /// # Errors
    /// As [`client_options`](Self::client_options) and [`Consumer::connect`].
    pub async fn consumer(&self, options: ConsumerOptions) -> Result<Consumer, Error> {
        Consumer::connect(self.client_options()?, options).await
    }

    /// An administrator of topics and groups.
    ///
    /// # Errors
    /// As [`client_options`](Self::client_options) and [`Admin::connect`].
    pub async fn admin(&self) -> Result<Admin, Error> {
        Admin::connect(self.client_options()?).await
    }

    /// A worker that handles events exactly once, before it is started.
    ///
    /// # Errors
    /// As [`client_options`](Self::client_options).
    pub fn worker(&self) -> Result<WorkerBuilder<AppStore>, Error> {
        Ok(Worker::builder(self.db.clone(), self.client_options()?))
    }

    /// What became of the hints to the brokers of a TiKV namespace; none where there is nobody to hint to.
    #[must_use]
    pub fn hint_figures(&self) -> Option<HintFigures> {
        match &self.host {
            Host::Tikv { hints: Some(hints), .. } => Some(hints.figures()),
            _ => None,
        }
    }

    /// Ends what is here, after what was begun: the broker answers what it has read, the store commits what it was handed.
    /// Producers, consumers and workers are to be closed before.
    pub async fn shutdown(self) {
        match self.host {
            #[cfg(feature = "embedded")]
            Host::OwnBroker(own) => own.stop().await,
            Host::Tikv { store, hints } => {
                if let Some(hints) = &hints {
                    hints.flush().await;
                }
                drop((self.db, hints));
                store.shutdown().await;
            }
            Host::Remote => {}
        }
    }
}
