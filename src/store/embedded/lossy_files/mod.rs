//! Files in memory that lose what was not synced.
//!
//! What it is: a disk that keeps apart what was written and what is durable. It can crash at its n-th change, fail its
//! n-th sync, and run out of space. After a crash, [`LossyFiles::after_crash`] gives the disk as it may be found then:
//! of what was not synced any part is there, writes are torn at sectors, and names are there or not each for itself.

mod disk;
mod handle;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use rand::rngs::StdRng;

use self::disk::{Contents, Disk, NameChange, position};
use self::handle::LossyFile;
use super::files::{FileLayer, StoreFile};

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct LossyFiles {
    disk: Arc<Mutex<Disk>>,
    released: Arc<Condvar>,
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

    /// The same for want of space, as where space is only taken when it is written.
    pub fn fail_sync_as_full_at(&self, sync: u64) {
        let mut disk = self.disk();
        disk.fail_sync_at = Some(sync);
        disk.fails_as_full = true;
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
        Self::of(self.disk().after_kill())
    }

    /// The disk as it may be found after a crash now.
    pub fn after_crash(&self, rng: &mut StdRng) -> Self {
        Self::of(self.disk().after_crash(rng))
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
