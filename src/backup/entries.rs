//! Entries within a frame.
//!
//! What always holds: no length is believed that the frame does not have.

use bytes::{Buf, BufMut, Bytes};

/// The largest key and the largest value that a backup holds.
pub(crate) const KEY_MAX_BYTES: usize = tidegate_format::KEY_MAX_BYTES;
pub(crate) const VALUE_MAX_BYTES: usize = 64 << 20;
/// The bytes of an entry beside its key and value.
const LENGTHS_BYTES: usize = 2 + 4;

/// Adds an entry whose sizes were checked.
pub(crate) fn put(key: &[u8], value: &[u8], into: &mut Vec<u8>) {
    into.put_u16(u16::try_from(key.len()).expect("keys are short"));
    into.put_u32(u32::try_from(value.len()).expect("values are of bounded length"));
    into.put_slice(key);
    into.put_slice(value);
}

/// The entries of a frame, whose keys all come after `last` and one another; `last` becomes the last of them.
pub(crate) fn take(mut content: Bytes, last: &mut Bytes) -> Result<Vec<(Bytes, Bytes)>, &'static str> {
    let mut entries = Vec::new();
    while !content.is_empty() {
        if content.len() < LENGTHS_BYTES {
            return Err("an entry ends too early");
        }
        let key_bytes = usize::from(content.get_u16());
        let value_bytes = usize::try_from(content.get_u32()).unwrap_or(usize::MAX);
        if !(1..=KEY_MAX_BYTES).contains(&key_bytes) || !(1..=VALUE_MAX_BYTES).contains(&value_bytes) {
            return Err("an entry has a length that none can have");
        }
        if content.len() < key_bytes + value_bytes {
            return Err("an entry ends too early");
        }
        let key = content.split_to(key_bytes);
        let value = content.split_to(value_bytes);
        if key <= *last {
            return Err("the keys are not in order");
        }
        last.clone_from(&key);
        entries.push((key, value));
    }
    Ok(entries)
}
