//! Handlers that may block their thread, before their future is there or in it: each runs on a thread of the runtime that is
//! there for this.
//!
//! What always holds: whoever drops the future ends the handler the next time that it waits for something, as if it ran like any
//! other task; a panic comes out as one.

use std::panic;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use tidegate_store::Store;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::context::Returned;
use super::outcome::IntoOutcome;
use crate::Tx;

/// A handler, as a worker calls it with an event or with a batch.
pub(super) fn called<W, S, F, Fut>(
    handler: F,
    may_block: bool,
) -> Arc<dyn Fn(W, Tx<S>) -> Returned + Send + Sync>
where
    W: Send + 'static,
    S: Store,
    F: Fn(W, Tx<S>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
{
    if may_block {
        let handler = Arc::new(handler);
        return Arc::new(move |what, tx| {
            let handler = handler.clone();
            on_its_own_thread(async move { handler(what, tx).await.into_outcome() }.boxed())
        });
    }
    Arc::new(move |what, tx| handler(what, tx).map(IntoOutcome::into_outcome).boxed())
}

/// Runs a future where it may block.
fn on_its_own_thread<T: Send + 'static>(work: BoxFuture<'static, T>) -> BoxFuture<'static, T> {
    async move {
        let stop = CancellationToken::new();
        let _ends_with_this = stop.clone().drop_guard();
        let runtime = Handle::current();
        let ended = tokio::task::spawn_blocking(move || runtime.block_on(stop.run_until_cancelled(work)));
        match ended.await {
            Ok(Some(returned)) => returned,
            Ok(None) => unreachable!("nobody has dropped this"),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                // The runtime ends, and whoever waits with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
    .boxed()
}
