//! A namespace as everybody else sees it who uses the same TiKV: keys and values, put and read without Tidegate.

use std::collections::BTreeMap;

use tikv_client::{CheckLevel, KvPair, Transaction, TransactionClient, TransactionOptions};
use tokio::runtime::Runtime;

/// More entries than any namespace has that is looked at.
const ENTRIES_MAX: u32 = 10_000;

/// The keys of a namespace, without what they begin with there.
pub(crate) struct RawNamespace {
    runtime: Runtime,
    client: TransactionClient,
    prefix: Vec<u8>,
}

impl RawNamespace {
    /// That of a `--store`.
    pub(crate) fn open(store: &str) -> Self {
        let (endpoints, namespace) =
            store.strip_prefix("tikv://").and_then(|rest| rest.split_once('/')).expect("tikv://PD/NAMESPACE");
        let endpoints: Vec<&str> = endpoints.split(',').collect();
        let runtime = Runtime::new().expect("a runtime");
        let client = runtime.block_on(TransactionClient::new(endpoints)).expect("a client");
        Self { runtime, client, prefix: format!("_tidegate/{namespace}\0").into_bytes() }
    }

    pub(crate) fn put(&self, key: &[u8], value: &[u8]) {
        self.runtime.block_on(async {
            let mut txn = self.begin().await;
            txn.put([&self.prefix, key].concat(), value.to_vec()).await.expect("a put");
            txn.commit().await.expect("a commit");
        });
    }

    /// All that lies in it.
    pub(crate) fn entries(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let start = self.prefix.clone();
        let mut end = start.clone();
        *end.last_mut().expect("it is not empty") += 1;
        let scanned: Vec<KvPair> = self.runtime.block_on(async {
            self.begin().await.scan(start..end, ENTRIES_MAX).await.expect("a scan").collect()
        });
        let entry = |KvPair(key, value)| (Vec::from(key)[self.prefix.len()..].to_vec(), value);
        scanned.into_iter().map(entry).collect()
    }

    async fn begin(&self) -> Transaction {
        let options = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
        self.client.begin_with_options(options).await.expect("a begin")
    }
}
