//! A handle of a file on a lossy disk: every handle that was open is told once of a sync that failed.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::files::StoreFile;
use super::LossyFiles;
use super::disk::{Change, Disk, apply, position, survive, write};

/// A handle of a file.
#[derive(Debug)]
pub(super) struct LossyFile {
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
    pub(super) fn open(files: &LossyFiles, file: usize) -> Self {
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
            let fails_as_full = disk.fails_as_full;
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
                let full = io::Error::from(io::ErrorKind::StorageFull);
                return Err(if fails_as_full { full } else { io::Error::other("the disk failed") });
            }
            Ok(())
        })
    }
}
