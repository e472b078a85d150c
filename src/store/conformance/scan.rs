//! Scans: order, bounds, limits and pages.

use bytes::Bytes;

use crate::conformance::Backend;
use crate::conformance::steps::{
    begin, commit, entries, everything, keys_now, put_all, scan, scan_keys, text, value_of,
};
use crate::{Direction, KeyRange, ScanLimit, Txn};

/// From the start, included, to the end, excluded; backward the same entries the other way round.
pub async fn a_scan_has_the_keys_of_its_range_in_order<B: Backend>(backend: B) {
    let store = backend.store();
    let all = ["a", "b", "bb", "c", "d", "e"].map(|key| (key, key));
    put_all(store, [all[3], all[0], all[5], all[2], all[4], all[1]]).await;
    let mut txn = begin(store).await;
    let ranges =
        [("b", "d", 1..4), ("a", "b", 0..1), ("aa", "dd", 1..5), ("0", "z", 0..6), ("bb", "bb\0", 2..3)];
    for (start, end, found) in ranges {
        let range = KeyRange::new(start, end);
        let mut expected = entries(all[found].iter().copied());
        assert_eq!(scan(&mut txn, &range, 10, Direction::Forward).await, expected, "{start}..{end}");
        expected.reverse();
        assert_eq!(scan(&mut txn, &range, 10, Direction::Backward).await, expected, "{start}..{end}");
    }
}

/// Also a range whose end is before its start, and a limit of no entries.
pub async fn an_empty_range_gives_nothing<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, [("b", "1"), ("d", "1")]).await;
    let mut txn = begin(store).await;
    txn.put(text("c"), text("1"));
    for range in [KeyRange::new("bb", "bc"), KeyRange::new("c", "c"), KeyRange::new("d", "b")] {
        for direction in [Direction::Forward, Direction::Backward] {
            assert_eq!(scan(&mut txn, &range, 10, direction).await, []);
            assert_eq!(scan_keys(&mut txn, &range, 10, direction).await, [] as [Bytes; 0]);
        }
    }
    assert_eq!(scan(&mut txn, &everything(), 0, Direction::Forward).await, []);
    assert_eq!(scan_keys(&mut txn, &everything(), 0, Direction::Forward).await, [] as [Bytes; 0]);
}

/// From whichever end it reads.
pub async fn a_scan_stops_at_its_count<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, (0..100).map(|at| (format!("k{at:02}"), "1"))).await;
    let mut txn = begin(store).await;
    for count in [1, 2, 99, 100, 101] {
        let found = count.min(100);
        let forward = scan_keys(&mut txn, &everything(), count, Direction::Forward).await;
        assert_eq!(forward, (0..found).map(|at| text(format!("k{at:02}"))).collect::<Vec<_>>());
        let backward = scan_keys(&mut txn, &everything(), count, Direction::Backward).await;
        assert_eq!(backward, (0..found).map(|at| text(format!("k{:02}", 99 - at))).collect::<Vec<_>>());
        assert_eq!(scan(&mut txn, &everything(), count, Direction::Forward).await.len(), found);
    }
}

/// So one entry at least, however big.
pub async fn a_scan_stops_with_the_entry_that_reaches_the_bytes<B: Backend>(backend: B) {
    let store = backend.store();
    let mut txn = begin(store).await;
    for (key, len) in [("a", 10), ("b", 20), ("c", 10_000), ("d", 5)] {
        txn.put(text(key), value_of(len, 1));
    }
    commit(txn).await;
    let mut txn = begin(store).await;
    let cases = [
        (0, 1, 1),
        (5, 1, 1),
        (10, 1, 2),
        (11, 2, 2),
        (31, 3, 2),
        (10_005, 3, 2),
        (10_006, 3, 3),
        (10_031, 4, 4),
    ];
    for (value_bytes, forward, backward) in cases {
        let limit = ScanLimit { count: 10, value_bytes };
        let found = txn.scan(&everything(), limit, Direction::Forward).await.expect("a scan");
        assert_eq!(found.len(), forward, "{value_bytes} bytes forward");
        let found = txn.scan(&everything(), limit, Direction::Backward).await.expect("a scan");
        assert_eq!(found.len(), backward, "{value_bytes} bytes backward");
    }
}

/// Forward from the successor of the last key, backward up to the last key.
pub async fn pages_give_each_entry_once<B: Backend>(backend: B) {
    let store = backend.store();
    let all: Vec<_> = (0..250).map(|at| text(format!("k{at:03}"))).collect();
    put_all(store, (0..250).map(|at| (format!("k{at:03}"), "1"))).await;
    for page in [1, 7, 250] {
        let mut txn = begin(store).await;
        assert_eq!(pages(&mut txn, everything(), page, Direction::Forward).await, all);
        let mut backward = pages(&mut txn, everything(), page, Direction::Backward).await;
        backward.reverse();
        assert_eq!(backward, all);
    }
}

/// Every key of a range, in pages, as a caller reads them.
pub(super) async fn pages(
    txn: &mut impl Txn,
    mut range: KeyRange,
    page: usize,
    direction: Direction,
) -> Vec<Bytes> {
    let mut all = Vec::new();
    loop {
        let entries = scan(txn, &range, page, direction).await;
        let Some((last, _)) = entries.last() else { return all };
        assert!(entries.iter().all(|(key, _)| range.contains(key)), "entries outside of {range:?}");
        match direction {
            Direction::Forward => range.start = KeyRange::successor(last),
            Direction::Backward => range.end = last.clone(),
        }
        all.extend(entries.into_iter().map(|(key, _)| key));
    }
}

/// Not as text, numbers or anything else.
pub async fn keys_sort_as_bytes<B: Backend>(backend: B) {
    let store = backend.store();
    let mut keys: Vec<Bytes> = vec![
        Bytes::from_static(&[0]),
        Bytes::from_static(&[0, 0]),
        Bytes::from_static(&[0, 0xFF]),
        Bytes::from_static(&[1]),
        Bytes::from_static(b"10"),
        Bytes::from_static(b"9"),
        Bytes::from_static(b"B"),
        Bytes::from_static(b"a"),
        Bytes::from_static(b"a\0"),
        Bytes::from_static(b"a\0\0"),
        Bytes::from_static(b"a\0b"),
        Bytes::from_static(b"aa"),
        Bytes::from_static(&[0x7F]),
        Bytes::from_static(&[0x80]),
        Bytes::from_static(&[0xFF]),
        Bytes::from_static(&[0xFF, 0]),
        Bytes::from_static(&[0xFF, 0xFF]),
    ];
    for (at, key) in keys.iter().enumerate().rev() {
        let mut txn = begin(store).await;
        txn.put(key.clone(), text(at.to_string()));
        commit(txn).await;
    }
    assert_eq!(keys_now(store, &everything()).await, keys);
    keys.reverse();
    let backward = scan_keys(&mut begin(store).await, &everything(), 100, Direction::Backward).await;
    assert_eq!(backward, keys);
}

/// A scan for keys gives the keys of a scan.
pub async fn keys_alone_are_those_of_the_entries<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, (0..60).map(|at| (format!("k{at:02}"), format!("{at}")))).await;
    put_all(store, (0..60).step_by(3).map(|at| (format!("k{at:02}"), "again"))).await;
    let mut txn = begin(store).await;
    for at in (0..60).step_by(4) {
        txn.delete(text(format!("k{at:02}")));
        txn.put(text(format!("k{at:02}+")), text("own"));
    }
    for direction in [Direction::Forward, Direction::Backward] {
        for (range, count) in [(everything(), 100), (everything(), 13), (KeyRange::new("k2", "k4"), 100)] {
            let entries = scan(&mut txn, &range, count, direction).await;
            let keys: Vec<_> = entries.into_iter().map(|(key, _)| key).collect();
            assert_eq!(scan_keys(&mut txn, &range, count, direction).await, keys);
        }
    }
}

/// A scan over what was removed goes on to what is there.
pub async fn removed_keys_do_not_count<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, (0..3_000).map(|at| (format!("k{at:04}"), "1"))).await;
    let mut txn = begin(store).await;
    for at in (0..3_000).filter(|at| at % 1_000 != 500) {
        txn.delete(text(format!("k{at:04}")));
    }
    commit(txn).await;
    let mut txn = begin(store).await;
    let forward = scan_keys(&mut txn, &everything(), 2, Direction::Forward).await;
    assert_eq!(forward, ["k0500", "k1500"]);
    let backward = scan(&mut txn, &everything(), 2, Direction::Backward).await;
    assert_eq!(backward, entries([("k2500", "1"), ("k1500", "1")]));
}
