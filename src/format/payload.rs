//! What a record carries, as part of a value that keeps one whole: key, value and headers, in this order.

use bytes::Bytes;

use crate::FormatError;
use crate::field::{FieldReader, FieldWriter};

/// A header's name and value.
type Header = (String, Option<Bytes>);

/// What was read.
pub(crate) struct Payload {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
}

/// Room for what else a value with a payload holds.
const OVERHEAD_BYTES: usize = 256;

/// About how many bytes a value with this payload takes.
pub(crate) fn capacity(value: Option<&Bytes>) -> usize {
    value.map_or(0, Bytes::len) + OVERHEAD_BYTES
}

pub(crate) fn write(
    writer: FieldWriter,
    key: Option<&Bytes>,
    value: Option<&Bytes>,
    headers: &[Header],
) -> FieldWriter {
    let header = |writer: FieldWriter, (name, value): &Header| writer.str(name).opt_bytes(value.as_deref());
    writer.opt_bytes(key.map(Bytes::as_ref)).opt_bytes(value.map(Bytes::as_ref)).each(headers, header)
}

pub(crate) fn read(reader: &mut FieldReader) -> Result<Payload, FormatError> {
    Ok(Payload {
        key: reader.opt_bytes("key")?,
        value: reader.opt_bytes("value")?,
        headers: reader
            .each("headers", |reader| Ok((reader.str("header")?, reader.opt_bytes("header value")?)))?,
    })
}
