//! One application, whether its store is in its own process, behind a broker's port or on a TiKV cluster.
//!
//! `cargo run --example three_ways` has the store in its process, with a port, and reaches it through that as well;
//! `-- 127.0.0.1:9092` uses the broker there, `-- tikv://127.0.0.1:2379/shop 127.0.0.1:9092` the cluster that it serves.

use serde::{Deserialize, Serialize};
use tidegate::{Model, OpenOptions, Tidegate};

#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "visits", events(insert = "visit.noted"))]
struct Visit {
    #[model(id)]
    guest: String,
    times: u32,
}

/// What the application does is the same on each way.
async fn visit(tidegate: &Tidegate, guest: &'static str) -> Result<u32, tidegate::model::Error> {
    let visited = tidegate.db().transaction(|tx| async move {
        let found = tx.find::<Visit>(guest).await?;
        let times = found.map_or(0, |visit| visit.times) + 1;
        tx.save(&Visit { guest: guest.into(), times }).await?;
        Ok(times)
    });
    visited.await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let tidegate = match (arguments.next(), arguments.next()) {
        (None, _) => return run().await,
        (Some(broker), None) => Tidegate::connect(&broker).await?,
        (Some(store), Some(brokers)) => Tidegate::tikv(&store, &brokers).await?,
    };
    println!("ada was here {} times", visit(&tidegate, "ada").await?);
    tidegate.shutdown().await;
    Ok(())
}

pub(crate) async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    // Stock Kafka clients, and this application from another process, find it at that port.
    let options = OpenOptions::new(directory.path()).listen(([127, 0, 0, 1], 0).into());
    let own = Tidegate::open_with(options).await?;
    assert_eq!(visit(&own, "ada").await?, 1);

    let address = &own.client_options()?.bootstrap[0];
    let through_the_port = Tidegate::connect(address).await?;
    assert_eq!(visit(&through_the_port, "ada").await?, 2, "it is the same store");
    assert_eq!(visit(&own, "ada").await?, 3);
    println!("ada was here 3 times, by two ways to one store");
    through_the_port.shutdown().await;
    own.shutdown().await;
    Ok(())
}
