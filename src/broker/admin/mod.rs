//! The admin HTTP server: `/metrics`, `/healthz`, `/readyz`, and `/v1` for what Kafka's protocol has no request for.
//!
//! Refuses to change anything but schedules. Listens on loopback unless told otherwise.

mod exposition;
mod lag;
mod schedules;
mod scrape;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tracing::warn;

use crate::Broker;

/// What the admin server's handlers can reach.
#[derive(Clone)]
pub(crate) struct Admin {
    broker: Arc<Broker>,
    recorder: PrometheusHandle,
    scraper: Arc<scrape::Scraper>,
}

/// Serves the admin port until the broker stops.
pub(crate) async fn serve(broker: Arc<Broker>, recorder: PrometheusHandle, listener: TcpListener) {
    let shutdown = broker.shutdown.clone();
    let admin = Admin { broker, recorder, scraper: Arc::default() };
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/v1/schedules/{topic}", get(schedules::list))
        .route("/v1/schedules/{topic}/{schedule}", delete(schedules::cancel))
        .with_state(admin);
    let served =
        axum::serve(listener, routes).with_graceful_shutdown(async move { shutdown.cancelled().await });
    if let Err(error) = served.await {
        warn!(%error, "the admin server ended");
    }
}

/// Ready: the store answers, and the broker is not stopping.
async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    if admin.broker.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    match crate::cluster::check_readable(&admin.broker.store).await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

async fn metrics(State(admin): State<Admin>) -> Result<String, (StatusCode, String)> {
    let read = admin.scraper.scrape(&admin.broker).await;
    let read = read.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")))?;
    Ok(admin.recorder.render() + &read)
}
