//! Writes the flights, each in a transaction with its events.

use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use tidegate_broker::BrokerStore;
use tidegate_model::Db;
use tidegate_store::{Clock, SystemClock};

use super::flight::{Flight, TimetableRow};
use super::timetable::Pace;
use super::{SharedLedger, lock};

/// Transactions at a time.
const IN_FLIGHT: usize = 16;

/// Writes every flight at its time.
pub(super) async fn write(
    db: &Db<BrokerStore>,
    rows: &[TimetableRow],
    pace: &Pace,
    ledger: &SharedLedger,
) -> anyhow::Result<()> {
    let writes = rows.iter().enumerate().map(|(number, row)| write_one(db, number, row, pace, ledger));
    futures::stream::iter(writes).buffer_unordered(IN_FLIGHT).try_collect().await
}

async fn write_one(
    db: &Db<BrokerStore>,
    number: usize,
    row: &TimetableRow,
    pace: &Pace,
    ledger: &SharedLedger,
) -> anyhow::Result<()> {
    let wait_ms = pace.written_ms(number) - SystemClock.now_ms();
    if let Ok(wait_ms) = u64::try_from(wait_ms) {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
    let flight = &Flight {
        id: u32::try_from(number)?,
        date: row.date.clone(),
        origin: row.origin.clone(),
        destination: row.destination.clone(),
        distance_miles: row.distance_miles,
        delay_minutes: row.delay_minutes,
        departs_ms: pace.departs_ms(row),
    };
    db.transaction(|tx| async move { tx.insert(flight).await })
        .await
        .with_context(|| format!("flight {number} was not written"))?;
    lock(ledger).wrote(flight.id, flight.departs_ms);
    Ok(())
}
