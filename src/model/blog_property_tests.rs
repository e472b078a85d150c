//! Random writes of models that name one another, on stores that fail, compared with plain maps: rows, refusals, what
//! a deletion takes along, every index and reference, and that nothing else is left.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use proptest::prelude::*;
use tidegate_store::faulty::{CommitFault, On};
use tidegate_store::{CommitError, FaultyStore, Store};

use crate::blog::{Author, Comment, Place, Post, Tag, author, comment, embedded_store, faulty, post, tag};
use crate::fixture::{Fixture, memory_store};
use crate::{Db, DbSettings, Error, Model, ModelId, Write};

const AUTHORS: [&str; 3] = ["ada", "bob", "c\0l"];
const EMAILS: [&str; 4] = ["A@x", "a@X", "b@x", "ä@x"];

/// One transaction.
#[derive(Clone, Debug)]
enum Step {
    Author(Author),
    Tag(i64),
    Post(Post),
    Comment(Comment),
    DeleteAuthor(usize),
    DeleteTag(i64),
    DeletePost(i64),
    DeleteComment(u32),
}

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

/// What should be there.
#[derive(Clone, Debug, Default, PartialEq)]
struct Blog {
    authors: BTreeMap<String, Author>,
    tags: BTreeMap<i64, Tag>,
    posts: BTreeMap<i64, Post>,
    comments: BTreeMap<u32, Comment>,
}

fn missing<M: Model, P: Model>(row: &M, field: &'static str, id: impl Into<ModelId>) -> Error {
    let (parent_table, parent_id) = (P::TABLE, id.into());
    Error::ReferenceMissing { table: M::TABLE, id: row.id(), field, parent_table, parent_id }
}

impl Blog {
    /// Does a step; nothing is changed if it is refused.
    fn apply(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::Author(author) => {
                let lower = |author: &Author| author.email.as_ref().map(|email| email.to_lowercase());
                let holder = self.authors.values().find(|other| {
                    other.id != author.id && author.email.is_some() && lower(other) == lower(author)
                });
                if let Some(holder) = holder {
                    let (table, index) = ("authors", "by_email");
                    return Err(Error::Unique { table, index, id: author.id(), holder: holder.id() });
                }
                self.authors.insert(author.id.clone(), author.clone());
            }
            Step::Tag(id) => drop(self.tags.insert(*id, tag(*id))),
            Step::Post(post) => {
                // What a row names already is not looked at again, and is there all the same.
                if !self.authors.contains_key(&post.author_id) {
                    return Err(missing::<_, Author>(post, "author_id", &post.author_id));
                }
                if let Some(gone) = post.tag_ids.iter().find(|id| !self.tags.contains_key(id)) {
                    return Err(missing::<_, Tag>(post, "tag_ids", *gone));
                }
                self.posts.insert(post.id, post.clone());
            }
            Step::Comment(comment) => {
                if !self.posts.contains_key(&comment.post_id) {
                    return Err(missing::<_, Post>(comment, "post_id", comment.post_id));
                }
                if let Some(by) = comment.author_id.as_ref().filter(|by| !self.authors.contains_key(*by)) {
                    return Err(missing::<_, Author>(comment, "author_id", by));
                }
                let is_there = |id: u32| id == comment.id || self.comments.contains_key(&id);
                if let Some(gone) = comment.answers.filter(|id| !is_there(*id)) {
                    return Err(missing::<_, Comment>(comment, "answers", gone));
                }
                self.comments.insert(comment.id, comment.clone());
            }
            Step::DeleteAuthor(at) => {
                let id = AUTHORS[*at];
                if let Some(post) = self.posts.values().find(|post| post.author_id == id) {
                    return Err(Error::Referenced {
                        table: "authors",
                        id: id.into(),
                        by_table: "posts".into(),
                        by_field: "author_id".into(),
                        by_id: post.id(),
                    });
                }
                self.authors.remove(id);
                self.remove_comments(|comment| comment.author_id.as_deref() == Some(id));
            }
            Step::DeleteTag(id) => {
                self.tags.remove(id);
                self.posts.values_mut().for_each(|post| post.tag_ids.retain(|tag| tag != id));
            }
            Step::DeletePost(id) => {
                self.posts.remove(id);
                self.remove_comments(|comment| comment.post_id == *id);
            }
            Step::DeleteComment(id) => self.remove_comments(|comment| comment.id == *id),
        }
        Ok(())
    }

    /// Removes comments, what answers them, and so on.
    fn remove_comments(&mut self, is_gone: impl Fn(&Comment) -> bool) {
        let mut gone: Vec<u32> =
            self.comments.values().filter(|comment| is_gone(comment)).map(|comment| comment.id).collect();
        while let Some(id) = gone.pop() {
            self.comments.remove(&id);
            let answers = self.comments.values().filter(|comment| comment.answers == Some(id));
            gone.extend(answers.map(|comment| comment.id));
        }
    }
}

async fn apply<S: Store>(db: &Db<S>, step: &Step) -> Result<(), Error> {
    db.transaction(|tx| async move {
        match step {
            Step::Author(author) => tx.save(author).await.map(drop::<Write>),
            Step::Tag(id) => tx.save(&tag(*id)).await.map(drop),
            Step::Post(post) => tx.save(post).await.map(drop),
            Step::Comment(comment) => tx.save(comment).await.map(drop),
            Step::DeleteAuthor(at) => tx.delete::<Author>(AUTHORS[*at]).await.map(drop),
            Step::DeleteTag(id) => tx.delete::<Tag>(*id).await.map(drop),
            Step::DeletePost(id) => tx.delete::<Post>(*id).await.map(drop),
            Step::DeleteComment(id) => tx.delete::<Comment>(*id).await.map(drop),
        }
    })
    .await
}

async fn rows<M: Model, S: Store>(db: &Db<S>) -> Vec<M> {
    let snapshot = db.snapshot().await.expect("a snapshot");
    snapshot.list::<M>().limit(2).stream().try_collect().await.expect("readable")
}

async fn ids_by_tag<S: Store>(db: &Db<S>, tag: i64) -> Vec<ModelId> {
    let snapshot = db.snapshot().await.expect("a snapshot");
    snapshot.query::<Post>("by_tag_ids").value(tag).ids().await.expect("answered").rows
}

/// Everything that can be asked gives what the maps say, and every index has what the rows say.
async fn check<S: Store>(db: &Db<S>, blog: &Blog) {
    assert_eq!(rows::<Author, S>(db).await, blog.authors.values().cloned().collect::<Vec<_>>());
    assert_eq!(rows::<Tag, S>(db).await, blog.tags.values().cloned().collect::<Vec<_>>());
    assert_eq!(rows::<Post, S>(db).await, blog.posts.values().cloned().collect::<Vec<_>>());
    assert_eq!(rows::<Comment, S>(db).await, blog.comments.values().cloned().collect::<Vec<_>>());
    for tag in 0..4 {
        let tagged = blog.posts.values().filter(|post| post.tag_ids.contains(&tag));
        assert_eq!(ids_by_tag(db, tag).await, tagged.map(Model::id).collect::<Vec<_>>());
    }
    let snapshot = db.snapshot().await.expect("a snapshot");
    for email in EMAILS {
        let found = snapshot.query::<Author>("by_email").value(email).first().await.expect("answered");
        let has = |author: &&Author| {
            author.email.as_ref().is_some_and(|held| held.to_lowercase() == email.to_lowercase())
        };
        assert_eq!(found.as_ref(), blog.authors.values().find(has));
    }
    let mut placed: Vec<&Post> =
        blog.posts.values().filter(|post| post.is_published && post.place.is_some()).collect();
    placed.sort_by_key(|post| (post.place.as_ref().map(|place| (&place.city, place.floor)), post.id));
    let found = snapshot.query::<Post>("published_by_place").ids().await.expect("answered").rows;
    assert_eq!(found, placed.into_iter().map(Model::id).collect::<Vec<_>>());
    for on in 0..4_i64 {
        let found = snapshot.referencing::<Comment, Post>(on, "post_id").ids().await.expect("answered").rows;
        let about = blog.comments.values().filter(|comment| comment.post_id == on);
        assert_eq!(found, about.map(Model::id).collect::<Vec<_>>());
    }
    for verified in [
        db.verify::<Author>().await,
        db.verify::<Tag>().await,
        db.verify::<Post>().await,
        db.verify::<Comment>().await,
    ] {
        assert_eq!(verified.expect("readable").differences, []);
    }
}

async fn run<S: Store>(store: S, steps: Vec<(Step, Fault)>) {
    let db = Fixture::over(faulty(store), DbSettings::default()).db;
    let mut blog = Blog::default();
    for (step, fault) in steps {
        inject(db.store(), fault);
        let before = blog.clone();
        let expected = blog.apply(&step);
        let result = apply(&db, &step).await;
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
