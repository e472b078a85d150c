//! What workers were told of what they began, and what that has to be by the plain model.

use super::doubts::{Book, Doubt};
use super::expected::{Expected, State};
use super::filed::{Comes, Tried};
use super::rounds::Began;
use super::site::Spot;
use crate::worker::attempt::Ended;
use crate::worker::batch::BatchEnded;
use crate::worker::held::Done;

/// Takes in what a worker was told.
pub(super) fn was_told(book: &mut Book, began: &Began, done: &Done, now_ms: i64) {
    let Book { expected, doubts, .. } = book;
    match (began, done) {
        (Began::Handle(spot), Done::Action { ended, .. }) => match ended {
            Ended::Handled => {
                assert!(expected.is_fresh(*spot), "{spot:?} is handled once");
                expected.tried(*spot, now_ms);
                is_over(expected, spot);
            }
            Ended::ParkedUntil(due_ms) => {
                assert!(expected.is_fresh(*spot), "{spot:?} is handled once");
                expected.tried(*spot, now_ms);
                is_parked_until(expected, spot, *due_ms);
            }
            Ended::FoundDone(_) => doubts.push(Doubt::DealtWith(*spot)),
            Ended::GivenBack => doubts.push(Doubt::Handle { spot: *spot, now_ms }),
            Ended::Moved => {}
        },
        (Began::Retry(spot), Done::Action { ended, .. }) => {
            if *ended == Ended::GivenBack {
                return doubts.push(Doubt::Retry { spot: *spot, now_ms });
            }
            // Or another worker was told of it first.
            if expected.is_due(*spot, now_ms) {
                expected.tried(*spot, now_ms);
            }
            match ended {
                Ended::ParkedUntil(due_ms) => is_parked_until(expected, spot, *due_ms),
                _ => is_over(expected, spot),
            }
        }
        (Began::Park(spots), Done::Action { ended, .. }) => match ended {
            Ended::ParkedUntil(_) => expected.parked_behind(spots),
            Ended::GivenBack => doubts.push(Doubt::Park(spots.clone())),
            _ => {}
        },
        // It was renewed, before or after it was moved by another.
        (Began::Advance(_, from, to), _) if from == to => {}
        (Began::Advance(partition, from, to), Done::Advance { is_made, .. }) => match is_made {
            Some(true) => assert_eq!(expected.committed.insert(*partition, *to), Some(*from)),
            Some(false) => {}
            None => doubts.push(Doubt::Advance { partition: *partition, to: *to }),
        },
        (Began::Batch(tried), Done::Batch { ended, .. }) => batch_told(book, tried, ended, now_ms),
        (began, done) => unreachable!("{done:?} is not what comes of {began:?}"),
    }
}

/// Takes in what came of a batch.
fn batch_told(book: &mut Book, tried: &Tried, ended: &BatchEnded, now_ms: i64) {
    let comes = book.expected.comes_of(tried, now_ms);
    match ended {
        // Somebody else was first.
        BatchEnded::Moved => return,
        BatchEnded::GivenBack => {
            return book.doubts.push(Doubt::Batch { tried: tried.clone(), now_ms });
        }
        // As well.
        BatchEnded::Handled if tried.offsets.is_empty() => return,
        BatchEnded::Handled => {
            assert!(matches!(comes, Comes::Filed | Comes::Buried { .. }), "{tried:?}: {comes:?}");
        }
        BatchEnded::Failed => assert_eq!(comes, Comes::Halved, "{tried:?}"),
        BatchEnded::Noted(noted) => assert_eq!(comes, Comes::Noted(*noted), "{tried:?}"),
    }
    if tried.front_after(&comes) != tried.front {
        book.expected.batch_ended(tried, &comes, now_ms);
    }
}

fn is_parked_until(expected: &Expected, spot: &Spot, due_ms: i64) {
    let state = expected.states.get(spot);
    let is_so = matches!(state, Some(State::Parked { due_ms: until_ms, .. }) if *until_ms == due_ms);
    assert!(is_so, "{spot:?} is said to be parked until {due_ms}, and is {state:?}");
}

fn is_over(expected: &Expected, spot: &Spot) {
    let state = expected.states.get(spot);
    let is_so = matches!(state, Some(State::Handled | State::Buried { .. }));
    assert!(is_so, "{spot:?} is said to be dealt with, and is {state:?}");
}
