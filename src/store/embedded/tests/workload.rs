//! Transactions at random, and what a store that had some of them must hold.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use rand::Rng;
use rand::rngs::StdRng;

use super::super::EmbeddedStore;
use crate::{CommitError, CommitToken, Direction, KeyRange, Outcome, ScanLimit, Store, Txn, Version};

/// Every transaction writes `MARK ++ version ++ id`: so the store says which it has, in their order.
const MARK: &[u8] = b"mark/";
/// Where entries are made at commit and removed again, as an outbox does.
const OUTBOX: &[u8] = b"outbox/";

/// One transaction.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    id: u64,
    writes: Vec<(Bytes, Option<Bytes>)>,
    has_outbox_entry: bool,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It must be there, with this version.
    Acknowledged(Version),
    /// It must not be there.
    Refused,
    /// It is there whole, or not at all, with this version.
    Unknown(Version),
}

/// Makes transactions and keeps what became of them.
#[derive(Debug, Default)]
pub(super) struct Workload {
    next_id: u64,
    planned: BTreeMap<u64, (Planned, Fate)>,
    /// Keys of outbox entries that are known to be there.
    outbox: Vec<Bytes>,
    /// The tokens of transactions whose outcome was not known.
    tokens: BTreeMap<u64, CommitToken>,
}

fn versioned(prefix: &[u8], version: Version, id: u64) -> Bytes {
    let mut key = BytesMut::from(prefix);
    key.put_u64(version.0);
    key.put_u64(id);
    key.freeze()
}

impl Workload {
    /// Runs transactions, `concurrency` at a time, until `count` were tried or one is told that the store is away.
    pub(super) async fn run(
        &mut self,
        store: &EmbeddedStore,
        rng: &mut StdRng,
        count: usize,
        concurrency: usize,
    ) {
        let mut tried = 0;
        while tried < count {
            let batch: Vec<Planned> = (0..concurrency).map(|_| self.plan(rng)).collect();
            tried += batch.len();
            let mut tasks = tokio::task::JoinSet::new();
            for planned in batch {
                let store = store.clone();
                tasks.spawn(async move { (planned.clone(), commit(&store, &planned).await) });
            }
            let mut is_away = false;
            while let Some(done) = tasks.join_next().await {
                let (planned, result) = done.expect("no task panics");
                let fate = match result {
                    Ok(version) => Fate::Acknowledged(version),
                    Err(CommitError::Conflict | CommitError::DiskFull { .. }) => Fate::Refused,
                    Err(CommitError::Unavailable { .. }) => {
                        is_away = true;
                        Fate::Refused
                    }
                    Err(CommitError::Unknown { token }) => {
                        is_away = true;
                        let version = u64::try_from(token.nonce & u128::from(u64::MAX)).expect("a half");
                        self.tokens.insert(planned.id, token);
                        Fate::Unknown(Version(version))
                    }
                    Err(error) => panic!("{error}"),
                };
                if let (Fate::Acknowledged(version), true) = (&fate, planned.has_outbox_entry) {
                    self.outbox.push(versioned(OUTBOX, *version, planned.id));
                }
                self.planned.insert(planned.id, (planned, fate));
            }
            if is_away {
                return;
            }
        }
    }

    /// Lets a crash have lost acknowledged transactions, as long as what is left is a prefix.
    pub(super) fn trust_no_acknowledgement(&mut self) {
        for (_, fate) in self.planned.values_mut() {
            if let Fate::Acknowledged(version) = fate {
                *fate = Fate::Unknown(*version);
            }
        }
    }

    /// Compares everything that the store holds with what it must hold.
    pub(super) async fn check(&mut self, store: &EmbeddedStore) {
        let mut txn = store.begin().await.expect("the store is open");
        let everything = KeyRange::new(&b"\0"[..], &b"\xFF"[..]);
        let limit = ScanLimit { count: usize::MAX, value_bytes: usize::MAX };
        let found = txn.scan(&everything, limit, Direction::Forward).await.expect("it can be read");
        let mut backward = txn.scan(&everything, limit, Direction::Backward).await.expect("it can be read");
        backward.reverse();
        assert_eq!(found, backward, "the same in both directions");

        let mut expected = BTreeMap::new();
        let mut newest = Version::default();
        for (key, _) in found.iter().filter(|(key, _)| key.starts_with(MARK)) {
            let numbers = &key[MARK.len()..];
            let version = Version(u64::from_be_bytes(numbers[..8].try_into().expect("eight bytes")));
            let id = u64::from_be_bytes(numbers[8..].try_into().expect("eight bytes"));
            let (planned, fate) = self.planned.get_mut(&id).expect("only what was tried is there");
            match fate {
                Fate::Acknowledged(acknowledged) => assert_eq!(version, *acknowledged),
                Fate::Refused => panic!("{id} was refused and is there"),
                Fate::Unknown(attempted) => assert_eq!(version, *attempted),
            }
            *fate = Fate::Acknowledged(version);
            for (key, value) in &planned.writes {
                match value {
                    Some(value) => expected.insert(key.clone(), value.clone()),
                    None => expected.remove(key),
                };
            }
            expected.insert(key.clone(), Bytes::from(id.to_string()));
            if planned.has_outbox_entry {
                expected.insert(versioned(OUTBOX, version, id), Bytes::from(id.to_string()));
            }
            assert!(version > newest, "each commit has its own version");
            newest = version;
        }
        let found: BTreeMap<Bytes, Bytes> = found.into_iter().collect();
        self.outbox.retain(|key| found.contains_key(key));
        for (id, (_, fate)) in &mut self.planned {
            match fate {
                Fate::Acknowledged(version) => {
                    assert!(
                        found.contains_key(&versioned(MARK, *version, *id)),
                        "{id} was acknowledged and is gone"
                    );
                }
                Fate::Unknown(version) => {
                    assert!(*version > newest, "{id} is gone, but a later one is there");
                    *fate = Fate::Refused;
                }
                Fate::Refused => {}
            }
        }
        for (id, token) in &self.tokens {
            let outcome = match self.planned[id].1 {
                Fate::Acknowledged(_) => Outcome::Applied,
                Fate::Refused | Fate::Unknown(_) => Outcome::NotApplied,
            };
            assert_eq!(store.outcome(token).await, Ok(outcome), "{id}");
        }
        assert_eq!(found, expected);
    }

    fn plan(&mut self, rng: &mut StdRng) -> Planned {
        let id = self.next_id;
        self.next_id += 1;
        let mut writes: Vec<(Bytes, Option<Bytes>)> = Vec::new();
        for _ in 0..rng.random_range(0..4) {
            let key = Bytes::from(format!("key/{:02}", rng.random_range(0..20)));
            let value = match rng.random_range(0..10) {
                0..3 => None,
                3..6 => Some(4_096 + rng.random_range(0..1_000)),
                _ => Some(rng.random_range(8..200)),
            };
            let value = value.map(|len| {
                let mut value = vec![u8::try_from(id % 251).expect("small"); len];
                value[..8].copy_from_slice(&id.to_be_bytes());
                Bytes::from(value)
            });
            writes.retain(|(other, _)| *other != key);
            writes.push((key, value));
        }
        if !self.outbox.is_empty() && rng.random_bool(0.5) {
            let taken = self.outbox.swap_remove(rng.random_range(0..self.outbox.len()));
            writes.push((taken, None));
        }
        Planned { id, writes, has_outbox_entry: rng.random_bool(0.5) }
    }
}

async fn commit(store: &EmbeddedStore, planned: &Planned) -> Result<Version, CommitError> {
    let away = |error: crate::ReadError| CommitError::Unavailable { reason: error.to_string() };
    let mut txn = store.begin().await.map_err(away)?;
    // Lets others begin on the same snapshot.
    tokio::task::yield_now().await;
    for (key, value) in &planned.writes {
        match value {
            Some(value) => txn.put(key.clone(), value.clone()),
            None => txn.delete(key.clone()),
        }
    }
    let id = Bytes::copy_from_slice(&planned.id.to_be_bytes());
    let value = Bytes::from(planned.id.to_string());
    txn.put_versioned(Bytes::from_static(MARK), id.clone(), value.clone());
    if planned.has_outbox_entry {
        txn.put_versioned(Bytes::from_static(OUTBOX), id, value);
    }
    Ok(txn.commit().await?.version)
}
