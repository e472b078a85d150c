//! Where a page ended, as text that a client can hand back.
//!
//! Always holds: a cursor continues only the query that gave it, and never leads out of that query's range.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use tidegate_store::{Direction, KeyRange};
use uuid::Uuid;

use crate::QueryError;

/// A digest of the query, then the last key of the page. The first byte is this form's version.
const VERSION: u8 = 1;
const DIGEST_BYTES: usize = 16;

/// Tells digests of queries from every other name-based UUID.
const NAMESPACE: Uuid = Uuid::from_u128(0x7469_6465_6761_7465_8000_6375_7273_6f72);

/// Where a page ended: hand it to the same query for the next page. Opaque; safe in a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The cursor after `last_key` of a query over `range`.
    pub(crate) fn after(last_key: &[u8], range: &KeyRange, direction: Direction) -> Self {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(digest(range, direction).as_bytes());
        bytes.extend_from_slice(last_key);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What is left of `range` after the cursor.
    pub(crate) fn rest_of(
        &self,
        range: &KeyRange,
        direction: Direction,
        table: &'static str,
    ) -> Result<KeyRange, QueryError> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.0).map_err(|_| QueryError::CursorMalformed)?;
        let [VERSION, rest @ ..] = bytes.as_slice() else { return Err(QueryError::CursorMalformed) };
        let (found, last_key) = rest.split_at_checked(DIGEST_BYTES).ok_or(QueryError::CursorMalformed)?;
        if found != digest(range, direction).as_bytes() || !range.contains(last_key) {
            return Err(QueryError::CursorOfAnotherQuery { table });
        }
        Ok(match direction {
            Direction::Forward => KeyRange::new(KeyRange::successor(last_key), range.end.clone()),
            Direction::Backward => KeyRange::new(range.start.clone(), Bytes::copy_from_slice(last_key)),
        })
    }
}

/// The range holds table, index, values and bounds.
fn digest(range: &KeyRange, direction: Direction) -> Uuid {
    let direction = match direction {
        Direction::Forward => 0,
        Direction::Backward => 1,
    };
    let length = u32::try_from(range.start.len()).expect("a key is short").to_be_bytes();
    let query = [&[direction][..], &length, &range.start, &range.end].concat();
    Uuid::new_v5(&NAMESPACE, &query)
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Cursor {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Cursor {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}
