//! The first frame: of what, when and by whom.

use bytes::{Buf, BufMut};
use tidegate_store::Version;
use uuid::Uuid;

/// The longest name of a release.
const RELEASE_MAX_BYTES: usize = 255;
const FIXED_BYTES: usize = 4 + 8 + 8 + 1 + 16;

/// What a backup is a backup of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The format of the store's keys and values.
    pub store_format: u32,
    /// The snapshot: everything up to this version is in it, and nothing after.
    pub snapshot: Version,
    /// When it was taken by the store's clock, in milliseconds since the Unix epoch.
    pub taken_ms: i64,
    /// The cluster's id; none if no broker ever served the store.
    pub cluster: Option<Uuid>,
    /// The release that wrote it.
    pub release: String,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        assert!(self.release.len() <= RELEASE_MAX_BYTES, "a release has a short name");
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.release.len());
        bytes.put_u32(self.store_format);
        bytes.put_u64(self.snapshot.0);
        bytes.put_i64(self.taken_ms);
        bytes.put_u8(u8::from(self.cluster.is_some()));
        bytes.put_slice(self.cluster.unwrap_or_default().as_bytes());
        bytes.put_slice(self.release.as_bytes());
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if !(FIXED_BYTES..=FIXED_BYTES + RELEASE_MAX_BYTES).contains(&bytes.len()) {
            return None;
        }
        let store_format = bytes.get_u32();
        let snapshot = Version(bytes.get_u64());
        let taken_ms = bytes.get_i64();
        let has_cluster = match bytes.get_u8() {
            0 => false,
            1 => true,
            _ => return None,
        };
        let id = Uuid::from_u128(bytes.get_u128());
        let cluster = match has_cluster {
            true => Some(id),
            false if id.is_nil() => None,
            false => return None,
        };
        let release = std::str::from_utf8(bytes).ok()?.to_owned();
        Some(Self { store_format, snapshot, taken_ms, cluster, release })
    }
}
