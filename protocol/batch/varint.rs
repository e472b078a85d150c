//! Zigzag variable-length integers, as records have them (Protocol Buffers' encoding).

use bytes::BufMut;

/// Bytes of the longest encoding of a 64-bit number.
pub(super) const MAX_LEN: usize = 10;

/// Appends `value`.
pub(super) fn put(buf: &mut impl BufMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        buf.put_u8(u8::try_from(rest & 0x7f).expect("7 bits") | 0x80);
        rest >>= 7;
    }
    buf.put_u8(u8::try_from(rest).expect("7 bits"));
}

/// Bytes that [`put`] appends.
pub(super) fn len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).expect("at most 10")
}

/// Takes a number off the front of `bytes`; `None` if they do not begin with one.
pub(super) fn take(bytes: &mut &[u8]) -> Option<i64> {
    let mut value: u64 = 0;
    for (i, byte) in bytes.iter().take(MAX_LEN).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for the 64th bit only.
        if i == MAX_LEN - 1 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            *bytes = &bytes[i + 1..];
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

/// [`take`], of a number that must fit in 32 bits.
pub(super) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    take(bytes).and_then(|value| i32::try_from(value).ok())
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}
