//! What hostile lengths cost: measured at the allocator. One test, as the allocator counts the whole process.

use std::alloc::System;

use bytes::{BufMut, Bytes, BytesMut};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tidegate_protocol::batch::{self, BatchError, BatchOptions, Compression, Record};
use tidegate_protocol::frame::{self, RequestHead};
use tidegate_protocol::messages::{FetchRequest, MetadataRequest, OffsetCommitRequest, ProduceRequest};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Errors and their texts, and some room.
const SMALL: usize = 16 * 1024;

fn allocated<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let region = Region::new(ALLOCATOR);
    let result = work();
    let change = region.change();
    (change.bytes_allocated, result)
}

/// A compact count of four billion.
const COMPACT_HUGE: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];
/// A plain count of two billion.
const HUGE: [u8; 4] = [0x7f, 0xff, 0xff, 0xff];

#[test]
fn no_length_on_the_wire_is_allocated_before_it_is_proven() {
    array_counts();
    request_heads();
    decompression();
    record_counts();
}

fn array_counts() {
    let mut fetch_v4 = BytesMut::zeroed(17);
    fetch_v4.put_slice(&HUGE);
    let (bytes, result) = allocated(|| frame::decode_request::<FetchRequest>(4, fetch_v4.freeze()));
    result.expect_err("two billion topics in no bytes");
    assert!(bytes < SMALL, "Fetch v4: {bytes} bytes");

    let (bytes, result) =
        allocated(|| frame::decode_request::<MetadataRequest>(12, Bytes::from_static(&COMPACT_HUGE)));
    result.expect_err("four billion topics in no bytes");
    assert!(bytes < SMALL, "Metadata v12: {bytes} bytes");

    // A count that the frame's size allows, of elements that are not there.
    let mut padded = BytesMut::from(&1_000_000_u32.to_be_bytes()[..]);
    padded.put_bytes(0, 1_000_000);
    let (bytes, result) = allocated(|| frame::decode_request::<MetadataRequest>(1, padded.freeze()));
    result.expect_err("half a million topics and a bit");
    assert!(bytes < SMALL, "Metadata v1: {bytes} bytes");

    let mut produce_v9 = BytesMut::zeroed(7);
    produce_v9.put_slice(&[2, 2, b't', 2, 0, 0, 0, 0]);
    produce_v9.put_slice(&COMPACT_HUGE);
    let (bytes, result) = allocated(|| frame::decode_request::<ProduceRequest>(9, produce_v9.freeze()));
    result.expect_err("four gigabytes of records in no bytes");
    assert!(bytes < SMALL, "Produce v9: {bytes} bytes");

    let mut response = BytesMut::zeroed(4 + 4);
    response.put_slice(&HUGE);
    let (bytes, result) = allocated(|| frame::decode_response::<OffsetCommitRequest>(3, response.freeze()));
    result.expect_err("two billion topics in no bytes");
    assert!(bytes < SMALL, "OffsetCommit v3: {bytes} bytes");
}

fn request_heads() {
    // Fetch v12: a client id of 32,767 bytes that is not there; then four billion tagged fields.
    for tail in [&[0x7f, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
        let mut head = BytesMut::from(&[0, 1, 0, 12, 0, 0, 0, 1][..]);
        head.put_slice(tail);
        let (bytes, result) = allocated(|| RequestHead::decode(head.freeze()));
        result.expect_err("it is cut short");
        assert!(bytes < SMALL, "{bytes} bytes");
    }
}

fn decompression() {
    let limit = 1 << 20;
    let bomb = Bytes::from(vec![0; 64 << 20]);
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let packed = batch::compress(codec, bomb.clone()).expect("it compresses");
        let (bytes, result) = allocated(|| batch::decompress(codec, packed, limit));
        assert_eq!(result, Err(BatchError::TooLarge { limit }), "{codec}");
        // The doublings up to the limit, the decoder's own tables and windows.
        assert!(bytes < 16 * limit, "{codec}: {bytes} bytes for a limit of {limit}");
    }
    // A snappy block that announces four gigabytes, and one that announces what its bytes cannot hold.
    for announced in [&COMPACT_HUGE[..], &[0x80, 0x80, 0x20]] {
        let (bytes, result) =
            allocated(|| batch::decompress(Compression::Snappy, Bytes::copy_from_slice(announced), limit));
        result.expect_err("it announces too much");
        assert!(bytes < SMALL, "{bytes} bytes");
    }
    // A zstd frame that announces a window of 2 GiB, in no content.
    let window = Bytes::from_static(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00]);
    let (bytes, result) = allocated(|| batch::decompress(Compression::Zstd, window, limit));
    result.expect_err("the window is too large");
    assert!(bytes < SMALL + limit, "{bytes} bytes");
}

fn record_counts() {
    let record = Record { value: Some(Bytes::from_static(b"value")), ..Record::default() };
    let batch = batch::encode_batch(&[record], &BatchOptions::default()).expect("it encodes");
    // Two billion records, by the header; the CRC is made right.
    let mut hostile = BytesMut::from(batch);
    hostile[57..61].copy_from_slice(&HUGE);
    let crc = crc32c::crc32c(&hostile[21..]).to_be_bytes();
    hostile[17..21].copy_from_slice(&crc);
    let (bytes, result) = allocated(|| batch::decode_records(&hostile.freeze(), 1 << 20));
    result.expect_err("there is one record");
    assert!(bytes < SMALL, "{bytes} bytes");
}
