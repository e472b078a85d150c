//! Dropping a topic whose partitions are in use.

use std::time::Duration;

use futures::FutureExt;
use tidegate_format::{DroppedTopicKey, topic_range};
use tidegate_store::{Direction, KeyRange, ScanLimit, Store, Txn};

use super::fixture::{Client, NOW_MS, TOPIC, plain};
use crate::BrokerStore;

/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(120);

async fn is_empty(store: &BrokerStore, (start, end): (bytes::Bytes, bytes::Bytes)) -> bool {
    let mut txn = store.begin().await.expect("in memory");
    let range = KeyRange::new(start, end);
    txn.scan(&range, ScanLimit::count(1), Direction::Forward).await.expect("in memory").is_empty()
}

/// A connection that breaks while its request is begun leaves nothing half done: what a topic held once stayed until the
/// next start.
#[tokio::test]
async fn a_drop_that_nobody_waits_for_any_more_is_brought_to_its_end() {
    let mut client = Client::start(&[]).await;
    assert_eq!(client.produce(9, plain(&[NOW_MS])).await.error_code, 0);
    let broker = client.broker.broker().clone();
    let dropped = broker.catalogue.find(TOPIC).await.expect("in memory").expect("it was made");
    let mut dropping = Box::pin(broker.drop_topic(TOPIC, None));
    assert!(dropping.as_mut().now_or_never().is_none(), "its partition's task has to end first");
    drop(dropping);
    let gone = async {
        while !is_empty(&broker.store, topic_range(dropped.id)).await
            || !is_empty(&broker.store, DroppedTopicKey::all()).await
            || broker.catalogue.find(TOPIC).await.expect("in memory").is_some()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG_AFTER, gone).await.expect("all of it goes");
    client.broker.stop().await;
}
