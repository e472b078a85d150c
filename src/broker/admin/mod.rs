//! The admin HTTP server: `/metrics`, `/healthz`, `/readyz`, and `/v1` for what Kafka's protocol has no request for.
//!
//! Refuses to change anything but schedules. Listens on loopback unless told otherwise. Answers until everything else of
//! the broker has ended, so that a broker that stops says that it does.

mod backup;
mod exposition;
mod groups;
mod lag;
mod pending;
mod render;
mod schedules;
mod scrape;
mod server;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{delete, get};
use metrics_exporter_prometheus::PrometheusHandle;
use tidegate_store::AnyStore;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::Broker;

/// What Prometheus calls its text format.
const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How long readiness waits for the store.
const READY_MAX: Duration = Duration::from_secs(2);
const PATHS: &str =
    "/metrics, /healthz, /readyz, /v1/backup, /v1/schedules/{topic}, /v1/schedules/{topic}/{schedule}";

/// What the admin server's handlers can reach.
#[derive(Clone)]
pub(crate) struct Admin {
    broker: Arc<Broker>,
    recorder: PrometheusHandle,
    scraper: Arc<scrape::Scraper>,
    backups: backup::Backups,
}

/// Serves the admin port until `stop`.
pub(crate) async fn serve(
    broker: Arc<Broker>,
    recorder: PrometheusHandle,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let admin = Admin { broker, recorder, scraper: Arc::default(), backups: backup::Backups::default() };
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/v1/backup", get(backup::backup))
        .route("/v1/schedules/{topic}", get(schedules::list))
        .route("/v1/schedules/{topic}/{schedule}", delete(schedules::cancel))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(admin);
    server::serve(listener, routes, stop).await;
}

impl Admin {
    /// Whether the store answers, the broker's lease lives and it is not stopping; if not, why.
    async fn readiness(&self) -> Result<(), String> {
        if self.broker.shutdown.is_cancelled() {
            return Err("stopping".to_owned());
        }
        if let Some(trouble) = self.broker.lease.trouble() {
            return Err(trouble);
        }
        let read = tokio::time::timeout(READY_MAX, crate::cluster::check_readable(&self.broker.store)).await;
        match read {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the store has not answered within {} ms", READY_MAX.as_millis())),
        }
    }

    /// A line about a clock that cannot be believed. Requests are served as ever, so the broker is ready all the same.
    fn clock_warning(&self) -> String {
        let AnyStore::Embedded(store) = &self.broker.store else { return String::new() };
        store.clock_jump_ms().map_or_else(String::new, |by_ms| {
            format!(
                "the machine's clock has jumped by {by_ms} ms: timers do not go by it until that has lasted\n"
            )
        })
    }

    async fn metrics(&self) -> String {
        let is_ready = self.readiness().await.is_ok();
        let read = self.scraper.scrape(&self.broker, is_ready).await;
        metrics_process::Collector::default().collect();
        self.recorder.render() + &read
    }
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    match admin.readiness().await {
        Ok(()) => (StatusCode::OK, format!("ready\n{}", admin.clock_warning())),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    // The embedded store is read where that is awaited: a scrape of much must not hold up the tasks of others.
    let read = tokio::task::spawn_blocking(move || Handle::current().block_on(admin.metrics())).await;
    let text = read.unwrap_or_else(|stopped| std::panic::resume_unwind(stopped.into_panic()));
    ([(header::CONTENT_TYPE, EXPOSITION_TYPE)], text)
}

async fn no_such_path(uri: Uri) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, format!("there is no `{}`; there are {PATHS}\n", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> (StatusCode, String) {
    (StatusCode::METHOD_NOT_ALLOWED, format!("`{}` does not take {method}\n", uri.path()))
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
