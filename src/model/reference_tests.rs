//! Unique values, references and relationships: what is refused, what goes along, and that races change nothing of it.

use tidegate_store::Store;

use crate::blog::{Author, Comment, Post, Tag, author, comment, embedded_store, post, small_blog, tag};
use crate::fixture::{Fixture, memory_store, waiting};
use crate::{Db, DbSettings, Error, Model, ModelId, QueryError, RetryPolicy};

fn patient() -> DbSettings {
    let retry = RetryPolicy { attempts_max: u32::MAX, ..RetryPolicy::default() };
    DbSettings { retry, ..DbSettings::default() }
}

#[tokio::test]
async fn a_value_of_a_unique_index_is_taken_by_one_row_whatever_its_case() {
    let db = small_blog().await.db;
    let refused = db
        .transaction(|tx| async move {
            let refused = tx.insert(&author("eve", Some("ADA@EXAMPLE.ORG"))).await;
            // Nothing of it was written, so the transaction may go on.
            tx.insert(&author("eve", Some("eve@example.org"))).await?;
            Ok(refused)
        })
        .await
        .expect("committed");
    let (table, index) = ("authors", "by_email");
    assert_eq!(refused, Err(Error::Unique { table, index, id: "eve".into(), holder: "ada".into() }));

    // A value that is let go is free, in the same transaction already.
    db.transaction(|tx| async move {
        tx.update(&author("ada", Some("new@example.org"))).await?;
        tx.update(&author("eve", Some("ada@example.org"))).await?;
        assert_eq!(tx.delete::<Author>("eve").await?.map(|author| author.id), Some("eve".to_owned()));
        tx.insert(&author("eva", Some("ada@example.org"))).await
    })
    .await
    .expect("committed");
    let found =
        db.snapshot().await.expect("read").query::<Author>("by_email").value("Ada@Example.Org").first().await;
    assert_eq!(found, Ok(Some(author("eva", Some("ada@example.org")))));
}

async fn of_many_who_want_a_value_one_gets_it(store: impl Store) {
    let db = Fixture::over(store, patient()).db;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let db = db.clone();
        tasks.spawn(async move {
            let row = &author(&format!("author {n}"), Some("one@example.org"));
            db.transaction(|tx| async move { tx.insert(row).await }).await
        });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let is_refusal = |result: &Result<(), Error>| matches!(result, Err(Error::Unique { .. }));
    assert_eq!(results.iter().filter(|result| is_refusal(result)).count(), 15, "{results:?}");
    assert_eq!(db.snapshot().await.expect("read").list::<Author>().count().await, Ok(1));
    assert_eq!(db.verify::<Author>().await.expect("readable").differing, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_a_value_at_once_one_gets_it_in_memory() {
    of_many_who_want_a_value_one_gets_it(memory_store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_a_value_at_once_one_gets_it_on_disk() {
    let (_directory, store) = embedded_store();
    of_many_who_want_a_value_one_gets_it(store.clone()).await;
    store.shutdown().await;
}

#[tokio::test]
async fn a_reference_to_what_is_not_there_is_refused_by_field() {
    let db = small_blog().await.db;
    let refused = db.transaction(|tx| async move { tx.insert(&post(2, "nobody", &[])).await }).await;
    let expected = Error::ReferenceMissing {
        table: "posts",
        id: 2.into(),
        field: "author_id",
        parent_table: "authors",
        parent_id: "nobody".into(),
    };
    assert_eq!(refused, Err(expected));
}

/// When the program is compiled, if the references are a constant: `tests/refused_models.rs`.
#[test]
#[should_panic(
    expected = "field `boss` of table `authors` references table `tags`, whose model does not list it: \
                #[model(referenced_by(TheReferencingModel))]"
)]
fn a_reference_to_a_model_that_does_not_list_it_is_refused_by_table_and_field() {
    let _ = crate::Reference::<Author>::restrict::<Tag>("boss", |_| vec![]);
}

#[tokio::test]
async fn what_is_referenced_is_kept_and_the_transaction_may_go_on() {
    let db = small_blog().await.db;
    let refused = db
        .transaction(|tx| async move {
            let refused = tx.delete::<Author>("ada").await;
            tx.insert(&author("eve", None)).await?;
            Ok(refused)
        })
        .await
        .expect("committed");
    let expected = Error::Referenced {
        table: "authors",
        id: "ada".into(),
        by_table: "posts".into(),
        by_field: "author_id".into(),
        by_id: 1.into(),
    };
    assert_eq!(refused, Err(expected));
    assert_eq!(db.snapshot().await.expect("read").list::<Author>().count().await, Ok(3));
}

#[tokio::test]
async fn a_deletion_takes_along_what_cascades_with_its_events_and_forgets_what_is_set_to_null() {
    let fixture = small_blog().await;
    let db = &fixture.db;
    db.transaction(|tx| async move {
        tx.insert(&post(2, "bob", &[])).await?;
        tx.insert(&comment(1, 1, Some("bob"), None)).await?;
        tx.insert(&comment(2, 1, None, Some(1))).await?;
        // It answers a comment on the other post, and goes with it.
        tx.insert(&comment(3, 2, None, Some(2))).await?;
        tx.insert(&comment(4, 2, None, None)).await
    })
    .await
    .expect("committed");
    let events_before = waiting(db.store(), "comments").await.len();
    db.transaction(|tx| async move {
        tx.delete::<Tag>(2).await?;
        assert_eq!(tx.find::<Post>(1).await?.map(|post| post.tag_ids), Some(vec![1]));
        tx.delete::<Post>(1).await
    })
    .await
    .expect("committed");
    let snapshot = db.snapshot().await.expect("read");
    assert_eq!(snapshot.list::<Comment>().ids().await.expect("read").rows, [ModelId::from(4)]);
    assert_eq!(waiting(db.store(), "comments").await.len() - events_before, 3, "each has its own event");
    for verified in [db.verify::<Post>().await, db.verify::<Comment>().await] {
        assert_eq!(verified.expect("readable").differing, 0);
    }
}

/// A child is written and its parent deleted, each without having seen the other: whichever commits first, the other
/// does not.
async fn a_child_races_with_a_deletion(store: impl Store) {
    let db = Fixture::over(store, DbSettings::default()).db;
    for is_child_first in [true, false] {
        let name = if is_child_first { "kept" } else { "gone" };
        db.transaction(|tx| async move { tx.insert(&author(name, None)).await }).await.expect("committed");
        let (child, deletion) = (db.begin().await.expect("begun"), db.begin().await.expect("begun"));
        child.insert(&post(1, name, &[])).await.expect("the author is there");
        deletion.delete::<Author>(name).await.expect("nothing names the author").expect("it is there");
        let (first, second) = if is_child_first { (child, deletion) } else { (deletion, child) };
        assert_eq!(first.commit().await, Ok(()), "{name}");
        assert_eq!(second.commit().await, Err(Error::Conflict { attempts: 1 }), "{name}");
        let snapshot = db.snapshot().await.expect("read");
        let children = snapshot.referencing::<Post, Author>(name, "author_id").count().await.expect("read");
        assert_eq!(children, u64::from(is_child_first));
        assert_eq!(snapshot.find::<Author>(name).await.expect("read").is_some(), is_child_first);
        db.transaction(|tx| async move { tx.delete::<Post>(1).await }).await.expect("committed");
    }
}

#[tokio::test]
async fn a_row_and_the_deletion_of_what_it_names_do_not_both_commit_in_memory() {
    a_child_races_with_a_deletion(memory_store()).await;
}

#[tokio::test]
async fn a_row_and_the_deletion_of_what_it_names_do_not_both_commit_on_disk() {
    let (_directory, store) = embedded_store();
    a_child_races_with_a_deletion(store.clone()).await;
    store.shutdown().await;
}

#[tokio::test]
async fn rows_are_found_from_what_they_name_and_what_they_name_from_them() {
    let db = small_blog().await.db;
    let snapshot = db.snapshot().await.expect("read");
    let of_ada = snapshot.referencing::<Post, Author>("ada", "author_id").fetch().await.expect("read").rows;
    assert_eq!(of_ada.iter().map(|post| post.id).collect::<Vec<_>>(), [1]);
    let tagged = snapshot.referencing::<Post, Tag>(2, "tag_ids").ids().await.expect("read").rows;
    assert_eq!(tagged, [ModelId::from(1)]);
    let unknown = snapshot.referencing::<Post, Tag>(2, "author_id").ids().await;
    let expected =
        QueryError::UnknownReference { table: "posts", field: "author_id".into(), parent_table: "tags" };
    assert_eq!(unknown, Err(expected.into()));
    let outbound: Vec<(&str, Vec<ModelId>)> = Post::references()
        .iter()
        .map(|reference| (reference.parent_table(), reference.ids(&of_ada[0])))
        .collect();
    assert_eq!(outbound, [("authors", vec!["ada".into()]), ("tags", vec![2.into(), 1.into()])]);
}

#[tokio::test]
async fn relationships_are_filled_as_a_query_asks_in_the_order_of_the_ids() {
    let db = small_blog().await.db;
    let snapshot = db.snapshot().await.expect("read");
    let plain = snapshot.query::<Post>("by_tag_ids").value(1).first().await.expect("read").expect("a post");
    assert_eq!((plain.tags.len(), &plain.author), (0, &None));
    let query = snapshot.query::<Post>("by_tag_ids").value(1).relationship("tags").relationship("author");
    let filled = query.first().await.expect("read").expect("a post");
    assert_eq!(filled.tags, [tag(2), tag(1)]);
    assert_eq!(filled.author, Some(author("ada", Some("Ada@example.org"))));
    let unknown = snapshot.list::<Post>().relationship("tag").fetch().await;
    let known = vec!["author", "tags"];
    let expected = QueryError::UnknownRelationship { table: "posts", relationship: "tag".into(), known };
    assert_eq!(unknown, Err(expected.into()));
}

#[tokio::test]
async fn nested_relationships_are_filled_and_none_is_stored() {
    let db = small_blog().await.db;
    db.transaction(|tx| async move { tx.insert(&comment(1, 1, None, None)).await }).await.expect("committed");
    let mut comments = vec![comment(1, 1, None, None)];
    let snapshot = db.snapshot().await.expect("read");
    snapshot.hydrate(&mut comments, &["post.author", "post.tags"]).await.expect("filled");
    let about = comments[0].post.clone().expect("the post");
    assert_eq!((about.tags.len(), about.author.map(|author| author.id)), (2, Some("ada".to_owned())));
    // Written back with all that in it, the row is as it was.
    let filled = &comments[0];
    db.transaction(|tx| async move { tx.update(filled).await }).await.expect("committed");
    let found = db.snapshot().await.expect("read").find::<Comment>(1).await.expect("read");
    assert_eq!(found, Some(comment(1, 1, None, None)));
}

#[tokio::test]
async fn a_row_of_a_relationship_that_is_not_there_is_left_out() {
    let mut posts = vec![Post { tag_ids: vec![9, 1], ..post(7, "nobody", &[]) }];
    let db: Db<_> = small_blog().await.db;
    let snapshot = db.snapshot().await.expect("read");
    snapshot.hydrate(&mut posts, &["tags", "author"]).await.expect("filled");
    assert_eq!((posts[0].tags.clone(), &posts[0].author), (vec![tag(1)], &None));
}
