//! Topics, their configurations, groups and offsets, as an administrator has them.
//!
//! `cargo run --example administration`, or `-- 127.0.0.1:9092` to look at a broker.

use tidegate::{
    Admin, ClientOptions, NewTopic, OffsetSpec, ProducerOptions, ProducerRecord, Tidegate, TopicPartition,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(broker) = std::env::args().nth(1) else { return run().await };
    let admin = Admin::connect(ClientOptions::new(&broker)).await?;
    println!("{:#?}", admin.describe_cluster().await?);
    for topic in admin.list_topics().await?.topics.keys() {
        println!("{topic}");
    }
    Ok(())
}

pub(crate) async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let tidegate = Tidegate::open(directory.path()).await?;
    let admin = tidegate.admin().await?;
    admin.create_topic(&NewTopic::new("news", 1).config("retention.ms", "3600000")).await?;
    admin.create_partitions("news", 2).await?;
    admin.alter_topic_configs("news", &[("retention.ms".to_owned(), None)]).await?;
    let configs = admin.describe_topic_configs("news").await?;
    let retention = configs.iter().find(|config| config.name == "retention.ms").ok_or("it is there")?;
    assert!(!retention.is_override, "it is the broker's default again");
    assert_eq!(admin.list_topics().await?.topics["news"].partitions.len(), 2);

    let producer = tidegate.producer(ProducerOptions::default()).await?;
    for number in 0..10 {
        producer.send(ProducerRecord::to("news").partition(0).value(number.to_string())).await?;
    }
    producer.close().await;
    let news = TopicPartition::new("news", 0);
    assert_eq!(admin.list_offset(&news, OffsetSpec::Latest).await?, Some(10));

    // A group that nobody is in: it begins where it is told to.
    admin.set_group_offsets("readers", &[(news.clone(), 7)]).await?;
    assert_eq!(admin.list_group_offsets("readers").await?[0].offset, 7);
    println!("{:?}", admin.describe_group("readers").await?);
    admin.delete_group("readers").await?;
    admin.delete_topic("news").await?;
    assert!(admin.list_topics().await?.topics.is_empty());
    tidegate.shutdown().await;
    Ok(())
}
