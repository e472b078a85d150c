//! Whose a namespace is: a mark in it, written by whoever opens it first while it is empty.

use tikv_client::TransactionClient;

use super::keys::Namespace;
use super::options::TikvOpenError;
use super::shared::transaction_options;

const MAGIC: &[u8] = b"tidegate-store";
/// The layout of keys and values within a namespace that this release has.
const LAYOUT: u32 = 1;

/// What was found in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Our mark, with this layout.
    Ours(u32),
    /// Something else.
    Other(String),
}

impl Found {
    /// Refuses what this release cannot use.
    pub(super) fn check(self, namespace: &str) -> Result<(), TikvOpenError> {
        match self {
            Self::Ours(found) if found <= LAYOUT => Ok(()),
            Self::Ours(found) => {
                Err(TikvOpenError::NewerLayout { namespace: namespace.to_owned(), found, known: LAYOUT })
            }
            Self::Other(found) => Err(TikvOpenError::NotOurs { namespace: namespace.to_owned(), found }),
        }
    }
}

/// Reads the mark, or writes it into an empty namespace.
pub(super) async fn claim(
    client: TransactionClient,
    namespace: Namespace,
) -> Result<Found, tikv_client::Error> {
    let mut txn = client.begin_with_options(transaction_options()).await?;
    if let Some(mark) = txn.get(namespace.mark()).await? {
        return Ok(read(&mark));
    }
    if let Some(key) = txn.scan_keys(namespace.all(), 1).await?.next() {
        let key: Vec<u8> = key.into();
        return Ok(Found::Other(format!("the key '{}'", key.escape_ascii())));
    }
    txn.put(namespace.mark(), [MAGIC, &LAYOUT.to_be_bytes()].concat()).await?;
    match txn.commit().await {
        Ok(_) => Ok(Found::Ours(LAYOUT)),
        // Another process may have been first: it is looked at again.
        Err(error) => {
            Err(tikv_client::Error::StringError(format!("the namespace is not marked yet: {error}")))
        }
    }
}

fn read(mark: &[u8]) -> Found {
    match mark.strip_prefix(MAGIC).map(<[u8; 4]>::try_from) {
        Some(Ok(layout)) => Found::Ours(u32::from_be_bytes(layout)),
        _ => Found::Other("a mark that is not ours".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_mark_of_a_known_layout_is_taken() {
        let mark = |layout: u32| [MAGIC, &layout.to_be_bytes()].concat();
        assert!(read(&mark(1)).check("n").is_ok());
        let newer = read(&mark(2)).check("n").expect_err("a newer one");
        assert!(matches!(newer, TikvOpenError::NewerLayout { found: 2, known: 1, .. }));
        for other in [b"".as_slice(), b"tidegate-store", b"tidegate-store12345", b"else"] {
            assert!(matches!(read(other).check("n"), Err(TikvOpenError::NotOurs { .. })));
        }
    }
}
