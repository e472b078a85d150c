//! The two traits that a backend implements.

use std::future::Future;

use bytes::Bytes;

use crate::{CommitError, CommitToken, Direction, KeyRange, ReadError, ScanLimit, Version};

/// An ordered transactional map. Clones are handles on the same map.
pub trait Store: Clone + Send + Sync + 'static {
    /// What [`begin`](Store::begin) gives.
    type Txn: Txn;

    /// Begins a transaction on a snapshot of everything that was committed before.
    fn begin(&self) -> impl Future<Output = Result<Self::Txn, ReadError>> + Send;

    /// Begins a transaction that only ever reads, for as long as that takes: a copy of everything, say. It sees one
    /// snapshot like any other; to write or guard in it is a bug of the caller, and asserted where a backend can tell.
    /// What a backend keeps for the sake of transactions that may yet write (conflicts to be noticed, the time in
    /// [`oldest_open_ms`](Store::oldest_open_ms)), it does not keep for this one; what the snapshot itself needs is kept
    /// until it is dropped.
    ///
    /// The same as [`begin`](Store::begin), unless a backend can make it cheaper.
    fn begin_reading(&self) -> impl Future<Output = Result<Self::Txn, ReadError>> + Send {
        self.begin()
    }

    /// Removes every key of `range` outside of any transaction, in bounded steps, durably when it returns. For ranges
    /// that nobody writes any more (a dropped topic): snapshots that are still open may or may not see it.
    fn delete_range(&self, range: KeyRange) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Removes every key of a range that nobody will read or write again, outside of any transaction, in the way that
    /// costs this backend least. Everybody who still could had begun before `dropped_at`: the version of a transaction
    /// that began when no such one could begin any more. Of the commits that wrote there first nobody may ask for the
    /// [`outcome`](Store::outcome) any more.
    ///
    /// [`Dropped::Later`] means that nothing was removed, as a snapshot of before may be open: to be asked for again.
    ///
    /// As [`delete_range`](Store::delete_range), unless a backend can make it cheaper.
    fn drop_range(
        &self,
        range: KeyRange,
        _dropped_at: Version,
    ) -> impl Future<Output = Result<Dropped, CommitError>> + Send {
        async move { self.delete_range(range).await.map(|()| Dropped::Now) }
    }

    /// Settles a commit that returned [`CommitError::Unknown`], by writing: after this answer the attempt can no
    /// longer change from one to the other.
    fn outcome(&self, token: &CommitToken) -> impl Future<Output = Result<Outcome, ReadError>> + Send;

    /// What is *now* for deciding what is due: the wall clock (embedded) or the oracle's time plus monotonic elapsed
    /// time (TiKV), in milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// A time by [`now_ms`](Store::now_ms) before which no open transaction began that may yet write: whatever is
    /// committed and was not visible when this was called belongs to a transaction that began then or later. By this a
    /// reader that has gone through a range in order of time knows how far back it need not look again, and whoever
    /// waits for what began before now knows when that is over.
    ///
    /// It is never further back than what writes may live, by this store's own settings, and what its commit may take
    /// after that: a transaction that is open for longer can write nothing any more, and is not waited for. A store that
    /// knows only what others told it ([`Store::begin_reading`] asks them) is as far back as they were then.
    fn oldest_open_ms(&self) -> i64;

    /// How often [`now_ms`](Store::now_ms) has gone back since the store was opened, as seen by whoever asked for the
    /// time or began a transaction: whoever remembers a time of before cannot go by it any more when this has changed.
    ///
    /// A backend whose time never goes back has nothing to count.
    fn clock_steps_back(&self) -> u64 {
        0
    }

    /// How far behind what a snapshot has seen an entry of [`put_versioned`](Txn::put_versioned) may still appear, in
    /// milliseconds of its version: whoever reads such entries in order reads so far back again.
    ///
    /// 0 where versions are given in commit order; elsewhere the bound between a transaction's order version and the
    /// moment from which every snapshot sees or waits for what it writes.
    fn order_lag_ms(&self) -> u64 {
        0
    }

    /// Whether processes other than this one can read and write it at the same time.
    fn is_shared(&self) -> bool {
        false
    }
}

/// One transaction: a snapshot, and writes that are kept back until [`commit`](Txn::commit). Dropping it rolls back.
///
/// Keys are 1 to 4,096 bytes long, values are not empty (TiKV reads an empty one as missing); a backend asserts both.
pub trait Txn: Send + 'static {
    /// The version of the snapshot. Every version that a later-begun transaction sees or gets is higher than those of
    /// the commits that this snapshot contains.
    fn start_version(&self) -> Version;

    /// The value of a key, with the transaction's own writes seen.
    fn get(&mut self, key: &[u8]) -> impl Future<Output = Result<Option<Bytes>, ReadError>> + Send;

    /// The values of several keys, in their order.
    fn get_many(
        &mut self,
        keys: &[Bytes],
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>, ReadError>> + Send;

    /// The entries of a range up to a limit, with the transaction's own writes seen (but not what it has
    /// [`put_versioned`](Txn::put_versioned), whose keys are not known yet).
    fn scan(
        &mut self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> impl Future<Output = Result<Vec<(Bytes, Bytes)>, ReadError>> + Send;

    /// As [`scan`](Txn::scan) without the values, at most `count` keys.
    fn scan_keys(
        &mut self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
    ) -> impl Future<Output = Result<Vec<Bytes>, ReadError>> + Send;

    /// Writes a key.
    fn put(&mut self, key: Bytes, value: Bytes);

    /// Writes the key `prefix ++ version as 8 bytes big endian ++ suffix`, where the version is taken at commit, after
    /// this transaction's last read and write: a transaction that begins after this one's commit gets a higher one.
    /// The caller sees to it that no two of one transaction have the same prefix and suffix.
    fn put_versioned(&mut self, prefix: Bytes, suffix: Bytes, value: Bytes);

    /// Removes a key; removing what is not there is fine (and conflicts as any write does).
    fn delete(&mut self, key: Bytes);

    /// Makes [`commit`](Txn::commit) fail with a conflict if a key that is only read here has changed since the
    /// snapshot. Exclusive: two overlapping transactions that guard one key may conflict, so never guard what many share.
    fn guard(&mut self, key: Bytes);

    /// Says that what this transaction puts is more data to keep. While the disk is down to its reserve, such a commit
    /// is refused with [`CommitError::DiskFull`], however little it puts; of the others only those that put much are, so
    /// that deletes and the small state that goes with them, and committed offsets, still pass.
    ///
    /// Nothing, unless a backend has a disk that it keeps a reserve of.
    fn growing(&mut self) {}

    /// Makes the writes visible and durable, all or none. A transaction without writes and guards always succeeds.
    fn commit(self) -> impl Future<Output = Result<Committed, CommitError>> + Send;
}

/// A commit that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The order version that keys of [`Txn::put_versioned`] carry; higher than the snapshot's.
    pub version: Version,
}

/// What became of a range that nobody will read or write again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Nothing of it is left.
    Now,
    /// All of it is still there.
    Later,
}

/// What became of a commit whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied.
    Applied,
    /// It was not, and never will be.
    NotApplied,
}
