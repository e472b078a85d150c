//! Fields that say when a row was first and last written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::TimeMs;

/// A field that can hold the time of a write, to the millisecond.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold the time of a write",
    label = "not a time",
    note = "`created_at` and `updated_at` are TimeMs, i64 (milliseconds since the Unix epoch), SystemTime, or an Option of these"
)]
pub trait HasTime {
    /// The field with a time, in milliseconds since the Unix epoch.
    fn at(now_ms: i64) -> Self;
}

impl HasTime for i64 {
    fn at(now_ms: i64) -> Self {
        now_ms
    }
}

impl HasTime for TimeMs {
    fn at(now_ms: i64) -> Self {
        Self(now_ms)
    }
}

impl HasTime for SystemTime {
    fn at(now_ms: i64) -> Self {
        let since = Duration::from_millis(now_ms.unsigned_abs());
        if now_ms < 0 { UNIX_EPOCH - since } else { UNIX_EPOCH + since }
    }
}

impl<T: HasTime> HasTime for Option<T> {
    fn at(now_ms: i64) -> Self {
        Some(T::at(now_ms))
    }
}

/// Sets a field, for code that the derive writes.
pub fn set_time<T: HasTime>(field: &mut T, now_ms: i64) {
    *field = T::at(now_ms);
}
