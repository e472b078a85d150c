//! The record at the committed offset that has failed alone, or was put off, as a worker in order notes it: so that neither a
//! restart nor another worker begins to count anew, or comes too early.
//!
//! It is noted where a member may note what it wishes: in the metadata of the committed offset. So it goes with that, whoever
//! moves it, and anybody's OffsetFetch shows it.

use serde::{Deserialize, Serialize};

/// What a note begins with, so that nobody's own is taken for one.
const PREFIX: &str = "tidegate-worker ";

/// How a record has failed, or until when it was put off with those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedRecord {
    /// The record: the first one from the committed offset on, unless it is no longer in the log.
    pub(crate) offset: i64,
    /// How often it has failed: 0 if it was only put off.
    pub(crate) failures: u32,
    /// When it may be tried again, in milliseconds since the Unix epoch.
    pub(crate) due_ms: i64,
}

impl FailedRecord {
    /// The note.
    pub(crate) fn to_metadata(self) -> String {
        let note = serde_json::to_string(&self).expect("three numbers");
        format!("{PREFIX}{note}")
    }

    /// What is noted; none if it is no note.
    pub(crate) fn from_metadata(metadata: &str) -> Option<Self> {
        serde_json::from_str(metadata.strip_prefix(PREFIX)?).ok()
    }
}

/// What of the metadata stays when the committed offset goes on.
pub(crate) fn without_note(metadata: String) -> String {
    if metadata.starts_with(PREFIX) { String::new() } else { metadata }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_and_what_others_note_is_none_and_stays() {
        let failed = FailedRecord { offset: 7, failures: 3, due_ms: 1_790_000_000_000 };
        let note = failed.to_metadata();
        assert_eq!(note, r#"tidegate-worker {"offset":7,"failures":3,"due_ms":1790000000000}"#);
        assert_eq!(FailedRecord::from_metadata(&note), Some(failed));
        assert_eq!(without_note(note), "");
        for other in ["", "mine", "tidegate", r#"{"offset":7,"failures":3,"due_ms":1}"#] {
            assert_eq!(FailedRecord::from_metadata(other), None, "{other}");
            assert_eq!(without_note(other.to_owned()), other);
        }
        // Of another release: it is not known what it says, and it goes.
        let newer = "tidegate-worker 2 ...".to_owned();
        assert_eq!(FailedRecord::from_metadata(&newer), None);
        assert_eq!(without_note(newer), "");
    }
}
