//! Errors, named by what the caller must do.

use std::io;
use std::path::PathBuf;

use tidegate_format::{FormatError, Kind};
use tidegate_store::{CommitError, ReadError};

/// Why bytes are not a backup that can be used. Reading them again gives the same answer: use another backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// They do not begin as a backup does.
    #[error("this is not a backup of Tidegate")]
    NotABackup,
    /// A later release wrote them: use that one.
    #[error(
        "the backup has format {found}, this release reads up to {supported}: use the release that wrote it"
    )]
    NewerFormat {
        /// The format that was found.
        found: u32,
        /// The newest that this release reads.
        supported: u32,
    },
    /// A checksum does not match, or something is where it cannot be.
    #[error("the backup is damaged: {what}, in frame {frame} at byte {offset}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
        /// The number of the frame.
        frame: u32,
        /// Where the frame begins in the file.
        offset: u64,
    },
    /// They end before the end mark.
    #[error("the backup is cut off: it ends at byte {offset}, without an end mark")]
    CutOff {
        /// How many bytes there are.
        offset: u64,
    },
    /// Whoever wrote them could not go on.
    #[error("the backup was broken off: {reason}")]
    BrokenOff {
        /// Why.
        reason: String,
    },
    /// Something follows the end mark.
    #[error("the backup has more than it should: it was to end at byte {offset}")]
    Trailing {
        /// Where the end mark ends.
        offset: u64,
    },
}

/// Why what a store or a backup holds cannot be copied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// An entry of no kind that this release knows: a later one wrote it.
    #[error(
        "there is a key of a kind that this release does not know ({key}): use the release that wrote it"
    )]
    UnknownKind {
        /// How the key begins, escaped.
        key: String,
    },
    /// A row does not decode.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A number cannot be raised any further.
    #[error("{kind}: the numbers are used up")]
    UsedUp {
        /// The kind of row that holds it.
        kind: Kind,
    },
    /// A value is larger than a backup can hold.
    #[error("a value of {actual} bytes is over the limit of {limit} ({key})")]
    ValueTooLarge {
        /// How long it is.
        actual: usize,
        /// How long it may be.
        limit: usize,
        /// How its key begins, escaped.
        key: String,
    },
}

/// Why an export cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Read(#[from] ReadError),
    /// What it holds cannot be copied.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// It is not whole itself.
    #[error("a backup is being restored into this store: finish that first")]
    Restoring,
}

/// Why a restore cannot go on. Nothing serves what it has written so far; it can be begun anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The store has something in it.
    #[error(
        "the store is not empty (it has a key of the kind {kind}): restore into a fresh directory or namespace"
    )]
    NotEmpty {
        /// The kind of the first key.
        kind: String,
    },
    /// The store gives versions that are behind those in the backup, which must not be.
    #[error(
        "the store's clock is {behind_ms} ms behind the backup's last commit: wait that long, or set the clock right"
    )]
    VersionsBehind {
        /// By how much.
        behind_ms: i64,
    },
    /// Another restore has begun in the same store since.
    #[error("another restore into the same store has begun since, and this one has ended")]
    Replaced,
    /// The store is of a format that this release does not write.
    #[error(
        "the backup is of a store of format {found}, this release writes {supported}: use the release that made it"
    )]
    StoreFormat {
        /// The format that the backup names.
        found: u32,
        /// The format of this release.
        supported: u32,
    },
    /// What the backup holds cannot be written.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error("the store cannot be written: {0}")]
    Commit(#[from] CommitError),
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// There is one of that name.
    #[error("{} is there already: choose another name, or say that it is to be replaced", path.display())]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// Another process is about to write it.
    #[error("{} is being written by another process", path.display())]
    InUse {
        /// Its name while it is not whole.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("writing {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}
