//! Why bytes are not what they should be.

use crate::Kind;

/// What is wrong with a key or value. None of these is mended by trying again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes end before the kind's last field does.
    #[error("{kind}: the bytes end too early")]
    Truncated {
        /// What was being decoded.
        kind: Kind,
    },
    /// There are bytes after the kind's last field.
    #[error("{kind}: {count} bytes too many")]
    Trailing {
        /// What was being decoded.
        kind: Kind,
        /// How many.
        count: usize,
    },
    /// The key is of another kind.
    #[error("{kind}: the key has the tag of another kind")]
    Tag {
        /// What was being decoded.
        kind: Kind,
    },
    /// A field holds what no encoder writes.
    #[error("{kind}: {field} is malformed")]
    Value {
        /// What was being decoded.
        kind: Kind,
        /// Which field.
        field: &'static str,
    },
    /// A later release wrote this: run that release.
    #[error("{kind}: version {found} is newer than {supported}, the newest that this release reads")]
    Newer {
        /// What was being decoded.
        kind: Kind,
        /// The version that was found.
        found: u32,
        /// The newest version that is understood.
        supported: u32,
    },
    /// An earlier version wrote this, in a way that is not read any more: begin with a new store, or go on with that
    /// version.
    #[error("{kind}: version {found} is older than {oldest}, the oldest that this release reads")]
    Older {
        /// What was being decoded.
        kind: Kind,
        /// The version that was found.
        found: u32,
        /// The oldest version that is understood.
        oldest: u32,
    },
    /// An encoded key is longer than a key may be: shorten the names or values in it.
    #[error("{kind}: a key of {actual} bytes is over the limit of {limit}")]
    KeyTooLong {
        /// What was being encoded.
        kind: Kind,
        /// How long it would be.
        actual: usize,
        /// How long it may be.
        limit: usize,
    },
}

/// Why a name cannot be part of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has no characters.
    #[error("{what} is empty")]
    Empty {
        /// Which name.
        what: &'static str,
    },
    /// It is over its limit.
    #[error("{what} of {actual} bytes is over the limit of {limit}")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// How many bytes it has.
        actual: usize,
        /// How many it may have.
        limit: usize,
    },
    /// It has characters beyond ASCII letters, digits, `.`, `_` and `-`, or is `.` or `..`.
    #[error("{what} may have ASCII letters, digits, '.', '_' and '-' only, and not be '.' or '..'")]
    Illegal {
        /// Which name.
        what: &'static str,
    },
}
