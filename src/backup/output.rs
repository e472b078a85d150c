//! A file that has its name only once it is whole.
//!
//! What always holds: until then it is `NAME.partial`; it gets its name after its bytes are on disk. What is dropped
//! before is removed; what a killed process leaves is taken over by the next one that writes to the same name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::OutputError;

/// What is appended to the name while it is not whole.
const PARTIAL: &str = ".partial";

/// A file that is being written.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    partial: TempPath,
    target: PathBuf,
    replace: bool,
}

impl OutputFile {
    /// Begins to write a file. Only its owner may read it. With `replace`, one of that name is replaced at the end.
    ///
    /// # Errors
    /// If there is one already, another process writes it, or the file system refuses.
    pub fn create(target: &Path, replace: bool) -> Result<Self, OutputError> {
        if !replace && target.symlink_metadata().is_ok() {
            return Err(OutputError::Exists { path: target.to_owned() });
        }
        let failed = |source| io_error(target, source);
        let directory = directory_of(target).canonicalize().map_err(failed)?;
        let name = target.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        let target = directory.join(name);
        let mut partial = target.clone().into_os_string();
        partial.push(PARTIAL);
        let partial = PathBuf::from(partial);
        let file = open_locked(&partial)?;
        file.set_len(0).map_err(|source| io_error(&partial, source))?;
        let partial = TempPath::try_from_path(&partial).map_err(|source| io_error(&partial, source))?;
        Ok(Self { file, partial, target, replace })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// If the file system refuses, for lack of space for one.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.file.write_all(bytes).map_err(|source| io_error(&self.partial, source))
    }

    /// Ends the file: it is on disk and has its name when this returns.
    ///
    /// # Errors
    /// If the file system refuses, or somebody else has made a file of that name meanwhile.
    pub fn finish(self) -> Result<(), OutputError> {
        let Self { file, partial, target, replace } = self;
        file.sync_all().map_err(|source| io_error(&partial, source))?;
        let named = if replace { partial.persist(&target) } else { partial.persist_noclobber(&target) };
        named.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => OutputError::Exists { path: target.clone() },
            _ => io_error(&target, error.error),
        })?;
        let directory = File::open(directory_of(&target));
        directory.and_then(|directory| directory.sync_all()).map_err(|source| io_error(&target, source))
    }
}

/// Opens a file that nobody else writes, and that nobody has renamed while it was being locked.
fn open_locked(path: &Path) -> Result<File, OutputError> {
    let failed = |source| io_error(path, source);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
    let in_use = || OutputError::InUse { path: path.to_owned() };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use()),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let here = file.metadata().map_err(failed)?;
    let is_the_same =
        path.metadata().is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino()));
    if is_the_same { Ok(file) } else { Err(in_use()) }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn io_error(path: &Path, source: io::Error) -> OutputError {
    OutputError::Io { path: path.to_owned(), source }
}
