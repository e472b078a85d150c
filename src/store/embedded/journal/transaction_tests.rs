use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const AT: Position = Position { segment: 3, offset: 1_000 };

fn write_set() -> impl Strategy<Value = WriteSet> {
    let key = || proptest::collection::vec(any::<u8>(), 1..40).prop_map(Bytes::from);
    let value = || {
        let small = proptest::collection::vec(any::<u8>(), 1..100);
        let large = proptest::collection::vec(any::<u8>(), LARGE_VALUE_BYTES..LARGE_VALUE_BYTES + 10);
        prop_oneof![small, large].prop_map(Bytes::from)
    };
    let writes = proptest::collection::vec((key(), proptest::option::of(value())), 0..10);
    let versioned = proptest::collection::vec((key(), key(), value()), 0..5);
    (writes, versioned).prop_map(|(writes, versioned)| {
        let mut set = WriteSet::default();
        for (key, value) in writes {
            match value {
                Some(value) => set.put(key, value),
                None => set.delete(key),
            }
        }
        for (prefix, suffix, value) in versioned {
            set.put_versioned(prefix, suffix, value);
        }
        set
    })
}

proptest! {
    #[test]
    fn a_write_set_comes_back_from_its_bytes(set in write_set()) {
        let bytes = TransactionEncoder::encode(&set);
        let version = Version(77 << 18);
        let mut expected: Vec<(Bytes, Option<Bytes>)> =
            set.writes().iter().map(|(key, write)| (key.clone(), write.value())).collect();
        expected.extend(set.versioned().iter().map(|put| (put.key(version), Some(put.value.clone()))));
        let mut decoder = TransactionDecoder::new(&bytes, AT);
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        while let Some(change) = decoder.next().expect("it was encoded here") {
            let value = match change.change {
                Change::Put(value) => Some(Bytes::copy_from_slice(value)),
                Change::Delete => None,
                Change::PutLarge(pointer) => {
                    let start = usize::try_from(pointer.position.offset - AT.offset).expect("small");
                    let value = bytes[start..start + pointer.len as usize].to_vec();
                    prop_assert_eq!(crc32c::crc32c(&value), pointer.crc);
                    prop_assert!(value.len() >= LARGE_VALUE_BYTES);
                    Some(Bytes::from(value))
                }
            };
            found.push((Bytes::copy_from_slice(change.key(version, &mut buffer)), value));
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn bytes_of_any_kind_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = TransactionDecoder::new(&bytes, AT);
        while let Ok(Some(_)) = decoder.next() {}
    }
}
