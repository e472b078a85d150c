//! The layouts against the decoder that they guard.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;

use super::{Field, Kind, Layout, MAX_REQUEST_ELEMENTS, MAX_RESPONSE_ELEMENTS, WireLayout, check};
use crate::frame;
use crate::versions::{self, ApiRange};

/// What each test does to one API in one of its versions.
trait Case {
    fn run<R: WireLayout>(&mut self, version: i16);
}

/// Runs the case on every API that is served, in every version.
fn every_version(case: &mut impl Case) {
    fn one<R: WireLayout>(case: &mut impl Case, ran: &mut Vec<ApiKey>) {
        let range: &ApiRange = versions::served(R::KEY).expect("it is served");
        (range.min..=range.max).for_each(|version| case.run::<R>(version));
        ran.push(range.key);
    }
    let mut ran = Vec::new();
    macro_rules! all {
        ($($request:ident)*) => { $(one::<m::$request>(case, &mut ran);)* };
    }
    all!(ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
        FindCoordinatorRequest JoinGroupRequest HeartbeatRequest LeaveGroupRequest SyncGroupRequest
        DescribeGroupsRequest ListGroupsRequest ApiVersionsRequest CreateTopicsRequest DeleteTopicsRequest
        DeleteRecordsRequest InitProducerIdRequest OffsetForLeaderEpochRequest DescribeConfigsRequest
        AlterConfigsRequest DescribeLogDirsRequest CreatePartitionsRequest DeleteGroupsRequest
        IncrementalAlterConfigsRequest OffsetDeleteRequest DescribeClusterRequest);
    let served: Vec<ApiKey> = versions::SERVED.iter().map(|range| range.key).collect();
    assert_eq!(ran, served, "every API that is served is tested");
}

/// A body made at random along a layout.
struct Maker {
    seed: u64,
    flexible: bool,
    version: i16,
    body: BytesMut,
}

impl Maker {
    fn make(layout: &Layout, version: i16, seed: u64) -> Bytes {
        let flexible = version >= layout.flexible_since;
        let mut maker = Self { seed: seed | 1, flexible, version, body: BytesMut::new() };
        maker.fields(layout.fields);
        maker.body.freeze()
    }

    /// The next number below `end` (xorshift64).
    fn below(&mut self, end: u32) -> u32 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        u32::try_from((self.seed >> 16) % u64::from(end)).expect("below a u32")
    }

    fn fields(&mut self, fields: &[Field]) {
        let here: Vec<&Field> =
            fields.iter().filter(|f| (f.since..=f.until).contains(&self.version)).collect();
        let (tags, plain): (Vec<&Field>, _) = here.into_iter().partition(|f| matches!(f.kind, Kind::Tag(..)));
        plain.iter().for_each(|field| self.kind(&field.kind));
        if self.flexible {
            self.tagged(&tags);
        }
    }

    fn tagged(&mut self, tags: &[&Field]) {
        let mut values = Vec::new();
        for field in tags {
            let Kind::Tag(number, inner) = field.kind else { unreachable!("partitioned") };
            if self.below(2) == 0 {
                let outer = std::mem::take(&mut self.body);
                self.kind(inner);
                values.push((number, std::mem::replace(&mut self.body, outer)));
            }
        }
        for unknown in 0..self.below(3) {
            values.push((100 + unknown, BytesMut::from(&b"unknown"[..])));
        }
        self.varint(values.len());
        for (number, value) in values {
            self.varint(usize::try_from(number).expect("small"));
            self.varint(value.len());
            self.body.put_slice(&value);
        }
    }

    fn kind(&mut self, kind: &Kind) {
        match kind {
            Kind::Fixed(size) => {
                for _ in 0..*size {
                    let byte = self.below(256).to_be_bytes()[3];
                    self.body.put_u8(byte);
                }
            }
            Kind::Text => {
                let length = self.below(6);
                self.length(2, length);
                self.body.put_bytes(b'a', usize::try_from(length).expect("small"));
            }
            Kind::Bytes => {
                let length = self.below(300);
                self.length(4, length);
                self.body.put_bytes(0xff, usize::try_from(length).expect("small"));
            }
            Kind::Array(element) => {
                let count = self.below(4);
                self.length(4, count);
                (0..count).for_each(|_| self.kind(element));
            }
            Kind::Struct(fields) => self.fields(fields),
            Kind::Tag(_, inner) => self.kind(inner),
        }
    }

    fn length(&mut self, width: usize, length: u32) {
        if self.flexible {
            self.varint(usize::try_from(length).expect("small") + 1);
        } else {
            self.body.put_uint(u64::from(length), width);
        }
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.body.put_u8(u8::try_from(value & 0x7f).expect("7 bits") | 0x80);
            value >>= 7;
        }
        self.body.put_u8(u8::try_from(value).expect("7 bits"));
    }
}

fn decode_all<T: Decodable>(layout: &Layout, version: i16, body: &Bytes, what: ApiKey) {
    check(layout, version, body, usize::MAX).unwrap_or_else(|misfit| panic!("{what:?} v{version}: {misfit}"));
    let mut rest = body.clone();
    T::decode(&mut rest, version).unwrap_or_else(|error| panic!("{what:?} v{version} {body:?}: {error}"));
    assert!(rest.is_empty(), "{what:?} v{version}: {} bytes are left", rest.len());
}

struct Decodes {
    seed: u64,
}

impl Case for Decodes {
    fn run<R: WireLayout>(&mut self, version: i16) {
        let api = ApiKey::try_from(R::KEY).expect("known");
        decode_all::<R>(&R::REQUEST, version, &Maker::make(&R::REQUEST, version, self.seed), api);
        decode_all::<R::Response>(&R::RESPONSE, version, &Maker::make(&R::RESPONSE, version, self.seed), api);
    }
}

struct CutShort {
    seed: u64,
}

impl Case for CutShort {
    fn run<R: WireLayout>(&mut self, version: i16) {
        for layout in [&R::REQUEST, &R::RESPONSE] {
            let body = Maker::make(layout, version, self.seed);
            for end in 0..body.len() {
                check(layout, version, &body[..end], usize::MAX).expect_err("it is cut short");
            }
            let longer = [&body[..], &[0]].concat();
            check(layout, version, &longer, usize::MAX).expect_err("it has one byte more");
        }
    }
}

struct Mutated {
    seed: u64,
    mutations: Vec<(u16, u8)>,
}

impl Case for Mutated {
    fn run<R: WireLayout>(&mut self, version: i16) {
        let mutate = |body: Bytes| {
            let mut body = BytesMut::from(body);
            for (at, byte) in &self.mutations {
                let end = body.len().max(1);
                if let Some(place) = body.get_mut(usize::from(*at) % end) {
                    *place = *byte;
                }
            }
            body.freeze()
        };
        let _ = frame::decode_request::<R>(version, mutate(Maker::make(&R::REQUEST, version, self.seed)));
        let _ = frame::decode_response::<R>(version, mutate(Maker::make(&R::RESPONSE, version, self.seed)));
    }
}

/// What the encoder writes fits the layout too.
struct EncodedAgain {
    encoded: usize,
}

impl EncodedAgain {
    fn fits(&mut self, layout: &Layout, version: i16, message: &impl Encodable) {
        let mut body = BytesMut::new();
        if message.encode(&mut body, version).is_ok() {
            check(layout, version, &body, usize::MAX).expect("what the encoder writes fits");
            self.encoded += 1;
        }
    }
}

impl Case for EncodedAgain {
    fn run<R: WireLayout>(&mut self, version: i16) {
        for seed in 1..20 {
            let mut body = Maker::make(&R::REQUEST, version, seed);
            self.fits(&R::REQUEST, version, &R::decode(&mut body, version).expect("it decodes"));
            let mut body = Maker::make(&R::RESPONSE, version, seed);
            self.fits(&R::RESPONSE, version, &R::Response::decode(&mut body, version).expect("it decodes"));
        }
    }
}

#[test]
fn what_the_encoder_writes_fits_the_layout() {
    let mut case = EncodedAgain { encoded: 0 };
    every_version(&mut case);
    let versions: usize =
        versions::SERVED.iter().map(|r| usize::try_from(r.max - r.min + 1).expect("few")).sum();
    assert_eq!(case.encoded, versions * 2 * 19, "every message was encoded again");
}

#[test]
fn more_elements_than_bytes_or_than_the_bound_are_refused() {
    let layout = &m::MetadataRequest::REQUEST;
    let hostile = 0x7fff_ffff_u32.to_be_bytes();
    let misfit =
        check(layout, 1, &hostile, MAX_REQUEST_ELEMENTS).expect_err("two billion topics in no bytes");
    assert_eq!(misfit.what, "more elements than bytes");
    // A thousand topics, each with an empty name.
    let mut thousand = BytesMut::from(&1000_u32.to_be_bytes()[..]);
    thousand.put_bytes(0, 2000);
    check(layout, 1, &thousand, 1000).expect("a thousand is allowed");
    assert_eq!(check(layout, 1, &thousand, 999).expect_err("999 are allowed").what, "too many elements");
    const { assert!(MAX_REQUEST_ELEMENTS <= MAX_RESPONSE_ELEMENTS) };
}

#[test]
fn a_tagged_field_that_says_another_size_is_refused() {
    // Fetch v12: the cluster's id is tag 0. An empty body, then that tag with one byte more than it has.
    let mut body = BytesMut::new();
    body.put_bytes(0, 4 + 4 + 4 + 4 + 1 + 4 + 4);
    body.put_slice(&[1, 1, 1]);
    let good = [&body[..], &[1, 0, 3, 3, b'i', b'd']].concat();
    check(&m::FetchRequest::REQUEST, 12, &good, 100).expect("the size is right");
    let bad = [&body[..], &[1, 0, 2, 3, b'i', b'd']].concat();
    let misfit = check(&m::FetchRequest::REQUEST, 12, &bad, 100).expect_err("the size is wrong");
    assert_eq!(misfit.what, "a tagged field of another size than it says");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_fits_the_layout_decodes_to_the_last_byte(seed: u64) {
        every_version(&mut Decodes { seed });
    }

    #[test]
    fn mutated_bodies_never_panic(seed: u64, mutations in prop::collection::vec(any::<(u16, u8)>(), 1..6)) {
        every_version(&mut Mutated { seed, mutations });
    }

    #[test]
    fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        struct Arbitrary(Bytes);
        impl Case for Arbitrary {
            fn run<R: WireLayout>(&mut self, version: i16) {
                let _ = frame::decode_request::<R>(version, self.0.clone());
                let _ = frame::decode_response::<R>(version, self.0.clone());
            }
        }
        every_version(&mut Arbitrary(body.into()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn every_prefix_is_refused(seed: u64) {
        every_version(&mut CutShort { seed });
    }
}
