//! What the broker counts: the names of its metrics, the recorder, and the one place where requests are counted.
//!
//! Metrics that belong to something that comes and goes (a group's lag, a partition's offsets) are not kept here: they
//! are read from the store when they are asked for, so that what is deleted disappears ([`crate::admin`]).

mod error_codes;
pub(crate) mod names;
mod recorder;
mod requests;

pub(crate) use error_codes::ErrorCodes;
pub(crate) use recorder::{install, upkeep};
pub(crate) use requests::{record_extension, record_request};
