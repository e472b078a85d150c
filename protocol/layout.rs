//! What a message's bytes look like, version by version: proof of its lengths before anything is allocated.
//!
//! `kafka-protocol`'s decoder never reads past the end, and refuses negative lengths and text that is not UTF-8, but it
//! reserves room for as many elements as an array announces before it has seen one: a frame of 20 bytes can make it
//! ask for hundreds of gigabytes, which aborts the process. (It also trusts a known tagged field over the size that
//! the field announces.) So every body is first walked by [`check`] along the message's [`Layout`]: each length, count
//! and tag must fit into what is left of the frame, and the elements of a frame may not exceed a bound. What has
//! passed decodes in memory proportional to the frame.
//!
//! A message can only be decoded by this crate if it has a layout: [`WireLayout`] is the bound of
//! [`decode_request`](crate::frame::decode_request) and of the version table. The layouts are proven against the
//! decoder: bytes made at random from each layout in each version must decode to the last byte.

mod cluster;
mod consumer_protocol;
mod groups;
mod records;
mod topics;

#[cfg(test)]
mod layout_tests;

use std::fmt;

pub(crate) use consumer_protocol::{ASSIGNMENT, SUBSCRIPTION};
use kafka_protocol::protocol::Request;

/// Elements of all arrays, and tagged fields, that one request may hold. (A consumer names its partitions one by one.)
pub const MAX_REQUEST_ELEMENTS: usize = 1 << 18;
/// Elements of all arrays, and tagged fields, that one response may hold: metadata of a million partitions fits.
pub const MAX_RESPONSE_ELEMENTS: usize = 1 << 22;

/// A request whose bytes, and whose response's, are laid out here.
pub trait WireLayout: Request {
    /// The request's body.
    const REQUEST: Layout;
    /// The response's body.
    const RESPONSE: Layout;
}

/// A message's body.
#[derive(Debug)]
pub struct Layout {
    /// The first version with compact lengths and tagged fields, or [`NEVER`].
    flexible_since: i16,
    fields: &'static [Field],
}

/// One field, or several of fixed size in a row, and the versions that have it.
#[derive(Debug)]
struct Field {
    since: i16,
    until: i16,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string: a length of 16 bits, or compact.
    Text,
    /// Bytes or record batches: a length of 32 bits, or compact.
    Bytes,
    /// A count of 32 bits, or compact, and so many elements.
    Array(&'static Kind),
    /// Fields in a row, with tagged fields at the end.
    Struct(&'static [Field]),
    /// Among the tagged fields at the end, under this number.
    Tag(u32, &'static Kind),
}

/// No version.
const NEVER: i16 = i16::MAX;

const fn body(flexible_since: i16, fields: &'static [Field]) -> Layout {
    Layout { flexible_since, fields }
}

const fn between(since: i16, until: i16, kind: Kind) -> Field {
    Field { since, until, kind }
}

const fn since(since: i16, kind: Kind) -> Field {
    between(since, i16::MAX, kind)
}

const fn until(until: i16, kind: Kind) -> Field {
    between(0, until, kind)
}

const fn all(kind: Kind) -> Field {
    between(0, i16::MAX, kind)
}

/// Where a message does not fit its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Bytes of the body before the place.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

/// Walks a body along its layout, allocating nothing.
///
/// # Errors
/// The first place at which it does not fit: cut short, longer than the layout, a length beyond the end, or more than
/// `max_elements`.
pub fn check(layout: &Layout, version: i16, body: &[u8], max_elements: usize) -> Result<(), Misfit> {
    let rest = check_start(layout, version, body, max_elements)?;
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Misfit { at: body.len() - rest.len(), what: "bytes after the end" })
    }
}

/// [`check`], of a message after which something else may follow: that is returned.
pub(crate) fn check_start<'a>(
    layout: &Layout,
    version: i16,
    body: &'a [u8],
    max_elements: usize,
) -> Result<&'a [u8], Misfit> {
    let flexible = version >= layout.flexible_since;
    let mut walk = Walk { rest: body, version, flexible, elements_left: max_elements };
    match walk.fields(layout.fields) {
        Ok(()) => Ok(walk.rest),
        Err(what) => Err(Misfit { at: body.len() - walk.rest.len(), what }),
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements_left: usize,
}

type Step<T = ()> = Result<T, &'static str>;

impl Walk<'_> {
    fn fields(&mut self, fields: &'static [Field]) -> Step {
        for field in fields {
            if self.has(field) && !matches!(field.kind, Kind::Tag(..)) {
                self.kind(&field.kind)?;
            }
        }
        if self.flexible { self.tagged(fields) } else { Ok(()) }
    }

    fn has(&self, field: &Field) -> bool {
        (field.since..=field.until).contains(&self.version)
    }

    fn kind(&mut self, kind: &'static Kind) -> Step {
        match kind {
            Kind::Fixed(size) => self.skip(*size),
            Kind::Text => {
                let length = if self.flexible { self.compact()? } else { self.length(2)? };
                self.skip(length)
            }
            Kind::Bytes => {
                let length = if self.flexible { self.compact()? } else { self.length(4)? };
                self.skip(length)
            }
            Kind::Array(element) => {
                let count = if self.flexible { self.compact()? } else { self.length(4)? };
                self.elements(count)?;
                (0..count).try_for_each(|_| self.kind(element))
            }
            Kind::Struct(fields) => self.fields(fields),
            Kind::Tag(_, inner) => self.kind(inner),
        }
    }

    fn tagged(&mut self, fields: &'static [Field]) -> Step {
        let count = self.varint()?;
        self.elements(count)?;
        for _ in 0..count {
            let tag = self.varint()?;
            let size = self.varint()?;
            let known = fields.iter().find(|field| {
                matches!(field.kind, Kind::Tag(number, _) if usize::try_from(number) == Ok(tag))
                    && self.has(field)
            });
            let Some(field) = known else {
                self.skip(size)?;
                continue;
            };
            let before = self.rest.len();
            self.kind(&field.kind)?;
            if before - self.rest.len() != size {
                return Err("a tagged field of another size than it says");
            }
        }
        Ok(())
    }

    /// Every element takes at least one byte.
    fn elements(&mut self, count: usize) -> Step {
        if count > self.rest.len() {
            return Err("more elements than bytes");
        }
        self.elements_left = self.elements_left.checked_sub(count).ok_or("too many elements")?;
        Ok(())
    }

    /// A length or count of so many bytes; null counts as 0.
    fn length(&mut self, width: usize) -> Step<usize> {
        let value = match *self.take(width)? {
            [a, b] => i32::from(i16::from_be_bytes([a, b])),
            [a, b, c, d] => i32::from_be_bytes([a, b, c, d]),
            _ => unreachable!("lengths take 2 or 4 bytes"),
        };
        if value == -1 { Ok(0) } else { usize::try_from(value).map_err(|_| "a negative length") }
    }

    /// A compact length or count; null counts as 0.
    fn compact(&mut self) -> Step<usize> {
        Ok(self.varint()?.saturating_sub(1))
    }

    fn varint(&mut self) -> Step<usize> {
        let mut value: u64 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let value = u32::try_from(value).map_err(|_| "a length above 32 bits")?;
                return usize::try_from(value).map_err(|_| "a length above 32 bits");
            }
        }
        Err("an endless length")
    }

    fn skip(&mut self, size: usize) -> Step {
        self.take(size).map(|_| ())
    }

    fn take(&mut self, size: usize) -> Step<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(size).ok_or("cut short")?;
        self.rest = rest;
        Ok(taken)
    }
}
