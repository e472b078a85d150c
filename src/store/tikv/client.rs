//! One client of TiKV, with a thread of its own.
//!
//! The client starts tasks that nobody else can end: tries that it repeats, streams, secondaries that it commits. They run
//! on a runtime that belongs to this client alone, so that giving it up ends all of them at once, and what was not sent
//! by then never is. A panic within the client ends a task there, and is an answer here.

use std::sync::Mutex;
use std::time::Duration;

use tikv_client::{Error, TransactionClient};
use tokio::runtime::{Handle, Runtime};

use super::probe;

/// The largest answer that is taken: a page of entries, or one value of the largest size.
const ANSWER_MAX_BYTES: usize = 64 << 20;

/// How long a single request to TiKV or the Placement Driver may take before the client tries again, unless another time
/// is asked for.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// What a client did instead of giving an answer. It is of no more use then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// It hung.
    TimedOut,
    /// It panicked.
    Panicked(String),
    /// It had been given up by somebody else.
    GivenUp,
}

impl NoAnswer {
    pub(super) fn reason(&self) -> String {
        match self {
            Self::TimedOut => "no answer in time".to_owned(),
            Self::Panicked(what) => format!("the client panicked: {what}"),
            Self::GivenUp => "the connection was given up".to_owned(),
        }
    }
}

/// A client.
pub(super) struct Client {
    client: TransactionClient,
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

/// How clients are made.
#[derive(Clone, Debug)]
pub(super) struct ClientSettings {
    pub(super) pd_endpoints: Vec<String>,
    pub(super) tls: Option<super::TikvTls>,
    try_timeout: Duration,
}

impl ClientSettings {
    pub(super) fn new(pd_endpoints: Vec<String>, tls: Option<super::TikvTls>) -> Self {
        Self { pd_endpoints, tls, try_timeout: TRY_TIMEOUT }
    }

    /// The same with another time that a single request may take.
    pub(super) fn with_try_timeout(&self, try_timeout: Duration) -> Self {
        Self { try_timeout, ..self.clone() }
    }

    /// The Placement Drivers to connect by. Of several, one that answers now: it tells of the others.
    async fn usable_endpoints(&self, limit: Duration) -> Result<Vec<String>, String> {
        match &self.pd_endpoints[..] {
            [only] => Ok(vec![only.clone()]),
            several => Ok(vec![probe::choose(several, self.tls.as_ref(), limit).await?]),
        }
    }

    fn config(&self) -> tikv_client::Config {
        let config = tikv_client::Config::default()
            .with_timeout(self.try_timeout)
            .with_grpc_max_decoding_message_size(ANSWER_MAX_BYTES);
        match &self.tls {
            Some(tls) => config.with_security(&tls.ca, &tls.cert, &tls.key),
            None => config,
        }
    }
}

impl Client {
    /// Connects to the Placement Driver, or says why not.
    pub(super) async fn connect(settings: &ClientSettings, limit: Duration) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tikv-client")
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        let handle = runtime.handle().clone();
        let runtime = OwnRuntime(Some(runtime));
        let settings = settings.clone();
        let connecting = async move {
            let endpoints = settings.usable_endpoints(limit / 2).await.map_err(Error::StringError)?;
            TransactionClient::new_with_config(endpoints, settings.config()).await
        };
        match call(&handle, limit, connecting).await {
            Ok(Ok(client)) => Ok(Self { client, handle, runtime: Mutex::new(runtime.keep()) }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(no_answer) => Err(no_answer.reason()),
        }
    }

    /// Has the client do something, within `limit`. After [`NoAnswer`] what it did is not known, and goes on until the
    /// client is [given up](Self::give_up).
    pub(super) async fn call<T, F>(
        &self,
        limit: Duration,
        what: impl FnOnce(TransactionClient) -> F,
    ) -> Result<T, NoAnswer>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        call(&self.handle, limit, what(self.client.clone())).await
    }

    /// Ends everything that the client does, as it is.
    pub(super) fn give_up(&self) {
        let runtime = self.runtime.lock().expect("nothing panics with the lock held").take();
        drop(OwnRuntime(runtime));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.give_up();
    }
}

async fn call<T: Send + 'static>(
    handle: &Handle,
    limit: Duration,
    what: impl Future<Output = T> + Send + 'static,
) -> Result<T, NoAnswer> {
    let mut task = handle.spawn(what);
    match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => match error.try_into_panic() {
            Ok(panic) => Err(NoAnswer::Panicked(describe_panic(panic.as_ref()))),
            Err(_) => Err(NoAnswer::GivenUp),
        },
        Err(_) => {
            task.abort();
            Err(NoAnswer::TimedOut)
        }
    }
}

fn describe_panic(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason".to_owned())
}

/// A runtime that may be dropped within another one.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn keep(mut self) -> Option<Runtime> {
        self.0.take()
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
