//! A background task that ends with its owner.

use std::future::Future;

use tokio::task::AbortHandle;

use crate::util::runtime::Runtime;

/// Aborts its task when dropped, so that a task never outlives its owner.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(AbortHandle);

impl AbortOnDrop {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future).abort_handle())
    }

    /// As [`spawn`](Self::spawn), for a task that the pool's runtime counts.
    pub(crate) fn spawn_on(
        runtime: &Runtime,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self(runtime.spawn(future).abort_handle())
    }

    pub(crate) fn abort(&self) {
        self.0.abort();
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
