//! A session at the broker: asked for, held, ended.
//!
//! What always holds: a session that nobody here has or waits for any more is ended at the broker, also if whoever asked for it
//! went before the answer came.

use tidegate_protocol::extension::Response;
use tidegate_protocol::extension::session::{Begin, Begun, End};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use crate::net::connection::ExtensionReply;
use crate::{Connection, Error};

/// A session that the broker was asked for.
pub(super) struct AskedSession {
    connection: Connection,
    version: i16,
    /// None once it was answered.
    reply: Option<ExtensionReply<Begin>>,
    place: Option<OwnedSemaphorePermit>,
}

impl AskedSession {
    pub(super) async fn ask(
        connection: Connection,
        version: i16,
        begin: Begin,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, Error> {
        let reply = connection.start_extension(version, &begin, connection.request_timeout()).await?;
        Ok(Self { connection, version, reply: Some(reply), place: Some(place) })
    }

    /// The session with the version of its snapshot, or why there is none.
    pub(super) async fn answered(mut self) -> Result<Response<(SessionHandle, u64)>, Error> {
        // It stays where whoever drops this finds it.
        let answer = self.reply.as_mut().expect("it is answered once").wait().await;
        self.reply = None;
        let Response { time, outcome } = answer?;
        let outcome = outcome.map(|Begun { session: number, start_version }| {
            let (connection, place) = (self.connection.clone(), self.place.take());
            (SessionHandle::of(connection, self.version, number, place), start_version)
        });
        Ok(Response { time, outcome })
    }
}

impl Drop for AskedSession {
    fn drop(&mut self) {
        // Without a runtime the broker ends it by its age.
        let (Some(mut reply), Ok(runtime)) = (self.reply.take(), Handle::try_current()) else { return };
        let (connection, version, place) = (self.connection.clone(), self.version, self.place.take());
        runtime.spawn(async move {
            if let Ok(Response { outcome: Ok(begun), .. }) = reply.wait().await {
                drop(SessionHandle::of(connection, version, begun.session, place));
            }
        });
    }
}

/// A session at the broker, which ends with this.
#[derive(Debug)]
pub(super) struct SessionHandle {
    pub(super) connection: Connection,
    pub(super) version: i16,
    pub(super) number: u64,
    place: Option<OwnedSemaphorePermit>,
    /// The broker has been told, or the commit ends it.
    pub(super) is_over: bool,
}

impl SessionHandle {
    fn of(connection: Connection, version: i16, number: u64, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { connection, version, number, place, is_over: false }
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        let end = End { session: self.number };
        if self.is_over || self.connection.try_send_extension(self.version, &end) {
            return;
        }
        // All of the connection's places are taken: it is said when one is free. Without a runtime the broker ends it by
        // its age.
        let (connection, version, place) = (self.connection.clone(), self.version, self.place.take());
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let told = connection.start_extension(version, &end, connection.request_timeout()).await;
                drop((told, place));
            });
        }
    }
}
