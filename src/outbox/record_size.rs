//! How large an entry is once it is a record.

use bytes::Bytes;
use tidegate_format::EventValue;
use tidegate_protocol::batch::HEADER_LEN;

/// Length of the record, attributes, timestamp delta and offset delta, at their longest, in bytes.
const FIXED_FIELDS_BYTES_MAX: usize = 5 + 1 + 10 + 5;
/// Attributes, timestamp delta and offset delta of the only record of a batch, in bytes.
const FIXED_FIELDS_BYTES_ALONE: usize = 1 + 1 + 1;

/// The bytes of a batch, not compressed, that has nothing but this entry.
#[must_use]
pub fn batch_bytes_alone(value: &EventValue) -> usize {
    HEADER_LEN + bytes_len(FIXED_FIELDS_BYTES_ALONE + fields_bytes(value))
}

/// The most bytes that an entry takes in a batch (which has a header besides): a few more than it will.
pub(crate) fn record_bytes_max(value: &EventValue) -> usize {
    FIXED_FIELDS_BYTES_MAX + fields_bytes(value)
}

/// The bytes of key, value and headers.
fn fields_bytes(value: &EventValue) -> usize {
    let headers: usize =
        value.headers.iter().map(|(name, value)| bytes_len(name.len()) + nullable_len(value.as_ref())).sum();
    nullable_len(value.key.as_ref())
        + nullable_len(value.value.as_ref())
        + varint_len(value.headers.len())
        + headers
}

fn nullable_len(bytes: Option<&Bytes>) -> usize {
    bytes.map_or(1, |bytes| bytes_len(bytes.len()))
}

fn bytes_len(length: usize) -> usize {
    varint_len(length) + length
}

/// The bytes of a length as a zigzag varint: one bit is the sign, seven bits go into a byte.
fn varint_len(length: usize) -> usize {
    let bits = usize::BITS - length.leading_zeros() + 1;
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::batch::BatchBuilder;

    use super::*;

    #[test]
    fn a_record_is_never_larger_and_hardly_smaller() {
        for length in [0, 1, 62, 63, 64, 65, 8_190, 8_191, 8_192, 100_000] {
            let bytes = Some(Bytes::from(vec![7; length]));
            let headers = vec![("h".repeat(length % 100), bytes.clone()), (String::new(), None)];
            let value = EventValue { key: bytes.clone(), value: bytes, headers, ..EventValue::default() };
            let mut batch = BatchBuilder::new();
            batch.push(0, value.key.as_deref(), value.value.as_deref(), &value.headers).expect("room");
            assert_eq!(batch_bytes_alone(&value), batch.size_bytes());
            let actual = batch.size_bytes() - HEADER_LEN;
            let most = record_bytes_max(&value);
            assert!((actual..actual + FIXED_FIELDS_BYTES_MAX).contains(&most), "{actual} within {most}");
        }
    }
}
