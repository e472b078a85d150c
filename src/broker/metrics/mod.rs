//! What the broker counts: the names of its metrics, and the one place where requests are recorded.
//!
//! Metrics that belong to something that comes and goes (a group's lag, a partition's offsets) are not kept here: they
//! are read from the store when they are asked for, so that what is deleted disappears ([`crate::admin`]).

mod error_codes;

use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use metrics::{counter, histogram};

pub(crate) use error_codes::ErrorCodes;

/// Upper bounds of the buckets for times, in seconds.
pub(crate) const TIME_BUCKETS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Counts an answered request, its time and the errors in its answer.
pub(crate) fn record_request(api: ApiKey, elapsed: Duration, response: &impl ErrorCodes) {
    let api = format!("{api:?}");
    counter!("tidegate_requests_total", "api" => api.clone()).increment(1);
    histogram!("tidegate_request_seconds", "api" => api.clone()).record(elapsed.as_secs_f64());
    response.each_error(&mut |code| {
        if code != 0 {
            counter!("tidegate_request_errors_total", "api" => api.clone(), "code" => code.to_string())
                .increment(1);
        }
    });
}
