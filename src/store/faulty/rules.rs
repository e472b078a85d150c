//! What fails when: the rules that a test has given.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::gate::{Gate, GateStop, Point};
use super::token;
use crate::{CommitError, KeyRange, ReadError, Version};

/// Which operation a rule applies to: one of those that come after the rule was given. A rule applies once.
#[derive(Clone, Debug, Default)]
pub struct On {
    skip: usize,
    range: Option<KeyRange>,
}

impl On {
    /// The next one.
    #[must_use]
    pub fn next() -> Self {
        Self::default()
    }

    /// The one after `skip` others.
    #[must_use]
    pub fn nth(skip: usize) -> Self {
        Self { skip, range: None }
    }

    /// Counts only operations with a key in `range`: that a read asks for, or that a commit writes or guards (for what
    /// was put versioned, the prefix). A begin touches no key.
    #[must_use]
    pub fn touching(mut self, range: KeyRange) -> Self {
        self.range = Some(range);
        self
    }
}

/// How a commit fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// With this error (not [`CommitError::Unknown`]), and nothing is applied.
    Refused(CommitError),
    /// [`CommitError::Unknown`], and it is applied, unless it conflicts.
    LostApplied,
    /// [`CommitError::Unknown`], and it is not applied.
    LostNotApplied,
    /// [`CommitError::Unknown`], and it arrives at [`FaultyStore::deliver_late`](super::FaultyStore::deliver_late).
    LostLate,
}

/// The handle by which a test makes a [`FaultyStore`](super::FaultyStore) fail. Rules are looked at in the order in
/// which they were given; of those that apply to one operation the first is used, the others wait for the next.
/// Commits are only counted if they write or guard.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    away: bool,
    order_lag_ms: Option<u64>,
    is_shared: bool,
    safe_point: Option<Version>,
    kept: Vec<(KeyRange, Version)>,
    begins: Rules<ReadError>,
    reads: Rules<ReadError>,
    commits: Rules<CommitFault>,
    gates: [Rules<GateStop>; 5],
}

impl Faults {
    /// Lets a begin fail.
    pub fn fail_begin(&self, on: On, error: ReadError) {
        assert!(on.range.is_none(), "a begin touches no key");
        self.state().begins.add(on, error);
    }

    /// Lets a read fail.
    pub fn fail_read(&self, on: On, error: ReadError) {
        self.state().reads.add(on, error);
    }

    /// Lets a commit fail.
    pub fn fail_commit(&self, on: On, fault: CommitFault) {
        let is_unknown = matches!(fault, CommitFault::Refused(CommitError::Unknown { .. }));
        assert!(!is_unknown, "an unknown outcome is one of the lost answers");
        self.state().commits.add(on, fault);
    }

    /// Holds a transaction at a point.
    pub fn hold(&self, on: On, point: Point) -> Gate {
        let at_begin = matches!(point, Point::BeforeBegin | Point::AfterBegin);
        assert!(on.range.is_none() || !at_begin, "a begin touches no key");
        let (gate, stop) = Gate::new();
        self.state().gates_at(point).add(on, stop);
        gate
    }

    /// Sends the store away: until [`come_back`](Self::come_back) everything is `Unavailable`, and nothing is applied.
    pub fn go_away(&self) {
        self.state().away = true;
    }

    /// Ends [`go_away`](Self::go_away).
    pub fn come_back(&self) {
        self.state().away = false;
    }

    /// Makes the store say that entries may appear so far behind what was seen, as one does whose commits take a while
    /// after they have their version ([`Store::order_lag_ms`](crate::Store::order_lag_ms)).
    pub fn set_order_lag_ms(&self, lag_ms: u64) {
        self.state().order_lag_ms = Some(lag_ms);
    }

    /// Makes the store say that other processes can reach it, as those of a test that have their own handles on it can
    /// ([`Store::is_shared`](crate::Store::is_shared)).
    pub fn share(&self) {
        self.state().is_shared = true;
    }

    /// Makes the store keep what is dropped ([`Store::drop_range`](crate::Store::drop_range)) until everything that began
    /// before this has ended, as one does that removes it under the feet of every snapshot.
    pub fn set_safe_point(&self, safe_point: Version) {
        self.state().safe_point = Some(safe_point);
    }

    /// What was to be dropped and is kept, with the version that it was said to be dropped at, since this was asked last.
    #[must_use]
    pub fn take_kept(&self) -> Vec<(KeyRange, Version)> {
        std::mem::take(&mut self.state().kept)
    }

    pub(super) fn keeps(&self, range: &KeyRange, dropped_at: Version) -> bool {
        let mut state = self.state();
        let keeps = state.safe_point.is_some_and(|safe_point| safe_point <= dropped_at);
        if keeps {
            state.kept.push((range.clone(), dropped_at));
        }
        keeps
    }

    pub(super) fn is_shared(&self) -> bool {
        self.state().is_shared
    }

    pub(super) fn order_lag_ms(&self) -> Option<u64> {
        self.state().order_lag_ms
    }

    pub(super) async fn pass(&self, point: Point, touched: &Touched) {
        let stop = self.state().gates_at(point).take(touched);
        if let Some(stop) = stop {
            stop.wait().await;
        }
    }

    /// Whether the store is away, as the reason to give.
    pub(super) fn check_away(&self) -> Result<(), String> {
        if self.state().away { Err("the test has sent the store away".to_owned()) } else { Ok(()) }
    }

    pub(super) fn check_begin(&self) -> Result<(), ReadError> {
        self.check_away().map_err(|reason| ReadError::Unavailable { reason })?;
        self.state().begins.take(&Touched::default()).map_or(Ok(()), Err)
    }

    pub(super) fn check_read(&self, touched: &Touched) -> Result<(), ReadError> {
        self.check_away().map_err(|reason| ReadError::Unavailable { reason })?;
        self.state().reads.take(touched).map_or(Ok(()), Err)
    }

    pub(super) fn take_commit_fault(&self, touched: &Touched) -> Option<CommitFault> {
        self.state().commits.take(touched)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics with the lock held")
    }
}

impl State {
    fn gates_at(&mut self, point: Point) -> &mut Rules<GateStop> {
        &mut self.gates[point as usize]
    }
}

/// The rules for one kind of operation, in the order in which they were given.
struct Rules<T>(Vec<(On, T)>);

impl<T> Default for Rules<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Rules<T> {
    fn add(&mut self, on: On, then: T) {
        self.0.push((on, then));
    }

    /// Counts an operation in all rules that look at it, and takes the first one that it is the turn of.
    fn take(&mut self, touched: &Touched) -> Option<T> {
        let mut due = None;
        for (position, (on, _)) in self.0.iter_mut().enumerate() {
            if on.range.as_ref().is_some_and(|range| !touched.has_key_in(range)) {
                continue;
            }
            match on.skip.checked_sub(1) {
                Some(left) => on.skip = left,
                None => due = due.or(Some(position)),
            }
        }
        due.map(|position| self.0.remove(position).1)
    }
}

/// What an operation touches.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    keys: Vec<Bytes>,
    range: Option<KeyRange>,
}

impl Touched {
    pub(super) fn key(key: &[u8]) -> Self {
        Self::keys(&[Bytes::copy_from_slice(key)])
    }

    pub(super) fn keys(keys: &[Bytes]) -> Self {
        keys.iter().for_each(token::assert_not_reserved);
        Self { keys: keys.to_vec(), range: None }
    }

    pub(super) fn range(range: &KeyRange) -> Self {
        Self { keys: Vec::new(), range: Some(range.clone()) }
    }

    pub(super) fn write(&mut self, key: Bytes) {
        token::assert_not_reserved(&key);
        self.keys.push(key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.range.is_none()
    }

    fn has_key_in(&self, range: &KeyRange) -> bool {
        let overlaps = |own: &KeyRange| (&own.start).max(&range.start) < (&own.end).min(&range.end);
        self.keys.iter().any(|key| range.contains(key)) || self.range.as_ref().is_some_and(overlaps)
    }
}
