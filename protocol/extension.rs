//! The extension: requests of Tidegate's own by which an application uses a broker's store through the Kafka port.
//!
//! One file per group of messages; `README.md` has the bytes, `vectors.txt` an example of each message. Frames,
//! correlation ids and pipelining are those of the port: a request begins with Kafka's request header in version 1, an
//! answer with the response header in version 0. The API keys lie far from Kafka's, and ApiVersions does not name them:
//! [`hello`] is how the two sides agree.
//!
//! What it refuses to do: it knows no store, no session and no socket.
//!
//! What always holds: every length and count is compared with what is left before anything is allocated; a message of
//! a hostile peer takes memory in proportion to its frame; decoding takes exactly what an encoder writes.

pub mod commit;
pub mod delete_range;
pub mod failure;
pub mod hello;
pub mod hint;
pub mod outcome;
pub mod read;
pub mod session;
mod wire;

#[cfg(test)]
mod extension_tests;

use bytes::{Buf, BufMut, Bytes, BytesMut};
pub use failure::{Failure, Limited};
use wire::{Reader, Writer};

use crate::frame::{FrameError, LENGTH_LEN};

/// The oldest version of the extension that is spoken.
pub const VERSION_MIN: i16 = 0;
/// The newest version of the extension that is spoken.
pub const VERSION_MAX: i16 = 0;
/// Elements of all lists of one request, at most. A transaction with more keys does not fit.
pub const REQUEST_ELEMENTS_MAX: usize = 1 << 18;
/// Elements of all lists of one answer, at most.
pub const RESPONSE_ELEMENTS_MAX: usize = 1 << 18;

macro_rules! apis {
    ($($(#[$doc:meta])* $api:ident = $key:literal,)*) => {
        /// The requests of the extension.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ExtensionApi { $($(#[$doc])* $api = $key,)* }

        impl ExtensionApi {
            /// All of them, by their keys.
            pub const ALL: &'static [Self] = &[$(Self::$api),*];

            /// The one with this API key; none if it is not of the extension.
            #[must_use]
            pub fn of_key(api_key: i16) -> Option<Self> {
                match api_key { $($key => Some(Self::$api),)* _ => None }
            }

            /// Its name in metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$api => concat!("Tidegate", stringify!($api)),)* }
            }
        }
    };
}

apis! {
    /// Agrees on a version, and tells the broker's limits.
    Hello = 21_575,
    /// Opens a snapshot.
    Begin = 21_576,
    /// Reads keys.
    Get = 21_577,
    /// Reads a range.
    Scan = 21_578,
    /// Reads the keys of a range.
    ScanKeys = 21_579,
    /// Gives a snapshot back.
    End = 21_580,
    /// Commits what was written on a snapshot.
    Commit = 21_581,
    /// Settles a commit whose answer was lost.
    Outcome = 21_582,
    /// Removes a range outside of any transaction.
    DeleteRange = 21_583,
    /// Says which partitions have something new for their logs.
    Hint = 21_584,
}

impl ExtensionApi {
    /// Its API key.
    #[must_use]
    pub fn key(self) -> i16 {
        self as i16
    }
}

/// A part of a frame that can be written and read.
pub trait Message: Sized {
    #[doc(hidden)]
    fn write(&self, writer: &mut Writer);
    #[doc(hidden)]
    fn read(reader: &mut Reader) -> Result<Self, FrameError>;
}

/// A request, with what answers it.
pub trait ExtensionRequest: Message {
    /// Which one it is.
    const API: ExtensionApi;
    /// What a good answer has.
    type Answer: Message;
}

/// An answer that has nothing to say but that all went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done;

impl Message for Done {
    fn write(&self, _writer: &mut Writer) {}

    fn read(_reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self)
    }
}

/// What the broker's store takes for now: it comes with every answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreTime {
    /// Milliseconds since the Unix epoch, by the store's clock.
    pub now_ms: i64,
    /// No transaction that is open began before it.
    pub oldest_open_ms: i64,
    /// How often the clock has gone back.
    pub steps_back: u64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<T> {
    /// What the store takes for now.
    pub time: StoreTime,
    /// What was asked for, or why it is not to be had.
    pub outcome: Result<T, Failure>,
}

impl<T: Message> Message for Response<T> {
    fn write(&self, writer: &mut Writer) {
        writer.i64(self.time.now_ms);
        writer.i64(self.time.oldest_open_ms);
        writer.u64(self.time.steps_back);
        match &self.outcome {
            Ok(answer) => {
                writer.u8(0);
                answer.write(writer);
            }
            Err(failure) => failure.write(writer),
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        let now_ms = reader.i64("now_ms")?;
        let oldest_open_ms = reader.i64("oldest_open_ms")?;
        let steps_back = reader.u64("steps_back")?;
        let outcome = match reader.u8("outcome")? {
            0 => Ok(T::read(reader)?),
            kind => Err(Failure::read(kind, reader)?),
        };
        Ok(Self { time: StoreTime { now_ms, oldest_open_ms, steps_back }, outcome })
    }
}

/// The whole frame of a request, length included.
///
/// # Errors
/// `TooLong` if it takes more than 2 GiB.
pub fn encode_request<R: ExtensionRequest>(
    version: i16,
    correlation_id: i32,
    client_id: &str,
    request: &R,
) -> Result<Bytes, FrameError> {
    let mut frame = BytesMut::with_capacity(64 + client_id.len());
    frame.put_i32(0);
    frame.put_i16(R::API.key());
    frame.put_i16(version);
    frame.put_i32(correlation_id);
    let client_id = &client_id[..client_id.floor_char_boundary(CLIENT_ID_MAX_BYTES)];
    frame.put_i16(i16::try_from(client_id.len()).expect("it was cut to fit"));
    frame.put_slice(client_id.as_bytes());
    finish(frame, request)
}

/// What a client's name for itself is cut to, in bytes.
const CLIENT_ID_MAX_BYTES: usize = 255;

/// The whole frame of an answer, length included.
///
/// # Errors
/// `TooLong` if it takes more than 2 GiB.
pub fn encode_response<T: Message>(correlation_id: i32, response: &Response<T>) -> Result<Bytes, FrameError> {
    let mut frame = BytesMut::with_capacity(64);
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    finish(frame, response)
}

fn finish(frame: BytesMut, message: &impl Message) -> Result<Bytes, FrameError> {
    let mut writer = Writer::after(frame);
    message.write(&mut writer);
    let mut frame = writer.into_bytes();
    let bytes = frame.len() - LENGTH_LEN;
    let length = i32::try_from(bytes).map_err(|_| FrameError::TooLong { bytes })?;
    frame[..LENGTH_LEN].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

/// Reads a request's body: what follows its header.
///
/// # Errors
/// `Malformed` with the field that does not fit, also if bytes are left over.
pub fn decode_request<R: ExtensionRequest>(body: Bytes) -> Result<R, FrameError> {
    decode(body, REQUEST_ELEMENTS_MAX)
}

/// Reads an answer from a frame (without its length): its correlation id and body.
///
/// # Errors
/// `Malformed`.
pub fn decode_response<T: Message>(mut frame: Bytes) -> Result<(i32, Response<T>), FrameError> {
    let correlation_id =
        frame.try_get_i32().map_err(|_| FrameError::Malformed { field: "correlation_id" })?;
    Ok((correlation_id, decode(frame, RESPONSE_ELEMENTS_MAX)?))
}

fn decode<T: Message>(body: Bytes, elements_max: usize) -> Result<T, FrameError> {
    let mut reader = Reader::new(body, elements_max);
    let message = T::read(&mut reader)?;
    reader.finish()?;
    Ok(message)
}
