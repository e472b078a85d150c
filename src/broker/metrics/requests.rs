//! The one place where requests are counted.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use metrics::{Counter, Histogram, counter, histogram};
use tidegate_protocol::extension::{ExtensionApi, Failure};
use tidegate_protocol::versions;

use super::names;
use super::{ErrorCodes, recorder};

/// What is counted of one API.
struct ApiMetrics {
    name: String,
    requests: Counter,
    seconds: Histogram,
}

/// Of every API that is served: looked up once, as this is done for each request.
fn apis() -> Option<&'static HashMap<i16, ApiMetrics>> {
    static APIS: OnceLock<HashMap<i16, ApiMetrics>> = OnceLock::new();
    // What is looked up before there is a recorder counts nothing, for ever.
    recorder::is_installed().then(|| {
        APIS.get_or_init(|| {
            let served = versions::SERVED.iter().map(|api| (api.key as i16, format!("{:?}", api.key)));
            let own = ExtensionApi::ALL.iter().map(|api| (api.key(), api.name().to_owned()));
            served.chain(own).map(|(key, name)| (key, ApiMetrics::of(name))).collect()
        })
    })
}

impl ApiMetrics {
    fn of(name: String) -> Self {
        Self {
            requests: counter!(names::REQUESTS, "api" => name.clone()),
            seconds: histogram!(names::REQUEST_SECONDS, "api" => name.clone()),
            name,
        }
    }
}

/// Counts a request of the extension, its time and its failure.
pub(crate) fn record_extension(api: ExtensionApi, elapsed: Duration, failure: Option<&Failure>) {
    let Some(metrics) = apis().and_then(|apis| apis.get(&api.key())) else { return };
    metrics.requests.increment(1);
    metrics.seconds.record(elapsed.as_secs_f64());
    if let Some(failure) = failure {
        let labels = [("api", metrics.name.clone()), ("error", failure.name().to_owned())];
        counter!(names::REQUEST_ERRORS, &labels).increment(1);
    }
}

/// Counts a request, its time and the errors in its answer.
pub(crate) fn record_request(api: ApiKey, elapsed: Duration, response: &impl ErrorCodes) {
    let Some(metrics) = apis().and_then(|apis| apis.get(&(api as i16))) else { return };
    metrics.requests.increment(1);
    metrics.seconds.record(elapsed.as_secs_f64());
    response.each_error(&mut |code| {
        if code != 0 {
            let error = ResponseError::try_from_code(code).map(|error| format!("{error:?}"));
            let labels = [("api", metrics.name.clone()), ("error", error.unwrap_or_default())];
            counter!(names::REQUEST_ERRORS, &labels).increment(1);
        }
    });
}
