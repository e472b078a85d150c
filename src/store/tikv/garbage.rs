//! Old versions, and the snapshots that still need them.
//!
//! TiKV keeps every version of a key until somebody moves the cluster's safe point, and a snapshot of before that point
//! is lost. Snapshots younger than [`keep_min_ms`] are safe by their age; a process that has an older one open writes it
//! down (one row per process, with its oldest), and renews the row. Whoever collects reads these rows first, of all
//! namespaces, as the safe point is that of the cluster, and goes past none that is renewed. A row that has not changed
//! for several renewals, by the collector's own clock, is of a process that has ended.
//!
//! What it refuses to do: it does not decide who collects, or when.
//!
//! What always holds: a snapshot that the safe point may have passed gives an error and never a gap. TiKV itself does not
//! tell (to it, a version that was collected was never there), so whoever was frozen or cut off for so long that others took
//! it for ended counts its older snapshots as lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tikv_client::{KvPair, Timestamp, TimestampExt, TransactionClient};
use tokio::sync::watch;
use tokio::time::Instant;

use super::bounds::{self, Bounds};
use super::keys::Namespace;
use super::metrics::add;
use super::read::scan_cluster;
use super::shared::{Shared, transaction_options};
use crate::{Direction, KeyRange, ReadError, Version};

/// The first byte of the keys of holds, and the version of their values: FORMAT.md has both.
const HOLD_TAG: u8 = 0x03;
const HOLD_VALUE_VERSION: u8 = 0x01;
/// After so many renewals that did not come a hold is of a process that has ended.
const RENEWALS_MISSED_MAX: u32 = 6;
/// And after so many its own process has no more trust in it: before any other gives it up.
const RENEWALS_TRUSTED: u32 = RENEWALS_MISSED_MAX - 1;
/// How many namespaces a cluster may have for its old versions to be given up.
const NAMESPACES_MAX: usize = 10_000;
/// How many holds are read at a time.
const HOLDS_PAGE: usize = 256;

/// How long a version of this namespace is kept at least, in milliseconds.
pub(super) fn keep_min_ms(shared: &Shared) -> u64 {
    shared.bounds().versions_kept_ms()
}

/// The open snapshots of this process, and what it knows of the holds of others.
#[derive(Debug)]
pub(super) struct Holds {
    id: [u8; 16],
    open: BTreeMap<Version, Open>,
    written: Option<Version>,
    renewals: u64,
    renewed: Option<Renewed>,
    /// The newest snapshot that may have lost something.
    lost: Version,
    seen: HashMap<Bytes, Seen>,
    taken: Version,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    count: usize,
    began_ms: i64,
}

/// A hold of this process that was written.
#[derive(Clone, Copy, Debug)]
struct Renewed {
    /// It and what is newer is kept.
    version: Version,
    /// When its writing was begun, by the monotonic clock.
    at_ms: i64,
}

/// How long what is kept, by the settings that all processes have.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// Of any snapshot, by its age.
    unheld_ms: u64,
    /// Of an older one, by the last renewal of a hold.
    held_ms: u64,
}

impl Kept {
    fn of(shared: &Shared) -> Self {
        let held_ms = shared.options.hold_renew_ms.saturating_mul(u64::from(RENEWALS_TRUSTED));
        Self { unheld_ms: keep_min_ms(shared), held_ms }
    }
}

/// A hold of another process: its value, and since when it has had that.
#[derive(Debug)]
struct Seen {
    value: Bytes,
    since: Instant,
}

impl Holds {
    pub(super) fn new(id: [u8; 16]) -> Self {
        let (open, seen) = (BTreeMap::new(), HashMap::new());
        let (lost, taken) = (Version::default(), Version::default());
        Self { id, open, written: None, renewals: 0, renewed: None, lost, seen, taken }
    }

    /// Whether nothing can have been taken from a snapshot up to now.
    fn keeps(&self, version: Version, began_ms: i64, now_ms: i64, kept: Kept) -> bool {
        let is_over = |since_ms: i64, ms: u64| {
            u64::try_from(now_ms.saturating_sub(since_ms)).is_ok_and(|age_ms| age_ms > ms)
        };
        if !is_over(began_ms, kept.unheld_ms) {
            return true;
        }
        let holds = |renewed: Renewed| renewed.version <= version && !is_over(renewed.at_ms, kept.held_ms);
        version > self.lost && self.renewed.is_some_and(holds)
    }

    /// Takes note of a hold that was written, or removed. What the one before did not keep until now is lost.
    fn renewed(&mut self, renewed: Option<Renewed>, now_ms: i64, kept: Kept) {
        let is_lost =
            |(version, open): &(&Version, &Open)| !self.keeps(**version, open.began_ms, now_ms, kept);
        let lost = self.open.iter().filter(is_lost).map(|(version, _)| *version).max();
        self.lost = self.lost.max(lost.unwrap_or_default());
        self.renewed = renewed;
    }

    /// The latest safe point that this process has asked for and the cluster has taken: what is older has ended, in every
    /// process of the namespace.
    pub(super) fn taken(&self) -> Version {
        self.taken
    }

    fn key(&self) -> Bytes {
        [&[HOLD_TAG][..], &self.id].concat().into()
    }

    /// The oldest open snapshot, and when it began by the monotonic clock.
    fn oldest(&self) -> Option<(Version, i64)> {
        self.open.first_key_value().map(|(version, open)| (*version, open.began_ms))
    }

    /// How long the oldest snapshot has been open.
    pub(super) fn oldest_age_ms(&self, monotonic_ms: i64) -> u64 {
        let age_ms = |(_, began_ms)| u64::try_from(monotonic_ms.saturating_sub(began_ms)).unwrap_or(0);
        self.oldest().map_or(0, age_ms)
    }
}

/// A snapshot that is open until this is dropped.
pub(super) struct OpenSnapshot {
    shared: Arc<Shared>,
    version: Version,
}

impl OpenSnapshot {
    pub(super) fn new(shared: Arc<Shared>, version: Version, began_ms: i64) -> Self {
        shared.holds().open.entry(version).or_insert(Open { count: 0, began_ms }).count += 1;
        Self { shared, version }
    }
}

impl OpenSnapshot {
    /// Refuses what was read if it may not be what the snapshot had. To be asked afterwards: whoever is frozen may be so at
    /// any moment.
    pub(super) fn check_kept(&self, began_ms: i64) -> Result<(), ReadError> {
        let kept = Kept::of(&self.shared);
        let now_ms = self.shared.options.clock.monotonic_ms();
        if self.shared.holds().keeps(self.version, began_ms, now_ms, kept) {
            return Ok(());
        }
        let reason = "the snapshot is older than what is kept, and was not held all the time".to_owned();
        Err(ReadError::Unavailable { reason })
    }
}

impl Drop for OpenSnapshot {
    fn drop(&mut self) {
        let mut holds = self.shared.holds();
        let open = holds.open.get_mut(&self.version).expect("a snapshot is open until it is dropped");
        open.count -= 1;
        if open.count == 0 {
            holds.open.remove(&self.version);
        }
    }
}

/// Renews this process's hold and what it knows of the namespace's bounds, as long as the store is open.
pub(super) async fn run(shared: Arc<Shared>, mut closed: watch::Receiver<bool>) {
    let every = Duration::from_millis(shared.options.hold_renew_ms);
    loop {
        if tokio::time::timeout(every, closed.wait_for(|is_closed| *is_closed)).await.is_ok() {
            return;
        }
        if let Err(error) = renew(&shared).await {
            tracing::warn!(error = error.to_string(), "the hold of this process is not renewed");
        }
        // Who governs is the one that raises them.
        if !shared.options.governs
            && let Err(error) = bounds::refresh(&shared).await
        {
            tracing::warn!(
                error = error.to_string(),
                "what the namespace's transactions keep to is not read"
            );
        }
    }
}

/// Writes down the oldest snapshot if it is old enough, or removes what was written.
pub(super) async fn renew(shared: &Shared) -> Result<(), ReadError> {
    let clock = &shared.options.clock;
    let _one_at_a_time = shared.holding.lock().await;
    let at_ms = clock.monotonic_ms();
    let (key, oldest, value) = {
        let mut holds = shared.holds();
        let age_ms = holds.oldest_age_ms(at_ms);
        let oldest = holds.oldest().filter(|_| age_ms >= shared.options.hold_after_ms);
        let oldest = oldest.map(|(version, _)| version);
        if oldest.is_none() && holds.written.is_none() {
            return Ok(());
        }
        holds.written = oldest;
        holds.renewals += 1;
        (holds.key(), oldest, oldest.map(|version| encode_hold(version, holds.renewals)))
    };
    write(shared, &key, value).await?;
    let renewed = oldest.map(|version| Renewed { version, at_ms });
    shared.holds().renewed(renewed, clock.monotonic_ms(), Kept::of(shared));
    Ok(())
}

/// Removes this process's hold when the store is closed in order.
pub(super) async fn finish(shared: &Shared) {
    let _one_at_a_time = shared.holding.lock().await;
    let key = {
        let holds = shared.holds();
        if holds.written.is_none() {
            return;
        }
        holds.key()
    };
    if let Err(error) = write(shared, &key, None).await {
        tracing::warn!(error = error.to_string(), "the hold of this process stays until it is given up");
    }
}

/// Writes or removes a row whose last write counts, however often it is done.
async fn write(shared: &Shared, key: &Bytes, value: Option<Bytes>) -> Result<(), ReadError> {
    let key = shared.namespace.key(key);
    let writing = shared.ask(|client| {
        let (key, value) = (key.clone(), value.clone());
        async move {
            let mut txn = client.begin_with_options(transaction_options()).await?;
            match value {
                Some(value) => txn.put(key, value.to_vec()).await?,
                None => txn.delete(key).await?,
            }
            txn.commit()
                .await
                .map(drop)
                .map_err(|error| tikv_client::Error::StringError(format!("the hold is not written: {error}")))
        }
    });
    writing.await?;
    Ok(())
}

/// What a pass of the collector did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collected {
    /// The version up to which old versions may go now.
    pub safe_point: Version,
    /// Whether the cluster has taken that; if not it was ahead already, or something else holds it back.
    pub is_taken: bool,
    /// How many holds were in the way of a later one.
    pub holds: usize,
    /// How many holds of processes that have ended were removed.
    pub holds_removed: usize,
}

/// Moves the cluster's safe point up to `wanted`, or to the oldest snapshot that is in the way.
pub(super) async fn collect(shared: &Shared, wanted: Version) -> Result<Collected, ReadError> {
    let now = shared.oracle_version().await?;
    let own = shared.holds().oldest().map(|(version, _)| version);
    let (rows, kept_ms) = hold_rows(shared, now).await?;
    let youngest = Version::first_of_ms(now.unix_ms().saturating_sub_unsigned(kept_ms));
    let (live, ended) = judge(shared, rows);
    let holds = live.iter().copied().chain(own);
    let in_the_way: Vec<Version> = holds.filter(|version| *version < wanted).collect();
    let safe_point = in_the_way.iter().copied().fold(wanted.min(youngest), Version::min);
    for key in &ended {
        write(shared, key, None).await?;
    }
    let timestamp = Timestamp::from_version(safe_point.0);
    let deadline = Instant::now() + Duration::from_millis(shared.options.pass_max_ms);
    let collecting = shared.ask_until(deadline, |client: TransactionClient| {
        let timestamp = timestamp.clone();
        async move { client.gc(timestamp).await }
    });
    let (is_taken, _) = collecting.await?;
    if is_taken {
        let mut holds = shared.holds();
        holds.taken = holds.taken.max(safe_point);
    } else {
        tracing::info!("the cluster's safe point is ahead already, or held back by a service of its own");
    }
    add(&shared.counters.garbage_passes, 1);
    shared.counters.garbage_safe_point.store(safe_point.0, std::sync::atomic::Ordering::Relaxed);
    Ok(Collected { safe_point, is_taken, holds: in_the_way.len(), holds_removed: ended.len() })
}

/// A hold, of any namespace.
struct HoldRow {
    /// The cluster's.
    key: Bytes,
    value: Bytes,
    /// A process that has not renewed it for so long has ended.
    patience: Duration,
}

/// The rows of holds of all namespaces, and for how many milliseconds any of them needs versions that nobody holds.
async fn hold_rows(shared: &Shared, version: Version) -> Result<(Vec<HoldRow>, u64), ReadError> {
    let mut rows: Vec<HoldRow> = Vec::new();
    let mut kept_ms = keep_min_ms(shared);
    for namespace in namespaces(shared, version).await? {
        let bounds = bounds_of(shared, version, &namespace).await?;
        kept_ms = kept_ms.max(bounds.versions_kept_ms());
        let patience = Duration::from_millis(bounds.hold_renew_ms) * RENEWALS_MISSED_MAX;
        let mut rest = namespace.range(&KeyRange::prefix(&[HOLD_TAG]));
        loop {
            let page =
                scan_cluster(shared, version, rest.clone(), HOLDS_PAGE, Direction::Forward, false).await?;
            let is_last = page.len() < HOLDS_PAGE;
            let row =
                |KvPair(key, value)| HoldRow { key: Vec::from(key).into(), value: value.into(), patience };
            rows.extend(page.into_iter().map(row));
            let Some(last) = rows.last().filter(|_| !is_last) else { break };
            rest.start = KeyRange::successor(&last.key).to_vec();
        }
    }
    Ok((rows, kept_ms))
}

/// What the processes of a namespace keep to. One that nobody has opened since there are such rows has what this one has.
async fn bounds_of(shared: &Shared, version: Version, namespace: &Namespace) -> Result<Bounds, ReadError> {
    let start = namespace.bounds();
    let end = KeyRange::successor(&start).to_vec();
    let found = scan_cluster(shared, version, start..end, 1, Direction::Forward, false).await?;
    let Some(KvPair(_, row)) = found.into_iter().next() else { return Ok(shared.bounds()) };
    Bounds::decode(&row).ok_or_else(|| ReadError::Unavailable {
        reason: "a namespace of a newer release is there: only that knows what its snapshots need".to_owned(),
    })
}

/// All namespaces that the cluster has: one look each, past all that the one before it has.
async fn namespaces(shared: &Shared, version: Version) -> Result<Vec<Namespace>, ReadError> {
    let mut found: Vec<Namespace> = Vec::new();
    let mut rest = Namespace::everybody();
    loop {
        let next = scan_cluster(shared, version, rest.clone(), 1, Direction::Forward, true).await?;
        let Some(KvPair(key, _)) = next.into_iter().next() else { return Ok(found) };
        let key = Vec::from(key);
        if found.len() >= NAMESPACES_MAX {
            let reason =
                format!("there are more than {NAMESPACES_MAX} namespaces, whose snapshots nobody reads");
            return Err(ReadError::Unavailable { reason });
        }
        match Namespace::of(&key) {
            Some(namespace) => {
                rest.start = namespace.all().end;
                found.push(namespace);
            }
            // Somebody else's.
            None => rest.start = KeyRange::successor(&key).to_vec(),
        }
    }
}

/// The versions that are held, and the keys of holds in this namespace that are of processes that have ended.
fn judge(shared: &Shared, rows: Vec<HoldRow>) -> (Vec<Version>, Vec<Bytes>) {
    let now = Instant::now();
    let mut holds = shared.holds();
    let own: Bytes = shared.namespace.key(&holds.key()).into();
    let this_namespace = shared.namespace.all();
    let mut before = std::mem::take(&mut holds.seen);
    let (mut live, mut ended) = (Vec::new(), Vec::new());
    for HoldRow { key, value, patience } in rows.into_iter().filter(|row| row.key != own) {
        let since = match before.remove(&key) {
            Some(seen) if seen.value == value => seen.since,
            _ => now,
        };
        if now.duration_since(since) <= patience {
            // What cannot be read is of a newer release: it holds everything.
            live.push(decode_hold(&value).unwrap_or_default());
        } else if this_namespace.contains(&key.to_vec()) {
            ended.push(shared.namespace.user_key(key.to_vec()));
        }
        // Those of other namespaces are for their own collectors to remove.
        holds.seen.insert(key, Seen { value, since });
    }
    (live, ended)
}

fn encode_hold(version: Version, renewals: u64) -> Bytes {
    let mut value = BytesMut::with_capacity(17);
    value.put_u8(HOLD_VALUE_VERSION);
    value.put_u64(version.0);
    value.put_u64(renewals);
    value.freeze()
}

fn decode_hold(value: &[u8]) -> Option<Version> {
    let (kind, rest) = value.split_first()?;
    let version = rest.get(..8)?.try_into().ok()?;
    (*kind == HOLD_VALUE_VERSION).then(|| Version(u64::from_be_bytes(version)))
}
