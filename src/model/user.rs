//! Keys of the application's own, in the same transactions as its models.
//!
//! Always holds: nothing here reads or writes anything but what was written here.

use std::ops::Deref;

use bytes::Bytes;
use tidegate_format::UserKey;
use tidegate_store::{Direction, KeyRange, ScanLimit, Store, Txn};

use crate::{Error, InputError, Tx};

/// The most entries of one scan; a higher limit is taken as this one.
pub const USER_SCAN_MAX: usize = 10_000;
/// How many keys are deleted in one round.
const ROUND_KEYS: usize = 1_000;

/// The application's own keys, as a transaction sees them: what it can read is at [`UserView`]. Keys have at most
/// [`UserSpace::KEY_MAX_BYTES`] bytes.
///
/// ```
/// # use std::sync::Arc;
/// # use tidegate_model::{Db, DbSettings, Error, NoWakeup};
/// # use tidegate_store::{MemoryStore, SystemClock};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let store = MemoryStore::new(Arc::new(SystemClock));
/// # let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
/// db.transaction(|tx| async move {
///     tx.user().put("settings/color", "blue").await?;
///     tx.user().put("settings/size", "12").await
/// })
/// .await?;
/// let snapshot = db.snapshot().await?;
/// let settings = snapshot.user().scan("settings/", Some(b"settings0"), 10).await?;
/// assert_eq!(settings.len(), 2);
/// assert_eq!(snapshot.user().get("settings/color").await?.as_deref(), Some(b"blue".as_slice()));
/// # Ok(())
/// # }
/// ```
///
/// They are all that an application has of the store itself: there is no way to the keys of models, events and logs.
///
/// ```compile_fail,E0599
/// # use tidegate_model::{Error, Store, Tx};
/// async fn write<S: Store>(tx: Tx<S>) -> Result<(), Error> {
///     tx.store().await?.put("K".into(), "1".into());
///     Ok(())
/// }
/// ```
///
/// ```compile_fail,E0624
/// # use tidegate_model::{Db, Store};
/// fn store<S: Store>(db: &Db<S>) -> &S {
///     db.store()
/// }
/// ```
pub struct UserSpace<'t, S: Store> {
    view: UserView<'t, S>,
}

/// The application's own keys, to be read.
pub struct UserView<'t, S: Store> {
    tx: &'t Tx<S>,
}

impl<S: Store> Clone for UserSpace<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Store> Copy for UserSpace<'_, S> {}

impl<S: Store> Clone for UserView<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Store> Copy for UserView<'_, S> {}

impl<'t, S: Store> Deref for UserSpace<'t, S> {
    type Target = UserView<'t, S>;

    fn deref(&self) -> &UserView<'t, S> {
        &self.view
    }
}

impl<S: Store> Tx<S> {
    /// The application's own keys.
    pub fn user(&self) -> UserSpace<'_, S> {
        UserSpace { view: UserView::of(self) }
    }
}

impl<'t, S: Store> UserView<'t, S> {
    pub(crate) fn of(tx: &'t Tx<S>) -> Self {
        Self { tx }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::Input`] if the key is too long, and what the store says.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let key = encode(key.as_ref())?;
        Ok(self.tx.lock().await?.txn.get(&key).await?)
    }

    /// The values of several keys, in their order, in one round.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn batch_get(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let keys = keys.into_iter().map(|key| encode(key.as_ref())).collect::<Result<Vec<_>, _>>()?;
        Ok(self.tx.lock().await?.txn.get_many(&keys).await?)
    }

    /// The first entries from `start` (inclusive) to `end` (exclusive; none: to the last), at most `limit`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn scan(
        &self,
        start: impl AsRef<[u8]>,
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.scan_in(start.as_ref(), end, limit, Direction::Forward).await
    }

    /// The last entries from `start` (inclusive) to `end` (exclusive; none: to the last), the last first, at most
    /// `limit`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn scan_reverse(
        &self,
        start: impl AsRef<[u8]>,
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.scan_in(start.as_ref(), end, limit, Direction::Backward).await
    }

    async fn scan_in(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let range = range(start, end)?;
        if range.is_empty() || limit == 0 {
            return Ok(vec![]);
        }
        let limit = ScanLimit::count(limit.min(USER_SCAN_MAX));
        let found = self.tx.lock().await?.txn.scan(&range, limit, direction).await?;
        let decode = |(key, value): (Bytes, Bytes)| Ok((UserKey::decode(&key)?.key, value));
        found.into_iter().map(decode).collect()
    }
}

impl<S: Store> UserSpace<'_, S> {
    /// The longest key, in bytes.
    pub const KEY_MAX_BYTES: usize = UserKey::KEY_MAX_BYTES;

    /// Writes a key. Its value is more data to keep, which a disk that is down to its reserve refuses at the commit.
    ///
    /// # Errors
    /// [`Error::Input`] if the key is too long or the value empty, and [`Error::HalfWritten`].
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<(), Error> {
        let (key, value) = (encode(key.as_ref())?, value.into());
        if value.is_empty() {
            return Err(InputError::UserValueEmpty.into());
        }
        let mut open = self.tx.lock_to_write().await?;
        open.txn.growing();
        open.txn.put(key, value);
        Ok(())
    }

    /// Removes a key, if it is there.
    ///
    /// # Errors
    /// [`Error::Input`] if the key is too long, and [`Error::HalfWritten`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        let key = encode(key.as_ref())?;
        self.tx.lock_to_write().await?.txn.delete(key);
        Ok(())
    }

    /// Removes the keys from `start` (inclusive) to `end` (exclusive; none: to the last) and says how many there were.
    /// All are part of this transaction and of its limits.
    ///
    /// # Errors
    /// As [`delete`](Self::delete), and what the store says.
    pub async fn delete_range(&self, start: impl AsRef<[u8]>, end: Option<&[u8]>) -> Result<u64, Error> {
        let mut rest = range(start.as_ref(), end)?;
        let mut open = self.tx.lock_to_write().await?;
        let mut count = 0;
        while !rest.is_empty() {
            let keys = open.txn.scan_keys(&rest, ROUND_KEYS, Direction::Forward).await?;
            let Some(last) = keys.last() else { break };
            rest.start = KeyRange::successor(last);
            for key in keys {
                open.txn.delete(key);
                count += 1;
            }
        }
        Ok(count)
    }
}

fn check(key: &[u8]) -> Result<(), InputError> {
    let (actual, limit) = (key.len(), UserKey::KEY_MAX_BYTES);
    if actual > limit { Err(InputError::UserKeyTooLong { actual, limit }) } else { Ok(()) }
}

fn encode(key: &[u8]) -> Result<Bytes, InputError> {
    check(key)?;
    Ok(UserKey { key: Bytes::copy_from_slice(key) }.encode())
}

fn range(start: &[u8], end: Option<&[u8]>) -> Result<KeyRange, InputError> {
    check(start)?;
    end.map_or(Ok(()), check)?;
    let (start, end) = UserKey::range(start, end);
    Ok(KeyRange { start, end })
}
