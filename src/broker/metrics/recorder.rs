//! The process's recorder of what is counted where it happens.
//!
//! What always holds: a metric that is counted without labels, or with those of a fixed set, is there from the start, at
//! 0; what histograms are told does not pile up if nobody reads it.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::names::{self, Family, Kind};

/// Upper bounds of the buckets for times, in seconds.
const TIME_BUCKETS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// How often what histograms were told is put into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// The recorder; the first call installs it, and a second broker in one process shares it. To be called before anything
/// is counted.
pub(crate) fn install() -> PrometheusHandle {
    RECORDER.get_or_init(build).clone()
}

/// Whether there is a recorder.
pub(super) fn is_installed() -> bool {
    RECORDER.get().is_some()
}

fn build() -> PrometheusHandle {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, TIME_BUCKETS);
    let recorder = builder.expect("there are buckets").build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        warn!("the application has a recorder of its own: /metrics lacks what is counted there");
    }
    metrics_process::Collector::default().describe();
    for family in names::RECORDED {
        describe(family);
        begin(family);
    }
    handle
}

fn describe(family: &Family) {
    match family.kind {
        Kind::Counter => describe_counter!(family.name, family.help),
        Kind::Gauge => describe_gauge!(family.name, family.help),
        Kind::Histogram => describe_histogram!(family.name, family.help),
    }
}

/// Makes the series that can be named now, so that their first increase is seen as one.
fn begin(family: &Family) {
    match (family.kind, family.labels) {
        (Kind::Counter, []) => counter!(family.name).increment(0),
        (Kind::Gauge, []) => gauge!(family.name).increment(0.0),
        (Kind::Counter, [names::KIND]) => {
            for kind in names::COMMIT_KINDS {
                counter!(family.name, names::KIND => *kind).increment(0);
            }
        }
        _ => {}
    }
}

/// Keeps the memory of histograms bounded until the broker stops.
pub(crate) async fn upkeep(recorder: PrometheusHandle, stopping: CancellationToken) {
    while stopping.run_until_cancelled(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_some() {
        recorder.run_upkeep();
    }
}
