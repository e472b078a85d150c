//! Why a request of the extension was not done, named by what the caller must do.

use bytes::Bytes;

use super::wire::{Reader, Writer, malformed};
use crate::frame::FrameError;

/// The size that was over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// Of one value.
    ValueBytes,
    /// Of all keys and values of a transaction.
    TransactionBytes,
    /// The number of keys of a transaction.
    TransactionKeys,
}

impl Limited {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::ValueBytes, Self::TransactionBytes, Self::TransactionKeys];

    /// Its name in the store's errors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ValueBytes => "value bytes",
            Self::TransactionBytes => "transaction bytes",
            Self::TransactionKeys => "transaction keys",
        }
    }
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another transaction came first: run again from the start.
    Conflict,
    /// It may or may not have been done: ask for its outcome, by this.
    Unknown {
        /// A key that the attempt wrote.
        key: Bytes,
        /// Which attempt.
        nonce: u128,
    },
    /// The store cannot be reached or has closed.
    Unavailable {
        /// What it said.
        reason: String,
    },
    /// The transaction outlived its time, or its session has ended: begin another one.
    Expired {
        /// The limit, in milliseconds.
        max_ms: u64,
    },
    /// Over a limit of size: split it.
    TooLarge {
        /// Which size.
        what: Limited,
        /// What it was.
        actual: u64,
        /// What it may be.
        limit: u64,
    },
    /// The disk is down to its reserve.
    DiskFull {
        /// How many bytes that is.
        reserve_bytes: u64,
    },
    /// What is stored fails its checksum.
    Damaged {
        /// Where.
        place: String,
    },
    /// The broker does not admit such a key, or what is under it: mend the program.
    Refused {
        /// The kind of key, by its name in FORMAT.md.
        kind: String,
        /// What is wrong.
        reason: String,
    },
    /// No more sessions are to be had: end some, or raise the setting.
    TooManySessions {
        /// The setting that limits them.
        setting: String,
        /// The limit.
        limit: u64,
    },
    /// The extension is switched off on this listener.
    SwitchedOff {
        /// The setting that switches it on.
        setting: String,
    },
    /// The two sides have no version in common: upgrade the older.
    UnsupportedVersion {
        /// The oldest that the broker speaks.
        min: i16,
        /// The newest that it speaks.
        max: i16,
    },
}

impl Failure {
    /// Its name in metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::Unknown { .. } => "Unknown",
            Self::Unavailable { .. } => "Unavailable",
            Self::Expired { .. } => "Expired",
            Self::TooLarge { .. } => "TooLarge",
            Self::DiskFull { .. } => "DiskFull",
            Self::Damaged { .. } => "Damaged",
            Self::Refused { .. } => "Refused",
            Self::TooManySessions { .. } => "TooManySessions",
            Self::SwitchedOff { .. } => "SwitchedOff",
            Self::UnsupportedVersion { .. } => "UnsupportedVersion",
        }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Conflict => writer.u8(1),
            Self::Unknown { key, nonce } => {
                writer.u8(2);
                writer.bytes(key);
                writer.u128(*nonce);
            }
            Self::Unavailable { reason } => {
                writer.u8(3);
                writer.text(reason);
            }
            Self::Expired { max_ms } => {
                writer.u8(4);
                writer.u64(*max_ms);
            }
            Self::TooLarge { what, actual, limit } => {
                writer.u8(5);
                writer.u8(match what {
                    Limited::ValueBytes => 0,
                    Limited::TransactionBytes => 1,
                    Limited::TransactionKeys => 2,
                });
                writer.u64(*actual);
                writer.u64(*limit);
            }
            Self::DiskFull { reserve_bytes } => {
                writer.u8(6);
                writer.u64(*reserve_bytes);
            }
            Self::Damaged { place } => {
                writer.u8(7);
                writer.text(place);
            }
            Self::Refused { kind, reason } => {
                writer.u8(8);
                writer.text(kind);
                writer.text(reason);
            }
            Self::TooManySessions { setting, limit } => {
                writer.u8(9);
                writer.text(setting);
                writer.u64(*limit);
            }
            Self::SwitchedOff { setting } => {
                writer.u8(10);
                writer.text(setting);
            }
            Self::UnsupportedVersion { min, max } => {
                writer.u8(11);
                writer.i16(*min);
                writer.i16(*max);
            }
        }
    }

    /// Reads what follows the byte that tells the kinds apart.
    pub(super) fn read(kind: u8, reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(match kind {
            1 => Self::Conflict,
            2 => Self::Unknown { key: reader.bytes("key")?, nonce: reader.u128("nonce")? },
            3 => Self::Unavailable { reason: reader.text("reason")? },
            4 => Self::Expired { max_ms: reader.u64("max_ms")? },
            5 => {
                let what = match reader.u8("what")? {
                    0 => Limited::ValueBytes,
                    1 => Limited::TransactionBytes,
                    2 => Limited::TransactionKeys,
                    _ => return Err(malformed("what")),
                };
                Self::TooLarge { what, actual: reader.u64("actual")?, limit: reader.u64("limit")? }
            }
            6 => Self::DiskFull { reserve_bytes: reader.u64("reserve_bytes")? },
            7 => Self::Damaged { place: reader.text("place")? },
            8 => Self::Refused { kind: reader.text("kind")?, reason: reader.text("reason")? },
            9 => Self::TooManySessions { setting: reader.text("setting")?, limit: reader.u64("limit")? },
            10 => Self::SwitchedOff { setting: reader.text("setting")? },
            11 => Self::UnsupportedVersion { min: reader.i16("min")?, max: reader.i16("max")? },
            _ => return Err(malformed("outcome")),
        })
    }
}
