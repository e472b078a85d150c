//! What a broker says when it is asked for its store: once for each connection.

use std::sync::Arc;

use tidegate_protocol::extension::hello::{Hello, Welcome};
use tidegate_protocol::extension::{VERSION_MAX, VERSION_MIN};
use tokio::sync::Semaphore;

use super::describe;
use crate::{Connection, Error};

/// The version of Hello, always.
const HELLO_VERSION: i16 = 0;

/// What was agreed on.
#[derive(Debug)]
pub(crate) struct Extension {
    pub(crate) welcome: Welcome,
    /// One for each session that may be open on the connection.
    pub(crate) sessions: Arc<Semaphore>,
}

pub(crate) async fn greet(connection: &Connection) -> Result<Extension, Error> {
    let hello = Hello { version_min: VERSION_MIN, version_max: VERSION_MAX };
    let mut reply = connection.start_extension(HELLO_VERSION, &hello, connection.request_timeout()).await?;
    let welcome = match reply.wait().await?.outcome {
        Ok(welcome) => welcome,
        Err(failure) => return Err(Error::Invalid(describe(failure))),
    };
    let places = usize::try_from(welcome.sessions_max).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
    Ok(Extension { welcome, sessions: Arc::new(Semaphore::new(places)) })
}
