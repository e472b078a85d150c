//! What was written and what is durable, and what a crash leaves of it.

use std::collections::BTreeMap;
use std::io;

use rand::Rng;
use rand::rngs::StdRng;

const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) files: Vec<Contents>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) durable_names: BTreeMap<String, usize>,
    pub(super) pending_names: Vec<NameChange>,
    pub(super) changes: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) is_crashed: bool,
    pub(super) syncs: u64,
    pub(super) fail_sync_at: Option<u64>,
    /// Whether it fails for want of space.
    pub(super) fails_as_full: bool,
    pub(super) capacity_bytes: Option<u64>,
    /// The file whose syncs do not end, and from which of its handles on.
    pub(super) held: Option<(usize, u64)>,
    /// How many syncs have waited, or wait, to end.
    pub(super) held_syncs: u64,
    /// How many of them may go on.
    pub(super) let_through: u64,
    /// How many handles there have been.
    pub(super) handles: u64,
    /// Bytes of writes to the journal of nothing but zeros.
    pub(super) zeros_written: u64,
}

#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) seen: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Change>,
    /// How often a sync has failed: every handle is told once.
    pub(super) failures: u64,
    /// How many handles are open now.
    pub(super) handles: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Set(String, usize),
    Remove(String),
    Rename(String, String, usize),
}

impl Disk {
    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_crashed { Err(io::Error::other("the machine has crashed")) } else { Ok(()) }
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].seen.len() as u64).sum()
    }

    pub(super) fn take_space(&self, bytes: usize) -> io::Result<()> {
        match self.capacity_bytes {
            Some(capacity) if self.used_bytes() + bytes as u64 > capacity => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    pub(super) fn change_name(&mut self, change: NameChange) {
        change_names(&mut self.names, &change);
        self.pending_names.push(change);
    }

    /// The disk as it is found when the process dies now and the machine does not.
    pub(super) fn after_kill(&self) -> Self {
        let copy = |file: &Contents| Contents {
            seen: file.seen.clone(),
            durable: file.durable.clone(),
            pending: file.pending.clone(),
            ..Contents::default()
        };
        Self {
            files: self.files.iter().map(copy).collect(),
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            pending_names: self.pending_names.clone(),
            ..Self::default()
        }
    }

    /// The disk as it may be found after a crash now.
    pub(super) fn after_crash(&self, rng: &mut StdRng) -> Self {
        let keep_percent = [0, 50, 90, 100][rng.random_range(0..4)];
        let mut survived = Self { names: self.durable_names.clone(), ..Self::default() };
        for change in &self.pending_names {
            if rng.random_range(0..100) < keep_percent {
                change_names(&mut survived.names, change);
            }
        }
        for file in &self.files {
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
        survived
    }
}

pub(super) fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("files of tests are small")
}

pub(super) fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

pub(super) fn apply(contents: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(len) => contents.resize(*len, 0),
        Change::Write { offset, bytes } => write(contents, *offset, bytes),
    }
}

/// Applies as much of a change as a crash left of it.
pub(super) fn survive(contents: &mut Vec<u8>, change: &Change, keep_percent: u32, rng: &mut StdRng) {
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
