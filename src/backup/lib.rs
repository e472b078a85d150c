//! One snapshot of a store as a file, and back into an empty store.
//!
//! What it is: an [`Export`] reads everything in one snapshot, piece by piece, and gives the bytes of a file; a
//! [`Decoder`] takes such bytes in pieces of any size and gives what is in them; a [`Restore`] writes that into a store
//! that is empty. The bytes are written down in `BACKUP.md`.
//!
//! What it refuses to do: it opens no socket and no store, and holds no more than one frame in memory. It takes up no
//! file that is cut off, damaged, or of a later release, and touches no store that has something in it.
//!
//! What always holds: whatever byte of a file is lost or changed, the decoder says so, with the place; a store into
//! which not all of a file was written says that it is being restored, and no broker serves it; after a restore order
//! versions, owner epochs and producer ids are above those of the backup and of what its origin did since.

mod contents;
mod decoder;
mod encoder;
mod entries;
mod error;
mod export;
mod frame;
mod header;
mod output;
mod renewal;
mod restore;
mod trailer;

pub use contents::{Place, place_of};
pub use decoder::{Decoder, Part, Summary};
pub use encoder::{Compression, Encoder};
pub use error::{ContentError, ExportError, FileError, OutputError, RestoreError};
pub use export::Export;
pub use header::Header;
pub use output::OutputFile;
pub use renewal::{EPOCH_LEAP, PRODUCER_ID_LEAP, Renewal};
pub use restore::{Restore, Restored};

/// The format that this release writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod restore_tests;
