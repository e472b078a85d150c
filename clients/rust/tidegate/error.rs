//! Why an application's store did not open.

use tidegate_store::tikv::TikvAddressError;
use tidegate_store::{ReadError, TikvOpenError};

use crate::Error;

/// Why it did not open; the text names the cause and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The embedded store cannot be opened.
    #[cfg(feature = "embedded")]
    #[error("cannot open the store in {path}: {source}")]
    Store {
        /// The directory.
        path: String,
        /// What is wrong with it.
        source: tidegate_store::OpenError,
    },
    /// The broker in this process does not start.
    #[cfg(feature = "embedded")]
    #[error(transparent)]
    Broker(#[from] tidegate_broker::StartError),
    /// The address is not one of a namespace of TiKV.
    #[error(transparent)]
    Address(#[from] TikvAddressError),
    /// The TiKV cluster cannot be used.
    #[error(transparent)]
    Tikv(#[from] TikvOpenError),
    /// Not all of a backup was written into the namespace.
    #[error(
        "the namespace is not whole: a backup is being restored into it; run `tidegate restore` to its end"
    )]
    Restoring,
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Read(#[from] ReadError),
    /// No broker can be used.
    #[error(transparent)]
    Client(#[from] Error),
}
