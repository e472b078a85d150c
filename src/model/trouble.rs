//! What the store has not done for a transaction, for whoever must tell that from a failure of the transaction's work.

use std::sync::{Arc, OnceLock};

use crate::Error;

/// The first [transient](Error::is_transient) error that a transaction has met, whatever its work has made of it. Clones are
/// handles on the same, and outlive the transaction.
#[derive(Clone, Debug, Default)]
pub struct StoreTrouble(Arc<OnceLock<Error>>);

impl StoreTrouble {
    /// The error, if there was one.
    #[must_use]
    pub fn get(&self) -> Option<&Error> {
        self.0.get()
    }

    /// Passes a result on, noting an error that is transient.
    pub(crate) fn noted<T, E: Clone + Into<Error>>(&self, result: Result<T, E>) -> Result<T, E> {
        if let Err(error) = &result {
            let error: Error = error.clone().into();
            if error.is_transient() {
                // The first one stays.
                let _ = self.0.set(error);
            }
        }
        result
    }
}
