//! Random writes of models that name one another, on stores that fail, compared with plain maps: rows, refusals, what
//! a deletion takes along, every index and reference, and that nothing else is left.

use proptest::prelude::*;
use tidegate_store::faulty::{CommitFault, On};
use tidegate_store::{CommitError, FaultyStore, Store};

use crate::DbSettings;
use crate::blog::{Place, Post, author, comment, embedded_store, faulty, post};
use crate::blog_oracle::{AUTHORS, Blog, EMAILS, Step, apply, check};
use crate::fixture::{Fixture, memory_store};

/// How its commit goes.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Conflict,
    LostApplied,
    LostNotApplied,
    LostLate,
}

fn author_id() -> impl Strategy<Value = &'static str> {
    prop::sample::select(AUTHORS.to_vec())
}

fn step() -> impl Strategy<Value = Step> {
    let email = proptest::option::of(prop::sample::select(EMAILS.to_vec()));
    let place = proptest::option::of((prop::sample::select(vec!["A", "B\0"]), -1..2_i32));
    let tags = proptest::collection::vec(0..4_i64, 0..4);
    prop_oneof![
        3 => (author_id(), email).prop_map(|(id, email)| Step::Author(author(id, email))),
        2 => (0..4_i64).prop_map(Step::Tag),
        6 => (0..4_i64, author_id(), tags, any::<bool>(), place).prop_map(|(id, by, tags, is_published, place)| {
            let place = place.map(|(city, floor)| Place { city: city.to_owned(), floor });
            Step::Post(Post { is_published, place, ..post(id, by, &tags) })
        }),
        6 => (0..6_u32, 0..4_i64, proptest::option::of(author_id()), proptest::option::of(0..6_u32))
            .prop_map(|(id, on, by, answers)| Step::Comment(comment(id, on, by, answers))),
        2 => (0..3_usize).prop_map(Step::DeleteAuthor),
        2 => (0..4_i64).prop_map(Step::DeleteTag),
        2 => (0..4_i64).prop_map(Step::DeletePost),
        1 => (0..6_u32).prop_map(Step::DeleteComment),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::Conflict),
        1 => Just(Fault::LostApplied),
        1 => Just(Fault::LostNotApplied),
        1 => Just(Fault::LostLate),
    ]
}

async fn run<S: Store>(store: S, steps: Vec<(Step, Fault)>) {
    let db = Fixture::over(faulty(store), DbSettings::default()).db;
    let mut blog = Blog::default();
    for (step, fault) in steps {
        inject(db.store(), fault);
        let before = blog.clone();
        let expected = blog.apply(&step);
        let written = &step;
        let result = db.transaction(|tx| async move { apply(&tx, written).await }).await;
        // Whatever was lost arrives now, and changes nothing any more.
        db.store().deliver_late().await;
        if expected.is_err() {
            assert_eq!(blog, before, "a refusal changes nothing");
        }
        assert_eq!(result, expected, "{step:?}");
        // A step that was refused before its commit has left the fault to the next.
    }
    check(&db, &blog).await;
}

fn inject<S: Store>(store: &FaultyStore<S>, fault: Fault) {
    let fault = match fault {
        Fault::None => return,
        Fault::Conflict => CommitFault::Refused(CommitError::Conflict),
        Fault::LostApplied => CommitFault::LostApplied,
        Fault::LostNotApplied => CommitFault::LostNotApplied,
        Fault::LostLate => CommitFault::LostLate,
    };
    store.faults().fail_commit(On::next(), fault);
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn models_that_name_one_another_agree_with_plain_maps_in_memory(
        steps in proptest::collection::vec((step(), fault()), 1..60),
    ) {
        block_on(run(memory_store(), steps));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn models_that_name_one_another_agree_with_plain_maps_on_disk(
        steps in proptest::collection::vec((step(), fault()), 1..60),
    ) {
        block_on(async {
            let (_directory, store) = embedded_store();
            run(store.clone(), steps).await;
            store.shutdown().await;
        });
    }
}
