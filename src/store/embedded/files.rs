//! The files of one store directory, behind a trait that tests can make lose what was not synced.
//!
//! What it is: the few operations that the journal and the tree need, on names in one flat directory. Everything that
//! the store reads or writes goes through it, so that one test layer covers journal and tree alike.
//!
//! What it refuses to do: it keeps no position, buffers nothing and retries nothing.
//!
//! What always holds: a write that returned is seen by every later read of this process; it survives a crash only after
//! [`StoreFile::sync_data`], and a created, renamed or removed name only after [`FileLayer::sync_names`].

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;

/// One open file. It stays readable after its name was removed.
pub(super) trait StoreFile: Debug + Send + Sync + 'static {
    /// How long the file is, in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `bytes` from `offset` on; an error if the file ends before.
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// The `len` bytes from `offset` on; an error if the file ends before.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read_exact_at(offset, &mut bytes)?;
        Ok(bytes)
    }
    /// Writes all of `bytes` at `offset`, extending the file if it ends before.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file, or extends it with zeros that take no space.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Extends the file to `len` with zeros whose space is reserved.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Makes what was written and the length durable.
    fn sync_data(&self) -> io::Result<()>;
}

/// One flat directory of files.
pub(super) trait FileLayer: Send + Sync + 'static {
    /// The names of the files there are.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>>;
    /// Creates an empty file, in place of one that may be there.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StoreFile>>;
    /// Gives a file another name, in place of one that may have it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name; the space is freed when nobody has the file open any more.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes what was created, renamed and removed durable.
    fn sync_names(&self) -> io::Result<()>;
    /// How many bytes can still be written.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A directory of the machine's file system.
#[derive(Debug)]
pub(super) struct RealFiles {
    dir: PathBuf,
}

impl RealFiles {
    /// The directory, which exists.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn open_with(&self, name: &str, options: &mut fs::OpenOptions) -> io::Result<Arc<dyn StoreFile>> {
        Ok(Arc::new(RealFile { file: options.read(true).write(true).open(self.dir.join(name))? }))
    }
}

impl FileLayer for RealFiles {
    fn names(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        self.open_with(name, &mut fs::OpenOptions::new())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        self.open_with(name, fs::OpenOptions::new().create(true).truncate(true))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        fs::File::open(&self.dir)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let status = rustix::fs::statvfs(&self.dir)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
}

impl StoreFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    // Into memory that was not made zeros before.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let offset = offset + bytes.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut bytes), offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let from = self.len()?;
        if from >= len {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), from, len - from) {
            // The file system cannot reserve: the space is taken as it is written.
            Err(rustix::io::Errno::OPNOTSUPP) => self.file.set_len(len),
            result => Ok(result?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
