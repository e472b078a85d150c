//! Models that name one another, for tests: authors, tags, posts and comments.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_store::{EmbeddedOptions, EmbeddedStore, FaultyStore, ManualClock, MemoryStore, Store};

use crate::fixture::{Fixture, NOW_MS, memory_store};
use crate::{DbSettings, Model};

/// Not to be deleted while they have posts; their comments go with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "authors", referenced_by(Post, Comment))]
pub(crate) struct Author {
    pub(crate) id: String,
    #[model(unique, ignore_case)]
    pub(crate) email: Option<String>,
}

/// Taken out of posts when they are deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "tags", referenced_by(Post))]
pub(crate) struct Tag {
    pub(crate) id: i64,
    pub(crate) name: String,
}

/// What others are about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "posts", referenced_by(Comment))]
#[model(index(name = "by_author_and_tag", fields = [author_id, tag_ids]))]
#[model(index(name = "published_by_place", fields = [place?.city, place?.floor], when = |post| post.is_published))]
#[model(events(insert = "post.written", update = "post.changed", delete = "post.removed"))]
pub(crate) struct Post {
    pub(crate) id: i64,
    #[model(references = Author, on_delete = restrict)]
    pub(crate) author_id: String,
    #[model(index, references = Tag, on_delete = set_null)]
    pub(crate) tag_ids: Vec<i64>,
    pub(crate) is_published: bool,
    pub(crate) place: Option<Place>,
    #[model(relationship = author_id)]
    #[serde(default)]
    pub(crate) author: Option<Author>,
    #[model(relationship = tag_ids)]
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
}

/// Where a post is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) city: String,
    pub(crate) floor: i32,
}

/// Goes with its post, with what it answers, and with its author.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "comments", referenced_by(Comment))]
#[model(events(delete = "comment.removed"))]
pub(crate) struct Comment {
    pub(crate) id: u32,
    #[model(references = Post, on_delete = cascade)]
    pub(crate) post_id: i64,
    #[model(references = Author, on_delete = cascade)]
    pub(crate) author_id: Option<String>,
    #[model(references = Comment, on_delete = cascade)]
    pub(crate) answers: Option<u32>,
    #[model(relationship = post_id)]
    #[serde(default)]
    pub(crate) post: Option<Post>,
}

pub(crate) fn author(id: &str, email: Option<&str>) -> Author {
    Author { id: id.to_owned(), email: email.map(str::to_owned) }
}

pub(crate) fn tag(id: i64) -> Tag {
    Tag { id, name: format!("tag {id}") }
}

pub(crate) fn post(id: i64, author_id: &str, tag_ids: &[i64]) -> Post {
    Post {
        id,
        author_id: author_id.to_owned(),
        tag_ids: tag_ids.to_vec(),
        is_published: true,
        place: None,
        author: None,
        tags: vec![],
    }
}

pub(crate) fn comment(id: u32, post_id: i64, author_id: Option<&str>, answers: Option<u32>) -> Comment {
    Comment { id, post_id, author_id: author_id.map(str::to_owned), answers, post: None }
}

/// A store on disk, which goes with the directory.
pub(crate) fn embedded_store() -> (tempfile::TempDir, EmbeddedStore) {
    let directory = tempfile::tempdir().expect("a directory");
    let defaults = EmbeddedOptions::new(Arc::new(ManualClock::at(NOW_MS)));
    // Small enough that entries go on to the tree while a test runs.
    let options = EmbeddedOptions {
        overlay_bytes: 48 << 10,
        journal_flush_bytes: 64 << 10,
        segment_bytes: 1 << 20,
        reserve_bytes: 0,
        ..defaults
    };
    let store = EmbeddedStore::open(directory.path(), options).expect("nobody else has it");
    (directory, store)
}

/// A store that fails when it is told to.
pub(crate) fn faulty<S: Store>(inner: S) -> FaultyStore<S> {
    let mut nonce = 0;
    FaultyStore::new(inner, move || {
        nonce += 1;
        nonce
    })
}

pub(crate) fn blog() -> Fixture<MemoryStore> {
    Fixture::over(memory_store(), DbSettings::default())
}

/// Two authors, three tags, and a post of the first author with two of them.
pub(crate) async fn small_blog() -> Fixture<MemoryStore> {
    let fixture = blog();
    fixture
        .db
        .transaction(|tx| async move {
            tx.insert(&author("ada", Some("Ada@example.org"))).await?;
            tx.insert(&author("bob", None)).await?;
            for id in 1..=3 {
                tx.insert(&tag(id)).await?;
            }
            tx.insert(&post(1, "ada", &[2, 1])).await
        })
        .await
        .expect("committed");
    fixture
}
