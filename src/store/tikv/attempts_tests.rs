use super::*;

fn rows() -> Rows {
    Rows::new(Run::new([7; RUN_BYTES]))
}

fn anchor(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn a_row_is_told_from_every_other_key() {
    let row = rows().take(&anchor("a"), Version(1));
    assert!(is_row(row.key()));
    assert!(row.key().starts_with(b"a"));
    for key in [b"".as_slice(), b"a", &MARK, &[0; 4_096], &[0xFF; 100]] {
        assert!(!is_row(key));
    }
    assert!(Run::new([7; RUN_BYTES]).wrote(row.key()));
    assert!(!Run::new([8; RUN_BYTES]).wrote(row.key()));
    assert!(!Run::new([7; RUN_BYTES]).wrote(b"a"));
}

#[test]
fn a_row_sorts_before_what_is_put_versioned_beside_it() {
    let row = rows().take(&anchor("outbox/"), Version(1));
    let put = [b"outbox/".as_slice(), &Version::first_of_ms(1_700_000_000_000).0.to_be_bytes()].concat();
    assert!(row.key().as_ref() < put.as_slice());
}

#[test]
fn attempts_under_way_have_rows_of_their_own() {
    let mut rows = rows();
    let mut taken: Vec<Bytes> = (0..100).map(|_| rows.take(&anchor("a"), Version(1)).key().clone()).collect();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 100);
}

#[test]
fn a_row_is_used_again_only_by_what_began_after_its_last_write() {
    let mut rows = rows();
    let first = rows.take(&anchor("a"), Version(1));
    let key = first.key().clone();
    rows.give_back(first, Version(5));
    let earlier = rows.take(&anchor("a"), Version(4));
    assert_ne!(*earlier.key(), key);
    assert_eq!(*rows.take(&anchor("a"), Version(5)).key(), key);
    assert_ne!(*rows.take(&anchor("a"), Version(9)).key(), key);
}

#[test]
fn rows_of_other_anchors_are_not_used() {
    let mut rows = rows();
    let row = rows.take(&anchor("a"), Version(1));
    rows.give_back(row, Version(2));
    assert!(rows.take(&anchor("b"), Version(3)).key().starts_with(b"b"));
}

#[test]
fn what_is_written_all_the_time_leaves_nothing_to_remove() {
    let mut rows = rows();
    for version in 1..20_000 {
        let row = rows.take(&anchor("state"), Version(version));
        rows.give_back(row, Version(version));
    }
    assert_eq!(rows.doomed(), 0);
    assert!(rows.uses.len() <= 4 * ANCHORS_MAX + 1);
    assert_eq!(rows.next_slot, 1);
}

#[test]
fn rows_of_anchors_that_are_not_written_any_more_are_to_be_removed() {
    let mut rows = rows();
    let count = 3 * ANCHORS_MAX;
    for n in 0..count {
        for name in [format!("once {n}"), "hot".to_owned()] {
            let row = rows.take(&anchor(&name), Version(9));
            rows.give_back(row, Version(1));
        }
    }
    assert!(rows.free.len() <= ANCHORS_MAX);
    assert!(rows.free.contains_key(&anchor("hot")));
    let doomed = rows.take_doomed(usize::MAX);
    assert!(doomed.len() + ANCHORS_MAX >= count);
    assert!(doomed.iter().all(|row| is_row(row) && row.starts_with(b"once")));
}

#[test]
fn one_anchor_keeps_a_bounded_number_of_rows() {
    let mut rows = rows();
    let taken: Vec<Row> = (0..300).map(|_| rows.take(&anchor("a"), Version(1))).collect();
    for row in taken {
        rows.give_back(row, Version(2));
    }
    assert_eq!(rows.free[&anchor("a")].slots.len(), ROWS_PER_ANCHOR_MAX);
    assert_eq!(rows.doomed(), 300 - ROWS_PER_ANCHOR_MAX);
    rows.doom_all();
    assert_eq!(rows.doomed(), 300);
}

#[test]
fn a_nonce_says_when_it_was_made() {
    let made = nonce(1_700_000_000_123, u128::MAX);
    assert_eq!(made_at_ms(made), 1_700_000_000_123);
    assert_ne!(made, nonce(1_700_000_000_123, 1));
    assert_eq!(nonce_in(&applied(made)), Some(made));
    assert_eq!(nonce_in(&never(made)), Some(made));
    assert_ne!(applied(made), never(made));
    assert_eq!(nonce_in(b"short"), None);
}
