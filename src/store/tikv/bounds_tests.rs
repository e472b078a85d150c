use super::*;

#[test]
fn a_row_is_read_as_it_was_written_and_no_other_row_is() {
    let bounds = Bounds::of_fields([5_000, 60_000, 1 << 25, 30_000, 10_000]);
    let row = bounds.encode();
    let golden: [&[u8]; 6] = [
        &[1],
        &[0, 0, 0, 0, 0, 0, 0x13, 0x88],
        &[0, 0, 0, 0, 0, 0, 0xea, 0x60],
        &[0, 0, 0, 0, 2, 0, 0, 0],
        &[0, 0, 0, 0, 0, 0, 0x75, 0x30],
        &[0, 0, 0, 0, 0, 0, 0x27, 0x10],
    ];
    assert_eq!(row, golden.concat());
    assert_eq!(Bounds::decode(&row), Some(bounds));
    let newer = [&[2], &row[1..]].concat();
    let longer = [row.as_slice(), &[0]].concat();
    let much_longer = [row.as_slice(), &[0; 8]].concat();
    for other in [b"".as_slice(), &row[..row.len() - 1], &newer, &longer, &much_longer] {
        assert_eq!(Bounds::decode(other), None, "{other:?}");
    }
}

#[test]
fn what_bounds_two_processes_is_the_higher_of_each_setting() {
    let (one, other) = (Bounds::of_fields([1, 20, 300, 4, 50]), Bounds::of_fields([2, 10, 300, 5, 40]));
    assert_eq!(one.with(other), Bounds::of_fields([2, 20, 300, 5, 50]));
    assert_eq!(other.with(one), one.with(other));
}

#[test]
fn a_process_is_held_to_what_the_namespace_has_and_told_of_each_setting_that_was_higher() {
    let mut options = TikvOptions::new("tikv://pd:2379/n".parse().expect("an address"));
    let own = Bounds::of(&options);
    assert_eq!(own.hold(&mut options), []);
    assert_eq!(Bounds::of(&options), own);

    let higher = Bounds::of_fields(own.fields().map(|field| field + 1));
    assert_eq!(higher.hold(&mut options), []);
    assert_eq!(Bounds::of(&options), own, "who wants less has less");

    let lower = Bounds::of_fields(own.fields().map(|field| field - 1));
    let held = lower.hold(&mut options);
    assert_eq!(Bounds::of(&options), lower);
    let each = own.fields().into_iter().zip(SETTINGS);
    let expected: Vec<Held> =
        each.map(|(wanted, setting)| Held { setting, wanted, bound: wanted - 1 }).collect();
    assert_eq!(held, expected);
}

#[test]
fn a_transaction_may_take_effect_as_long_as_it_lives_and_its_commit_takes() {
    let lasts_ms = |commit_max_ms, max_bytes| {
        Bounds::of_fields([commit_max_ms, 60_000, max_bytes, 0, 0]).transaction_lasts_ms()
    };
    assert!(lasts_ms(5_000, 1 << 20) >= 65_000);
    assert!(lasts_ms(5_000, 1 << 25) > lasts_ms(5_000, 1 << 20), "large ones take longer");
    assert_eq!(lasts_ms(u64::MAX, 1), u64::MAX);
}
