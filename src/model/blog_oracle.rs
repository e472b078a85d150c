//! What a blog should be, as plainly as it can be said: for tests that compare what is stored with it.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use tidegate_store::Store;

use crate::blog::{Author, Comment, Post, Tag, tag};
use crate::{Db, Error, Model, ModelId, Tx};

pub(crate) const AUTHORS: [&str; 3] = ["ada", "bob", "c\0l"];
pub(crate) const EMAILS: [&str; 4] = ["A@x", "a@X", "b@x", "ä@x"];

/// One write.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Author(Author),
    Tag(i64),
    Post(Post),
    Comment(Comment),
    DeleteAuthor(usize),
    DeleteTag(i64),
    DeletePost(i64),
    DeleteComment(u32),
}

/// What should be there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Blog {
    pub(crate) authors: BTreeMap<String, Author>,
    pub(crate) tags: BTreeMap<i64, Tag>,
    pub(crate) posts: BTreeMap<i64, Post>,
    pub(crate) comments: BTreeMap<u32, Comment>,
}

fn missing<M: Model, P: Model>(row: &M, field: &'static str, id: impl Into<ModelId>) -> Error {
    let (parent_table, parent_id) = (P::TABLE, id.into());
    Error::ReferenceMissing { table: M::TABLE, id: row.id(), field, parent_table, parent_id }
}

impl Blog {
    /// Does a step; nothing is changed if it is refused.
    pub(crate) fn apply(&mut self, step: &Step) -> Result<(), Error> {
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

/// Does a step in a transaction.
pub(crate) async fn apply<S: Store>(tx: &Tx<S>, step: &Step) -> Result<(), Error> {
    match step {
        Step::Author(author) => tx.save(author).await.map(drop),
        Step::Tag(id) => tx.save(&tag(*id)).await.map(drop),
        Step::Post(post) => tx.save(post).await.map(drop),
        Step::Comment(comment) => tx.save(comment).await.map(drop),
        Step::DeleteAuthor(at) => tx.delete::<Author>(AUTHORS[*at]).await.map(drop),
        Step::DeleteTag(id) => tx.delete::<Tag>(*id).await.map(drop),
        Step::DeletePost(id) => tx.delete::<Post>(*id).await.map(drop),
        Step::DeleteComment(id) => tx.delete::<Comment>(*id).await.map(drop),
    }
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
pub(crate) async fn check<S: Store>(db: &Db<S>, blog: &Blog) {
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
