//! Frames: a 4-byte length, then one request or response.
//!
//! In: [`codec`] cuts the stream into frames of at most a named size, [`RequestHead::decode`] reads what every
//! request begins with, [`decode_request`] and [`decode_response`] read the rest. Out: [`encode_request`] and
//! [`encode_response`] give the whole frame, length included, allocated once in its exact size.

#[cfg(test)]
mod frame_tests;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio_util::codec::LengthDelimitedCodec;

use crate::extension::ExtensionApi;
use crate::layout::{self, WireLayout};

/// Bytes of the length in front of each frame.
pub const LENGTH_LEN: usize = 4;
/// Bytes of the shortest request: key, version, correlation id.
pub const MIN_REQUEST_LEN: usize = 8;

/// Why bytes are not a frame that can be answered, or a message not one that can be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame ends within this field, or the field announces more than there is.
    #[error("the frame is cut short or damaged at {field}")]
    Malformed {
        /// The field.
        field: &'static str,
    },
    /// The body does not parse as this API in this version.
    #[error("the body of {api:?} v{version} is damaged: {detail}")]
    Body {
        /// The API.
        api: ApiKey,
        /// The version.
        version: i16,
        /// What the decoder says.
        detail: String,
    },
    /// A message of the extension takes more than a frame may: 2 GiB.
    #[error("a message of {bytes} bytes does not fit into a frame")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The message cannot be said in this version, or takes more than a frame may.
    #[error("{api:?} v{version} cannot be encoded: {detail}")]
    Encode {
        /// The API.
        api: ApiKey,
        /// The version.
        version: i16,
        /// What the encoder says.
        detail: String,
    },
}

/// Cuts a stream into frames. A frame that announces more than `max_frame_bytes`, or a negative length, is an error.
///
/// Room for a whole frame is reserved as soon as its length is there (and touched only as its bytes come), so what
/// connections may take is their number times the maximum.
#[must_use]
pub fn codec(max_frame_bytes: usize) -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .length_field_type::<u32>()
        .big_endian()
        .max_frame_length(max_frame_bytes.min(0x7fff_ffff))
        .new_codec()
}

/// What every request begins with, and the body that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The API's number, known or not.
    pub api_key: i16,
    /// The version, served or not.
    pub api_version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<StrBytes>,
    /// The rest of the frame.
    pub body: Bytes,
}

impl RequestHead {
    /// Reads the head of a request frame (without its length). Unknown APIs and versions are read too, as far as
    /// their layout can be known: their client id and body may be missing.
    ///
    /// # Errors
    /// `Malformed` with the field at which the frame ends.
    pub fn decode(frame: Bytes) -> Result<Self, FrameError> {
        let mut body = frame;
        let malformed = |field| FrameError::Malformed { field };
        let api_key = body.try_get_i16().map_err(|_| malformed("api_key"))?;
        let api_version = body.try_get_i16().map_err(|_| malformed("api_version"))?;
        let correlation_id = body.try_get_i32().map_err(|_| malformed("correlation_id"))?;
        let header_version = match ApiKey::try_from(api_key) {
            Ok(api) => api.request_header_version(api_version),
            Err(_) if ExtensionApi::of_key(api_key).is_some() => 1,
            Err(_) => return Ok(Self { api_key, api_version, correlation_id, client_id: None, body }),
        };
        let mut client_id = None;
        if header_version >= 1 {
            client_id = take_client_id(&mut body)?;
        }
        if header_version >= 2 {
            skip_tagged_fields(&mut body)?;
        }
        Ok(Self { api_key, api_version, correlation_id, client_id, body })
    }
}

fn take_client_id(body: &mut Bytes) -> Result<Option<StrBytes>, FrameError> {
    let malformed = || FrameError::Malformed { field: "client_id" };
    let length = body.try_get_i16().map_err(|_| malformed())?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= body.len()).ok_or_else(malformed)?;
    StrBytes::from_utf8(body.split_to(length)).map(Some).map_err(|_| malformed())
}

fn skip_tagged_fields(body: &mut Bytes) -> Result<(), FrameError> {
    let malformed = || FrameError::Malformed { field: "header tagged fields" };
    let count = take_unsigned_varint(body).ok_or_else(malformed)?;
    for _ in 0..count {
        take_unsigned_varint(body).ok_or_else(malformed)?;
        let size = take_unsigned_varint(body).and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|size| *size <= body.len()).ok_or_else(malformed)?;
        body.advance(size);
    }
    Ok(())
}

fn take_unsigned_varint(body: &mut Bytes) -> Option<u32> {
    let mut value: u64 = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = body.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok();
        }
    }
    None
}

/// Reads a request's body. Its lengths are proven first: see [`layout`]. Bytes after its end are passed over, as Apache
/// Kafka does: librdkafka 2.16 asks for the metadata of all topics with three bytes too many.
///
/// # Errors
/// `Body` if it does not parse.
pub fn decode_request<R: WireLayout>(version: i16, mut body: Bytes) -> Result<R, FrameError> {
    let api = api::<R>();
    let rest = layout::check_start(&R::REQUEST, version, &body, layout::MAX_REQUEST_ELEMENTS)
        .map_err(|misfit| FrameError::Body { api, version, detail: misfit.to_string() })?
        .len();
    body.truncate(body.len() - rest);
    decode_proven(api, version, body)
}

/// Reads the response to a request of type `R` in `version` from a frame (without its length): its correlation id
/// and body. Its lengths are proven first: see [`layout`].
///
/// # Errors
/// `Malformed` or `Body`.
pub fn decode_response<R: WireLayout>(version: i16, frame: Bytes) -> Result<(i32, R::Response), FrameError> {
    let mut body = frame;
    let correlation_id = body.try_get_i32().map_err(|_| FrameError::Malformed { field: "correlation_id" })?;
    if R::Response::header_version(version) >= 1 {
        skip_tagged_fields(&mut body)?;
    }
    let api = api::<R>();
    layout::check(&R::RESPONSE, version, &body, layout::MAX_RESPONSE_ELEMENTS)
        .map_err(|misfit| FrameError::Body { api, version, detail: misfit.to_string() })?;
    Ok((correlation_id, decode_proven(api, version, body)?))
}

/// Decodes a body whose lengths are proven.
fn decode_proven<T: Decodable>(api: ApiKey, version: i16, mut body: Bytes) -> Result<T, FrameError> {
    T::decode(&mut body, version).map_err(|error| FrameError::Body {
        api,
        version,
        detail: error.to_string(),
    })
}

/// The whole frame of a request, length included.
///
/// # Errors
/// `Encode` if the message cannot be said in this version or takes more than 2 GiB.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&StrBytes>,
    request: &R,
) -> Result<Bytes, FrameError> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(client_id.cloned());
    encode_frame(api::<R>(), version, &header, R::header_version(version), request)
}

/// The whole frame of a response, length included.
///
/// # Errors
/// `Encode` if the message cannot be said in this version or takes more than 2 GiB.
pub fn encode_response<T: Encodable + HeaderVersion>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &T,
) -> Result<Bytes, FrameError> {
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    encode_frame(api, version, &header, T::header_version(version), response)
}

fn encode_frame(
    api: ApiKey,
    version: i16,
    header: &impl Encodable,
    header_version: i16,
    body: &impl Encodable,
) -> Result<Bytes, FrameError> {
    let failed = |detail: String| FrameError::Encode { api, version, detail };
    let size = header.compute_size(header_version).map_err(|error| failed(error.to_string()))?
        + body.compute_size(version).map_err(|error| failed(error.to_string()))?;
    let mut frame = BytesMut::with_capacity(LENGTH_LEN + size);
    frame.put_i32(0);
    header.encode(&mut frame, header_version).map_err(|error| failed(error.to_string()))?;
    body.encode(&mut frame, version).map_err(|error| failed(error.to_string()))?;
    let size = frame.len() - LENGTH_LEN;
    let length = i32::try_from(size).map_err(|_| failed(format!("{size} bytes")))?;
    frame[..LENGTH_LEN].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

fn api<R: Request>() -> ApiKey {
    ApiKey::try_from(R::KEY).expect("a request's key is an API's")
}
