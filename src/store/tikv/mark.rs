//! Whose a namespace is: a mark in it, written by whoever opens it first while it is empty.

use tikv_client::TransactionClient;

use super::bounds::Bounds;
use super::keys::Namespace;
use super::options::TikvOpenError;
use super::shared::transaction_options;

const MAGIC: &[u8] = b"tidegate-store";
/// The layout of keys and values within a namespace that this release has.
const LAYOUT: u32 = 1;

/// What was found in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Our mark, with this layout, and the row of bounds, if there is one.
    Ours(u32, Option<Vec<u8>>),
    /// Something else.
    Other(String),
}

impl Found {
    /// Refuses what this release cannot use. The bounds are `own` where none were written yet: a broker's first start does
    /// that.
    pub(super) fn check(self, namespace: &str, own: Bounds) -> Result<Bounds, TikvOpenError> {
        let not_ours = |found| TikvOpenError::NotOurs { namespace: namespace.to_owned(), found };
        match self {
            Self::Ours(found, _) if found > LAYOUT => {
                Err(TikvOpenError::NewerLayout { namespace: namespace.to_owned(), found, known: LAYOUT })
            }
            Self::Ours(_, None) => Ok(own),
            Self::Ours(_, Some(row)) => Bounds::decode(&row)
                .ok_or_else(|| not_ours("bounds of transactions that this release cannot read".to_owned())),
            Self::Other(found) => Err(not_ours(found)),
        }
    }
}

/// Reads the mark and the row of bounds, or writes both into an empty namespace.
pub(super) async fn claim(
    client: TransactionClient,
    namespace: Namespace,
    own: Bounds,
) -> Result<Found, tikv_client::Error> {
    let mut txn = client.begin_with_options(transaction_options()).await?;
    if let Some(mark) = txn.get(namespace.mark()).await? {
        return Ok(read(&mark, txn.get(namespace.bounds()).await?));
    }
    if let Some(key) = txn.scan_keys(namespace.all(), 1).await?.next() {
        let key: Vec<u8> = key.into();
        return Ok(Found::Other(format!("the key '{}'", key.escape_ascii())));
    }
    txn.put(namespace.mark(), [MAGIC, &LAYOUT.to_be_bytes()].concat()).await?;
    txn.put(namespace.bounds(), own.encode()).await?;
    match txn.commit().await {
        Ok(_) => Ok(Found::Ours(LAYOUT, Some(own.encode()))),
        // Another process may have been first: it is looked at again.
        Err(error) => {
            Err(tikv_client::Error::StringError(format!("the namespace is not marked yet: {error}")))
        }
    }
}

fn read(mark: &[u8], bounds: Option<Vec<u8>>) -> Found {
    match mark.strip_prefix(MAGIC).map(<[u8; 4]>::try_from) {
        Some(Ok(layout)) => Found::Ours(u32::from_be_bytes(layout), bounds),
        _ => Found::Other("a mark that is not ours".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::TikvOptions;
    use super::*;

    #[test]
    fn only_our_own_mark_of_a_known_layout_is_taken() {
        let mark = |layout: u32| [MAGIC, &layout.to_be_bytes()].concat();
        let own = Bounds::of(&TikvOptions::new("tikv://pd:2379/n".parse().expect("an address")));
        let higher = own.with(Bounds { commit_max_ms: own.commit_max_ms + 1, ..own });
        assert_eq!(read(&mark(1), None).check("n", own).expect("ours"), own);
        assert_eq!(read(&mark(1), Some(higher.encode())).check("n", own).expect("ours"), higher);
        let unreadable = read(&mark(1), Some(b"else".to_vec())).check("n", own);
        assert!(matches!(unreadable, Err(TikvOpenError::NotOurs { .. })));
        let newer = read(&mark(2), None).check("n", own).expect_err("a newer one");
        assert!(matches!(newer, TikvOpenError::NewerLayout { found: 2, known: 1, .. }));
        for other in [b"".as_slice(), b"tidegate-store", b"tidegate-store12345", b"else"] {
            assert!(matches!(read(other, None).check("n", own), Err(TikvOpenError::NotOurs { .. })));
        }
    }
}
