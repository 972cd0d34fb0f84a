//! Whether a connection was made with certificates that have been replaced since.

#[cfg(feature = "tls")]
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed};

use tokio::sync::watch;

/// Which certificates a connection was made with.
///
/// A connection without TLS has none, and a build without TLS pays nothing for the question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edition {
    #[cfg(feature = "tls")]
    made_with: Option<(Arc<AtomicU64>, u64)>,
}

impl Edition {
    /// `newest` counts the reloads; `number` is what it was when the connection was made.
    #[cfg(feature = "tls")]
    pub(crate) fn new(newest: &Arc<AtomicU64>, number: u64) -> Self {
        Self {
            made_with: Some((Arc::clone(newest), number)),
        }
    }

    /// Whether newer certificates are in use. The connection works, but should not live on for long.
    #[inline]
    pub(crate) fn is_outdated(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some((newest, number)) = &self.made_with {
            return newest.load(Relaxed) != *number;
        }
        false
    }
}

/// Tells when newer certificates are in use.
#[derive(Debug, Default)]
pub(crate) struct NewEditions(pub(crate) Option<watch::Receiver<()>>);

impl NewEditions {
    /// Ends at the next reload. Never, where nothing can be reloaded any more.
    ///
    /// # Cancel safety
    ///
    /// No reload is missed.
    pub(crate) async fn next(&mut self) {
        if let Some(changes) = &mut self.0
            && changes.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}
