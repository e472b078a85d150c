#![allow(clippy::unwrap_used)]

use super::super::super::slot::Slot;
use super::super::transaction::{Change, TransactionEncoder};
use super::*;

const STORE: StoreId = StoreId(0x1234);

fn put(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut encoder = TransactionEncoder::default();
    encoder.put(key, value);
    encoder.finish()
}

#[test]
fn a_group_comes_back_with_contiguous_versions() {
    let mut builder = GroupBuilder::new();
    builder.add(&put(b"a", b"1"));
    builder.add(&put(b"b", &[7; 5_000]));
    let (header, bytes) = builder.finish(9, 8, Version(100), STORE);
    let bytes = bytes.to_vec();
    assert_eq!(GroupHeader::decode(&bytes, STORE), Some(header));
    let body = &bytes[GROUP_HEADER_BYTES..];
    assert!(header.matches(body));
    let position = Position { segment: 1, offset: GROUP_HEADER_BYTES as u64 };
    let mut found = Vec::new();
    let each = |version, change: KeyChange<'_>| {
        found.push((version, change.key(version, &mut Vec::new()).to_vec(), change.change.slot()));
    };
    header.for_each_change(body, position, each).unwrap();
    assert_eq!(found[0], (Version(100), b"a".to_vec(), Change::Put(b"1").slot()));
    assert_eq!((found[1].0, found[1].1.as_slice()), (Version(101), &b"b"[..]));
    let Some(Slot::Pointer(pointer)) = &found[1].2 else { panic!("5,000 bytes stay in the journal") };
    let start = usize::try_from(pointer.position.offset).unwrap();
    assert_eq!(bytes[start..start + 5_000], [7; 5_000]);
}

#[test]
fn a_changed_bit_or_another_store_is_noticed() {
    let mut builder = GroupBuilder::new();
    builder.add(&put(b"a", b"1"));
    let (header, bytes) = builder.finish(9, 8, Version(100), STORE);
    let bytes = bytes.to_vec();
    assert_eq!(GroupHeader::decode(&bytes, StoreId(0x1235)), None);
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let noticed = GroupHeader::decode(&changed, STORE) != Some(header)
            || !header.matches(&changed[GROUP_HEADER_BYTES..]);
        assert!(noticed, "bit {bit}");
    }
}
