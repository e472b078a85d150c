//! The segments that can be read, with a bounded number of their files open.
//!
//! What it is: the segments there are by number. Who holds the map can read what they hold; their files are opened when
//! they are read, and those that were read last stay open.
//!
//! What always holds: at most so many files stay open, and beside them those that are being read; a segment that was
//! removed keeps its file until nobody holds it any more.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::super::files::{FileLayer, StoreFile};
use super::segment::{NAME_PREFIX, segment_name};

/// The segments there are, by number. Clones share the files that are open.
#[derive(Clone, Debug)]
pub(crate) struct Segments {
    by_number: BTreeMap<u64, Arc<Segment>>,
    open: Arc<OpenFiles>,
}

impl Segments {
    /// All segments that have a file, of which at most `open_max` stay open.
    pub(crate) fn find(files: Arc<dyn FileLayer>, open_max: usize) -> io::Result<Self> {
        let names = files.names()?;
        let open = Arc::new(OpenFiles { files, open_max, state: Mutex::default() });
        let mut segments = Self { by_number: BTreeMap::new(), open };
        let numbers = names.iter().filter_map(|name| name.strip_prefix(NAME_PREFIX)?.parse().ok());
        numbers.for_each(|number| segments.insert(number));
        Ok(segments)
    }

    /// Adds a segment, whose file is there.
    pub(crate) fn insert(&mut self, number: u64) {
        let segment = Segment {
            number,
            len: OnceLock::new(),
            is_removed: AtomicBool::new(false),
            open: self.open.clone(),
        };
        self.by_number.insert(number, Arc::new(segment));
    }

    /// The segment of that number.
    pub(crate) fn get(&self, number: u64) -> Option<&Arc<Segment>> {
        self.by_number.get(&number)
    }

    /// The segments in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Segment>> {
        self.by_number.values()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Leaves out a segment whose file is gone.
    pub(super) fn forget(&mut self, number: u64) {
        self.by_number.remove(&number);
        self.open.forget(number);
    }

    /// Removes a segment. Its file goes when nobody holds the segment any more; if that fails, or a crash comes between,
    /// it is there at the next opening.
    pub(crate) fn remove(&mut self, number: u64) {
        if let Some(segment) = self.by_number.remove(&number) {
            segment.is_removed.store(true, Ordering::Release);
        }
    }
}

/// A segment.
pub(crate) struct Segment {
    number: u64,
    len: OnceLock<u64>,
    is_removed: AtomicBool,
    open: Arc<OpenFiles>,
}

impl Segment {
    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Its file, opened if it is not.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn StoreFile>> {
        self.open.get(self.number)
    }

    /// How long it is, for one that gets no more groups.
    pub(crate) fn final_len(&self) -> io::Result<u64> {
        if let Some(len) = self.len.get() {
            return Ok(*len);
        }
        // Not kept open: all of them are asked, one after the other.
        let len = self.open.files.open(&segment_name(self.number))?.len()?;
        Ok(*self.len.get_or_init(|| len))
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&segment_name(self.number))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if !self.is_removed.load(Ordering::Acquire) {
            return;
        }
        self.open.forget(self.number);
        match self.open.files.remove(&segment_name(self.number)) {
            // It may be gone: a later opening removes it if this one was closed before its last snapshot.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, number = self.number, "a segment could not be removed"),
        }
    }
}

/// The files that were read last.
struct OpenFiles {
    files: Arc<dyn FileLayer>,
    open_max: usize,
    state: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// By number, with the read that wanted it last.
    files: HashMap<u64, (Arc<dyn StoreFile>, u64)>,
    reads: u64,
}

impl OpenFiles {
    fn get(&self, number: u64) -> io::Result<Arc<dyn StoreFile>> {
        if let Some(file) = self.find(number) {
            return Ok(file);
        }
        // Without the lock, as it may have to wait for the disk.
        let file = self.files.open(&segment_name(number))?;
        let mut state = self.state();
        state.reads += 1;
        let read = state.reads;
        state.files.insert(number, (file.clone(), read));
        if state.files.len() > self.open_max {
            let oldest = state.files.iter().min_by_key(|(_, (_, read))| *read).map(|(number, _)| *number);
            let closed = oldest.and_then(|number| state.files.remove(&number));
            drop(state);
            drop(closed);
        }
        Ok(file)
    }

    fn find(&self, number: u64) -> Option<Arc<dyn StoreFile>> {
        let mut state = self.state();
        state.reads += 1;
        let now = state.reads;
        let (file, read) = state.files.get_mut(&number)?;
        *read = now;
        Some(file.clone())
    }

    fn forget(&self, number: u64) {
        let closed = self.state().files.remove(&number);
        drop(closed);
    }

    fn state(&self) -> MutexGuard<'_, Open> {
        self.state.lock().expect("nothing panics with the lock held")
    }
}

impl fmt::Debug for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFiles").field("open_max", &self.open_max).finish_non_exhaustive()
    }
}
