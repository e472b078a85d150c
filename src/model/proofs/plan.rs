//! What each transaction does: from a seed, so that whoever checks knows it from the number of the transaction.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::blog::{Place, Post, author, comment, post};
use crate::blog_oracle::{AUTHORS, EMAILS, Step};

/// Lanes of transactions: those of one lane follow one another, those of different lanes meet only in topics.
pub(super) const LANES: [u8; 3] = [BLOG, 1, 2];
/// The lane that writes models which name one another.
const BLOG: u8 = 0;

/// One thing that a transaction does.
// A plan has but a few of them.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub(super) enum Action {
    Blog(Step),
    Publish {
        key: u8,
    },
    PublishOnce {
        id: u8,
    },
    /// Cancels what waits under the name, and schedules something else.
    Schedule {
        name: u8,
        delay_ms: i64,
    },
    Reschedule {
        name: u8,
        delay_ms: i64,
    },
    Cancel {
        name: u8,
    },
    CommitOffset {
        partition: i32,
        offset: i64,
    },
    Put {
        key: u8,
    },
    Delete {
        key: u8,
    },
}

/// What the transaction of that number does in its lane.
pub(super) fn plan(seed: u64, lane: u8, number: u64) -> Vec<Action> {
    let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (u64::from(lane) << 56) ^ number;
    let mut rng = StdRng::seed_from_u64(seed);
    let count = rng.random_range(1..5);
    let action = |_| if lane == BLOG { Action::Blog(step(&mut rng)) } else { event_action(&mut rng) };
    (0..count).map(action).collect()
}

fn step(rng: &mut StdRng) -> Step {
    let author_id = AUTHORS[rng.random_range(0..AUTHORS.len())];
    match rng.random_range(0..24) {
        0..3 => {
            let email = rng.random_bool(0.7).then(|| EMAILS[rng.random_range(0..EMAILS.len())]);
            Step::Author(author(author_id, email))
        }
        3..6 => Step::Tag(rng.random_range(0..4)),
        6..12 => {
            let tags: Vec<i64> = (0..rng.random_range(0..4)).map(|_| rng.random_range(0..4)).collect();
            let city = ["A", "B\0"][rng.random_range(0..2)].to_owned();
            let place = rng.random_bool(0.5).then(|| Place { city, floor: rng.random_range(-1..2) });
            let is_published = rng.random_bool(0.5);
            Step::Post(Post { is_published, place, ..post(rng.random_range(0..4), author_id, &tags) })
        }
        12..18 => {
            let by = rng.random_bool(0.5).then_some(author_id);
            let answers = rng.random_bool(0.5).then(|| rng.random_range(0..6));
            Step::Comment(comment(rng.random_range(0..6), rng.random_range(0..4), by, answers))
        }
        18..20 => Step::DeleteAuthor(rng.random_range(0..AUTHORS.len())),
        20..22 => Step::DeleteTag(rng.random_range(0..4)),
        22 => Step::DeletePost(rng.random_range(0..4)),
        _ => Step::DeleteComment(rng.random_range(0..6)),
    }
}

fn event_action(rng: &mut StdRng) -> Action {
    let (name, delay_ms) = (rng.random_range(0..6), rng.random_range(1..60));
    match rng.random_range(0..16) {
        0..5 => Action::Publish { key: rng.random_range(0..4) },
        5..7 => Action::PublishOnce { id: rng.random_range(0..20) },
        7..11 => Action::Schedule { name, delay_ms },
        11 => Action::Reschedule { name, delay_ms },
        12 => Action::Cancel { name },
        13 => Action::CommitOffset { partition: rng.random_range(0..2), offset: rng.random_range(0..100) },
        14 => Action::Put { key: rng.random_range(0..8) },
        _ => Action::Delete { key: rng.random_range(0..8) },
    }
}
