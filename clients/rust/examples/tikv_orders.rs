//! Writes orders and their events straight to a TiKV cluster, each in one transaction; a broker on the same namespace
//! delivers the events.
//!
//! `cargo run --example tikv_orders -- tikv://127.0.0.1:2379/shop 127.0.0.1:9092 20 0 100` writes orders 0 to 99 of 20
//! customers. The events of one customer are in their order, whoever reads them.
//!
//! One more argument says for how many milliseconds a store that is away is waited for: that is then the `commit.max.ms` of
//! the brokers, too.

use serde::{Deserialize, Serialize};
use tidegate::store::TikvOptions;
use tidegate::{AppStore, ClientOptions, Db, DbSettings, Model, NewEvent, Tidegate};

/// An order: the `number`th of its customer.
#[derive(Model, Serialize, Deserialize)]
#[model(table = "orders")]
struct Order {
    id: String,
    #[model(index)]
    customer: i64,
    number: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: tikv_orders STORE BROKERS CUSTOMERS FROM COUNT [COMMIT_MAX_MS]";
    let mut next = || arguments.next().ok_or(usage);
    let (store, brokers) = (next()?, next()?);
    let (customers, from, count): (u32, u32, u32) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);

    // The brokers are told of what is committed, so that nobody has to look for it.
    let mut options = TikvOptions::new(store.parse()?);
    if let Some(commit_max_ms) = arguments.next() {
        options.commit_max_ms = commit_max_ms.parse()?;
        options.request_timeout_ms = options.commit_max_ms;
        options.connect_timeout_ms = options.commit_max_ms;
    }
    let client = ClientOptions::new(&brokers);
    let tidegate = Tidegate::tikv_with(options, client, DbSettings::default()).await?;
    let writers: Vec<_> = (0..customers)
        .map(|customer| tokio::spawn(place_orders(tidegate.db().clone(), customer, from..from + count)))
        .collect();
    for writer in writers {
        writer.await??;
    }
    tidegate.shutdown().await;
    Ok(())
}

async fn place_orders(
    db: Db<AppStore>,
    customer: u32,
    numbers: std::ops::Range<u32>,
) -> Result<(), tidegate::model::Error> {
    for number in numbers {
        let order = &Order { id: format!("{customer}-{number}"), customer: customer.into(), number };
        let text =
            format!("{customer} {number} the quick brown fox jumps over the lazy dog, again and again");
        let event = &NewEvent::new("order.placed")
            .topic("orders")
            .key(format!("key-{customer}"))
            .value(text, Some("text/plain"));
        db.transaction(|tx| async move {
            tx.insert(order).await?;
            tx.publish(event.clone()).await
        })
        .await?;
    }
    Ok(())
}
