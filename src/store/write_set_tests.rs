#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn of_base(entries: &[(&'static str, &'static str)]) -> Vec<Result<(Bytes, Bytes), Infallible>> {
    entries.iter().map(|(key, value)| Ok((bytes(key), bytes(value)))).collect()
}

#[test]
fn own_writes_lie_over_the_snapshot() {
    let mut set = WriteSet::default();
    set.put(bytes("b"), bytes("own"));
    set.delete(bytes("c"));
    set.put(bytes("e"), bytes("own"));
    let base = of_base(&[("a", "base"), ("b", "base"), ("c", "base"), ("d", "base")]);
    let range = KeyRange::new("a", "z");
    let found = set.scan(&range, ScanLimit::count(10), Direction::Forward, base.into_iter(), Ok).unwrap();
    let expected = [("a", "base"), ("b", "own"), ("d", "base"), ("e", "own")];
    assert_eq!(found, expected.map(|(key, value)| (bytes(key), bytes(value))));
}

#[test]
fn the_snapshot_is_read_no_further_than_the_limit() {
    let set = WriteSet::default();
    let base = of_base(&[("a", "1"), ("b", "2")])
        .into_iter()
        .chain(std::iter::from_fn(|| panic!("read beyond the limit")));
    let range = KeyRange::new("a", "z");
    assert_eq!(set.scan_keys(&range, 2, Direction::Forward, base).unwrap(), ["a", "b"]);
}

#[test]
fn a_value_that_is_shadowed_is_not_loaded() {
    let mut set = WriteSet::default();
    set.put(bytes("a"), bytes("own"));
    let base = of_base(&[("a", "base")]).into_iter();
    let range = KeyRange::new("a", "z");
    let refuse = |_| panic!("loaded what the own write shadows");
    let found = set.scan(&range, ScanLimit::count(10), Direction::Forward, base, refuse).unwrap();
    assert_eq!(found, [(bytes("a"), bytes("own"))]);
}

#[test]
fn a_failing_read_of_the_snapshot_fails_the_scan() {
    let mut set = WriteSet::default();
    set.put(bytes("a"), bytes("own"));
    let base = [Err::<(Bytes, ()), _>("broken")];
    assert_eq!(
        set.scan_keys(&KeyRange::new("a", "z"), 10, Direction::Forward, base.into_iter()),
        Err("broken")
    );
}

#[test]
fn replacing_a_write_does_not_count_its_bytes_twice() {
    let limits = TransactionLimits { max_bytes: 6, ..TransactionLimits::default() };
    let mut set = WriteSet::default();
    for _ in 0..10 {
        set.put(bytes("k"), bytes("12345"));
    }
    assert_eq!(set.check_size(&limits), Ok(()));
    set.put(bytes("l"), bytes("1"));
    let over = CommitError::TooLarge { what: "transaction bytes", actual: 8, limit: 6 };
    assert_eq!(set.check_size(&limits), Err(over));
}

#[test]
fn a_value_over_the_limit_is_refused() {
    let limits = TransactionLimits { max_value_bytes: 4, ..TransactionLimits::default() };
    let over = Err(CommitError::TooLarge { what: "value bytes", actual: 5, limit: 4 });
    let mut set = WriteSet::default();
    set.put(bytes("k"), bytes("12345"));
    assert_eq!(set.check_size(&limits), over);
    let mut set = WriteSet::default();
    set.put_versioned(bytes("k"), Bytes::new(), bytes("12345"));
    assert_eq!(set.check_size(&limits), over);
}

#[test]
fn a_versioned_key_holds_the_version_between_prefix_and_suffix() {
    let mut set = WriteSet::default();
    set.put_versioned(bytes("p"), bytes("s"), bytes("v"));
    assert_eq!(
        set.versioned()[0].key(Version(0x0102_0304_0506_0708)),
        &b"p\x01\x02\x03\x04\x05\x06\x07\x08s"[..]
    );
}

#[test]
#[should_panic(expected = "a key has 1 to 4096 bytes, not 0")]
fn an_empty_key_is_a_broken_promise() {
    WriteSet::default().delete(Bytes::new());
}

#[test]
#[should_panic(expected = "a key has 1 to 4096 bytes, not 4097")]
fn an_oversize_key_is_a_broken_promise() {
    WriteSet::default().put(Bytes::from(vec![1; KEY_MAX_BYTES + 1]), bytes("v"));
}

#[test]
#[should_panic(expected = "a key has at most 4096 bytes, not 4097")]
fn an_oversize_versioned_key_is_a_broken_promise() {
    WriteSet::default().put_versioned(Bytes::from(vec![1; KEY_MAX_BYTES - 8]), bytes("s"), bytes("v"));
}

#[test]
#[should_panic(expected = "a value is not empty")]
fn an_empty_value_is_a_broken_promise() {
    WriteSet::default().put(bytes("k"), Bytes::new());
}

fn key() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(0_u8..4, 1..3).prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 1..9).prop_map(Bytes::from)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_scan_equals_the_scan_of_one_map(
        base in proptest::collection::btree_map(key(), value(), 0..16),
        own in proptest::collection::btree_map(key(), proptest::option::of(value()), 0..16),
        start in key(),
        end in key(),
        count in 0_usize..8,
        value_bytes in 0_usize..40,
        backward in any::<bool>(),
    ) {
        let range = KeyRange::new(start, end);
        let direction = if backward { Direction::Backward } else { Direction::Forward };
        let mut whole = base.clone();
        let mut set = WriteSet::default();
        for (key, value) in own {
            match value {
                Some(value) => {
                    whole.insert(key.clone(), value.clone());
                    set.put(key, value);
                }
                None => {
                    whole.remove(&key);
                    set.delete(key);
                }
            }
        }
        let in_order = |map: &BTreeMap<Bytes, Bytes>| {
            let mut entries: Vec<_> =
                map.iter().filter(|(key, _)| range.contains(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
            if backward {
                entries.reverse();
            }
            entries
        };
        let snapshot = in_order(&base).into_iter().map(Ok::<_, Infallible>);
        let mut left = value_bytes;
        let mut full = false;
        let expected: Vec<_> = in_order(&whole).into_iter().take(count).take_while(|(_, value)| {
            let taken = !full;
            full |= value.len() >= left;
            left = left.saturating_sub(value.len());
            taken
        }).collect();
        let keys: Vec<_> = in_order(&whole).into_iter().take(count).map(|(key, _)| key).collect();
        let limit = ScanLimit { count, value_bytes };
        prop_assert_eq!(set.scan(&range, limit, direction, snapshot.clone(), Ok).unwrap(), expected);
        prop_assert_eq!(set.scan_keys(&range, count, direction, snapshot).unwrap(), keys);
    }
}

#[test]
fn of_many_keys_the_snapshot_is_asked_for_those_alone_that_were_not_written() {
    let mut set = WriteSet::default();
    set.put(bytes("b"), bytes("own"));
    set.delete(bytes("c"));
    set.guard(bytes("d"));
    let keys = ["d", "c", "a", "b", "a"].map(bytes);
    assert_eq!(set.unwritten(&keys), ["d", "a", "a"]);
    let mut asked = Vec::new();
    let values = set.read_many(&keys, |key| {
        asked.push(key.clone());
        Ok::<_, Infallible>((key == "a").then(|| bytes("base")))
    });
    assert_eq!(asked, set.unwritten(&keys));
    assert_eq!(values.unwrap(), [None, None, Some(bytes("base")), Some(bytes("own")), Some(bytes("base"))]);
    assert_eq!(set.read_many(&keys, |_| Err("broken")), Err("broken"));
}
