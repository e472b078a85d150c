//! Models that name one another: what must be there, what goes along with a deletion, and reading what is named.
//!
//! `cargo run --example relationships`

use serde::{Deserialize, Serialize};
use tidegate::model::Error;
use tidegate::{Model, Tidegate};

#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "companies", referenced_by(Author))]
struct Company {
    id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "authors", referenced_by(Post))]
struct Author {
    id: String,
    /// A company with authors cannot be deleted.
    #[model(references = Company, on_delete = restrict)]
    company_id: String,
    #[serde(default)]
    #[model(relationship = company_id)]
    company: Option<Company>,
}

#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "tags", referenced_by(Post))]
struct Tag {
    id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "posts")]
struct Post {
    id: i64,
    /// The posts of an author are deleted with them.
    #[model(references = Author, on_delete = cascade)]
    author_id: String,
    /// A tag that is deleted is taken out of the posts that have it.
    #[model(references = Tag, on_delete = set_null)]
    tag_ids: Vec<String>,
    #[serde(default)]
    #[model(relationship = author_id)]
    author: Option<Author>,
    #[serde(default)]
    #[model(relationship = tag_ids)]
    tags: Vec<Tag>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run().await
}

pub(crate) async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let tidegate = Tidegate::open(directory.path()).await?;
    let db = tidegate.db();
    let text = str::to_owned;

    let early = &Author { id: text("ada"), company_id: text("acme"), company: None };
    let refused = db.transaction(|tx| async move { tx.insert(early).await }).await;
    assert!(matches!(refused, Err(Error::ReferenceMissing { field: "company_id", .. })));

    db.transaction(|tx| async move {
        tx.insert(&Company { id: text("acme") }).await?;
        tx.insert(&Author { id: text("ada"), company_id: text("acme"), company: None }).await?;
        for id in ["rust", "kafka"] {
            tx.insert(&Tag { id: text(id) }).await?;
        }
        let tag_ids = vec![text("kafka"), text("rust")];
        tx.insert(&Post { id: 1, author_id: text("ada"), tag_ids, author: None, tags: vec![] }).await
    })
    .await?;

    // What is named is read in batches, as a query asks for it.
    let snapshot = db.snapshot().await?;
    let posts =
        snapshot.list::<Post>().relationship("tags").relationship("author.company").fetch().await?.rows;
    let company = posts[0].author.as_ref().and_then(|author| author.company.as_ref());
    assert_eq!(company.map(|company| company.id.as_str()), Some("acme"));
    assert_eq!(posts[0].tags.iter().map(|tag| tag.id.as_str()).collect::<Vec<_>>(), ["kafka", "rust"]);

    // And the other way round.
    let tagged = snapshot.referencing::<Post, Tag>("rust", "tag_ids").ids().await?.rows;
    assert_eq!(tagged, [1.into()]);

    let refused = db.transaction(|tx| async move { tx.delete::<Company>("acme").await }).await;
    assert!(matches!(refused, Err(Error::Referenced { .. })));
    println!("{}", refused.err().ok_or("refused")?);
    db.transaction(|tx| async move {
        tx.delete::<Tag>("kafka").await?;
        let post = tx.find::<Post>(1).await?;
        assert_eq!(post.map(|post| post.tag_ids), Some(vec![text("rust")]));
        tx.delete::<Author>("ada").await
    })
    .await?;
    assert_eq!(db.snapshot().await?.list::<Post>().count().await?, 0);
    tidegate.shutdown().await;
    Ok(())
}
