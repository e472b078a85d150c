//! Sleeping and randomness as an argument, so that a test of ten retries takes no time and gives the same each time.

use std::pin::Pin;
use std::time::Duration;

/// What a [`Db`](crate::Db) takes from the outside world beside its store.
pub trait Ambient: Send + Sync + 'static {
    /// Ends after `duration`.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// A random number, another each time.
    fn random(&self) -> u128;
}

/// Tokio's timer and the operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemAmbient;

impl Ambient for SystemAmbient {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self) -> u128 {
        rand::random()
    }
}
