//! ApiVersions, versions 0 to 4.
//!
//! From 3 the client tells its name and version, the answer carries features (there are none). A version that is not
//! known is answered in version 0 with UNSUPPORTED_VERSION and the range that is, so that a client can step down.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use tidegate_protocol::versions::api_versions_response;

use crate::Broker;
use crate::dispatch::{Answer, Caller};

pub(crate) async fn handle(
    _broker: &Arc<Broker>,
    caller: &Caller,
    request: ApiVersionsRequest,
) -> Answer<ApiVersionsResponse> {
    let named = well_formed(&request.client_software_name) && well_formed(&request.client_software_version);
    if caller.version >= 3 && !named {
        let code = ResponseError::InvalidRequest.code();
        return Answer::Now(ApiVersionsResponse::default().with_error_code(code));
    }
    Answer::Now(api_versions_response())
}

/// What a client may call its software (KIP-511).
fn well_formed(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.bytes().all(inner) && ends(name.bytes().next()) && ends(name.bytes().last())
}
