//! Files in memory that lose what was not synced.
//!
//! What it is: a disk that keeps apart what was written and what is durable. It can crash at its n-th change, fail its
//! n-th sync, and run out of space. After a crash, [`LossyFiles::after_crash`] gives the disk as it may be found then:
//! of what was not synced any part is there, writes are torn at sectors, and names are there or not each for itself.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::files::{FileLayer, StoreFile};

const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct LossyFiles {
    disk: Arc<Mutex<Disk>>,
    released: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct Disk {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    changes: u64,
    crash_at: Option<u64>,
    is_crashed: bool,
    syncs: u64,
    fail_sync_at: Option<u64>,
    capacity_bytes: Option<u64>,
    /// The file whose syncs do not end, and from which of its handles on.
    held: Option<(usize, u64)>,
    /// How many syncs have waited, or wait, to end.
    held_syncs: u64,
    /// How many of them may go on.
    let_through: u64,
    /// How many handles there have been.
    handles: u64,
    /// Bytes of writes to the journal of nothing but zeros.
    zeros_written: u64,
}

#[derive(Debug, Default)]
struct Contents {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// How often a sync has failed: every handle is told once.
    failures: u64,
    /// How many handles are open now.
    handles: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Remove(String),
    Rename(String, String, usize),
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("files of tests are small")
}

fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

fn change_names(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Set(name, file) => {
            names.insert(name.clone(), *file);
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
        NameChange::Rename(from, to, file) => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
    }
}

impl LossyFiles {
    /// An empty disk.
    pub fn new() -> Self {
        Self::of(Disk::default())
    }

    fn of(disk: Disk) -> Self {
        Self { disk: Arc::new(Mutex::new(disk)), released: Arc::default() }
    }

    /// Lets no sync of this file end until [`release_syncs`](Self::release_syncs).
    pub fn hold_syncs_of(&self, name: &str) {
        let mut disk = self.disk();
        let file = disk.names[name];
        disk.held = Some((file, 0));
    }

    /// The same for those of handles that are opened from now on.
    pub fn hold_syncs_of_later_handles_of(&self, name: &str) {
        let mut disk = self.disk();
        let file = disk.names[name];
        disk.held = Some((file, disk.handles + 1));
    }

    /// Lets the syncs go on.
    pub fn release_syncs(&self) {
        self.disk().held = None;
        self.released.notify_all();
    }

    /// Lets one more of the syncs that are held go on.
    pub fn release_one_sync(&self) {
        self.disk().let_through += 1;
        self.released.notify_all();
    }

    /// Returns when that many syncs have been held since the first [`hold_syncs_of`](Self::hold_syncs_of).
    pub fn wait_until_held(&self, syncs: u64) {
        let waited = self.released.wait_while(self.disk(), |disk| disk.held_syncs < syncs);
        drop(waited.expect("nothing panics with the lock held"));
    }

    /// Whether it has crashed: nothing works any more.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.disk().is_crashed
    }

    /// How many changes were made: writes, lengths, syncs and names.
    pub fn changes(&self) -> u64 {
        self.disk().changes
    }

    /// Crashes at the change of that number: it may or may not be done, and nothing works any more.
    pub fn crash_at(&self, change: u64) {
        self.disk().crash_at = Some(change);
    }

    /// How many syncs of files there were.
    pub fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// Fails the sync of that number, and forgets that there was something to sync.
    pub fn fail_sync_at(&self, sync: u64) {
        self.disk().fail_sync_at = Some(sync);
    }

    /// Lets all files together have only so many bytes.
    pub fn limit(&self, capacity_bytes: Option<u64>) {
        self.disk().capacity_bytes = capacity_bytes;
    }

    /// How many bytes were written to the journal that are nothing but zeros.
    pub fn zeros_written(&self) -> u64 {
        self.disk().zeros_written
    }

    /// How many handles of files whose names begin so are open.
    pub fn open_handles(&self, prefix: &str) -> u64 {
        let disk = self.disk();
        let named = disk.names.iter().filter(|(name, _)| name.starts_with(prefix));
        named.map(|(_, file)| disk.files[*file].handles).sum()
    }

    /// How many bytes all files together have.
    pub fn used_bytes(&self) -> u64 {
        self.disk().used_bytes()
    }

    /// Changes a byte of a file, as a failing disk does.
    pub fn damage(&self, name: &str, offset: u64) {
        let mut disk = self.disk();
        let file = disk.names[name];
        let file = &mut disk.files[file];
        file.seen[position(offset)] ^= 0x40;
        file.durable.clone_from(&file.seen);
    }

    /// The bytes of a file.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let disk = self.disk();
        disk.files[disk.names[name]].seen.clone()
    }

    /// The disk as it is found when the process dies now and the machine does not.
    pub fn after_kill(&self) -> Self {
        let disk = self.disk();
        let copy = |file: &Contents| Contents {
            seen: file.seen.clone(),
            durable: file.durable.clone(),
            pending: file.pending.clone(),
            ..Contents::default()
        };
        let survived = Disk {
            files: disk.files.iter().map(copy).collect(),
            names: disk.names.clone(),
            durable_names: disk.durable_names.clone(),
            pending_names: disk.pending_names.clone(),
            ..Disk::default()
        };
        Self::of(survived)
    }

    /// The disk as it may be found after a crash now.
    pub fn after_crash(&self, rng: &mut StdRng) -> Self {
        let disk = self.disk();
        let keep_percent = [0, 50, 90, 100][rng.random_range(0..4)];
        let mut survived = Disk { names: disk.durable_names.clone(), ..Disk::default() };
        for change in &disk.pending_names {
            if rng.random_range(0..100) < keep_percent {
                change_names(&mut survived.names, change);
            }
        }
        for file in &disk.files {
            let mut contents = file.durable.clone();
            for change in &file.pending {
                survive(&mut contents, change, keep_percent, rng);
            }
            survived.files.push(Contents {
                seen: contents.clone(),
                durable: contents,
                ..Contents::default()
            });
        }
        survived.durable_names.clone_from(&survived.names);
        Self::of(survived)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("nothing panics with the lock held")
    }

    /// Lets a change happen, which is the last one if it is time to crash.
    fn change<T>(&self, change: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk();
        disk.check()?;
        disk.changes += 1;
        let result = change(&mut disk);
        if disk.crash_at == Some(disk.changes) {
            disk.is_crashed = true;
            disk.check()?;
        }
        result
    }
}

fn apply(contents: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(len) => contents.resize(*len, 0),
        Change::Write { offset, bytes } => write(contents, *offset, bytes),
    }
}

/// Applies as much of a change as a crash left of it.
fn survive(contents: &mut Vec<u8>, change: &Change, keep_percent: u32, rng: &mut StdRng) {
    match change {
        Change::SetLen(len) => {
            if rng.random_range(0..100) < keep_percent {
                contents.resize(*len, 0);
            }
        }
        Change::Write { offset, bytes } => {
            let is_prefix = rng.random_bool(0.5);
            let mut start = 0;
            while start < bytes.len() {
                let end = ((offset + start) / SECTOR_BYTES + 1) * SECTOR_BYTES - offset;
                let end = end.min(bytes.len());
                if rng.random_range(0..100) < keep_percent {
                    write(contents, offset + start, &bytes[start..end]);
                } else if is_prefix {
                    return;
                }
                start = end;
            }
        }
    }
}

impl Disk {
    fn check(&self) -> io::Result<()> {
        if self.is_crashed { Err(io::Error::other("the machine has crashed")) } else { Ok(()) }
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].seen.len() as u64).sum()
    }

    fn take_space(&self, bytes: usize) -> io::Result<()> {
        match self.capacity_bytes {
            Some(capacity) if self.used_bytes() + bytes as u64 > capacity => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            _ => Ok(()),
        }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn change_name(&mut self, change: NameChange) {
        change_names(&mut self.names, &change);
        self.pending_names.push(change);
    }
}

impl FileLayer for LossyFiles {
    fn names(&self) -> io::Result<Vec<String>> {
        let disk = self.disk();
        disk.check()?;
        Ok(disk.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        let file = {
            let disk = self.disk();
            disk.check()?;
            disk.find(name)?
        };
        Ok(Arc::new(LossyFile::open(self, file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        let file = self.change(|disk| {
            disk.files.push(Contents::default());
            let file = disk.files.len() - 1;
            disk.change_name(NameChange::Set(name.to_owned(), file));
            Ok(file)
        })?;
        Ok(Arc::new(LossyFile::open(self, file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|disk| {
            let file = disk.find(from)?;
            disk.change_name(NameChange::Rename(from.to_owned(), to.to_owned(), file));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|disk| {
            disk.find(name)?;
            disk.change_name(NameChange::Remove(name.to_owned()));
            Ok(())
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.change(|disk| {
            disk.durable_names = disk.names.clone();
            disk.pending_names.clear();
            Ok(())
        })
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = self.disk();
        disk.check()?;
        Ok(disk.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(disk.used_bytes())))
    }
}

/// A handle of a file.
#[derive(Debug)]
struct LossyFile {
    files: LossyFiles,
    file: usize,
    number: u64,
    /// How many failures it was told of, or were before it.
    failures_told: AtomicU64,
}

impl Drop for LossyFile {
    fn drop(&mut self) {
        self.files.disk().files[self.file].handles -= 1;
    }
}

impl LossyFile {
    fn open(files: &LossyFiles, file: usize) -> Self {
        let mut disk = files.disk();
        disk.handles += 1;
        disk.files[file].handles += 1;
        let failures_told = AtomicU64::new(disk.files[file].failures);
        Self { files: files.clone(), file, number: disk.handles, failures_told }
    }

    fn wait_while_held(&self) {
        let mut disk = self.files.disk();
        let is_held =
            |disk: &Disk| disk.held.is_some_and(|(file, from)| file == self.file && self.number >= from);
        if !is_held(&disk) {
            return;
        }
        disk.held_syncs += 1;
        let number = disk.held_syncs;
        self.files.released.notify_all();
        let waits = |disk: &mut Disk| is_held(disk) && disk.let_through < number;
        drop(self.files.released.wait_while(disk, waits).expect("nothing panics with the lock held"));
    }

    fn set_len_with(&self, len: u64, takes_space: bool) -> io::Result<()> {
        let len = position(len);
        self.files.change(|disk| {
            let now = disk.files[self.file].seen.len();
            if takes_space {
                disk.take_space(len.saturating_sub(now))?;
            }
            let file = &mut disk.files[self.file];
            file.seen.resize(len, 0);
            file.pending.push(Change::SetLen(len));
            Ok(())
        })
    }
}

impl StoreFile for LossyFile {
    fn len(&self) -> io::Result<u64> {
        let disk = self.files.disk();
        disk.check()?;
        Ok(disk.files[self.file].seen.len() as u64)
    }

    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let disk = self.files.disk();
        disk.check()?;
        let start = position(offset);
        let found = disk.files[self.file].seen.get(start..start + bytes.len());
        bytes.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = position(offset);
        self.files.change(|disk| {
            let now = disk.files[self.file].seen.len();
            disk.take_space((offset + bytes.len()).saturating_sub(now))?;
            let mut names = disk.names.iter().filter(|(_, file)| **file == self.file);
            let is_journal = names.any(|(name, _)| name.starts_with("journal-"));
            if is_journal && bytes.iter().all(|byte| *byte == 0) {
                disk.zeros_written += bytes.len() as u64;
            }
            let file = &mut disk.files[self.file];
            write(&mut file.seen, offset, bytes);
            file.pending.push(Change::Write { offset, bytes: bytes.to_vec() });
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.set_len_with(len, true)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        if now < len { self.set_len_with(len, true) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.wait_while_held();
        self.files.change(|disk| {
            disk.syncs += 1;
            let is_failing = disk.fail_sync_at == Some(disk.syncs);
            let seed = disk.syncs;
            let file = &mut disk.files[self.file];
            if is_failing {
                // As Linux does: what could not be written counts as written from now on.
                let mut rng = StdRng::seed_from_u64(seed);
                for change in file.pending.drain(..) {
                    survive(&mut file.durable, &change, 50, &mut rng);
                }
                file.failures += 1;
            }
            for change in file.pending.drain(..) {
                apply(&mut file.durable, &change);
            }
            // Every handle that was open is told, whichever of them was to sync.
            if self.failures_told.swap(file.failures, Ordering::Relaxed) < file.failures {
                return Err(io::Error::other("the disk failed"));
            }
            Ok(())
        })
    }
}
