//! The bank: money moves between accounts, and every snapshot has all of it.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::conformance::Backend;
use crate::conformance::steps::{begin, everything, get, number, put_all, scan, text, until_committed};
use crate::{CommitError, Committed, Direction, Store, Txn};

const ACCOUNTS: usize = 8;
const START_BALANCE: i64 = 100;
const TELLERS: u64 = 6;
const TRANSFERS: usize = 50;
const AUDITS: usize = 100;

fn account(number: usize) -> String {
    format!("account {number}")
}

/// Tellers move money at once, empty accounts are closed (removed) and opened again; auditors add up all along.
pub async fn transfers_keep_the_sum_in_every_snapshot<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, (0..ACCOUNTS).map(|number| (account(number), START_BALANCE.to_string()))).await;
    let mut tasks = Vec::new();
    for teller in 0..TELLERS {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(teller);
            for _ in 0..TRANSFERS {
                let from = random.random_range(0..ACCOUNTS);
                let to = (from + random.random_range(1..ACCOUNTS)) % ACCOUNTS;
                let most = random.random_range(1..=2 * START_BALANCE);
                until_committed(|| transfer(store.clone(), from, to, most)).await;
            }
        }));
    }
    for direction in [Direction::Forward, Direction::Backward] {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..AUDITS {
                audit(&store, direction).await;
                tokio::task::yield_now().await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("the task ends");
    }
    audit(store, Direction::Forward).await;
}

async fn transfer<S: Store>(store: S, from: usize, to: usize, most: i64) -> Result<Committed, CommitError> {
    let mut txn = begin(&store).await;
    let balance = number(get(&mut txn, &account(from)).await.as_ref());
    let amount = balance.min(most);
    tokio::task::yield_now().await;
    let to_balance = number(get(&mut txn, &account(to)).await.as_ref());
    if amount == balance {
        txn.delete(text(account(from)));
    } else {
        txn.put(text(account(from)), text((balance - amount).to_string()));
    }
    txn.put(text(account(to)), text((to_balance + amount).to_string()));
    txn.commit().await
}

async fn audit(store: &impl Store, direction: Direction) {
    let accounts = scan(&mut begin(store).await, &everything(), ACCOUNTS, direction).await;
    let sum: i64 = accounts.iter().map(|(_, balance)| number(Some(balance))).sum();
    assert_eq!(sum, START_BALANCE * i64::try_from(ACCOUNTS).expect("small"));
}
