//! The directory: who has it open, which format it has, and which store it is.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use rand::random;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::files::FileLayer;
use super::journal::{StoreId, segment_name};
use super::options::OpenError;

/// The format that this release writes, and the newest that it reads.
const FORMAT: u32 = 1;
pub(super) const FORMAT_NAME: &str = "FORMAT";
const NEW_FORMAT_NAME: &str = "FORMAT.new";
const FORMAT_INTRODUCTION: &str = "tidegate-store";
const LOCK_NAME: &str = "LOCK";

/// The right to use a directory. It ends when this is dropped, or the process dies.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // To close the file is not enough: a program that this process is just starting has a copy of it for a moment, and
        // with it the lock. If this fails, that moment is all there is to it.
        let _ = self.file.unlock();
    }
}

/// Creates the directory if need be, and takes the right to use it.
pub(super) fn lock(dir: &Path, now_ms: i64) -> Result<DirectoryLock, OpenError> {
    let failed = |what: &str| {
        let what = format!("{what} {}", dir.display());
        move |source| OpenError::Io { what, source }
    };
    if !dir.exists() {
        create_directory(dir).map_err(failed("creating"))?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed("syncing the parent of"))?;
    }
    let path = dir.join(LOCK_NAME);
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(path).map_err(failed("locking"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder =
                if holder.is_empty() { "another process".to_owned() } else { holder.trim().to_owned() };
            return Err(OpenError::InUse { dir: dir.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed("locking")(error)),
    }
    let since = OffsetDateTime::from_unix_timestamp_nanos(i128::from(now_ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{now_ms} ms"));
    let holder = format!("process {}, since {since}\n", std::process::id());
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed("locking"))?;
    file.write_all(holder.as_bytes()).map_err(failed("locking"))?;
    Ok(DirectoryLock { file })
}

/// Creates the directory, for its owner alone: the events and models of all are in it.
fn create_directory(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Reads which store this is, or makes it one.
pub(super) fn identify(files: &dyn FileLayer) -> Result<StoreId, OpenError> {
    match files.open(FORMAT_NAME) {
        Ok(file) => {
            let len = file.len().map_err(io_error)?;
            let mut bytes = vec![0; usize::try_from(len.min(1_024)).expect("at most a kilobyte")];
            file.read_exact_at(0, &mut bytes).map_err(io_error)?;
            parse(&String::from_utf8_lossy(&bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(files),
        Err(error) => Err(io_error(error)),
    }
}

fn parse(marker: &str) -> Result<StoreId, OpenError> {
    let damaged = || OpenError::Damaged { place: format!("the file {FORMAT_NAME}") };
    let mut words = marker.split_whitespace();
    if words.next() != Some(FORMAT_INTRODUCTION) {
        return Err(damaged());
    }
    let found: u32 = words.next().and_then(|word| word.parse().ok()).ok_or_else(damaged)?;
    if found > FORMAT {
        return Err(OpenError::NewerFormat { found, supported: FORMAT });
    }
    let id = words.next().and_then(|word| u64::from_str_radix(word, 16).ok()).ok_or_else(damaged)?;
    Ok(StoreId(id))
}

fn create(files: &dyn FileLayer) -> Result<StoreId, OpenError> {
    let first_segment = segment_name(1);
    let is_ours = |name: &String| name.starts_with("tree.redb") || *name == first_segment;
    if let Some(name) = files.names().map_err(io_error)?.iter().find(|name| is_ours(name)) {
        return Err(OpenError::Damaged { place: format!("{name} is there, but no {FORMAT_NAME}") });
    }
    let id: u64 = random();
    let marker = format!("{FORMAT_INTRODUCTION} {FORMAT}\n{id:016x}\n");
    let write = || {
        let file = files.create(NEW_FORMAT_NAME)?;
        file.write_all_at(0, marker.as_bytes())?;
        file.sync_data()?;
        files.rename(NEW_FORMAT_NAME, FORMAT_NAME)?;
        files.sync_names()
    };
    write().map_err(io_error)?;
    Ok(StoreId(id))
}

fn io_error(source: io::Error) -> OpenError {
    OpenError::Io { what: format!("the file {FORMAT_NAME}"), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let refused = parse("tidegate-store 2\n0000000000000001\n");
        assert!(matches!(refused, Err(OpenError::NewerFormat { found: 2, supported: 1 })));
        assert!(matches!(parse("tidegate-store 1\n00000000000000ff\n"), Ok(StoreId(255))));
        assert!(matches!(parse("something else"), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn a_second_opening_is_told_who_has_the_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = lock(dir.path(), 1_000).expect("nobody has it");
        let refused = lock(dir.path(), 2_000).expect_err("it is taken").to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        assert!(refused.contains("1970-01-01T00:00:01Z"), "{refused}");
        drop(first);
        lock(dir.path(), 3_000).expect("nobody has it any more");
    }

    /// As a child process has one between its fork and its exec.
    #[test]
    fn a_copy_of_the_locks_file_that_outlives_it_does_not_keep_the_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = lock(dir.path(), 1_000).expect("nobody has it");
        let _copy = first.file.try_clone().expect("a copy");
        drop(first);
        lock(dir.path(), 2_000).expect("nobody has it any more");
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_look_into_a_directory_that_was_created() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("data");
        let _lock = lock(&dir, 1_000).expect("nobody has it");
        let mode = fs::metadata(&dir).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
