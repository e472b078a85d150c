//! Batches: round trips, real clients' bytes, and bytes that are none.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 24;

fn record(
    offset_delta: i32,
    timestamp_ms: i64,
    key: Option<&'static [u8]>,
    value: Option<&'static [u8]>,
) -> Record {
    Record {
        offset_delta,
        timestamp_ms,
        key: key.map(Bytes::from_static),
        value: value.map(Bytes::from_static),
        headers: Vec::new(),
    }
}

/// What the golden batches hold.
fn golden_records() -> Vec<Record> {
    let mut first = record(0, 1_700_000_000_000, Some(b"key"), Some(b"value"));
    first.headers = vec![
        ("trace".into(), Some(Bytes::from_static(b"abc"))),
        ("trace".into(), None),
        ("empty".into(), Some(Bytes::new())),
    ];
    let mut big = record(4, 1_700_000_003_000, Some(b"big"), None);
    big.value = Some((b'a'..=b'z').cycle().take(20_000).collect());
    vec![
        first,
        record(1, 1_699_999_999_000, None, Some(b"no key")),
        record(2, 1_700_000_001_000, Some(b"tombstone"), None),
        record(3, 1_700_000_002_000, Some(b""), Some(b"")),
        big,
    ]
}

macro_rules! golden {
    ($($client:literal $codec:literal $compression:ident),* $(,)?) => {
        [$(($client, Compression::$compression,
            &include_bytes!(concat!("golden/", $client, "-", $codec, ".batch"))[..])),*]
    };
}

#[test]
fn batches_of_real_clients_are_read() {
    let batches = golden![
        "java" "none" None, "java" "gzip" Gzip, "java" "snappy" Snappy, "java" "lz4" Lz4, "java" "zstd" Zstd,
        "librdkafka" "none" None, "librdkafka" "gzip" Gzip, "librdkafka" "snappy" Snappy,
        "librdkafka" "lz4" Lz4, "librdkafka" "zstd" Zstd,
        "kafka-python" "none" None, "kafka-python" "gzip" Gzip, "kafka-python" "snappy" Snappy,
        "kafka-python" "lz4" Lz4, "kafka-python" "zstd" Zstd,
    ];
    for (client, compression, bytes) in batches {
        let batch = Bytes::from_static(bytes);
        let header = check_produced(&batch).unwrap_or_else(|error| panic!("{client} {compression}: {error}"));
        assert_eq!(header.compression(), Ok(compression), "{client}");
        assert_eq!(header.record_count, 5, "{client} {compression}");
        assert_eq!(header.max_timestamp, 1_700_000_003_000, "{client} {compression}");
        assert_eq!(decode_records(&batch, LIMIT), Ok(golden_records()), "{client} {compression}");
        if client == "java" {
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (4711, 3, 17));
            assert_eq!(header.last_sequence(), 21);
        }
    }
}

#[test]
fn an_uncompressed_batch_is_byte_for_byte_what_java_writes() {
    let options = BatchOptions {
        partition_leader_epoch: -1,
        producer_id: 4711,
        producer_epoch: 3,
        base_sequence: 17,
        ..BatchOptions::default()
    };
    let ours = encode_batch(&golden_records(), &options).expect("it encodes");
    let java = include_bytes!("golden/java-none.batch");
    assert_eq!(ours.as_ref(), java);
}

#[test]
fn damage_is_named() {
    let good = Bytes::from_static(include_bytes!("golden/java-none.batch"));
    assert_eq!(check(&good[..60]), Err(BatchError::Truncated { needed: 61, found: 60 }));
    assert_eq!(check(&good[..10]), Err(BatchError::Truncated { needed: 61, found: 10 }));
    let size = good.len();
    assert_eq!(check(&good[..size - 1]), Err(BatchError::Truncated { needed: size, found: size - 1 }));
    let longer = [&good[..], &[0, 0]].concat();
    assert_eq!(check(&longer), Err(BatchError::Trailing { extra: 2 }));
    let mut magic = BytesMut::from(&good[..]);
    magic[16] = 1;
    assert_eq!(check(&magic), Err(BatchError::Magic { found: 1 }));
    let mut flipped = BytesMut::from(&good[..]);
    flipped[size - 1] ^= 1;
    assert!(matches!(check(&flipped), Err(BatchError::Crc { .. })));
    for length in [-1_i32, 0, 48, i32::MIN] {
        let mut short = BytesMut::from(&good[..]);
        short[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(check(&short), Err(BatchError::Header { field: "batch_length", value: length.into() }));
    }
}

/// The batch with these bytes of the header changed, and its CRC made right.
fn forged(batch: &[u8], at: usize, bytes: &[u8]) -> Bytes {
    let mut forged = BytesMut::from(batch);
    forged[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&forged[21..]).to_be_bytes();
    forged[17..21].copy_from_slice(&crc);
    forged.freeze()
}

#[test]
fn a_producer_keeps_to_the_rules() {
    let good = include_bytes!("golden/java-none.batch");
    let field_of = |batch: Bytes| match check_produced(&batch) {
        Err(BatchError::Header { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field_of(forged(good, 57, &4_i32.to_be_bytes())), "record_count");
    assert_eq!(field_of(forged(good, 57, &0_i32.to_be_bytes())), "record_count");
    assert_eq!(field_of(forged(good, 57, &(-1_i32).to_be_bytes())), "record_count");
    assert_eq!(field_of(forged(good, 23, &(-1_i32).to_be_bytes())), "last_offset_delta");
    assert_eq!(field_of(forged(good, 21, &[0, 0x20])), "control");
    assert_eq!(field_of(forged(good, 53, &(-1_i32).to_be_bytes())), "base_sequence");
    assert_eq!(field_of(forged(good, 51, &(-1_i16).to_be_bytes())), "producer_epoch");
    for id in 5..=7 {
        assert_eq!(check(&forged(good, 21, &[0, id])), Err(BatchError::UnknownCompression { id }));
    }
    // A log may hold what a producer may not send: compaction leaves gaps.
    check(&forged(good, 57, &4_i32.to_be_bytes())).expect("fewer records than offsets");
}

#[test]
fn records_that_lie_are_found_out() {
    let good = include_bytes!("golden/java-none.batch");
    let more = forged(good, 57, &6_i32.to_be_bytes());
    assert_eq!(decode_records(&more, LIMIT), Err(BatchError::Record { index: 5, field: "length" }));
    let fewer = forged(good, 57, &4_i32.to_be_bytes());
    assert_eq!(decode_records(&fewer, LIMIT), Err(BatchError::Record { index: 4, field: "count" }));
    let mut records = records(&fewer, LIMIT).expect("the batch is intact");
    assert_eq!(records.by_ref().take(4).filter(Result::is_ok).count(), 4);
    assert!(records.next().expect("the error").is_err());
    assert!(records.next().is_none(), "after an error it ends");
}

#[test]
fn sequences_count_from_zero_again() {
    assert_eq!(increment_sequence(i32::MAX, 1), 0);
    assert_eq!(increment_sequence(i32::MAX - 1, 5), 3);
    assert_eq!(increment_sequence(0, i32::MAX), i32::MAX);
}

#[test]
fn a_payload_is_cut_into_its_batches() {
    let batch = Bytes::from_static(include_bytes!("golden/java-zstd.batch"));
    let payload: Bytes = [&batch[..], &batch[..], &batch[..]].concat().into();
    assert_eq!(split(payload.clone()), Ok(vec![batch.clone(); 3]));
    assert_eq!(split(Bytes::new()), Ok(vec![]));
    let cut = payload.slice(..payload.len() - 1);
    assert_eq!(
        split(cut.clone()),
        Err(BatchError::Truncated { needed: batch.len(), found: batch.len() - 1 })
    );
    assert_eq!(split_fetched(cut), Ok(vec![batch.clone(); 2]));
    let stub = payload.slice(..batch.len() + 11);
    assert_eq!(split(stub.clone()), Err(BatchError::Truncated { needed: 12, found: 11 }));
    assert_eq!(split_fetched(stub), Ok(vec![batch.clone()]));
    let mut endless = BytesMut::from(&batch[..]);
    endless[8..12].copy_from_slice(&(-12_i32).to_be_bytes());
    split(endless.freeze()).expect_err("a batch of no length would never end");
}

#[test]
fn the_append_time_is_that_of_every_record() {
    let batch = Bytes::from_static(include_bytes!("golden/java-lz4.batch"));
    let rewritten = rewrite_log_append_time(batch, 1_800_000_000_000);
    let header = check(&rewritten).expect("the CRC fits");
    assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(header.max_timestamp, 1_800_000_000_000);
    assert_eq!(header.compression(), Ok(Compression::Lz4));
    let records = decode_records(&rewritten, LIMIT).expect("it decodes");
    assert!(records.iter().all(|record| record.timestamp_ms == 1_800_000_000_000));
}

#[test]
fn a_batch_can_be_sent_again_under_another_epoch() {
    let batch = Bytes::from_static(include_bytes!("golden/java-gzip.batch"));
    let again = check(&rewrite_producer(batch.clone(), 4711, 4, 0)).expect("the CRC fits");
    let before = check(&batch).expect("intact");
    assert_eq!(again, BatchHeader { producer_epoch: 4, base_sequence: 0, crc: again.crc, ..before });
}

#[test]
fn patching_copies_only_what_is_shared() {
    let owned = Bytes::from(include_bytes!("golden/java-none.batch").to_vec());
    let at = owned.as_ptr();
    let patched = patch(owned, 42, 7);
    assert_eq!(patched.as_ptr(), at, "the only holder is changed in place");
    let kept = patched.clone();
    let other = patch(patched, 43, 8);
    assert_eq!(check(&kept).expect("untouched").base_offset, 42);
    assert_eq!(check(&other).expect("patched").base_offset, 43);
}

#[test]
fn a_bound_on_what_comes_out_is_kept() {
    let data = Bytes::from(vec![7; 100_000]);
    for codec in Compression::ALL.into_iter().filter(|codec| *codec != Compression::None) {
        let packed = compress(codec, data.clone()).expect("it compresses");
        assert_eq!(
            decompress(codec, packed.clone(), 100_000),
            Ok(data.clone()),
            "{codec}: exactly the bound"
        );
        let limit = 99_999;
        assert_eq!(decompress(codec, packed, limit), Err(BatchError::TooLarge { limit }), "{codec}");
    }
}

#[test]
fn an_empty_batch_is_not_written() {
    assert_eq!(
        encode_batch(&[], &BatchOptions::default()),
        Err(BatchError::Header { field: "record_count", value: 0 })
    );
    let twice = [record(1, 0, None, None), record(1, 0, None, None)];
    encode_batch(&twice, &BatchOptions::default()).expect_err("offsets grow");
}

#[test]
fn varints_take_the_bytes_that_they_say() {
    for value in [0, -1, 1, 63, 64, -64, -65, 8191, 8192, i64::from(i32::MAX), i64::MAX, i64::MIN] {
        let mut buf = BytesMut::new();
        varint::put(&mut buf, value);
        assert_eq!(buf.len(), varint::len(value), "{value}");
        let mut rest = buf.as_ref();
        assert_eq!(varint::take(&mut rest), Some(value));
        assert!(rest.is_empty());
    }
    assert_eq!(varint::take(&mut &[0x80; 11][..]), None, "endless");
    assert_eq!(
        varint::take(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2][..]),
        None,
        "65 bits"
    );
}

fn some_bytes() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..60).prop_map(Bytes::from))
}

fn some_records() -> impl Strategy<Value = Vec<Record>> {
    let headers = prop::collection::vec(("[a-zé]{0,6}", some_bytes()), 0..4);
    let one = (1..1000_i32, any::<i64>(), some_bytes(), some_bytes(), headers);
    prop::collection::vec(one, 1..20).prop_map(|all| {
        let mut next = 0;
        all.into_iter()
            .map(|(gap, timestamp_ms, key, value, headers)| {
                let offset_delta = next;
                next += gap;
                Record { offset_delta, timestamp_ms, key, value, headers }
            })
            .collect()
    })
}

fn some_options() -> impl Strategy<Value = BatchOptions> {
    (any::<(i64, i32, i64, i16, i32, bool, bool)>(), prop::sample::select(&Compression::ALL[..])).prop_map(
        |(
            (base_offset, epoch, producer_id, producer_epoch, base_sequence, transactional, control),
            compression,
        )| {
            BatchOptions {
                base_offset,
                partition_leader_epoch: epoch,
                compression,
                timestamp_type: TimestampType::CreateTime,
                producer_id,
                producer_epoch,
                base_sequence,
                transactional,
                control,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn records_survive_the_round_trip(records in some_records(), options in some_options()) {
        let batch = encode_batch(&records, &options).expect("it encodes");
        let header = check(&batch).expect("it is intact");
        prop_assert_eq!(header.base_offset, options.base_offset);
        prop_assert_eq!(header.partition_leader_epoch, options.partition_leader_epoch);
        prop_assert_eq!(header.compression(), Ok(options.compression));
        prop_assert_eq!(header.producer_id, options.producer_id);
        prop_assert_eq!(header.producer_epoch, options.producer_epoch);
        prop_assert_eq!(header.base_sequence, options.base_sequence);
        prop_assert_eq!(header.is_transactional(), options.transactional);
        prop_assert_eq!(header.is_control(), options.control);
        prop_assert!(!header.has_delete_horizon());
        prop_assert_eq!(header.size_bytes(), batch.len());
        let highest = records.iter().map(|record| record.timestamp_ms).max();
        prop_assert_eq!(Some(header.max_timestamp), highest.map(|highest| highest.max(NO_TIMESTAMP)));
        prop_assert_eq!(decode_records(&batch, LIMIT).expect("it decodes"), records);
    }

    #[test]
    fn patching_keeps_the_batch_valid(records in some_records(), options in some_options(), offset: i64, epoch: i32) {
        let batch = encode_batch(&records, &options).expect("it encodes");
        let patched = patch(batch.clone(), offset, epoch);
        let header = check(&patched).expect("the CRC still fits");
        prop_assert_eq!((header.base_offset, header.partition_leader_epoch), (offset, epoch));
        prop_assert_eq!(&patched[PREFIX_LEN..], &batch[PREFIX_LEN..]);
        prop_assert_eq!(&patched[..PREFIX_LEN], &patched_prefix(&batch, offset, epoch)[..]);
        prop_assert_eq!(decode_records(&patched, LIMIT).expect("it decodes"), records);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        let _ = check_produced(&bytes);
        let _ = split(bytes.clone());
        let _ = split_fetched(bytes.clone());
        let _ = decode_records(&bytes, LIMIT);
        for codec in Compression::ALL {
            let _ = decompress(codec, bytes.clone(), 10_000);
        }
    }

    #[test]
    fn an_intact_batch_around_arbitrary_records_never_panics(
        attributes in 0..8_u8, count: i32, body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut batch = BytesMut::zeroed(HEADER_LEN);
        batch.put_slice(&body);
        let length = i32::try_from(batch.len() - 12).expect("small");
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[16] = 2;
        batch[57..61].copy_from_slice(&count.to_be_bytes());
        let _ = decode_records(&forged(&batch, 21, &[0, attributes]), 10_000);
    }

    #[test]
    fn mutated_batches_never_panic(
        records in some_records(), options in some_options(),
        mutations in prop::collection::vec(any::<(u16, u8)>(), 1..5),
    ) {
        let mut batch = BytesMut::from(encode_batch(&records, &options).expect("it encodes"));
        let size = batch.len();
        for (at, byte) in mutations {
            // The body, so that the header lets it through.
            let at = HEADER_LEN + usize::from(at) % (size - HEADER_LEN);
            batch[at] = byte;
        }
        let crc = crc32c::crc32c(&batch[21..]).to_be_bytes();
        batch[17..21].copy_from_slice(&crc);
        let _ = decode_records(&batch.freeze(), LIMIT);
    }
}
