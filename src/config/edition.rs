//! Whether a connection was made with certificates that have been replaced since.

#[cfg(feature = "tls")]
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed};

use tokio::sync::watch;

/// Which certificates a connection was made with.
///
/// Reloads are numbered. Newer certificates that were loaded need not be good for anything yet: the
/// servers may get theirs later. So a connection is given up only when its server has let us in with
/// newer ones.
///
/// A connection without TLS has none, and a build without TLS pays nothing for the questions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edition {
    #[cfg(feature = "tls")]
    made_with: Option<MadeWith>,
}

#[cfg(feature = "tls")]
#[derive(Debug, Clone)]
struct MadeWith {
    number: u64,
    /// The newest that were loaded.
    loaded: Arc<AtomicU64>,
    /// The newest with which the server has let us in.
    accepted: Arc<AtomicU64>,
}

impl Edition {
    /// `number` is what `loaded` was when the connection was made; `accepted` is that of its server.
    #[cfg(feature = "tls")]
    pub(crate) fn new(number: u64, loaded: &Arc<AtomicU64>, accepted: &Arc<AtomicU64>) -> Self {
        Self {
            made_with: Some(MadeWith {
                number,
                loaded: Arc::clone(loaded),
                accepted: Arc::clone(accepted),
            }),
        }
    }

    /// The server has let us in on this connection.
    pub(crate) fn accept(&self) {
        #[cfg(feature = "tls")]
        if let Some(made_with) = &self.made_with {
            made_with.accepted.fetch_max(made_with.number, Relaxed);
        }
    }

    /// Whether newer certificates were loaded. The connection works, and should be replaced if the
    /// server takes them.
    pub(crate) fn has_successor(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some(made_with) = &self.made_with {
            return made_with.loaded.load(Relaxed) != made_with.number;
        }
        false
    }

    /// Whether the server has let us in with newer certificates. The connection works, but should not
    /// live on for long.
    #[cfg(feature = "tls")]
    #[inline]
    pub(crate) fn is_outdated(&self) -> bool {
        let made_with = self.made_with.as_ref();
        made_with.is_some_and(|made_with| made_with.accepted.load(Relaxed) > made_with.number)
    }
}

/// Tells when newer certificates were loaded.
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
