//! From a snapshot to the bytes of a file.
//!
//! What always holds: all that is in the file was so at the one version that its header names; an export that fails
//! never gives an end mark.

use bytes::Bytes;
use tidegate_format::{ClusterKey, ClusterValue, FormatVersion, FormatVersionKey, RestoringKey};
use tidegate_store::{Direction, KeyRange, ScanLimit, Store, Txn};

use crate::contents::{Place, kind_of, place_of, shown};
use crate::entries::VALUE_MAX_BYTES;
use crate::{Compression, ContentError, Encoder, ExportError, Header};

/// What is read at a time.
const PAGE: ScanLimit = ScanLimit { count: 4_096, value_bytes: 1 << 20 };

/// A copy under way. The snapshot ends when it is dropped.
pub struct Export<T> {
    txn: T,
    header: Header,
    first: Option<Bytes>,
    encoder: Option<Encoder>,
    /// Where the next page starts; none after the last one.
    next: Option<Bytes>,
    page_limit: ScanLimit,
    page: std::vec::IntoIter<(Bytes, Bytes)>,
}

impl<T: Txn> Export<T> {
    /// Begins to copy a store as it is now. `release` is the name of the release that does it.
    ///
    /// # Errors
    /// If the store cannot be read, or is not whole itself.
    pub async fn begin<S: Store<Txn = T>>(
        store: &S,
        compression: Compression,
        release: &str,
    ) -> Result<Self, ExportError> {
        let txn = store.begin_reading().await?;
        Self::of_snapshot(txn, store.now_ms(), compression, release).await
    }

    /// As [`begin`](Self::begin), of a snapshot that is open already.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub async fn of_snapshot(
        mut txn: T,
        now_ms: i64,
        compression: Compression,
        release: &str,
    ) -> Result<Self, ExportError> {
        if txn.get(&RestoringKey.encode()).await?.is_some() {
            return Err(ExportError::Restoring);
        }
        let format = txn.get(&FormatVersionKey.encode()).await?;
        let format = format.map(|format| FormatVersion::decode(&format)).transpose();
        let cluster = txn.get(&ClusterKey.encode()).await?.map(ClusterValue::decode).transpose();
        let header = Header {
            store_format: format.map_err(ContentError::from)?.unwrap_or(FormatVersion::SUPPORTED).get(),
            snapshot: txn.start_version(),
            taken_ms: now_ms,
            cluster: cluster.map_err(ContentError::from)?.map(|cluster| cluster.id),
            release: release.to_owned(),
        };
        let (encoder, first) = Encoder::begin(&header, compression);
        Ok(Self {
            txn,
            header,
            first: Some(first),
            encoder: Some(encoder),
            next: Some(all_keys().start),
            page_limit: PAGE,
            page: Vec::new().into_iter(),
        })
    }

    /// As it is, reading and giving little at a time, so that much can happen in between.
    #[cfg(test)]
    pub(crate) fn in_steps_of(self, entries: usize, bytes: usize) -> Self {
        let encoder = self.encoder.map(|encoder| encoder.in_frames_of(bytes));
        Self { encoder, page_limit: ScanLimit::count(entries), ..self }
    }

    /// What it is a copy of.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next bytes of the file, about 1 MiB; none after the last.
    ///
    /// # Errors
    /// If the store cannot be read any further: [`broken_off`](Self::broken_off) then ends the file.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, ExportError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        loop {
            let Some(encoder) = &mut self.encoder else { return Ok(None) };
            for (key, value) in self.page.by_ref() {
                if place_of(kind_of(&key)?) != Place::Entries {
                    continue;
                }
                if value.len() > VALUE_MAX_BYTES {
                    let (actual, limit) = (value.len(), VALUE_MAX_BYTES);
                    return Err(ContentError::ValueTooLarge { actual, limit, key: shown(&key) }.into());
                }
                if let Some(frame) = encoder.entry(&key, &value) {
                    return Ok(Some(frame));
                }
            }
            if !self.read_page().await? {
                return Ok(self.encoder.take().map(Encoder::end));
            }
        }
    }

    /// Ends a file that cannot become whole, with the reason.
    #[must_use]
    pub fn broken_off(self, reason: &str) -> Bytes {
        self.encoder.map_or_else(Bytes::new, |encoder| encoder.broken_off(reason))
    }

    /// Reads the next page; false if there is none.
    async fn read_page(&mut self) -> Result<bool, ExportError> {
        let Some(start) = self.next.take() else { return Ok(false) };
        let range = KeyRange::new(start, all_keys().end);
        let page = self.txn.scan(&range, self.page_limit, Direction::Forward).await?;
        self.next = page.last().map(|(key, _)| KeyRange::successor(key));
        self.page = page.into_iter();
        Ok(self.next.is_some())
    }
}

/// Every key that a store of ours can have.
pub(crate) fn all_keys() -> KeyRange {
    KeyRange::new(Bytes::from_static(&[0x00]), Bytes::from_static(&[0xFF]))
}
