//! The highest timestamps at a place of the log: of all that was ever appended up to there, and of each of the nested
//! stretches of the log in which the place lies.
//!
//! Where timestamps never fall all of these are one number, and only that is written. Which offsets are a stretch is the
//! log's affair.

use crate::FormatError;
use crate::field::{FieldReader, FieldWriter};

/// The most stretches that one place can lie in.
pub const STRETCHES_MAX: usize = 31;

/// The highest timestamps at a place of the log, in milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampMaxima {
    overall_ms: i64,
    /// Of the narrower stretches, as far as they are below `overall_ms`: the narrowest first, never falling.
    lower_ms: Vec<i64>,
}

impl TimestampMaxima {
    /// The highest of all, and that of each stretch, the narrowest first.
    ///
    /// # Panics
    /// If a wider stretch has a lower maximum, or one has a higher one than all, or there are more than
    /// [`STRETCHES_MAX`]: they are not nested then.
    #[must_use]
    pub fn new(overall_ms: i64, stretches_ms: impl IntoIterator<Item = i64>) -> Self {
        let lower_ms: Vec<i64> = stretches_ms.into_iter().take_while(|ms| *ms != overall_ms).collect();
        assert!(lower_ms.is_sorted(), "a stretch has no lower maximum than one inside it");
        assert!(lower_ms.last().is_none_or(|last| *last < overall_ms), "no stretch has more than all");
        assert!(lower_ms.len() <= STRETCHES_MAX, "a place lies in no more stretches");
        Self { overall_ms, lower_ms }
    }

    /// The highest of all that was ever appended up to this place.
    #[must_use]
    pub fn overall_ms(&self) -> i64 {
        self.overall_ms
    }

    /// The highest since the beginning of a stretch; 0 is the narrowest.
    #[must_use]
    pub fn stretch_ms(&self, stretch: usize) -> i64 {
        self.lower_ms.get(stretch).copied().unwrap_or(self.overall_ms)
    }

    /// The highest of all; then how many are lower, and from the widest of them on by how much each is lower than the
    /// one before.
    pub(crate) fn write(&self, into: FieldWriter) -> FieldWriter {
        let mut wider_ms = self.overall_ms;
        let steps = self.lower_ms.iter().rev().map(|ms| std::mem::replace(&mut wider_ms, *ms).abs_diff(*ms));
        into.i64(self.overall_ms).each(steps, FieldWriter::varint)
    }

    pub(crate) fn read(from: &mut FieldReader) -> Result<Self, FormatError> {
        const FIELD: &str = "maximum timestamps";
        let overall_ms = from.i64()?;
        let steps = from.each(FIELD, |from| from.varint(FIELD))?;
        if steps.len() > STRETCHES_MAX || steps.first() == Some(&0) {
            return Err(from.malformed(FIELD));
        }
        let mut lower_ms = Vec::with_capacity(steps.len());
        let mut wider = overall_ms;
        for step in steps {
            wider = wider.checked_sub_unsigned(step).ok_or_else(|| from.malformed(FIELD))?;
            lower_ms.push(wider);
        }
        lower_ms.reverse();
        Ok(Self { overall_ms, lower_ms })
    }
}
