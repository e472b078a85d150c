//! Files: what is written comes back, and nothing that was changed or cut does.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use tidegate_store::Version;
use uuid::Uuid;

use crate::frame::{self, CONTENT_MAX_BYTES, FrameKind, HEAD_BYTES, INTRODUCTION_BYTES};
use crate::{Compression, Decoder, Encoder, FORMAT, FileError, Header, Part, Summary};

type Entries = BTreeMap<Bytes, Bytes>;

fn header() -> Header {
    Header {
        store_format: 1,
        snapshot: Version(0x0672_3045_0003_0001),
        taken_ms: 1_772_000_000_123,
        cluster: Some(Uuid::from_u128(7)),
        release: "0.1.0".to_owned(),
    }
}

fn encoded(header: &Header, entries: &Entries, compression: Compression) -> Vec<u8> {
    let (mut encoder, first) = Encoder::begin(header, compression);
    let mut file = first.to_vec();
    for (key, value) in entries {
        file.extend(encoder.entry(key, value).unwrap_or_default());
    }
    file.extend(encoder.end());
    file
}

/// Reads a file in pieces of some lengths, again and again.
fn decoded(file: &[u8], lengths: &[usize]) -> Result<(Entries, Summary), FileError> {
    let mut decoder = Decoder::new();
    let mut entries = Entries::new();
    let mut header = None;
    let mut lengths = lengths.iter().cycle();
    let mut rest = file;
    while !rest.is_empty() {
        let length = (*lengths.next().expect("they never end")).clamp(1, rest.len());
        decoder.feed(&rest[..length]);
        rest = &rest[length..];
        while let Some(part) = decoder.next_part()? {
            match part {
                Part::Header(found) => assert_eq!(header.replace(found), None),
                Part::Entries(found) => {
                    assert!(header.is_some() && !found.is_empty());
                    entries.extend(found);
                }
                Part::End => {}
            }
        }
    }
    let summary = decoder.finish()?;
    assert_eq!(header.as_ref(), Some(&summary.header));
    Ok((entries, summary))
}

fn some_entries(count: u32) -> Entries {
    let value =
        |number: u32| format!("value {number} ").repeat(usize::try_from(number % 7 + 1).expect("few"));
    (0..count).map(|number| (number.to_be_bytes().to_vec().into(), value(number).into())).collect()
}

fn octets(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 1..max).prop_map(Bytes::from)
}

proptest! {
    #[test]
    fn what_was_written_comes_back_in_pieces_of_any_size(
        entries in btree_map(octets(40), octets(3_000), 0..60),
        lengths in vec(1..5_000_usize, 1..8),
        cluster in any::<Option<u128>>().prop_map(|id| id.map(|id| Uuid::from_u128(id | 1))),
        release in "[ -~é]{0,60}",
        compress in any::<bool>(),
        big in any::<bool>(),
    ) {
        let mut entries = entries;
        if big {
            // More than one frame, and a value that is longer than a frame commonly is.
            entries.insert(vec![0x55; 30].into(), vec![1; 3 << 20].into());
            entries.insert(vec![0x56; 30].into(), (0..(1_u32 << 18)).flat_map(u32::to_be_bytes).collect());
        }
        let header = Header { cluster, release, ..header() };
        let compression = if compress { Compression::Zstd } else { Compression::None };
        let file = encoded(&header, &entries, compression);
        let (found, summary) = decoded(&file, &lengths).expect("it is whole");
        prop_assert_eq!(&found, &entries);
        prop_assert_eq!(summary.entries, entries.len() as u64);
        let bytes: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        prop_assert_eq!(summary.entry_bytes, bytes as u64);
        prop_assert_eq!(summary.file_bytes, file.len() as u64);
        prop_assert_eq!(summary.header, header);
    }

    #[test]
    fn bytes_at_random_are_no_backup_and_no_panic(bytes in vec(any::<u8>(), 0..400), whole in any::<bool>()) {
        let mut file = if whole { encoded(&header(), &some_entries(3), Compression::None) } else { Vec::new() };
        let is_changed = !(whole && bytes.is_empty());
        file.extend(&bytes);
        prop_assert_eq!(decoded(&file, &[7]).is_err(), is_changed);
    }
}

#[test]
fn every_cut_is_noticed_with_the_place() {
    for compression in [Compression::None, Compression::Zstd] {
        let file = encoded(&header(), &some_entries(40), compression);
        for length in 0..file.len() {
            let cut = decoded(&file[..length], &[file.len()]).map(drop);
            assert_eq!(cut, Err(FileError::CutOff { offset: length as u64 }), "{length}");
        }
        decoded(&file, &[file.len()]).expect("whole it is fine");
    }
}

#[test]
fn every_changed_bit_is_noticed_in_its_frame() {
    for compression in [Compression::None, Compression::Zstd] {
        let file = encoded(&header(), &some_entries(40), compression);
        for bit in 0..file.len() * 8 {
            let mut changed = file.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            match decoded(&changed, &[file.len()]).map(drop).expect_err("it is damaged") {
                FileError::NotABackup | FileError::NewerFormat { .. } => {
                    assert!(bit / 8 < INTRODUCTION_BYTES);
                }
                FileError::Damaged { offset, .. } => {
                    assert!(offset <= (bit / 8) as u64, "{offset}, bit {bit}");
                }
                other => panic!("bit {bit}: {other}"),
            }
        }
    }
}

#[test]
fn a_frame_that_is_missing_or_twice_or_in_another_place_is_noticed() {
    let entries: Entries =
        (0..4_u8).map(|number| (vec![number + 1].into(), vec![number; 1 << 20].into())).collect();
    let (mut encoder, first) = Encoder::begin(&header(), Compression::None);
    let frames: Vec<Bytes> =
        entries.iter().map(|(key, value)| encoder.entry(key, value).expect("a frame each")).collect();
    let end = encoder.end();
    let read = |order: &[usize]| {
        let frames = order.iter().flat_map(|frame| frames[*frame].to_vec());
        let file: Vec<u8> = first.iter().copied().chain(frames).chain(end.iter().copied()).collect();
        decoded(&file, &[file.len()]).map(drop)
    };
    assert_eq!(read(&[0, 1, 2, 3]), Ok(()));
    for order in [&[0, 1, 2][..], &[1, 2, 3], &[0, 2, 1, 3], &[0, 1, 1, 2, 3], &[]] {
        let refused = read(order);
        assert!(matches!(refused, Err(FileError::Damaged { .. })), "{order:?}: {refused:?}");
    }
}

#[test]
fn a_newer_format_is_refused_by_number_before_anything_else() {
    let mut file = encoded(&header(), &Entries::new(), Compression::None);
    file[8..12].copy_from_slice(&(FORMAT + 1).to_be_bytes());
    file.truncate(INTRODUCTION_BYTES);
    let refused = decoded(&file, &[100]).map(drop);
    assert_eq!(refused, Err(FileError::NewerFormat { found: FORMAT + 1, supported: FORMAT }));
}

#[test]
fn more_than_the_end_mark_is_refused() {
    let mut file = encoded(&header(), &some_entries(2), Compression::None);
    let offset = file.len() as u64;
    file.push(0);
    let mut decoder = Decoder::new();
    decoder.feed(&file);
    assert_eq!(decoder.finish(), Err(FileError::Trailing { offset }));
}

#[test]
fn what_could_not_go_on_says_why() {
    let (mut encoder, first) = Encoder::begin(&header(), Compression::Zstd);
    assert_eq!(encoder.entry(&Bytes::from_static(b"key"), b"value"), None);
    let file = [&first[..], &encoder.broken_off("the disk is full")].concat();
    let refused = decoded(&file, &[3]).map(drop);
    assert_eq!(refused, Err(FileError::BrokenOff { reason: "the disk is full".to_owned() }));
}

/// A file whose second frame is made by hand, with checksums that match.
fn with_frame(kind: FrameKind, content: &[u8], decompressed_bytes: usize) -> Vec<u8> {
    let (_, first) = Encoder::begin(&header(), Compression::None);
    let mut file = first.to_vec();
    frame::put(kind, 1, content, decompressed_bytes, &mut file);
    file
}

#[test]
fn lengths_that_were_made_to_hurt_are_refused_before_anything_is_made_for_them() {
    let entry =
        |key: u16, value: u32, rest: &[u8]| [&key.to_be_bytes()[..], &value.to_be_bytes(), rest].concat();
    let zstd = |content: &[u8]| zstd::bulk::compress(content, 1).expect("it can be compressed");
    let zeros = vec![0; 1 << 20];
    let hostile: Vec<(&str, Vec<u8>)> = vec![
        ("a key of nothing", with_frame(FrameKind::Entries, &entry(0, 1, b"v"), 7)),
        ("a value of nothing", with_frame(FrameKind::Entries, &entry(1, 0, b"k"), 7)),
        ("a key over the limit", with_frame(FrameKind::Entries, &entry(u16::MAX, 1, b"kv"), 8)),
        ("a value over the limit", with_frame(FrameKind::Entries, &entry(1, u32::MAX, b"kv"), 8)),
        ("a value longer than its frame", with_frame(FrameKind::Entries, &entry(1, 1 << 20, b"kv"), 8)),
        ("half an entry", with_frame(FrameKind::Entries, &[0, 1, 0], 3)),
        ("keys that fall", {
            let content = [entry(1, 1, b"bv"), entry(1, 1, b"av")].concat();
            with_frame(FrameKind::Entries, &content, content.len())
        }),
        ("two lengths without compression", with_frame(FrameKind::Entries, &entry(1, 1, b"kv"), 9)),
        ("less after decompression", with_frame(FrameKind::CompressedEntries, &zstd(&zeros), 2 << 20)),
        ("more after decompression", with_frame(FrameKind::CompressedEntries, &zstd(&zeros), 1 << 10)),
        ("nothing that was compressed", with_frame(FrameKind::CompressedEntries, b"not zstd", 100)),
        ("a second header", with_frame(FrameKind::Header, b"", 0)),
        ("an end mark of another length", with_frame(FrameKind::End, b"short", 5)),
    ];
    for (what, file) in hostile {
        let refused = decoded(&file, &[file.len()]).map(drop);
        assert!(matches!(refused, Err(FileError::Damaged { frame: 1, .. })), "{what}: {refused:?}");
    }
    // A length that no frame can have, in a head whose checksum matches.
    let mut file = with_frame(FrameKind::Entries, b"", 0);
    let at = file.len() - HEAD_BYTES;
    let too_long = u32::try_from(CONTENT_MAX_BYTES + 1).expect("it fits").to_be_bytes();
    file[at + 5..at + 9].copy_from_slice(&too_long);
    file[at + 9..at + 13].copy_from_slice(&too_long);
    let crc = crc32c::crc32c(&file[at..at + 17]).to_be_bytes();
    file[at + 17..].copy_from_slice(&crc);
    let refused = decoded(&file, &[file.len()]).map(drop);
    assert!(matches!(refused, Err(FileError::Damaged { frame: 1, .. })), "{refused:?}");
}

#[test]
fn the_bytes_are_those_that_are_written_down() {
    let header =
        Header { snapshot: Version(2), taken_ms: 3, cluster: None, release: "r".to_owned(), ..header() };
    let entries = Entries::from([(Bytes::from_static(b"k"), Bytes::from_static(b"v"))]);
    let file = encoded(&header, &entries, Compression::None);
    assert_eq!(file[..12], *b"TIDEGBAK\0\0\0\x01");
    let content =
        [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0][..], &[0; 16], b"r"].concat();
    assert_eq!(file[12..25], [1, 0, 0, 0, 0, 0, 0, 0, 38, 0, 0, 0, 38]);
    assert_eq!(file[25..29], crc32c::crc32c(&content).to_be_bytes());
    assert_eq!(file[29..33], crc32c::crc32c(&file[12..29]).to_be_bytes());
    assert_eq!(file[33..71], content);
    assert_eq!(file[71..84], [2, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 8]);
    assert_eq!(file[92..100], [0, 1, 0, 0, 0, 1, b'k', b'v']);
    assert_eq!(file[100..105], [4, 0, 0, 0, 2]);
    assert_eq!(file[121..137], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(file.len(), 137 + 32);
}
