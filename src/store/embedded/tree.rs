//! The base of the store: a redb file with everything that was flushed.
//!
//! What it is: a table of entries, a table of how many bytes of each journal segment are pointed to, and what the tree
//! covers. One flush is one durable transaction. The tree is never in the way of a commit.
//!
//! What always holds: entries, live bytes and the covered position change together; whatever was flushed is found
//! again after a crash at any time, without a repair that walks the file.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, ReadOnlyTable, ReadableDatabase, ReadableTable, StorageBackend, StorageError, TableDefinition,
    WriteTransaction,
};

use super::files::{FileLayer, StoreFile};
use super::journal::Covered;
use super::overlay::Overlay;
use super::slot::{Position, Slot, decode_pointer};
use crate::{Direction, KeyRange, ReadError, Version};

type EntryTable = TableDefinition<'static, &'static [u8], &'static [u8]>;

const ENTRIES: EntryTable = TableDefinition::new("entries");
const LIVE_BYTES: TableDefinition<'static, u64, u64> = TableDefinition::new("live-bytes");
const COVERED: TableDefinition<'static, &str, u64> = TableDefinition::new("covered");

const FILE_NAME: &str = "tree.redb";
const NEW_FILE_NAME: &str = "tree.redb.new";

/// The tree, for the one thread that flushes.
pub(super) struct Tree {
    database: Database,
}

/// How many bytes of each segment entries of the tree point to; segments without any are left out.
pub(super) type LiveBytes = std::collections::BTreeMap<u64, u64>;

/// A tree that was just opened.
pub(super) struct OpenedTree {
    pub(super) tree: Tree,
    /// Whether it was created.
    pub(super) is_new: bool,
    pub(super) covered: Covered,
    pub(super) live: LiveBytes,
    pub(super) reader: TreeReader,
}

impl Tree {
    /// Opens the tree, every page of it verified if `check`, or creates an empty one.
    pub(super) fn open(
        files: &dyn FileLayer,
        cache_bytes: usize,
        check: bool,
    ) -> Result<OpenedTree, Box<redb::Error>> {
        let open = || {
            let (tree, is_new) = Self::open_or_create(files, cache_bytes, check)?;
            let (covered, live, reader) = (tree.covered()?, tree.live_bytes()?, tree.reader()?);
            Ok(OpenedTree { tree, is_new, covered, live, reader })
        };
        let damaged = |_| Err(boxed(StorageError::Corrupted("its pages cannot be followed".to_owned())));
        catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(damaged)
    }

    fn open_or_create(
        files: &dyn FileLayer,
        cache_bytes: usize,
        check: bool,
    ) -> Result<(Self, bool), Box<redb::Error>> {
        let open = |file| {
            let mut builder = Database::builder();
            builder.set_cache_size(cache_bytes).set_check_integrity_on_open(check);
            builder.create_with_backend(Backend { file }).map_err(boxed)
        };
        match files.open(FILE_NAME) {
            Ok(file) => return Ok((Self { database: open(file)? }, false)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(boxed(error)),
        }
        // Only a complete tree gets the name.
        let tree = Self { database: open(files.create(NEW_FILE_NAME).map_err(boxed)?)? };
        let transaction = tree.begin_write()?;
        transaction.open_table(ENTRIES).map_err(boxed)?;
        transaction.open_table(LIVE_BYTES).map_err(boxed)?;
        set_covered(&transaction, Covered::nothing())?;
        transaction.commit().map_err(boxed)?;
        files.rename(NEW_FILE_NAME, FILE_NAME).and_then(|()| files.sync_names()).map_err(boxed)?;
        Ok((tree, true))
    }

    /// What the tree covers.
    fn covered(&self) -> Result<Covered, Box<redb::Error>> {
        let transaction = self.database.begin_read().map_err(boxed)?;
        let table = transaction.open_table(COVERED).map_err(boxed)?;
        let number = |name: &str| match table.get(name).map_err(boxed)? {
            Some(number) => Ok(number.value()),
            None => Err(boxed(StorageError::Corrupted(format!("no {name} in the tree")))),
        };
        Ok(Covered {
            position: Position { segment: number("segment")?, offset: number("offset")? },
            sequence: number("sequence")?,
            version: Version(number("version")?),
        })
    }

    /// The live bytes of all segments.
    fn live_bytes(&self) -> Result<LiveBytes, Box<redb::Error>> {
        let transaction = self.database.begin_read().map_err(boxed)?;
        let table = transaction.open_table(LIVE_BYTES).map_err(boxed)?;
        let rows = table.iter().map_err(boxed)?;
        rows.map(|row| row.map(|(segment, bytes)| (segment.value(), bytes.value())).map_err(boxed)).collect()
    }

    /// A snapshot of the tree as it is now.
    pub(super) fn reader(&self) -> Result<TreeReader, Box<redb::Error>> {
        let transaction = self.database.begin_read().map_err(boxed)?;
        Ok(TreeReader { entries: transaction.open_table(ENTRIES).map_err(boxed)? })
    }

    /// Writes the newest entries of an overlay, durably, and gives the live bytes of all segments after that. An error
    /// is final: what of it is on disk is not known until the tree is opened again.
    pub(super) fn flush(
        &self,
        overlay: &Overlay,
        covered: Covered,
        mut live: LiveBytes,
    ) -> Result<LiveBytes, Box<redb::Error>> {
        let before = live.clone();
        let transaction = self.begin_write()?;
        let mut entries = transaction.open_table(ENTRIES).map_err(boxed)?;
        let mut encoded = Vec::new();
        overlay.for_each_newest(|key, change| -> Result<(), Box<redb::Error>> {
            let replaced = match change {
                Some(slot) => {
                    slot.encode(key, &mut encoded);
                    if let Slot::Pointer(pointer) = slot {
                        *live.entry(pointer.position.segment).or_default() += u64::from(pointer.len);
                    }
                    entries.insert(key.as_ref(), encoded.as_slice()).map_err(boxed)?
                }
                None => entries.remove(key.as_ref()).map_err(boxed)?,
            };
            if let Some(pointer) = replaced.and_then(|value| decode_pointer(value.value())) {
                let live = live.entry(pointer.position.segment).or_default();
                *live = live.checked_sub(u64::from(pointer.len)).expect("what is pointed to was counted");
            }
            Ok(())
        })?;
        drop(entries);
        live.retain(|_, bytes| *bytes > 0);
        let mut table = transaction.open_table(LIVE_BYTES).map_err(boxed)?;
        for segment in before.keys().filter(|segment| !live.contains_key(segment)) {
            table.remove(segment).map_err(boxed)?;
        }
        for (segment, bytes) in live.iter().filter(|(segment, bytes)| before.get(segment) != Some(bytes)) {
            table.insert(segment, bytes).map_err(boxed)?;
        }
        drop(table);
        set_covered(&transaction, covered)?;
        transaction.commit().map_err(boxed)?;
        Ok(live)
    }

    fn begin_write(&self) -> Result<WriteTransaction, Box<redb::Error>> {
        let mut transaction = self.database.begin_write().map_err(boxed)?;
        // Without it, opening after a crash walks the whole file. It costs a flush what it would cost each commit.
        transaction.set_quick_repair(true);
        Ok(transaction)
    }
}

fn set_covered(transaction: &WriteTransaction, covered: Covered) -> Result<(), Box<redb::Error>> {
    let mut table = transaction.open_table(COVERED).map_err(boxed)?;
    let numbers = [
        ("segment", covered.position.segment),
        ("offset", covered.position.offset),
        ("sequence", covered.sequence),
        ("version", covered.version.0),
    ];
    for (name, number) in numbers {
        table.insert(name, number).map_err(boxed)?;
    }
    Ok(())
}

fn boxed(error: impl Into<redb::Error>) -> Box<redb::Error> {
    Box::new(error.into())
}

/// The tree as it was after one flush.
pub(super) struct TreeReader {
    entries: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl TreeReader {
    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Slot>, ReadError> {
        caught(|| {
            self.entries.get(key).map_err(read_error)?.map(|value| decode(key, value.value())).transpose()
        })
    }

    /// The entries of a range.
    pub(super) fn scan(&self, range: &KeyRange, direction: Direction) -> Result<TreeScan, ReadError> {
        let end = range.end.as_ref().max(range.start.as_ref());
        let entries = caught(|| self.entries.range::<&[u8]>(range.start.as_ref()..end).map_err(read_error))?;
        Ok(TreeScan { entries, direction })
    }
}

/// A scan of the tree.
pub(super) struct TreeScan {
    entries: redb::Range<'static, &'static [u8], &'static [u8]>,
    direction: Direction,
}

impl Iterator for TreeScan {
    type Item = Result<(Bytes, Slot), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        caught(|| {
            let entry = match self.direction {
                Direction::Forward => self.entries.next(),
                Direction::Backward => self.entries.next_back(),
            };
            let Some(entry) = entry else { return Ok(None) };
            let (key, value) = entry.map_err(read_error)?;
            let key = Bytes::copy_from_slice(key.value());
            let slot = decode(&key, value.value())?;
            Ok(Some((key, slot)))
        })
        .transpose()
    }
}

/// Reads from the tree. redb verifies the pages of its file only when it repairs, and panics on some damage.
fn caught<T>(read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    let damaged = |_| Err(ReadError::Damaged { place: format!("{FILE_NAME}: its pages cannot be followed") });
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(damaged)
}

fn decode(key: &[u8], value: &[u8]) -> Result<Slot, ReadError> {
    Slot::decode(key, value).ok_or_else(|| ReadError::Damaged {
        place: format!("{FILE_NAME}, the value of {}", key.escape_ascii()),
    })
}

fn read_error(error: StorageError) -> ReadError {
    match error {
        StorageError::Corrupted(what) => ReadError::Damaged { place: format!("{FILE_NAME}: {what}") },
        error => ReadError::Unavailable { reason: format!("{FILE_NAME}: {error}") },
    }
}

/// The tree's file as redb wants it.
struct Backend {
    file: Arc<dyn StoreFile>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FILE_NAME)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(offset, data)
    }
}
